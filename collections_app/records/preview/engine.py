"""Query files with DuckDB, which can access only these files, for a limited time.

User input is never part of a statement. Values are parameters, and columns are called c0, c1, ... whatever
their names are.
"""

import errno
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb

from collections_app.records.formats.interruption import interrupted_if
from collections_app.records.preview.concurrency import FairSemaphore

# Per connection.
_MEMORY = "256MB"
_THREADS = 2
_ROWS_AT_ONCE = 2000
# How many databases each process keeps open for the next query. Creating one takes longer than most queries.
_MOST_IDLE = 4
# The number of connections in each web process. Searches don't wait for tables to be built, or for facts.
SEARCHES = FairSemaphore(2)
FACTS = FairSemaphore(1)
BUILDS = FairSemaphore(1)


_Files = tuple[Path, ...]


class QueryTimeout(Exception):
    """A query exceeded its time limit."""


class UnreadableFile(Exception):
    """DuckDB can't read a file. The message comes from DuckDB and is for the log."""


class _IdleDatabases:
    """Databases that wait for the next query of the same files."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_files: OrderedDict[_Files, duckdb.DuckDBPyConnection] = OrderedDict()

    def take(self, files: _Files) -> duckdb.DuckDBPyConnection | None:
        """Remove and return the database that can access only these files."""
        with self._lock:
            return self._by_files.pop(files, None)

    def add(self, files: _Files, connection: duckdb.DuckDBPyConnection) -> None:
        """Keep a database. Close the one that has been unused for longest if there are too many."""
        with self._lock:
            unneeded = [self._by_files.pop(files, None)]
            self._by_files[files] = connection
            if len(self._by_files) > _MOST_IDLE:
                unneeded.append(self._by_files.popitem(last=False)[1])
        for other in filter(None, unneeded):
            other.close()


_idle = _IdleDatabases()


class Database:
    """A connection to some files."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection

    def query(self, statement: str, values: Mapping[str, object]) -> Sequence[tuple[Any, ...]]:
        """Execute a statement and return the rows."""
        return self._connection.execute(statement, values).fetchall()

    def rows(self, statement: str, values: Mapping[str, object]) -> Iterator[tuple[Any, ...]]:
        """Execute a statement and yield the rows, which need not fit into memory. Read them to the end."""
        result = self._connection.execute(statement, values)
        while some := result.fetchmany(_ROWS_AT_ONCE):
            yield from some


@contextmanager
def open_database(
    *files: Path,
    seconds: float,
    threads: int = _THREADS,
    semaphore: FairSemaphore = SEARCHES,
    is_wanted: Callable[[], bool] = lambda: True,
    is_reused: bool | None = None,
) -> Iterator[Database]:
    """Yield a connection that can read and write these files, for a limited time and while it is needed.

    If `is_reused` is true, by default for one file, the next query of the same files continues with the
    connection and everything in it.

    Raises TooManyQueries, QueryTimeout, also while waiting for others, UnreadableFile, and FileNotFoundError
    if the first file has been deleted.
    """
    with semaphore.acquired(seconds=seconds) as is_acquired:
        if not is_acquired:
            raise QueryTimeout
        try:
            until = time.monotonic() + seconds
            with (
                _connected(files, threads, is_reused=is_reused) as connection,
                interrupted_if(lambda: time.monotonic() >= until or not is_wanted(), connection),
            ):
                yield Database(connection)
        except duckdb.InterruptException:
            raise QueryTimeout from None
        except duckdb.Error as error:
            if not files[0].exists():
                raise FileNotFoundError(errno.ENOENT, "The table was deleted", str(files[0])) from None
            raise UnreadableFile(str(error)) from error


@contextmanager
def _connected(files: _Files, threads: int, *, is_reused: bool | None) -> Iterator[duckdb.DuckDBPyConnection]:
    if not (len(files) == 1 and threads == _THREADS if is_reused is None else is_reused):
        with _created(files, threads) as connection:  # for building a table, once
            yield connection
        return
    connection = _idle.take(files) or _created(files, threads)
    try:
        yield connection
    except BaseException:
        connection.close()
        raise
    _idle.add(files, connection)


def _created(files: Sequence[Path], threads: int) -> duckdb.DuckDBPyConnection:
    settings: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": _MEMORY,
        "threads": threads,
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        "temp_directory": "",
    }
    connection = duckdb.connect(":memory:", config=settings)
    connection.execute("SET allowed_paths = $files", {"files": [str(file) for file in files]})
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    return connection
