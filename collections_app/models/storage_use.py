"""How much space the site uses. The background worker measures it (measurements.py), and pages read it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import attrgetter
from typing import ClassVar

from django.db import models, transaction
from django.db.models import Sum
from django.utils import timezone

from collections_app.models.collections import Collection
from collections_app.models.teams import Team

# How far back to look for a disk's growth rate, and the shortest history that is enough.
GROWTH_PERIOD = timedelta(days=7)
_SHORTEST_PERIOD = timedelta(days=1)


class StorageKind(models.TextChoices):
    """What uses space."""

    RESULTS = "results", "Results"
    EXPORTS = "exports", "Exports"
    TRACKING = "tracking", "Comparisons"
    CACHE = "cache", "Cache"
    DATABASE = "database", "Database"


class StorageUse(models.Model):
    """The space that one kind of data used when it was last measured."""

    kind = models.CharField(max_length=10, choices=StorageKind.choices)
    machine = models.CharField(
        max_length=255, blank=True, help_text="The machine that has it. Empty if all machines share it."
    )
    files = models.PositiveBigIntegerField(null=True)
    bytes = models.PositiveBigIntegerField()
    measured_at = models.DateTimeField()

    objects: ClassVar[models.Manager["StorageUse"]] = models.Manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["kind", "machine"], name="storage_use_once_per_machine"),
            models.CheckConstraint(
                condition=models.Q(kind__in=StorageKind.values), name="storage_use_known_kind"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()}: {self.bytes} bytes"


class CollectionStorageQuerySet(models.QuerySet["CollectionStorage"]):
    """Queries for the space of collections."""

    @transaction.atomic
    def store(self, measured: Mapping[int, Sequence[int]]) -> None:
        """Store the number of files and bytes of each collection by its id. Write only what has changed."""
        known = {pk: figures for pk, *figures in self.values_list("collection_id", "files", "bytes")}
        changed = [
            CollectionStorage(collection_id=pk, files=files, bytes=size)
            for pk, (files, size) in measured.items()
            if known.get(pk) != [files, size]
        ]
        self.bulk_create(
            changed,
            batch_size=1000,
            update_conflicts=True,
            unique_fields=["collection"],
            update_fields=["files", "bytes"],
        )
        for pk in known.keys() - measured.keys():
            self.filter(pk=pk).delete()

    def of_team(self, team: Team) -> int:
        """Return the bytes of a team's results."""
        found: int = self.filter(collection__team=team).aggregate(bytes=Sum("bytes", default=0))["bytes"]
        return found


class CollectionStorage(models.Model):
    """The space that a collection's results use, measured together with all results (StorageUse)."""

    collection = models.OneToOneField(
        Collection, on_delete=models.CASCADE, primary_key=True, related_name="storage"
    )
    files = models.PositiveBigIntegerField()
    bytes = models.PositiveBigIntegerField()

    objects: ClassVar[models.Manager["CollectionStorage"]] = CollectionStorageQuerySet.as_manager()

    class Meta:
        indexes = [models.Index(fields=["-bytes", "collection"], name="collection_storage_largest")]

    def __str__(self) -> str:
        return f"Collection {self.collection_id}: {self.bytes} bytes"


class DiskSample(models.Model):
    """The space of a disk at one time."""

    machine = models.CharField(max_length=255)
    folder = models.CharField(max_length=10)
    free = models.PositiveBigIntegerField(help_text="In bytes.")
    total = models.PositiveBigIntegerField(help_text="In bytes.")
    measured_at = models.DateTimeField()

    objects: ClassVar[models.Manager["DiskSample"]] = models.Manager()

    class Meta:
        indexes = [models.Index(fields=["measured_at"], name="disk_sample_by_time")]

    def __str__(self) -> str:
        return f"{self.folder} on {self.machine}: {self.free} bytes free"


@dataclass(frozen=True)
class Growth:
    """How fast a disk fills up."""

    period: timedelta  # over which it was measured
    per_day: float  # bytes; negative if more is deleted than stored

    def days_until_full(self, free: int) -> float | None:
        """Return when a disk with this many free bytes will be full at this rate, or None for never."""
        return free / self.per_day if self.per_day > 0 else None


def growth_of(samples: Iterable[DiskSample]) -> Growth | None:
    """Return how fast a disk has been filling up recently, or None if it isn't known yet.

    All samples are of one disk.
    """
    since = timezone.now() - GROWTH_PERIOD
    recent = [each for each in samples if each.measured_at >= since]
    if not recent:
        return None
    first, last = (choose(recent, key=attrgetter("measured_at")) for choose in (min, max))
    period = last.measured_at - first.measured_at
    if period < _SHORTEST_PERIOD:
        return None
    return Growth(period, (first.free - last.free) / (period / timedelta(days=1)))


class WorkerSeen(models.Model):
    """When a machine's background worker was last seen."""

    machine = models.CharField(max_length=255, primary_key=True)
    seen_at = models.DateTimeField()

    objects: ClassVar[models.Manager["WorkerSeen"]] = models.Manager()

    def __str__(self) -> str:
        return self.machine

    def is_alive(self, now: datetime) -> bool:
        """Whether it is probably still running."""
        return abs(now - self.seen_at) < _ALIVE_FOR


# A worker reports every minute, unless its machine is busy.
_ALIVE_FOR = timedelta(minutes=5)
