"""DuckDB, locked down: it sees the files that it is given and nothing else, and ends when its time is over.

What people type never becomes part of a statement. Values are parameters, and columns are called c0, c1, ...
whatever their names are.
"""

import errno
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb

from collections_app.records.preview.concurrency import Turns

# Of each connection, of which there are in each web process as many as these say: questions don't wait for
# tables to be made, or for facts to be computed.
_MEMORY = "256MB"
_THREADS = 2
# How often to check whether the answer is still wanted.
_LOOK_SECONDS = 1.0
QUESTIONS = Turns(2)
COUNTING = Turns(1)
MAKING = Turns(1)


class TookTooLong(Exception):
    """A question was not answered within its time."""


class Unreadable(Exception):
    """DuckDB can't read what it was given; the message is its own, and for the log."""


class Database:
    """A connection that sees some files."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection

    def ask(self, statement: str, values: Mapping[str, object]) -> Sequence[tuple[Any, ...]]:
        """Return the rows of the answer."""
        return self._connection.execute(statement, values).fetchall()


@contextmanager
def database(
    *files: Path,
    seconds: float,
    threads: int = _THREADS,
    turns: Turns = QUESTIONS,
    is_wanted: Callable[[], bool] = lambda: True,
) -> Iterator[Database]:
    """Yield a connection that may read and write these files, for a limited time and while it is wanted.

    Raises TookTooLong, also if too many others are using it, TooManyQuestions, Unreadable, and
    FileNotFoundError if the first file has been deleted.
    """
    with turns.turn(seconds=seconds) as has_turn:
        if not has_turn:
            raise TookTooLong
        try:
            with (
                _connected(files, threads) as connection,
                _interrupted_after(seconds, is_wanted, connection),
            ):
                yield Database(connection)
        except duckdb.InterruptException:
            raise TookTooLong from None
        except duckdb.Error as error:
            if not files[0].exists():
                raise FileNotFoundError(errno.ENOENT, "The table was deleted", str(files[0])) from None
            raise Unreadable(str(error)) from error


@contextmanager
def _connected(files: Sequence[Path], threads: int) -> Iterator[duckdb.DuckDBPyConnection]:
    settings: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": _MEMORY,
        "threads": threads,
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        "temp_directory": "",
    }
    with duckdb.connect(":memory:", config=settings) as connection:
        connection.execute("SET allowed_paths = $files", {"files": [str(file) for file in files]})
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
        yield connection


@contextmanager
def _interrupted_after(
    seconds: float, is_wanted: Callable[[], bool], connection: duckdb.DuckDBPyConnection
) -> Iterator[None]:
    over = threading.Event()
    until = time.monotonic() + seconds

    def watch() -> None:
        # Repeat it: an interruption before the statement begins has no effect.
        while not over.wait(_pause(until - time.monotonic())):
            if time.monotonic() >= until or not is_wanted():
                connection.interrupt()

    threading.Thread(target=watch, name="preview-watch", daemon=True).start()
    try:
        yield
    finally:
        over.set()


def _pause(left: float) -> float:
    return min(left, _LOOK_SECONDS) if left > 0 else _LOOK_SECONDS
