"""How gunicorn serves the site; what it does is in test_delivery_over_http."""

import contextlib
import os
import runpy
import socket
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from gunicorn.config import Config
from gunicorn.sock import TCPSocket, UnixSocket

CONF = Path(__file__).parent.parent / "dashboard" / "gunicorn_conf.py"
KNOBS = ("HOST", "PORT", "WEB_CONCURRENCY", "WEB_THREADS")


Conf = Callable[..., dict[str, Any]]


@pytest.fixture
def conf(monkeypatch: pytest.MonkeyPatch) -> Conf:
    """Return what the file says under an environment."""
    for knob in KNOBS:
        monkeypatch.delenv(knob, raising=False)

    def read(**environment: str) -> dict[str, Any]:
        for knob, value in environment.items():
            monkeypatch.setenv(knob, value)
        return runpy.run_path(str(CONF))

    return read


def test_it_listens_on_this_machine_alone(conf: Conf) -> None:
    assert conf()["bind"] == "127.0.0.1:8000"


@pytest.mark.parametrize(
    ("host", "port", "bind"),
    [("0.0.0.0", "80", "0.0.0.0:80"), ("::1", "9000", "[::1]:9000"), ("", "", "127.0.0.1:8000")],
)
def test_it_listens_where_the_environment_says(conf: Conf, host: str, port: str, bind: str) -> None:
    assert conf(HOST=host, PORT=port)["bind"] == bind


@pytest.mark.parametrize(("cores", "workers"), [(1, 1), (2, 2), (64, 8), (None, 1)])
def test_it_has_a_worker_for_each_core(
    conf: Conf, monkeypatch: pytest.MonkeyPatch, cores: int | None, workers: int
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    assert conf()["workers"] == workers


def test_workers_and_threads_can_be_set(conf: Conf) -> None:
    settings = conf(WEB_CONCURRENCY="3", WEB_THREADS="50")
    assert (settings["workers"], settings["threads"]) == (3, 50)
    assert settings["worker_connections"] > settings["threads"]


def test_gunicorn_knows_every_setting(conf: Conf) -> None:
    for name, value in conf().items():
        if name.islower() and not name.startswith("_") and isinstance(value, str | int):
            Config().set(name, value)


def test_connections_of_readers_that_stall_are_closed_by_the_kernel(conf: Conf, tmp_path: Path) -> None:
    gunicorn = SimpleNamespace(
        reuse_port=False, backlog=1, is_ssl=False, umask=0, uid=os.getuid(), gid=os.getgid()
    )
    with (
        contextlib.closing(TCPSocket(("127.0.0.1", 0), gunicorn, None)) as tcp,
        contextlib.closing(UnixSocket(str(tmp_path / "socket"), gunicorn, None)) as unix,
    ):
        conf()["when_ready"](SimpleNamespace(LISTENERS=[tcp, unix]))
        assert tcp.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 60_000
