"""Free disk space, and what happens when it runs out.

If there is no space for a write, the database raises DiskFull, on both SQLite and PostgreSQL, and a file
raises OSError. People and scripts get a 503. Requests that can do without the write still work: see
best_effort().
"""

import errno
import logging
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from django.conf import settings
from django.core.files.storage import storages
from django.db import DatabaseError, OperationalError, connection, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.utils import DatabaseErrorWrapper
from django.template.defaultfilters import filesizeformat

logger = logging.getLogger(__name__)

# Sizes are in bytes. Below this much free space, the log and /readyz warn.
LOW = 1024**3
# Below this share of the disk, pages warn admins and operators.
LOW_SHARE = 0.1
# Copies and exports leave this much space to everything else.
RESERVE = 256 * 1024**2
# Below this, nothing can be stored: SQLite needs a few pages to write even one row.
FULL = 1024**2
# How often the log repeats the warning while space is low.
WARN_EVERY_SECONDS = 3600
CHECK_EVERY_SECONDS = 60

PROBLEM = "The disk is full. Nothing can be saved until an operator frees up space."

_NO_SPACE = {errno.ENOSPC, errno.EDQUOT}
_POSTGRESQL_DISK_FULL = "53100"

# Whether a write of this request failed and hasn't been handled.
_has_failed: ContextVar[bool] = ContextVar("disk_has_failed", default=False)


class DiskFull(OperationalError):
    """The database has no room for a write."""


def is_full(error: BaseException | None) -> bool:
    """Return whether the error means that a disk is full."""
    return isinstance(error, DiskFull) or (isinstance(error, OSError) and error.errno in _NO_SPACE)


def has_failed() -> bool:
    """Return whether a write of this request failed for lack of space, even if the error was swallowed."""
    return _has_failed.get()


def forget_failure() -> None:
    """Note that a failed write has been handled, or that a new request begins."""
    _has_failed.set(False)


@contextmanager
def best_effort(what: str) -> Iterator[None]:
    """Allow a write to fail if the response doesn't depend on it."""
    try:
        # Outside of a transaction, don't begin one: that would fail before the block.
        with transaction.atomic() if connection.in_atomic_block else nullcontext():
            yield
    except DatabaseError as error:
        forget_failure()
        logger.warning("Can't record %s: %s", what, error)


# --- database errors ----------------------------------------------------------------------------


def install_error_wrapper(connection: BaseDatabaseWrapper, **_: object) -> None:
    """Make a connection raise DiskFull. This is a receiver of connection_created.

    It replaces a private part of Django (5.2.19 was read). A test checks that Django still uses it.
    """
    connection.wrap_database_errors = _Errors(connection)


class _Errors(DatabaseErrorWrapper):
    wrapper: BaseDatabaseWrapper

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None or not _means_full(error):
            super().__exit__(kind, error, traceback)
            return
        self.wrapper.errors_occurred = True
        _has_failed.set(True)
        raise DiskFull(*error.args).with_traceback(traceback) from error


def _means_full(error: BaseException) -> bool:
    if getattr(error, "sqlstate", None) == _POSTGRESQL_DISK_FULL:
        return True
    code = getattr(error, "sqlite_errorcode", 0)
    # SQLite's files next to the database fail with an I/O error that doesn't give the reason.
    is_io_error = code & 0xFF == sqlite3.SQLITE_IOERR
    return code == sqlite3.SQLITE_FULL or (is_io_error and _free_in(settings.DATA_DIR) < FULL)


# --- free space ---------------------------------------------------------------------------------


class Space(NamedTuple):
    """The space of a disk."""

    free: int
    total: int

    @property
    def share(self) -> float:
        """The free share, between 0 and 1."""
        return self.free / self.total if self.total else 0.0

    @property
    def percent(self) -> int:
        """The free share in whole percent."""
        return int(100 * self.share)

    @property
    def is_low(self) -> bool:
        """Whether little space is left."""
        return self.share < LOW_SHARE or self.free < LOW


def spaces() -> dict[str, Space]:
    """Return the space of the data folder's disk, and of the results' disk if they are in a folder."""
    results = _results_folder()
    folders = {"data": settings.DATA_DIR} | ({} if results is None else {"results": results})
    return {name: _space_of(folder) for name, folder in folders.items()}


def tightest() -> Space:
    """Return the space of the disk with the smallest free share."""
    return min(spaces().values(), key=lambda space: space.share)


def low() -> Space | None:
    """Return the space of a disk with little space left, or None."""
    found = tightest()
    return found if found.is_low else None


def free() -> dict[str, int]:
    """Return the free bytes for the data folder, and for the results if they are in a folder."""
    return {name: space.free for name, space in spaces().items()}


def free_space() -> int | None:
    """Return the free bytes of the results storage, or None if it isn't on a disk."""
    folder = _results_folder()
    return None if folder is None else _free_in(folder)


def _results_folder() -> Path | None:
    try:
        return Path(storages["results"].path(""))
    except NotImplementedError:
        return None


def _free_in(folder: Path) -> int:
    return _space_of(folder).free


def _space_of(folder: Path) -> Space:
    # The folder may not exist yet.
    usage = shutil.disk_usage(next(path for path in (folder, *folder.parents) if path.exists()))
    return Space(usage.free, usage.total)


def problem() -> str:
    """Return PROBLEM if a disk is full, else ""."""
    return PROBLEM if min(free().values()) < FULL else ""


def warning() -> str:
    """Return a warning for operators if a disk is low on space, else ""."""
    folder, left = min(free().items(), key=lambda item: item[1])
    if left >= LOW:
        return ""
    size = filesizeformat(left).replace("\xa0", " ")
    return f"Low disk space: {size} free in the {folder} folder. Free up space before the disk is full."


def watch() -> None:
    """Log warnings while space is low. Never return."""
    warned_at = NEVER
    while True:
        warned_at = warn(warned_at)
        time.sleep(CHECK_EVERY_SECONDS)


NEVER = float("-inf")


def warn(warned_at: float) -> float:
    """Log a warning if space is low, unless one was logged recently. Return the time of the last warning."""
    text = warning()
    if not text:
        return NEVER
    if time.monotonic() - warned_at < WARN_EVERY_SECONDS:
        return warned_at
    logger.warning(text)
    return time.monotonic()
