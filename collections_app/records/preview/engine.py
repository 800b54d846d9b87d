"""Query files with DuckDB, which can access only these files or their folders, for a limited time.

User input is never part of a statement. Values are parameters, and columns are called c0, c1, ... whatever
their names are.
"""

import errno
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
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


# Files, or folders and everything in them.
_Accessible = tuple[Path, ...]


class QueryTimeout(Exception):
    """A query exceeded its time limit."""


class UnreadableFile(Exception):
    """DuckDB can't read a file. The message comes from DuckDB and is for the log."""


class _IdleDatabases:
    """Databases that wait for the next query of the same files."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_files: OrderedDict[_Accessible, duckdb.DuckDBPyConnection] = OrderedDict()

    def take(self, files: _Accessible) -> duckdb.DuckDBPyConnection | None:
        """Remove and return the database that can access only these files."""
        with self._lock:
            return self._by_files.pop(files, None)

    def add(self, files: _Accessible, connection: duckdb.DuckDBPyConnection) -> None:
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
    connected = _connected(files, threads, is_reused=is_reused)
    with _limited(connected, files[0], seconds, semaphore, is_wanted) as database:
        yield database


@contextmanager
def open_shared_database(
    file: Path,
    *,
    folders: Sequence[Path],
    seconds: float,
    semaphore: FairSemaphore = SEARCHES,
    is_wanted: Callable[[], bool] = lambda: True,
) -> Iterator[Database]:
    """Yield a connection that can read and write this and all other files in some folders.

    The database stays open for the next use, but nothing that the connection has created. It has one thread.
    Apart from that, see open_database().
    """
    with _limited(_cursor(tuple(folders)), file, seconds, semaphore, is_wanted) as database:
        yield database


@contextmanager
def _limited(
    connected: AbstractContextManager[duckdb.DuckDBPyConnection],
    file: Path,
    seconds: float,
    semaphore: FairSemaphore,
    is_wanted: Callable[[], bool],
) -> Iterator[Database]:
    """Connect within the limits of open_database(). The file shows what errors mean."""
    with semaphore.acquired(seconds=seconds) as is_acquired:
        if not is_acquired:
            raise QueryTimeout
        try:
            until = time.monotonic() + seconds
            with (
                connected as connection,
                interrupted_if(lambda: time.monotonic() >= until or not is_wanted(), connection),
            ):
                yield Database(connection)
        except duckdb.InterruptException:
            raise QueryTimeout from None
        except duckdb.Error as error:
            if not file.exists():
                raise FileNotFoundError(errno.ENOENT, "The table was deleted", str(file)) from None
            raise UnreadableFile(str(error)) from error


@contextmanager
def _connected(
    files: _Accessible, threads: int, *, is_reused: bool | None
) -> Iterator[duckdb.DuckDBPyConnection]:
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


@contextmanager
def _cursor(folders: _Accessible) -> Iterator[duckdb.DuckDBPyConnection]:
    """Yield a connection of a database that can access some folders."""
    database = _idle.take(folders) or _created(folders, threads=1, are_folders=True)
    try:
        with database.cursor() as cursor:
            yield cursor
    except BaseException:
        database.close()
        raise
    _idle.add(folders, database)


def _created(
    accessible: Sequence[Path], threads: int, *, are_folders: bool = False
) -> duckdb.DuckDBPyConnection:
    settings: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": _MEMORY,
        "threads": threads,
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        "temp_directory": "",
    }
    connection = duckdb.connect(":memory:", config=settings)
    allowed = "allowed_directories" if are_folders else "allowed_paths"
    connection.execute(f"SET {allowed} = $paths", {"paths": list(map(str, accessible))})
    connection.execute("SET GLOBAL TimeZone = 'UTC'")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    return connection
