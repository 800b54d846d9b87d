"""A real gunicorn over the real demo, for tests of what only real HTTP and real browsers show."""

import fcntl
import json
import os
import re
import shutil
import socket
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError

import pytest
from axe_playwright_python.base import AXE_FILE_PATH

from tests.support import commands, databases, tools
from tests.support.tools import ROOT, output_of

SERVE = [sys.executable, "manage.py", "serve"]
# Beside the static files, by a name that lets browsers keep what they made of it: it is half a megabyte.
AXE = "axe.0123456789ab.js"


def gunicorn(conf: str) -> list[str]:
    """Return the command that serves the site with a gunicorn configuration."""
    return [sys.executable, "-m", "gunicorn", "--config", conf, "dashboard.wsgi"]


GUNICORN = gunicorn("dashboard/gunicorn_conf.py")


@dataclass(frozen=True)
class DemoServer:
    """A running server. The account is the demo owner's; everybody in the demo has that password."""

    url: str
    data_dir: Path
    email: str
    password: str
    api_key: str

    def manage(self, *args: str) -> str:
        """Run a management command on the server's data and return what it prints."""
        return manage(self.data_dir, *args)


def manage(data_dir: Path, *args: str) -> str:
    """Run a management command on a data folder and return what it prints; its errors fail the test."""
    return output_of(commands.run([*args], environment(data_dir)))


def follow_handbook(step: str, env: dict[str, str]) -> str:
    """Run the commands of a step in docs/operations.md and return their output."""
    handbook = (ROOT / "docs" / "operations.md").read_text()
    (script,) = re.findall(rf"<!-- {step} -->\n```sh\n(.*?)```", handbook, re.DOTALL)
    return tools.run("bash", "-euo", "pipefail", "-c", script, env=env).stdout


def environment(data_dir: Path, **more: str) -> dict[str, str]:
    """Return the environment of a process that works on a data folder, free of what the tests set."""
    knobs = {"DEBUG", "EMAIL_URL", "HOST", "PORT", "PUBLIC_URL", "SECRET_KEY", "DJANGO_ALLOW_ASYNC_UNSAFE"}
    knobs |= {"ENCRYPTION_KEYS", "UPSTREAM_ORIGINS", "METRICS_TOKEN", "PROMETHEUS_MULTIPROC_DIR"}
    knobs |= {"DATABASE_URL"}
    knobs |= {"RESULTS_STORAGE_URL", "DELIVERY", "HSTS"}
    knobs |= {"PYTHONDONTWRITEBYTECODE"}  # each process would compile the whole site
    inherited = {name: value for name, value in os.environ.items() if name not in knobs}
    settings = {"DJANGO_SETTINGS_MODULE": "tests.support.server_settings", "DATA_DIR": str(data_dir)}
    settings["DATABASE_URL"] = more.get("DATABASE_URL") or databases.address_of(data_dir)
    return inherited | settings | more


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until_it_answers(url: str, process: tools.Process, log: Path) -> None:
    """Return once the server answers /healthz; fail with its log where it doesn't."""
    deadline = time.monotonic() + tools.PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/healthz", timeout=5):
                return
        except URLError:
            time.sleep(0.05)
    pytest.fail(f"The server doesn't answer:\n{log.read_text()}")


@pytest.fixture(scope="session")
def demo_data(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A data folder with the demo and the static files, made once for all; databases.copy() copies it."""
    base = tmp_path_factory.getbasetemp()
    shared = base if worker_id == "master" else base.parent
    made = shared / "demo-data"
    with (shared / "demo-data.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            unfinished = shared / "demo-data.unfinished"
            unfinished.mkdir()
            make_demo(unfinished)
            databases.rename(unfinished, made)
    return made


def make_demo(data_dir: Path) -> None:
    """Fill an empty data folder with the demo and the static files."""
    for command in (
        ["migrate", "--verbosity=0"],
        ["createcachetable"],
        ["demo"],
        ["collectstatic", "--noinput", "--verbosity=0"],
    ):
        manage(data_dir, *command)
    shutil.copy(AXE_FILE_PATH, data_dir / "static" / AXE)


@pytest.fixture(scope="session")
def demo_server(demo_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoServer]:
    """A server over a copy of the demo, of this test process alone."""
    folder = tmp_path_factory.mktemp("server")
    with serving(databases.copy(demo_data, folder / "data"), folder / "log") as server:
        yield server


@contextmanager
def serving(data_dir: Path, log: Path) -> Iterator[DemoServer]:
    """Serve a data folder that holds the demo."""
    account = json.loads((data_dir / "demo.json").read_text())
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    env = environment(data_dir, PORT=str(port), WEB_CONCURRENCY="1")
    with tools.running(*GUNICORN, log=log, env=env) as process:
        wait_until_it_answers(url, process, log)
        yield DemoServer(url, data_dir, account["email"], account["password"], account["api_key"])
