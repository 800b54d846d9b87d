"""Check that no thread outlives its test: it could disturb the next test, or leave a connection open."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

from tests.support import tools

# These serve the entire process and don't belong to a test.
_OF_THE_PROCESS = (
    "pool-",  # threads of the database connection pool
    "waitpid-",  # asyncio threads, one per program that Playwright starts
    "tqdm_monitor",  # watches all progress bars
    "fault ",  # faults.py threads, one per connection; their server joins them and may serve an entire module
)
_connected: dict[BaseDatabaseWrapper, str] = {}


@pytest.fixture(autouse=True)
def no_thread_outlives_its_test() -> Iterator[None]:
    """Fail a test whose threads are still running at its end, or have left a connection open."""
    before = set(threading.enumerate())
    _connected.clear()
    yield
    left = still_running(before)
    assert not left, f"Threads outlive the test: {', '.join(left)}. Stop and join them."
    left = left_open()
    assert not left, f"Threads leave a database connection open: {', '.join(left)}. Close it in the thread."


def still_running(before: set[threading.Thread], seconds: float = tools.PATIENCE) -> list[str]:
    """Return the names of threads that were started since then and don't end in time.

    A thread that has been told to stop may still be closing its connections.
    """
    started = set(threading.enumerate()) - before
    ours = [thread for thread in started if not thread.name.startswith(_OF_THE_PROCESS)]
    for thread in ours:
        thread.join(seconds)
    return [thread.name for thread in ours if thread.is_alive()]


def left_open() -> list[str]:
    """Return the names of the test's threads that haven't closed a database connection."""
    return [name for connection, name in _connected.items() if connection.connection is not None]


def _note(connection: BaseDatabaseWrapper, **_: Any) -> None:
    if threading.current_thread() is not threading.main_thread():
        _connected[connection] = threading.current_thread().name


connection_created.connect(_note)
