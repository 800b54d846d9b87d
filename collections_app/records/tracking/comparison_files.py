"""Limit the space that the changes between runs take. The least recently used files are deleted first.

Every file can be created again. The counts of a comparison stay.
"""

import errno
from pathlib import Path

from django.db.models import Sum

from collections_app.files.storage.base import check_free_space, results
from collections_app.files.storage.cache import local_copy
from collections_app.models import Comparison, ComparisonState, Run
from collections_app.models.comparisons import ComparisonQuerySet
from collections_app.records.tracking import databases
from collections_app.runs import strays

FOLDER, SCRATCH = databases.COMPARISONS, databases.COMPARISON_SCRATCH

# The total size of all files. The newest one stays, whatever its size.
MOST_BYTES = 1024**3
# The maximum size of one file.
LARGEST = 512 * 1024**2
# Requests for many different pairs of runs must not fill the database.
MOST_OF_A_RUN = 100


def file_of(comparison: Comparison) -> Path:
    """Return the file with the changes, on this machine.

    Raises OSError, for example FileNotFoundError if it was deleted.
    """
    return local_copy(comparison.key)


def make_room(size: int, *, but: Comparison) -> None:
    """Delete the least recently used files until there is room for `size` bytes.

    Raises OSError if there isn't.
    """
    if size > LARGEST:
        raise OSError(errno.EFBIG, "The changes are larger than the limit")
    others = Comparison.objects.exclude(key="").exclude(pk=but.pk).order_by("used_at")
    left = others.aggregate(bytes=Sum("size", default=0))["bytes"] + size
    for other in others.iterator():
        if left <= MOST_BYTES:
            break
        delete_file(other)
        left -= other.size
    check_free_space(size)


def delete_file(comparison: Comparison) -> None:
    """Delete the file of a comparison."""
    if Comparison.objects.filter(pk=comparison.pk, key=comparison.key).update(key="", size=0, sha256=""):
        results().delete(comparison.key)


def delete_least_used_of(run: Run) -> None:
    """Delete the least recently used comparisons of a run if it has more than the maximum."""
    ended = run.comparisons.filter(state__in=[ComparisonState.READY, ComparisonState.FAILED])
    for each in ended.order_by("-used_at", "-pk")[MOST_OF_A_RUN - 1 :]:
        each.delete()
        if each.key:
            results().delete(each.key)


def tidy() -> None:
    """Delete files that no comparison needs, and note which are missing."""
    rows = Comparison.objects.all()
    strays.remove_temporary_folders(SCRATCH, rows)
    strays.repair_folder(FOLDER, rows, forget=forget)


def forget(comparisons: ComparisonQuerySet) -> None:
    """Note that the files of these comparisons are missing or damaged, so that they are created again."""
    comparisons.update(key="", size=0, sha256="")
