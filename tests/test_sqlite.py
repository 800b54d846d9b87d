"""SQLite with connections that the threads of a process share."""

from collections.abc import Callable, Iterator
from pathlib import Path
from queue import LifoQueue

import pytest
from django.db import OperationalError, ProgrammingError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.utils import ConnectionHandler

from collections_app.system.sqlite.base import DatabaseWrapper

pytestmark = pytest.mark.django_db

MakeAccess = Callable[[], BaseDatabaseWrapper]


@pytest.fixture
def make_access(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeAccess]:
    """Return a function that creates a thread's access. Two connections are shared, without waiting."""
    monkeypatch.setattr(DatabaseWrapper, "slots", None)  # restored after the test
    monkeypatch.setattr(DatabaseWrapper, "wait_seconds", 0)
    DatabaseWrapper.share(2, 0)
    handler = ConnectionHandler(
        {"default": {"ENGINE": "collections_app.system.sqlite", "NAME": tmp_path / "db.sqlite3"}}
    )
    opened: list[BaseDatabaseWrapper] = []

    def make() -> BaseDatabaseWrapper:
        opened.append(handler.create_connection("default"))
        return opened[-1]

    yield make
    for access in opened:
        access.close()
    while not slots().empty():
        if resting := slots().get():
            resting.close()


def slots() -> LifoQueue:  # type: ignore[type-arg]
    assert DatabaseWrapper.slots is not None
    return DatabaseWrapper.slots


def execute(access: BaseDatabaseWrapper, statement: str = "SELECT 1") -> object:
    """Execute a statement, and return the connection that was used."""
    with access.cursor() as cursor:
        cursor.execute(statement)
    return access.connection


def test_a_closed_connection_is_reused_by_the_next_thread(make_access: MakeAccess) -> None:
    one, other = make_access(), make_access()
    used = execute(one)
    one.close()
    assert one.connection is None
    assert execute(other) is used


def test_two_threads_use_two_connections(make_access: MakeAccess) -> None:
    assert execute(make_access()) is not execute(make_access())


def test_after_waiting_a_thread_opens_a_temporary_connection(make_access: MakeAccess) -> None:
    one, other, third = make_access(), make_access(), make_access()
    execute(one), execute(other)
    more = execute(third)
    third.close()
    with pytest.raises(Exception, match="closed"):
        more.execute("SELECT 1")  # type: ignore[attr-defined]
    one.close()
    assert slots().qsize() == 1


def test_a_connection_closed_in_a_transaction_is_not_reused(make_access: MakeAccess) -> None:
    one = make_access()
    execute(one, "CREATE TABLE seen (number)")
    used = execute(one, "BEGIN")
    execute(one, "INSERT INTO seen VALUES (1)")
    one.close()
    other = make_access()
    assert execute(other) is not used
    with other.cursor() as cursor:
        assert cursor.execute("SELECT count(*) FROM seen").fetchone() == (0,)


def test_a_connection_with_an_error_is_not_reused(make_access: MakeAccess) -> None:
    one = make_access()
    used = execute(one)
    with pytest.raises((OperationalError, ProgrammingError)):
        execute(one, "SELECT * FROM nowhere")
    one.close()
    assert execute(make_access()) is not used
    assert slots().qsize() == 1


def test_a_failed_connection_frees_its_slot(make_access: MakeAccess, tmp_path: Path) -> None:
    (tmp_path / "db.sqlite3").mkdir()
    for _ in range(5):
        with pytest.raises(OperationalError):
            execute(make_access())
    assert slots().qsize() == 2


def test_a_repeated_query_gets_its_own_parameters(make_access: MakeAccess) -> None:
    access = make_access()
    for value in ("first", "second"):
        with access.cursor() as cursor:
            cursor.execute("SELECT %s, '100%%'", [value])
            assert cursor.fetchone() == (value, "100%")
            cursor.execute("SELECT %(name)s", {"name": value})
            assert cursor.fetchone() == (value,)
