"""Serve the demo with gunicorn, for tests that need real HTTP or a browser."""

import fcntl
import json
import os
import re
import shutil
import socket
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pytest
from axe_playwright_python.base import AXE_FILE_PATH

from tests.support import commands, databases, tools
from tests.support.tools import ROOT, output_of

SERVE = [sys.executable, "manage.py", "serve"]
# The demo is as at noon of this day in Sydney.
DAY = date(2026, 11, 29)
# Next to the static files. Its name contains a digest, so that browsers cache its half a megabyte.
AXE = "axe.0123456789ab.js"


def gunicorn(conf: str) -> list[str]:
    """Return the command that serves the site with a gunicorn configuration."""
    return [sys.executable, "-m", "gunicorn", "--config", conf, "dashboard.wsgi"]


GUNICORN = gunicorn("dashboard/gunicorn_conf.py")


@dataclass(frozen=True)
class DemoServer:
    """A running server, and how the demo's owner signs in. All of the demo's users have the same password."""

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
    """Return the environment for a process with this data folder, without the settings of the tests."""
    ours = {"DEBUG", "EMAIL_URL", "HOST", "PORT", "PUBLIC_URL", "SECRET_KEY", "DJANGO_ALLOW_ASYNC_UNSAFE"}
    ours |= {
        "ENCRYPTION_KEYS",
        "UPSTREAM_ORIGINS",
        "OUTGOING_ALLOW",
        "METRICS_TOKEN",
        "PROMETHEUS_MULTIPROC_DIR",
    }
    ours |= {"DATABASE_URL"}
    ours |= {"RESULTS_STORAGE_URL", "DELIVERY", "HSTS"}
    ours |= {"PYTHONDONTWRITEBYTECODE"}  # otherwise, each process would compile the entire site
    inherited = {name: value for name, value in os.environ.items() if name not in ours}
    settings = {"DJANGO_SETTINGS_MODULE": "tests.support.server_settings", "DATA_DIR": str(data_dir)}
    settings["DATABASE_URL"] = more.get("DATABASE_URL") or databases.address_of(data_dir)
    return inherited | settings | more


def free_port() -> int:
    """Return an unused port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until_it_answers(url: str, process: tools.Process, log: Path) -> None:
    """Wait until the server responds to /healthz. If it doesn't, fail with its log."""
    deadline = time.monotonic() + tools.PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/healthz", timeout=5):
                return
        except OSError:  # it doesn't listen yet, or is slow
            time.sleep(0.05)
    pytest.fail(f"The server doesn't answer:\n{log.read_text()}")


# Preparing all runs for comparison takes minutes, and each server of the demo would begin with that. Even a
# few runs take longer than the rest of the demo, so `make test` prepares none.
PREPARE_FEW = """
from collections_app.models import Collection, Run
newest = [run.pk for each in Collection.objects.all() for run in each.runs.newest_first()[:{count}]]
Run.objects.exclude(pk__in=newest).update(needs_slice=False)
"""


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A folder that all test processes share."""
    base = tmp_path_factory.getbasetemp()
    return base if worker_id == "master" else base.parent


@pytest.fixture(scope="session")
def migrated_data(shared_folder: Path) -> Path:
    """A data folder with an empty, migrated database, created once. Copy it with databases.copy()."""
    return _made_once(shared_folder / "migrated-data", make_migrated)


@pytest.fixture(scope="session")
def demo_data(migrated_data: Path, shared_folder: Path) -> Path:
    """A data folder with the demo and the static files, created once. Copy it with databases.copy()."""

    def make(data_dir: Path) -> None:
        databases.copy(migrated_data, data_dir)
        add_demo(data_dir, "--day", str(DAY))
        count = 3 if tools.is_thorough() else 0
        manage(data_dir, "shell", "--no-imports", "--command", PREPARE_FEW.format(count=count))
        manage(data_dir, "work", "--once")

    return _made_once(shared_folder / "demo-data", make)


def make_migrated(data_dir: Path) -> None:
    """Create a data folder with an empty database."""
    data_dir.mkdir()
    manage(data_dir, "migrate", "--verbosity=0")
    manage(data_dir, "createcachetable")


def add_demo(data_dir: Path, *options: str) -> None:
    """Add the demo, created with these options, and the static files to a data folder without data."""
    manage(data_dir, "demo", *options)
    manage(data_dir, "collectstatic", "--noinput", "--verbosity=0")
    shutil.copy(AXE_FILE_PATH, data_dir / "static" / AXE)


def _made_once(data_dir: Path, make: Callable[[Path], object]) -> Path:
    """Return a data folder. The first test process that needs it makes it."""
    with data_dir.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not data_dir.exists():
            unfinished = data_dir.with_suffix(".unfinished")
            make(unfinished)
            databases.rename(unfinished, data_dir)
    return data_dir


@pytest.fixture(scope="session")
def demo_server(demo_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoServer]:
    """A server with a copy of the demo, for this test process only."""
    folder = tmp_path_factory.mktemp("server")
    with serving(databases.copy(demo_data, folder / "data"), folder / "log") as server:
        yield server


@contextmanager
def serving(data_dir: Path, log: Path) -> Iterator[DemoServer]:
    """Serve a data folder that contains the demo."""
    account = json.loads((data_dir / "demo.json").read_text())
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    env = environment(data_dir, PORT=str(port), WEB_CONCURRENCY="1")
    with tools.running(*GUNICORN, log=log, env=env) as process:
        wait_until_it_answers(url, process, log)
        yield DemoServer(url, data_dir, account["email"], account["password"], account["api_key"])
