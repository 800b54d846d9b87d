"""Measure how much space the site uses, in the background. models/storage_use.py has the results.

It never lists the results storage: each of its files has a row with its size. Only the cache is listed, which
is one small folder.
"""

import socket
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count, Max, QuerySet, Sum
from django.utils import timezone

from collections_app.files.storage import cache
from collections_app.models import Block, Comparison, Export, ExportState, ResultFile, Slice
from collections_app.models.storage_use import (
    GROWTH_PERIOD,
    CollectionStorage,
    DiskSample,
    StorageKind,
    StorageUse,
    WorkerSeen,
)
from collections_app.system import database, disk

# How often the worker calls measure().
EVERY_SECONDS = 60.0
# Adding up the results of a million runs takes seconds.
_MEASURE_AFTER = timedelta(minutes=15)
_SAMPLE_AFTER = timedelta(hours=1)
_FORGET_AFTER = GROWTH_PERIOD + timedelta(days=1)

Figures = tuple[int | None, int]  # files, if they can be counted, and bytes


def measure() -> None:
    """Report that this machine's worker is alive, and repeat measurements that are due."""
    now, machine = timezone.now(), socket.gethostname()
    WorkerSeen.objects.update_or_create(machine=machine, defaults={"seen_at": now})
    _measure_storage(now, machine)
    _sample_disks(now, machine)


def _measure_storage(now: datetime, machine: str) -> None:
    measured = StorageUse.objects.filter(machine__in=["", machine]).values_list("kind", "measured_at")
    measured_at = dict(measured)
    for kind, (figures, is_shared) in _KINDS.items():
        if _is_due(measured_at.get(kind), _MEASURE_AFTER, now):
            files, size = figures()
            StorageUse.objects.update_or_create(
                kind=kind,
                machine="" if is_shared else machine,
                defaults={"files": files, "bytes": size, "measured_at": now},
            )


def _is_due(last: datetime | None, after: timedelta, now: datetime) -> bool:
    # A time in the future was stored before the clock was set back.
    return last is None or not timedelta(0) <= now - last < after


def _results() -> Figures:
    """Add up the stored files of each collection."""
    measured: dict[int, list[int]] = defaultdict(lambda: [0, 0])
    for pk, files, size in _sums():
        measured[pk][0] += files
        measured[pk][1] += size
    CollectionStorage.objects.store(measured)
    return sum(files for files, _ in measured.values()), sum(size for _, size in measured.values())


def _sums() -> Iterator[tuple[int, int, int]]:
    """Yield collections with a number of files and their bytes, several times.

    Each query reads a block of rows in their order in the table. A single query would keep SQLite from
    truncating its log for a long time. It would also jump between rows, which takes four times as long.
    """
    last = ResultFile.objects.aggregate(last=Max("pk"))["last"] or 0
    for start in range(0, last, _BLOCK):
        block = ResultFile.objects.filter(pk__gt=start, pk__lte=start + _BLOCK).exclude(key="")
        sums = (
            block.order_by()
            .values("run__collection")
            .annotate(files=Count("pk"), bytes=Sum("size", default=0))
        )
        yield from sums.values_list("run__collection", "files", "bytes")


_BLOCK = 500_000


def _exports() -> Figures:
    ready = Export.objects.filter(state=ExportState.READY)
    found = ready.aggregate(files=Count("pk"), bytes=Sum("size", default=0))
    return found["files"], found["bytes"]


def _tracking() -> Figures:
    """Add up what is stored to compare runs."""
    stored: list[QuerySet[Any]] = [
        Slice.objects.exclude(key=""),
        Comparison.objects.exclude(key=""),
        Block.objects.all(),
    ]
    found = [each.aggregate(files=Count("pk"), bytes=Sum("size", default=0)) for each in stored]
    return sum(each["files"] for each in found), sum(each["bytes"] for each in found)


def _database() -> Figures:
    return None, database.size()


# For each kind: how to measure it, and whether all machines share it.
_KINDS: dict[StorageKind, tuple[Callable[[], Figures], bool]] = {
    StorageKind.RESULTS: (_results, True),
    StorageKind.EXPORTS: (_exports, True),
    StorageKind.TRACKING: (_tracking, True),
    StorageKind.CACHE: (cache.size, False),
    StorageKind.DATABASE: (_database, True),
}


def _sample_disks(now: datetime, machine: str) -> None:
    mine = DiskSample.objects.filter(machine=machine).order_by("-measured_at")
    if not _is_due(mine.values_list("measured_at", flat=True).first(), _SAMPLE_AFTER, now):
        return
    DiskSample.objects.bulk_create(
        DiskSample(machine=machine, folder=folder, free=space.free, total=space.total, measured_at=now)
        for folder, space in disk.spaces().items()
    )
    _forget(now - _FORGET_AFTER)


def _forget(before: datetime) -> None:
    """Delete old samples, and the measurements of machines that no longer exist."""
    DiskSample.objects.filter(measured_at__lt=before).delete()
    StorageUse.objects.filter(measured_at__lt=before).exclude(machine="").delete()
    WorkerSeen.objects.filter(seen_at__lt=before).delete()
