"""How much room exports may take: what nobody has wanted for long goes first. All can be made again."""

import errno
import shutil
from datetime import timedelta
from pathlib import Path

from django.core.files.storage import storages
from django.db.models import Sum
from django.utils import timezone

from collections_app.files.storage.base import check_free_space, results
from collections_app.models import Export, ExportState, Run
from collections_app.runs.lease import is_alive
from collections_app.system.disk import RESERVE

# In the results storage; no collection's folder is called like this.
FOLDER = "exports"

# All exports together, in bytes; the one that was made last stays, however large it is.
MOST_BYTES = 5 * 1024**3
# Of one run: whoever asks for ever other columns fills neither the table nor the folder with small ones.
MOST_OF_A_RUN = 100
UNUSED_FOR = timedelta(days=7)
_FAILED_FOR = timedelta(days=1)


def key_of(export: Export, attempt: str) -> str:
    """Return where the bytes of an attempt at an export go."""
    return f"{FOLDER}/{export.pk}-{attempt}"


def folder_of(attempt: str) -> Path:
    """Return the folder, on this machine, for what an attempt makes on the way."""
    return _workshop() / attempt


def _workshop() -> Path:
    # Beside what else is made on this machine; not in it, since it is no cache.
    return Path(storages["converted"].path("")).with_name("exports")


def make_room(size: int, *, but: Export) -> None:
    """Drop what was used least recently until there is room for `size` more bytes.

    Raises OSError if dropping all of them wouldn't be enough; then none is dropped.
    """
    others = Export.objects.filter(state=ExportState.READY).exclude(pk=but.pk).order_by("used_at")
    droppable = others.aggregate(bytes=Sum("size", default=0))["bytes"]
    _check_fits(size, droppable)
    left = droppable + size
    for other in others.iterator():
        if left <= MOST_BYTES and _has_room(size):
            return
        drop(other)
        left -= other.size
    check_free_space(size)


def _check_fits(size: int, droppable: int) -> None:
    if size > MOST_BYTES:
        raise OSError(errno.ENOSPC, "This is more than all exports may take up")
    check_free_space(size - droppable)


def check_disks() -> None:
    """Raise OSError if too little space is left on any disk that exports are written to."""
    check_free_space(0)
    if shutil.disk_usage(_workshop()).free < RESERVE:
        raise OSError(errno.ENOSPC, "The disk is nearly full")


def _has_room(size: int) -> bool:
    try:
        check_free_space(size)
    except OSError:
        return False
    return True


def drop(export: Export) -> None:
    """Forget an export, unless it has been wanted since; whoever is reading it reads on."""
    deleted, _ = Export.objects.filter(pk=export.pk, state=export.state, used_at=export.used_at).delete()
    if deleted and export.key:
        results().delete(export.key)


def drop_oldest_of(run: Run) -> None:
    """Drop a run's exports that were used least recently, where it has more than it may have."""
    ended = run.exports.filter(state__in=[ExportState.READY, ExportState.FAILED]).order_by("-used_at", "-pk")
    for export in ended[MOST_OF_A_RUN - 1 :]:
        drop(export)


def tidy() -> None:
    """Drop what nobody has wanted for long, and what killed processes and deleted runs have left behind."""
    now = timezone.now()
    for state, age in ((ExportState.READY, UNUSED_FOR), (ExportState.FAILED, _FAILED_FOR)):
        for export in Export.objects.filter(state=state, used_at__lt=now - age).iterator():
            drop(export)
    _remove_strays()


def _remove_strays() -> None:
    # First the files, then the rows: what is found here and is nobody's by then gets no row any more.
    try:
        _, names = results().listdir(FOLDER)
    except FileNotFoundError:
        names = []
    workshop = _workshop()
    folders = list(workshop.iterdir()) if workshop.is_dir() else []
    if not names and not folders:
        return
    kept = {key.rpartition("/")[2] for key in Export.objects.exclude(key="").values_list("key", flat=True)}
    running = Export.objects.filter(state=ExportState.RUNNING)
    living = {each.attempt for each in running if is_alive(each.lease_expires_at)}
    for name in names:
        # What is being written has an ending of the storage's.
        attempt = name.partition("-")[2][:_ATTEMPT]
        if name not in kept and attempt not in living:
            results().delete(f"{FOLDER}/{name}")
    for folder in folders:
        if folder.name not in living:
            shutil.rmtree(folder, ignore_errors=True)


_ATTEMPT = 16  # the length of an attempt's token
