"""Delete files of attempts that have ended, such as those of killed processes and deleted runs.

An attempt creates a file for what a row describes, such as an export. The row has the fields `state`,
`attempt`, `lease_expires_at` and `key`.
"""

import shutil
from typing import Any

from django.db.models import Model, QuerySet

from collections_app.files.storage.base import results
from collections_app.files.storage.scratch import Scratch
from collections_app.runs.lease import is_valid

_LENGTH = 16  # of an attempt's token


def key_of(folder: str, row: Model, attempt: str) -> str:
    """Return the storage key of the file that an attempt creates."""
    return f"{folder}/{row.pk}-{attempt}"


def remove_strays(folder: str, scratch: Scratch, rows: QuerySet[Any]) -> None:
    """Delete the files in a folder of the results storage, and temporary folders, that no row needs."""
    # List the files before the rows: a file without a row by then never gets one.
    try:
        _, names = results().listdir(folder)
    except FileNotFoundError:
        names = []
    folders = scratch.folders()
    if not names and not folders:
        return
    kept = {key.rpartition("/")[2] for key in rows.exclude(key="").values_list("key", flat=True)}
    running = rows.filter(state="running").values_list("attempt", "lease_expires_at")
    living = {attempt for attempt, expires_at in running if is_valid(expires_at)}
    for name in names:
        # The storage adds a suffix while a file is being written.
        attempt = name.partition("-")[2][:_LENGTH]
        if name not in kept and attempt not in living:
            results().delete(f"{folder}/{name}")
    for each in folders:
        if each.name not in living:
            shutil.rmtree(each, ignore_errors=True)
