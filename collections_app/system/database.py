"""Which database: the embedded SQLite file, or a PostgreSQL server that any number of machines share."""

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
from django.db import DatabaseError, OperationalError, connection, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from django.db.migrations.loader import MigrationLoader
from django.utils import timezone

from collections_app.system.sqlite.base import DatabaseWrapper

# How many connections the threads of a web process share. Python runs one of them at a time, so more would
# not be quicker; 8 processes of 10 stay below the 100 that a PostgreSQL server allows by default.
MAX_CONNECTIONS = 10
# How long a request waits for one of them.
WAIT_SECONDS = 5.0

# What a machine that vanished held is free again after about a minute, and nobody waits longer for a server
# that did. In libpq's words, and in those of the server.
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

# Any number will do that nothing else in the database takes for an advisory lock.
_LOCK = 0x72657375_6C7473


def postgresql(url: str) -> dict[str, Any]:
    """Return Django's settings of a PostgreSQL database, by its address; what follows "?" goes to libpq.

    Raises ImproperlyConfigured, in one sentence that doesn't hold the address: it has the password.
    """
    try:
        found = environ.Env.db_url_config(url) if re.match("postgres(ql)?://", url) else {}
    except ValueError:
        found = {}
    if not found.get("NAME"):
        raise ImproperlyConfigured(
            "DATABASE_URL is not understood; it must be the address of a PostgreSQL database, such as "
            "postgres://user:password@db.example.com:5432/results, with the special characters of the "
            "password percent-encoded, or be empty for the embedded SQLite."
        )
    # A connection is given back before a download begins and kept by nobody: see share_connections().
    found |= {"CONN_MAX_AGE": 0}
    return found | {"OPTIONS": _CLIENT_OPTIONS | found.get("OPTIONS", {})}


def share_connections() -> None:
    """Have the threads of this process share a few connections, from the next query on.

    For the web processes: they have hundreds of threads, far more than a PostgreSQL server takes connections,
    and than there is memory for with SQLite. One that the server has closed is noticed, and replaced, by the
    request that uses it: when each is tried first, the pool rests ever longer between two that are closed,
    and all requests wait.
    """
    if connection.vendor == "sqlite":
        DatabaseWrapper.share(MAX_CONNECTIONS, WAIT_SECONDS)
    else:
        # The connections of all threads have the same object for their settings.
        options: dict[str, Any] = connection.settings_dict["OPTIONS"]
        options["pool"] = {
            "min_size": 1,
            "max_size": MAX_CONNECTIONS,
            "timeout": WAIT_SECONDS,
            "max_idle": 60,
            # A server that was away is asked again by the next request, not after an ever longer rest.
            "reconnect_timeout": 1,
        }
        connection_created.connect(_watch)


def _watch(connection: BaseDatabaseWrapper, **_: Any) -> None:
    if _noticing not in connection.execute_wrappers:
        connection.execute_wrappers.append(_noticing)


def _noticing(execute: Callable[..., Any], statement: str, values: Any, many: bool, context: Any) -> Any:  # noqa: FBT001
    """Execute a statement. Where its connection turns out to be broken, have the pool try all others.

    Otherwise each of them would cost a request, also when the server is long back.
    """
    try:
        return execute(statement, values, many, context)
    except OperationalError:
        used = context["connection"]
        if used.connection is not None and used.connection.closed:
            # It may wait for a server that says nothing.
            threading.Thread(target=used.pool.check, name="pool check", daemon=True).start()
        raise


def release_connections() -> None:
    """Let others have this thread's connections, unless it is in a transaction: before what may take long.

    The next query takes one again.
    """
    for each in connections.all(initialized_only=True):
        if not each.in_atomic_block:
            each.close()


def now() -> datetime:
    """Return the time by the one clock that all who use the database share; costs a query on PostgreSQL."""
    if connection.vendor != "postgresql":
        return timezone.now()
    with connection.cursor() as cursor:
        cursor.execute("SELECT statement_timestamp()")
        (time,) = cursor.fetchone()
    return cast(datetime, time)


@contextmanager
def exclusive_lock() -> Iterator[None]:
    """Let one process of all machines into the block at a time. On SQLite, which has one machine, any."""
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
    """Return where the database is, for the operator."""
    if connection.vendor != "postgresql":
        return f"The database in {settings.DATA_DIR}"
    found = connection.settings_dict
    host = f" at {found['HOST']}" if found["HOST"] else ""
    port = f":{found['PORT']}" if found["PORT"] else ""
    return f"The PostgreSQL database {found['NAME']}{host}{port}"


def reason(error: Exception) -> str:
    """Return what the database says is wrong: one line, without the password whatever it says."""
    first = next(iter(str(error).splitlines()), "").strip().rstrip(".")
    if first.count("(") > first.count(")"):
        first += ")"  # it was closed on a line that is left out
    password = connection.settings_dict["PASSWORD"]
    return first.replace(str(password), "***") if password else first


def advice(error: DatabaseError) -> str:
    """Return what to do about a database that can't be used by a command."""
    if connection.vendor == "postgresql" and isinstance(error, OperationalError):
        return "Check DATABASE_URL, and that the server runs and can be reached."
    if "permission denied" in str(error):
        return "The user of DATABASE_URL must be allowed to make tables there; best it owns the database."
    # A database that was never made, or is of an older version, is the usual reason.
    return "`make serve` makes it and brings it up to date."


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
    """Return an error for a data folder that has the results of an SQLite database: a system check."""
    left = Path(settings.DATA_DIR) / "db.sqlite3"
    if connection.vendor != "postgresql" or not left.exists():
        return []
    return [
        Error(
            f"DATABASE_URL names a PostgreSQL database, but there is {left} as well. The results beside it "
            "are those of the SQLite database; without its rows they would be removed as nobody's.",
            hint="Move the rows to PostgreSQL (see docs/deployment.md), or set another DATA_DIR.",
            id="results.E005",
        )
    ]


def check_encoding(*, databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """Return an error for a PostgreSQL database that can't keep every name: a system check."""
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
                    f"The PostgreSQL database keeps text as {encoding}, which hasn't every character.",
                    hint="Make another one, with: createdb --encoding=UTF8 --template=template0 NAME",
                    id="results.E004",
                )
            )
    return wrong
