"""The database: an SQLite file, or a PostgreSQL server that several machines can share."""

import re
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, cast

import environ
from django.conf import settings
from django.core.checks import CheckMessage, Error
from django.core.exceptions import ImproperlyConfigured
from django.db import DEFAULT_DB_ALIAS, DatabaseError, OperationalError, connection, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from django.db.migrations.loader import MigrationLoader
from django.utils import timezone

from collections_app.system.sqlite.base import DatabaseWrapper

# How many connections the threads of a web process share. More aren't faster, because Python runs one thread
# at a time. 8 processes stay below the 100 connections that a PostgreSQL server allows by default.
MAX_CONNECTIONS = 10
# How long a request waits for a connection.
WAIT_SECONDS = 5.0

# Detect within about a minute that the server has disappeared (options of libpq), or that a client has, so
# that its locks are released (settings of the server).
_CLIENT_OPTIONS = {
    "connect_timeout": 5,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
    "options": "-c tcp_keepalives_idle=30 -c tcp_keepalives_interval=10 -c tcp_keepalives_count=3"
    " -c idle_in_transaction_session_timeout=60s",
}

_APP = "collections_app"

# The number of an advisory lock that nothing else in the database uses.
_LOCK = 0x72657375_6C7473


def postgresql(url: str) -> dict[str, Any]:
    """Return Django's settings for a PostgreSQL URL. Its query parameters are options of libpq.

    Raises ImproperlyConfigured with a message that doesn't contain the URL, because of its password.
    """
    try:
        found = environ.Env.db_url_config(url) if re.match("postgres(ql)?://", url) else {}
    except ValueError:
        found = {}
    if not found.get("NAME"):
        raise ImproperlyConfigured(
            "DATABASE_URL is not understood. Use the URL of a PostgreSQL database, for example "
            "postgres://user:password@db.example.com:5432/results, with special characters in the password "
            "percent-encoded. Leave it empty for the embedded SQLite database."
        )
    # Connections are shared instead of kept by threads: see share_connections().
    found |= {"CONN_MAX_AGE": 0}
    return found | {"OPTIONS": _CLIENT_OPTIONS | found.get("OPTIONS", {})}


def share_connections() -> None:
    """Make the threads of this process share a few connections, beginning with the next query.

    A web process has hundreds of threads: too many connections for a PostgreSQL server, and too much memory
    with SQLite. Connections aren't tested before each use, because the pool waits longer after each broken
    one, and all requests with it. Instead, a request that fails has the others tested.
    """
    if connection.vendor == "sqlite":
        DatabaseWrapper.share(MAX_CONNECTIONS, WAIT_SECONDS)
    else:
        # The connections of all threads share one settings object.
        options: dict[str, Any] = connection.settings_dict["OPTIONS"]
        options["pool"] = {
            "min_size": 1,
            "max_size": MAX_CONNECTIONS,
            "timeout": WAIT_SECONDS,
            "max_idle": 60,
            # Try again soon if the server is down, instead of after ever longer pauses.
            "reconnect_timeout": 1,
        }
        connection_created.connect(_add_wrapper)


def _add_wrapper(connection: BaseDatabaseWrapper, **_: Any) -> None:
    if _test_pool not in connection.execute_wrappers:
        connection.execute_wrappers.append(_test_pool)


def _test_pool(execute: Callable[..., Any], statement: str, values: Any, many: bool, context: Any) -> Any:  # noqa: FBT001
    """Execute a statement. If the connection is broken, have the pool test all others.

    Otherwise, each broken connection would make a request fail, even after the server is back.
    """
    try:
        return execute(statement, values, many, context)
    except OperationalError:
        used = context["connection"]
        if used.connection is not None and used.connection.closed:
            # In a thread, because the server may not respond. `pool` is private (Django 5.2.19 was read).
            threading.Thread(target=used.pool.check, name="pool check", daemon=True).start()
        raise


def release_connections() -> None:
    """Release this thread's connection before slow work, unless it is in a transaction.

    The next query takes one again.
    """
    used = connections[DEFAULT_DB_ALIAS]
    if used.connection is not None and not used.in_atomic_block:
        used.close()


def now() -> datetime:
    """Return the time of the clock that all machines share. On PostgreSQL, this is a query."""
    if connection.vendor != "postgresql":
        return timezone.now()
    with connection.cursor() as cursor:
        cursor.execute("SELECT statement_timestamp()")
        (time,) = cursor.fetchone()
    return cast(datetime, time)


def size() -> int:
    """Return the size of the database in bytes."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SELECT pg_database_size(current_database())")
        else:
            cursor.execute("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size")
        (found,) = cursor.fetchone()
    return cast(int, found)


@contextmanager
def exclusive_lock() -> Iterator[None]:
    """Let one process on all machines run the block at a time. On SQLite, do nothing."""
    if connection.vendor != "postgresql":
        yield
        return
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", [_LOCK])
        try:
            yield
        finally:
            cursor.execute("SELECT pg_advisory_unlock(%s)", [_LOCK])


def describe() -> str:
    """Return the name of the database, for operators."""
    if connection.vendor != "postgresql":
        return f"The database in {settings.DATA_DIR}"
    found = connection.settings_dict
    host = f" at {found['HOST']}" if found["HOST"] else ""
    port = f":{found['PORT']}" if found["PORT"] else ""
    return f"The PostgreSQL database {found['NAME']}{host}{port}"


def reason(error: Exception) -> str:
    """Return the first line of a database error, without the password."""
    first = next(iter(str(error).splitlines()), "").strip().rstrip(".")
    if first.count("(") > first.count(")"):
        first += ")"  # it is closed on another line
    password = connection.settings_dict["PASSWORD"]
    return first.replace(str(password), "***") if password else first


def advice(error: DatabaseError) -> str:
    """Return what to do if a command can't use the database."""
    if connection.vendor == "postgresql" and isinstance(error, OperationalError):
        return "Check DATABASE_URL, and that the server is running and reachable."
    if "permission denied" in str(error):
        return "The user in DATABASE_URL needs permission to create tables. Ideally, it owns the database."
    # Usually, the database doesn't exist yet or has an older version.
    return "`make serve` creates and migrates it."


NEWER = (
    "The database is newer than this version of the site. Start the newer version, or restore the backup "
    "from before the upgrade."
)


def is_newer(loader: MigrationLoader) -> bool:
    """Return whether the database has migrations of this app that this version doesn't have."""
    applied = {key for key in loader.applied_migrations if key[0] == _APP}
    replaced = {key for migration in loader.disk_migrations.values() for key in migration.replaces}
    return bool(applied - loader.disk_migrations.keys() - replaced)


def check_version(*, databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """Report a database that is newer than this version. This is a system check."""
    newer = (alias for alias in databases or () if is_newer(MigrationLoader(connections[alias])))
    return [Error(NEWER, id="results.E006") for _ in newer]


def check_leftover_sqlite(**_: Any) -> list[CheckMessage]:
    """Report an SQLite database that is still in the data folder. This is a system check."""
    left = Path(settings.DATA_DIR) / "db.sqlite3"
    if connection.vendor != "postgresql" or not left.exists():
        return []
    return [
        Error(
            f"DATABASE_URL is set to a PostgreSQL database, but {left} also exists. The results in this "
            "folder belong to the SQLite database. Without its rows, they would be deleted.",
            hint="Move the rows to PostgreSQL (see docs/deployment.md), or set another DATA_DIR.",
            id="results.E005",
        )
    ]


def check_encoding(*, databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """Report a PostgreSQL database with an encoding other than UTF-8. This is a system check."""
    wrong: list[CheckMessage] = []
    for alias in databases or ():
        if connections[alias].vendor != "postgresql":
            continue
        with connections[alias].cursor() as cursor:
            cursor.execute("SHOW server_encoding")
            (encoding,) = cursor.fetchone()
        if encoding != "UTF8":
            wrong.append(
                Error(
                    f"The PostgreSQL database uses the encoding {encoding}, which lacks many characters.",
                    hint="Create another one with: createdb --encoding=UTF8 --template=template0 NAME",
                    id="results.E004",
                )
            )
    return wrong
