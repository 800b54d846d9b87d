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


class QueryTimeout(Exception):
    """A query exceeded its time limit."""


class UnreadableFile(Exception):
    """DuckDB can't read a file. The message comes from DuckDB and is for the log."""


class _IdleDatabases:
    """Databases that wait for the next query of the same file."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_file: OrderedDict[Path, duckdb.DuckDBPyConnection] = OrderedDict()

    def take(self, file: Path) -> duckdb.DuckDBPyConnection | None:
        """Remove and return the database that can access only this file."""
        with self._lock:
            return self._by_file.pop(file, None)

    def add(self, file: Path, connection: duckdb.DuckDBPyConnection) -> None:
        """Keep a database. Close the one that has been unused for longest if there are too many."""
        with self._lock:
            unneeded = [self._by_file.pop(file, None)]
            self._by_file[file] = connection
            if len(self._by_file) > _MOST_IDLE:
                unneeded.append(self._by_file.popitem(last=False)[1])
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
) -> Iterator[Database]:
    """Yield a connection that can read and write these files, for a limited time and while it is needed.

    Raises TooManyQueries, QueryTimeout, also while waiting for others, UnreadableFile, and FileNotFoundError
    if the first file has been deleted.
    """
    with semaphore.acquired(seconds=seconds) as is_acquired:
        if not is_acquired:
            raise QueryTimeout
        try:
            until = time.monotonic() + seconds
            with (
                _connected(files, threads) as connection,
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
def _connected(files: Sequence[Path], threads: int) -> Iterator[duckdb.DuckDBPyConnection]:
    if len(files) > 1 or threads != _THREADS:  # for building a table, once
        with _created(files, threads) as connection:
            yield connection
        return
    connection = _idle.take(files[0]) or _created(files, threads)
    try:
        yield connection
    except BaseException:
        connection.close()
        raise
    _idle.add(files[0], connection)


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
