"""Repair slices after processes were killed, a backup was restored, or the format has changed."""

import hashlib
import random
import re
import shutil

from collections_app.files.storage.base import results
from collections_app.models import Collection, Run, Slice, SliceState
from collections_app.models.slices import SliceQuerySet
from collections_app.records.tracking.slice_builder import FOLDER, SCRATCH
from collections_app.records.tracking.slices import VERSION
from collections_app.records.tracking.stored_slices import forget, forget_rows
from collections_app.runs.lease import lapsed

# How many collections tidy() looks at.
_AT_ONCE = 5
_BLOCK = 10_000
_ROWS = 500
_BYTES = 1024 * 1024
# The storage adds a suffix while a file is being written.
_NAME = re.compile(r"\d+-(?P<attempt>[0-9a-f]{16})\.parquet(?P<suffix>.*)", re.ASCII | re.DOTALL)


def tidy() -> None:
    """Repair the slices of a few random collections, so that the cost doesn't grow with the site."""
    _remove_temporary_folders()
    _outdate()
    folders, collections = _known()
    known = sorted(folders | collections)
    # All files of a collection are missing after the results were moved to another storage.
    lost = [each for each in sorted(collections - folders) if _slices_of(each).exists()]
    for collection_id in {*lost, *random.sample(known, min(_AT_ONCE, len(known)))}:
        repair_collection(collection_id)


def repair_slices() -> list[str]:
    """Repair all slices. Return the keys of the deleted files.

    This is safe at any time, even while others create slices, and may itself be killed.
    """
    _remove_temporary_folders()
    _outdate()
    folders, collections = _known()
    return [key for each in sorted(folders | collections) for key in repair_collection(each)]


def _outdate() -> None:
    """Let the worker create slices again that have an older format."""
    outdated = Slice.objects.ready().filter(version__lt=VERSION)
    kept = Run.objects.filter(pk__in=outdated.values("run"), is_kept=True, needs_slice=False)
    while some := list(kept.values_list("pk", flat=True)[:_BLOCK]):
        Run.objects.filter(pk__in=some).update(needs_slice=True)
    # The worker reads the newest of these from the account again, and the others only when they are needed.
    for stored in outdated.filter(run__is_kept=False)[:_BLOCK]:
        forget(stored)


def _known() -> tuple[set[int], set[int]]:
    """Return the collections that have a folder of slices, and all collections."""
    # Without any runs, this may be a new database, and the files may belong to the old one.
    if not Run.objects.exists():
        return set(), set()
    folders = {int(name) for name in _listed(FOLDER, folders=True) if name.isdecimal() and name.isascii()}
    return folders, set(Collection.objects.values_list("pk", flat=True))


def _slices_of(collection_id: int) -> SliceQuerySet:
    return Slice.objects.filter(run__collection=collection_id)


def repair_collection(collection_id: int) -> list[str]:
    """Delete the files that belong to no slice, and forget slices without files. Return the deleted keys."""
    folder = f"{FOLDER}/{collection_id}"
    slices = _slices_of(collection_id)
    before = list(slices.ready())
    found = {match[0]: match for match in map(_NAME.fullmatch, _listed(folder)) if match}
    # In this order: a slice is running before its first byte is stored. So a file that is listed above, and
    # that no row names below, never gets one. Clearing the attempts of killed processes makes that final.
    slices.running().filter(lapsed()).update(attempt="")
    rows = list(slices.only("key", "state", "attempt"))
    kept = {row.key for row in rows}
    running = {row.attempt for row in rows if row.state == SliceState.RUNNING}
    strays = [
        f"{folder}/{name}"
        for name, match in found.items()
        if f"{folder}/{name}" not in kept and match["attempt"] not in running
    ]
    for key in strays:
        results().delete(key)
    missing = [stored for stored in before if stored.key.rpartition("/")[2] not in found]
    for start in range(0, len(missing), _ROWS):
        forget_rows(missing[start : start + _ROWS])
    if not rows:
        results().remove_folder(folder)
    return strays


def verify_slice(run: Run) -> bool:
    """Read the slice of a run if it has one. Return False if it is damaged; it is created again then.

    Raises OSError.
    """
    stored = Slice.objects.ready().filter(run=run).first()
    if stored is None or _is_intact(stored):
        return True
    forget(stored)
    return not Run.objects.filter(pk=run.pk).exists()  # the run may have been deleted in the meantime


def _is_intact(stored: Slice) -> bool:
    digest = hashlib.sha256()
    try:
        with results().open(stored.key) as file:
            while data := file.read(_BYTES):
                digest.update(data)
    except FileNotFoundError:
        return False
    return digest.hexdigest() == stored.sha256


def _listed(folder: str, *, folders: bool = False) -> list[str]:
    try:
        inner, names = results().listdir(folder)
    except FileNotFoundError:
        return []
    return inner if folders else names


def _remove_temporary_folders() -> None:
    """Delete the temporary folders of attempts that have ended."""
    # Listed before the rows are read: an attempt has a row before it has a folder.
    found = SCRATCH.folders()
    if found:
        running = Slice.objects.running().exclude(lapsed())
        living = set(running.values_list("attempt", flat=True))
        for folder in found:
            if folder.name not in living:
                shutil.rmtree(folder, ignore_errors=True)
