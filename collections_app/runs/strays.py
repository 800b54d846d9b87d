"""Find files that no row needs, and rows whose files are missing.

This is for files that are created from runs, such as exports: each can be created again. A row names its
file in `key`. A process that creates one holds a lease: a row has `lease_expires_at` and, in `attempt`, its
token, which is also in the name of the file.
"""

import shutil
from collections.abc import Callable
from typing import Any, TypeVar

from django.db.models import Model, QuerySet

from collections_app.files.storage.base import results
from collections_app.files.storage.scratch import Scratch
from collections_app.models import Run
from collections_app.runs.lease import lapsed

Rows = TypeVar("Rows", bound=QuerySet[Any])

_LENGTH = 16  # of an attempt's token


def key_of(folder: str, row: Model, attempt: str) -> str:
    """Return the storage key of the file that an attempt creates."""
    return f"{folder}/{row.pk}-{attempt}"


def repair_folder(
    folder: str,
    rows: Rows,
    *,
    forget: Callable[[Rows], object],
    attempts: QuerySet[Any] | None = None,
) -> list[str]:
    """Delete the files in a folder of the results storage that no row needs. Return their keys.

    `forget` gets the rows whose files are missing. `attempts` are the rows with the leases, if these are
    others. This is safe at any time, even while others create files, and may itself be killed.
    """
    # Without any runs, this may be a new database, and the files may belong to the old one.
    if not Run.objects.exists():
        return []
    stored = rows.exclude(key="")
    before = _keys(stored)
    found = {f"{folder}/{name}" for name in _listed(folder)}
    # In this order: an attempt has a row before its first byte is stored. So a file that is listed above, and
    # that no row names below, never gets one. Clearing the attempts of killed processes makes that final.
    leased = rows if attempts is None else attempts
    leased.filter(lapsed()).update(attempt="")
    living = _living(leased)
    kept = _keys(stored)
    strays = sorted(key for key in found - kept if _attempt_of(key) not in living)
    for key in strays:
        results().delete(key)
    for missing in _some(sorted(before - found)):
        forget(rows.filter(key__in=missing))
    return strays


def remove_temporary_folders(scratch: Scratch, attempts: QuerySet[Any]) -> None:
    """Delete the temporary folders of attempts that have ended. `attempts` are the rows with the leases."""
    # Listed before the rows are read: an attempt has a row before it has a folder.
    found = scratch.folders()
    living = _living(attempts.exclude(lapsed())) if found else set()
    for folder in found:
        if folder.name not in living:
            shutil.rmtree(folder, ignore_errors=True)


def _keys(rows: QuerySet[Any]) -> set[str]:
    return set(rows.values_list("key", flat=True))


def _living(attempts: QuerySet[Any]) -> set[str]:
    return set(attempts.exclude(lease_expires_at=None).values_list("attempt", flat=True))


def _attempt_of(key: str) -> str:
    # The storage adds a suffix while a file is being written.
    return key.rpartition("/")[2].partition("-")[2][:_LENGTH]


def _some(keys: list[str], most: int = 500) -> list[list[str]]:
    return [keys[start : start + most] for start in range(0, len(keys), most)]


def _listed(folder: str) -> list[str]:
    try:
        return results().listdir(folder)[1]
    except FileNotFoundError:
        return []
