"""Repair slices after processes were killed, a backup was restored, or the format has changed."""

import random

from collections_app.files.storage.base import results
from collections_app.models import Collection, Run, Slice
from collections_app.models.slices import SliceQuerySet
from collections_app.records.tracking.slice_builder import FOLDER, SCRATCH
from collections_app.records.tracking.slices import VERSION
from collections_app.records.tracking.stored_slices import forget, forget_rows
from collections_app.runs.strays import remove_temporary_folders, repair_folder

# How many collections tidy() looks at.
_AT_ONCE = 5
_BLOCK = 10_000


def tidy() -> None:
    """Repair the slices of a few random collections, so that the cost doesn't grow with the site."""
    remove_temporary_folders(SCRATCH, Slice.objects.unready())
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
    remove_temporary_folders(SCRATCH, Slice.objects.unready())
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
    try:
        names, _ = results().listdir(FOLDER)
    except FileNotFoundError:
        names = []
    folders = {int(name) for name in names if name.isdecimal() and name.isascii()}
    return folders, set(Collection.objects.values_list("pk", flat=True))


def _slices_of(collection_id: int) -> SliceQuerySet:
    return Slice.objects.filter(run__collection=collection_id)


def repair_collection(collection_id: int) -> list[str]:
    """Delete the files that belong to no slice, and forget slices without files. Return the deleted keys."""
    folder, slices = f"{FOLDER}/{collection_id}", _slices_of(collection_id)
    strays = repair_folder(folder, slices, forget=forget_rows)
    if not slices.exists():
        results().remove_folder(folder)
    return strays
