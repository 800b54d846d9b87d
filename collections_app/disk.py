"""How much room is left, and what happens when there is none.

A write that fails for want of space raises DiskFull, on SQLite and PostgreSQL alike, or an OSError. People
and scripts are told so with a 503. What can be answered without the write is answered: see best_effort().
"""

import errno
import logging
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from types import TracebackType

from django.conf import settings
from django.core.files.storage import storages
from django.db import DatabaseError, OperationalError, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.utils import DatabaseErrorWrapper
from django.template.defaultfilters import filesizeformat

logger = logging.getLogger(__name__)

# All in bytes. With less than this free, operators are warned.
LOW = 1024**3
# What is copied or made without being asked for leaves this much to everything else.
RESERVE = 256 * 1024**2
# With less than this free nothing can be stored: SQLite needs a few pages to write even one row.
FULL = 1024**2
# While the room is low, the log says so again after this time.
WARN_EVERY_SECONDS = 3600
LOOK_EVERY_SECONDS = 60

PROBLEM = "The disk is full. Nothing can be saved until an operator frees up space."

_NO_SPACE = {errno.ENOSPC, errno.EDQUOT}
_POSTGRESQL_DISK_FULL = "53100"

# Whether a write of this request failed, and nobody has dealt with it.
_has_failed: ContextVar[bool] = ContextVar("disk_has_failed", default=False)


class DiskFull(OperationalError):
    """The database has no room for a write."""


def is_full(error: BaseException | None) -> bool:
    """Whether something failed because a disk is full."""
    return isinstance(error, DiskFull) or (isinstance(error, OSError) and error.errno in _NO_SPACE)


def has_failed() -> bool:
    """Whether a write of this request failed for want of space, also where the error was swallowed."""
    return _has_failed.get()


def forget_failure() -> None:
    """Note that a failed write has been dealt with, or that a new request begins."""
    _has_failed.set(False)


@contextmanager
def best_effort(what: str) -> Iterator[None]:
    """Note something that the answer doesn't depend on; go on where the database can't be written to."""
    try:
        with transaction.atomic():
            yield
    except DatabaseError as error:
        forget_failure()
        logger.warning("Can't record %s: %s", what, error)


# --- errors of the database ---------------------------------------------------------------------


def name_errors(connection: BaseDatabaseWrapper, **_: object) -> None:
    """Have a connection raise DiskFull: a receiver of connection_created."""
    connection.wrap_database_errors = _Errors(connection)


class _Errors(DatabaseErrorWrapper):
    wrapper: BaseDatabaseWrapper

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None or not _says_full(error):
            super().__exit__(kind, error, traceback)
            return
        self.wrapper.errors_occurred = True
        _has_failed.set(True)
        raise DiskFull(*error.args).with_traceback(traceback) from error


def _says_full(error: BaseException) -> bool:
    if getattr(error, "sqlstate", None) == _POSTGRESQL_DISK_FULL:
        return True
    code = getattr(error, "sqlite_errorcode", 0)
    # What SQLite keeps beside the database fails with an I/O error that doesn't name the reason.
    is_io_error = code & 0xFF == sqlite3.SQLITE_IOERR
    return code == sqlite3.SQLITE_FULL or (is_io_error and _free_in(settings.DATA_DIR) < FULL)


# --- how much is left ---------------------------------------------------------------------------


def free() -> dict[str, int]:
    """Return how many bytes are free for the data folder, and for the results where they are in a folder."""
    found = {"data": _free_in(settings.DATA_DIR)}
    results = free_space()
    return found if results is None else found | {"results": results}


def free_space() -> int | None:
    """Return how many bytes the results storage has room for; None where it is no disk."""
    try:
        return _free_in(Path(storages["results"].path("")))
    except NotImplementedError:
        return None


def _free_in(folder: Path) -> int:
    # It may be made later.
    return shutil.disk_usage(next(path for path in (folder, *folder.parents) if path.exists())).free


def problem() -> str:
    """Return PROBLEM where a disk is full, else ""."""
    return PROBLEM if min(free().values()) < FULL else ""


def warning() -> str:
    """Return a sentence for operators where a disk is low on space, else ""."""
    folder, left = min(free().items(), key=lambda item: item[1])
    if left >= LOW:
        return ""
    size = filesizeformat(left).replace("\xa0", " ")
    return f"Low disk space: {size} free in the {folder} folder. Free up space before the disk is full."


def watch() -> None:
    """Warn in the log while space is low; never returns."""
    warned_at = NEVER
    while True:
        warned_at = warn(warned_at)
        time.sleep(LOOK_EVERY_SECONDS)


NEVER = float("-inf")


def warn(warned_at: float) -> float:
    """Warn in the log if space is low and that wasn't said for a while. Returns when it was last said."""
    text = warning()
    if not text:
        return NEVER
    if time.monotonic() - warned_at < WARN_EVERY_SECONDS:
        return warned_at
    logger.warning(text)
    return time.monotonic()
