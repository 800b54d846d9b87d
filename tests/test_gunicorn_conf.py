"""The settings and the worker of gunicorn; test_delivery_over_http has their effects."""

import contextlib
import fcntl
import os
import resource
import runpy
import signal
import socket
import tempfile
import threading
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import prometheus_client  # noqa: F401  # on import, it checks whether metrics go to a folder
import pytest
from django.db import OperationalError, connection
from gunicorn.config import Config
from gunicorn.sock import TCPSocket, UnixSocket
from pytest_django import Settings

from collections_app.system.observability import processes
from dashboard import gunicorn_worker
from dashboard.gunicorn_worker import Worker
from tests.support import tools
from tests.support.server import environment, free_port, gunicorn
from tests.support.tools import ROOT

INFINITE = resource.RLIM_INFINITY
CONF = Path(__file__).parent.parent / "dashboard" / "gunicorn_conf.py"

Conf = Callable[..., dict[str, Any]]


def test_the_worker_is_written_for_the_installed_version() -> None:
    """If this fails, compare what the worker overrides with the new version, then update it there."""
    assert f"as read in version {version('gunicorn')}." in str(gunicorn_worker.__doc__)


@pytest.fixture
def conf(settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Conf:
    """Return the variables of the file with these settings."""
    metrics = tmp_path / f"metrics-{os.getpid()}-"
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(metrics))

    def read(**changes: Any) -> dict[str, Any]:
        for name, value in changes.items():
            setattr(settings, name, value)
        return runpy.run_path(str(CONF))

    return read


@pytest.mark.parametrize(
    ("host", "port", "bind"),
    [("127.0.0.1", 8000, "127.0.0.1:8000"), ("0.0.0.0", 80, "0.0.0.0:80"), ("::1", 9000, "[::1]:9000")],
)
def test_it_listens_on_the_configured_address(conf: Conf, host: str, port: int, bind: str) -> None:
    assert conf(HOST=host, PORT=port)["bind"] == bind


def test_workers_and_threads_can_be_set(conf: Conf) -> None:
    said = conf(WEB_CONCURRENCY=3, WEB_THREADS=50)
    assert (said["workers"], said["threads"]) == (3, 50)
    assert said["worker_connections"] > said["threads"]


@pytest.mark.parametrize(
    ("limits", "raised"),
    [
        ((1024, 100_000), (5200, 100_000)),
        ((1024, 4096), (4096, 4096)),
        ((1024, INFINITE), (5200, INFINITE)),
        ((8000, 100_000), None),
        ((INFINITE, INFINITE), None),
    ],
)
def test_workers_can_open_enough_files(
    conf: Conf, monkeypatch: pytest.MonkeyPatch, limits: tuple[int, int], raised: tuple[int, int] | None
) -> None:
    told: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda what: limits)
    monkeypatch.setattr(resource, "setrlimit", lambda what, limits: told.append(limits))
    conf(WEB_THREADS=300)["when_ready"](SimpleNamespace(LISTENERS=[]))
    assert told == ([raised] if raised else [])


@pytest.mark.django_db
@pytest.mark.sqlite(reason="it is kept open")
def test_a_database_that_can_not_be_opened_is_logged_once(
    conf: Conf, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []
    log = SimpleNamespace(warning=lambda text, *args: lines.append(text % args))
    worker = SimpleNamespace(log=log)
    monkeypatch.setattr("dashboard.worker_process.start", lambda: None)
    conf()["post_worker_init"](worker)
    assert lines == []

    def full() -> None:
        raise OperationalError("disk I/O error")

    monkeypatch.setattr(connection, "cursor", full)
    conf()["post_worker_init"](worker)
    assert lines == ["The database can't be opened: disk I/O error"]


def test_the_background_process_stops_before_its_web_worker(
    conf: Conf, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped: list[bool] = []
    monkeypatch.setattr("dashboard.worker_process.stop", lambda: stopped.append(True))
    conf()["worker_exit"](None, None)
    assert stopped == [True]


def test_every_setting_exists_in_gunicorn(conf: Conf) -> None:
    for name, value in conf().items():
        if name.islower() and not name.startswith("_") and isinstance(value, str | int):
            Config().set(name, value)


def test_the_kernel_closes_stalled_connections(conf: Conf, tmp_path: Path) -> None:
    gunicorn = SimpleNamespace(
        reuse_port=False, backlog=1, is_ssl=False, umask=0, uid=os.getuid(), gid=os.getgid()
    )
    with (
        contextlib.closing(TCPSocket(("127.0.0.1", 0), gunicorn, None)) as tcp,
        contextlib.closing(UnixSocket(str(tmp_path / "socket"), gunicorn, None)) as unix,
    ):
        conf()["when_ready"](SimpleNamespace(LISTENERS=[tcp, unix]))
        assert tcp.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 60_000


def test_metrics_of_killed_servers_are_removed(conf: Conf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR")
    with tools.start("true") as ended:
        pass
    folder = conf()["worker_tmp_dir"]
    killed, elsewhere = (Path(tempfile.mkdtemp(prefix=f"metrics-{ended.pid}-", dir=folder)) for _ in range(2))
    (killed / "counter_1.db").touch()
    living = Path(os.environ["PROMETHEUS_MULTIPROC_DIR"])
    lock = os.open(elsewhere, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR")
        new = Path(conf()["_metrics_folder"])
        assert [each.exists() for each in (killed, elsewhere, living, new)] == [False, True, True, True]
    finally:
        os.close(lock)
        for each in (elsewhere, living, new):
            each.rmdir()


# Stops come before this worker listens to signals.
SLOW_START = """
import time
from pathlib import Path
from dashboard.gunicorn_conf import *

workers = 1

def post_fork(server, worker):
    Path("forked").touch()
    time.sleep(1)
"""


def test_a_worker_that_gets_a_stop_signal_while_starting_stops(tmp_path: Path) -> None:
    (tmp_path / "conf.py").write_text(SLOW_START)
    env = environment(tmp_path, PORT=str(free_port()), PYTHONPATH=str(ROOT))
    with tools.start(*gunicorn("conf.py"), cwd=tmp_path, env=env, stderr=tools.DEVNULL) as process:
        assert tools.eventually((tmp_path / "forked").exists)
        process.terminate()
        try:
            process.wait(timeout=tools.PATIENCE)
        finally:
            process.kill()
    assert process.returncode == 0


@pytest.mark.parametrize(("in_use", "taken"), [(8, 1), (9, 0)])
def test_a_busy_process_lets_others_accept_connections_first(
    monkeypatch: pytest.MonkeyPatch, in_use: int, taken: int
) -> None:
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        listener.setblocking(False)
        stack.enter_context(socket.create_connection(listener.getsockname()))

        def another_takes_it(_seconds: float) -> None:
            stack.enter_context(listener.accept()[0])

        monkeypatch.setattr("dashboard.gunicorn_worker.time.sleep", another_takes_it)
        worker = Worker.__new__(Worker)
        worker.nr_conns, worker.cfg, begun = in_use, SimpleNamespace(threads=10), []
        worker.enqueue_req = lambda connection: begun.append(stack.enter_context(connection.sock))
        worker.accept(listener)
    assert (len(begun), worker.nr_conns) == (taken, in_use + taken)


def test_a_worker_whose_server_was_killed_releases_the_port() -> None:
    worker = Worker.__new__(Worker)
    worker.alive, worker.ppid, worker.log = True, os.getppid(), SimpleNamespace(info=lambda *args: None)
    worker.poller, worker._accepting = SimpleNamespace(unregister=lambda listener: None), True
    assert worker.is_parent_alive()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        worker.sockets = [listener]
        worker.ppid = 0
        assert not worker.is_parent_alive()
        worker.set_accept_enabled(False)
        assert listener.fileno() == -1


def test_a_worker_stops_immediately_while_it_submits_a_request_to_its_pool(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gunicorn.workers.base.time.sleep", lambda seconds: None)
    monkeypatch.setattr(threading, "Timer", lambda *timing: SimpleNamespace(start=lambda: None))
    worker = Worker.__new__(Worker)
    worker.cfg = SimpleNamespace(worker_int=lambda worker: None)
    # A shutdown would need a lock that the interrupted thread holds.
    worker.tpool = SimpleNamespace(shutdown=lambda wait: pytest.fail("it waits for itself"))
    with pytest.raises(SystemExit):
        worker.handle_quit(signal.SIGQUIT, None)
    assert not worker.alive


def test_orphaned_workers_are_detected(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(processes, "MEMORY", str(tmp_path))
    ended = tools.start("true")
    ended.wait()
    (tmp_path / f"metrics-{ended.pid}-8000-x").mkdir()
    (tmp_path / f"metrics-{os.getpid()}-8001-x").mkdir()
    locks = [processes._lock(folder) for folder in tmp_path.iterdir()]
    assert [processes.has_orphans(port) for port in (8000, 8001, 8002)] == [True, False, False]
    for lock in locks:
        os.close(lock)
    assert not processes.has_orphans(8000)
