"""Limit the space that exports take. Those that were used least recently are deleted first.

Every export can be built again.
"""

import errno
from datetime import timedelta

from django.db.models import Q, QuerySet, Sum
from django.utils import timezone

from collections_app.files.storage.base import check_free_space, results
from collections_app.files.storage.scratch import Scratch
from collections_app.models import Export, ExportState, Layout
from collections_app.runs import strays

# In the results storage. No collection has a folder with this name.
FOLDER = "exports"
SCRATCH = Scratch("exports")

# The total size of all exports. The newest one stays, whatever its size.
MOST_BYTES = 5 * 1024**3
# Requests for many different columns or runs must not fill the database and the folder with small exports.
MOST_ALIKE = 100
UNUSED_FOR = timedelta(days=7)
_FAILED_FOR = timedelta(days=1)


def make_room(size: int, *, but: Export) -> None:
    """Delete the least recently used exports until there is room for `size` bytes.

    Raises OSError, and deletes nothing, if deleting all of them isn't enough.
    """
    others = Export.objects.filter(state=ExportState.READY).exclude(pk=but.pk).order_by("used_at")
    deletable = others.aggregate(bytes=Sum("size", default=0))["bytes"]
    _check_fits(size, deletable)
    left = deletable + size
    for other in others.iterator():
        if left <= MOST_BYTES and _has_room(size):
            return
        delete(other)
        left -= other.size
    check_free_space(size)


def _check_fits(size: int, deletable: int) -> None:
    if size > MOST_BYTES:
        raise OSError(errno.ENOSPC, "The export is larger than the limit for all exports")
    check_free_space(size - deletable)


def _has_room(size: int) -> bool:
    try:
        check_free_space(size)
    except OSError:
        return False
    return True


def delete(export: Export) -> None:
    """Delete an export unless it has been used since. Downloads that are running continue."""
    deleted, _ = Export.objects.filter(pk=export.pk, state=export.state, used_at=export.used_at).delete()
    if deleted and export.key:
        results().delete(export.key)


def delete_oldest_like(export: Export) -> None:
    """Delete the least recently used exports of the same kind if there are more than the maximum.

    These are the exports of the same run, of its changes, of several runs of the same collection, or with a
    sheet for each collection of the same team.
    """
    ended = Export.objects.filter(_like(export), state__in=[ExportState.READY, ExportState.FAILED])
    for each in ended.order_by("-used_at", "-pk")[MOST_ALIKE - 1 :]:
        delete(each)


def _like(export: Export) -> Q:
    run = export.run
    same = {
        Layout.RUN: Q(run=run),
        Layout.CHANGES: Q(run=run),
        Layout.PRODUCTS: Q(run=run),
        Layout.RUNS: Q(run__collection=run.collection_id),
        Layout.SHEETS: Q(run__collection__team=run.collection.team_id),
    }
    return same[Layout(export.layout)] & Q(layout=export.layout)


def tidy() -> None:
    """Delete unused exports, those whose files are missing, and files that no export needs."""
    now = timezone.now()
    for state, age in ((ExportState.READY, UNUSED_FOR), (ExportState.FAILED, _FAILED_FOR)):
        for export in Export.objects.filter(state=state, used_at__lt=now - age).iterator():
            delete(export)
    rows = Export.objects.all()
    strays.remove_temporary_folders(SCRATCH, rows)
    strays.repair_folder(FOLDER, rows, forget=QuerySet.delete)
