"""A real S3 server for the tests: SeaweedFS, one for all test processes of a session.

Each process that uses it holds a shared lock on a file. This file, run as a program, starts the server, waits
for an exclusive lock, and stops the server. So it stops even if the other processes are killed.
"""

import contextlib
import fcntl
import json
import os
import signal
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote

import pytest

from tests.support import tools

ACCESS_KEY = "tests"
SECRET_KEY = "the/secret+of=tests"
READER = "reader"  # a key that can only read and list
BUCKET = "results"
REGION = "us-east-1"
_PORTS: tuple[str, ...] = ("master.port", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port")
_PORTS += ("filer.port.grpc", "s3.port", "s3.port.grpc")


@dataclass(frozen=True)
class ObjectStore:
    """A running server with one bucket."""

    port: int
    log: Path

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def url(
        self, prefix: str, *, key: str = ACCESS_KEY, secret: str = SECRET_KEY, port: int | None = None
    ) -> str:
        """Return the RESULTS_STORAGE_URL of a folder in the bucket."""
        host = f"127.0.0.1:{port or self.port}"
        return f"s3+http://{key}:{quote(secret, safe='')}@{host}/{BUCKET}/{prefix}"


def program() -> Path:
    """Return the path of SeaweedFS, which is next to this Python, if it is installed."""
    return Path(sys.executable).with_name("weed")


@contextlib.contextmanager
def running(shared: Path) -> Iterator[ObjectStore]:
    """Use the server of this session. Start it if necessary."""
    folder = shared / "object-store"
    folder.mkdir(exist_ok=True)
    with (folder / "users.lock").open("w") as users, (folder / "start.lock").open("w") as start:
        fcntl.flock(start, fcntl.LOCK_EX)
        fcntl.flock(users, fcntl.LOCK_SH)
        marker = folder / "running.json"
        if not marker.exists():
            _start(folder)
        store = ObjectStore(json.loads(marker.read_text())["s3.port"], folder / "log")
        _wait_for(store, marker)
        fcntl.flock(start, fcntl.LOCK_UN)
        yield store


@contextlib.contextmanager
def shared_connections() -> Iterator[None]:
    """Let equal storages share a connection, because creating one takes longer than most tests."""
    from collections_app.files.storage.bucket import BucketStorage  # noqa: PLC0415

    connect = BucketStorage._session_and_connection
    shared: dict[tuple[Any, ...], tuple[Any, Any]] = {}

    def connected(storage: BucketStorage) -> tuple[Any, Any]:
        size = storage.client_config.max_pool_connections
        address = (os.getpid(), storage.endpoint_url, storage.access_key, storage.secret_key, size)
        if address not in shared:
            shared[address] = connect(storage)
        return shared[address]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BucketStorage, "_session_and_connection", connected)
        yield
    for _, connection in shared.values():
        connection.meta.client.close()


def _start(folder: Path) -> None:
    from tests.support.server import free_port  # noqa: PLC0415

    ports = {name: free_port() for name in _PORTS}
    (folder / "running.json").write_text(json.dumps(ports))
    with (folder / "log").open("ab") as log:
        tools.run(
            *(sys.executable, "-m", "tests.support.object_store", folder),
            stdin=tools.DEVNULL,
            stdout=log,
            stderr=tools.STDOUT,
            start_new_session=True,
        )


def _wait_for(store: ObjectStore, marker: Path) -> None:
    """Wait until the bucket exists."""
    deadline = time.monotonic() + tools.PATIENCE
    while time.monotonic() < deadline and marker.exists():
        try:
            with urllib.request.urlopen(store.endpoint, timeout=5):
                pass
        except HTTPError:  # it requires authentication
            if _made_bucket(store):
                return
        except (URLError, OSError):
            pass
        time.sleep(0.1)
    raise RuntimeError(f"The S3 server doesn't start:\n{store.log.read_text()[-5000:]}")


def _made_bucket(store: ObjectStore) -> bool:
    client = client_of(store)
    try:
        client.create_bucket(Bucket=BUCKET)
        # It is ready when something can be written.
        client.put_object(Bucket=BUCKET, Key="ready", Body=b"yes")
    except client.exceptions.BucketAlreadyExists:
        return True
    except client.exceptions.BucketAlreadyOwnedByYou:
        return True
    except client.exceptions.ClientError:
        return False
    finally:
        client.close()
    return True


def client_of(store: ObjectStore) -> Any:
    """Return a client for the tests, independent of the code under test."""
    import boto3  # noqa: PLC0415
    from botocore.config import Config  # noqa: PLC0415

    return boto3.client(
        "s3",
        endpoint_url=store.endpoint,
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
        region_name=REGION,
        config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
    )


def _keep(folder: Path) -> None:
    """Run the server until no process uses it any more."""
    ports = json.loads((folder / "running.json").read_text())
    config = folder / "s3.json"
    credentials = {"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}
    identity = {"name": "tests", "credentials": [credentials], "actions": ["Admin"]}
    reader = {"accessKey": READER, "secretKey": SECRET_KEY}
    readers = {"name": "readers", "credentials": [reader], "actions": ["Read", "List"]}
    config.write_text(json.dumps({"identities": [identity, readers]}))
    data = folder / "data"
    data.mkdir(exist_ok=True)
    command = [str(program()), "-logtostderr", "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3"]
    command += [f"-{name}={port}" for name, port in ports.items()]
    command += [f"-dir={data}", f"-s3.config={config}", "-master.telemetry=false", "-s3.port.iceberg=0"]
    command += ["-s3.port.lance=0", "-volume.max=50", "-master.volumeSizeLimitMB=1024"]
    command += ["-volume.minFreeSpace=1"]
    with tools.start(*command, cwd=folder) as server, (folder / "users.lock").open("w") as users:
        fcntl.flock(users, fcntl.LOCK_EX)
        (folder / "running.json").unlink()
        server.send_signal(signal.SIGKILL)


if __name__ == "__main__" and os.fork() == 0:  # the starting process needn't wait for it
    _keep(Path(sys.argv[1]))
