"""How long a collection keeps its runs, and which of them will be deleted.

Once a collection no longer keeps a run, the worker sets its time of deletion (`Run.delete_at`) to GRACE from
then. Until that time, the run can be used as before. Pinning it or changing the setting clears the time. The
worker also deletes the runs (management/retention.py).

A wrong clock must not end the grace period early, so each setting stores when the worker last checked it. If
that time is in the future or more than a day ago, all grace periods start again.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import ClassVar, Self

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models, transaction
from django.db.models import Exists, Max, Min, OuterRef, Q, Sum
from django.utils import timezone
from django.utils.functional import cached_property

from collections_app.models.collections import Collection
from collections_app.models.run_status import State, Status
from collections_app.models.runs import Cursor, ResultFile, Run, RunQuerySet
from collections_app.models.teams import User
from collections_app.system import database

GRACE = timedelta(days=7)
# How often the worker checks a collection, and after which pause it no longer trusts the times.
CHECK_EVERY = timedelta(hours=1)
LONGEST_PAUSE = timedelta(days=1)

MOST_RUNS, MOST_DAYS = 100_000, 3_650

# How many runs one transaction marks. On SQLite, it blocks all other writers.
BLOCK = 1_000

# Failed and empty runs don't count, so that a scrape that finds nothing pushes out no records.
_WITH_RECORDS = (Status.COMPLETED, Status.INCOMPLETE)


class RetentionKind(models.TextChoices):
    """What a collection keeps."""

    RUNS = "runs", "The newest runs"
    DAYS = "days", "The runs of the last days"


class RetentionQuerySet(models.QuerySet["Retention"]):
    """Queries for retention settings."""

    def due(self) -> Self:
        """Return the settings that the worker has to check now."""
        now = database.now()
        has_expired = Exists(Run.objects.filter(collection=OuterRef("collection"), delete_at__lte=now))
        is_recent = Q(checked_at__gt=now - CHECK_EVERY, checked_at__lte=now)
        return self.filter(~is_recent | has_expired)


class Retention(models.Model):
    """How many runs or days a collection keeps. Without a row, it keeps all runs."""

    collection = models.OneToOneField(Collection, on_delete=models.CASCADE, related_name="retention")
    kind = models.CharField(max_length=4, choices=RetentionKind.choices)
    number = models.PositiveIntegerField(validators=[MinValueValidator(1), MaxValueValidator(MOST_RUNS)])
    set_at = models.DateTimeField(default=timezone.now)
    set_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    # By the database's clock.
    checked_at = models.DateTimeField(editable=False)

    objects: ClassVar[models.Manager["Retention"]] = RetentionQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(kind__in=RetentionKind.values), name="retention_known_kind"),
            models.CheckConstraint(condition=Q(number__gte=1), name="retention_keeps_some"),
        ]

    def __str__(self) -> str:
        return f"{self.collection_id} keeps {self.number} {self.kind}"

    def unkept(self, now: datetime) -> Q:
        """Return the condition for runs that the setting doesn't keep.

        It keeps pinned runs, runs in progress, the newest run with records and the newest Completed run.
        """
        is_older = self._is_older(now)
        return is_older & ~Q(state=State.PROCESSING) & Q(pinned_at=None) & ~Q(pk__in=self.always_kept())

    def deletable(self, now: datetime) -> Q:
        """Return the condition for runs to delete. Of an account's runs, only the copies can be deleted."""
        return self.unkept(now) & Q(is_kept=True) if self.collection.is_remote else self.unkept(now)

    def is_unmarked(self, now: datetime) -> Q:
        """Return the condition for runs that need a time of deletion."""
        return self.deletable(now) & Q(delete_at=None)

    def is_wrongly_marked(self, now: datetime) -> Q:
        """Return the condition for runs with a time of deletion, although they are kept now."""
        return ~self.deletable(now) & Q(delete_at__isnull=False)

    def _is_older(self, now: datetime) -> Q:
        if self.kind == RetentionKind.DAYS:
            return Q(created_at__lt=now - timedelta(days=self.number))
        counted = self._runs_with_records().values_list("created_at", "number")
        last_kept = counted[self.number - 1 : self.number].first()
        return _before(Cursor(*last_kept)) if last_kept else Q(pk__in=())

    def always_kept(self) -> set[int]:
        """Return the newest run with records and the newest Completed run, by primary key."""
        completed = self.collection.runs.with_status(Status.COMPLETED).newest_first()
        newest = (self._runs_with_records(), completed)
        return {pk for runs in newest for pk in runs.values_list("pk", flat=True)[:1]}

    def _runs_with_records(self) -> RunQuerySet:
        return self.collection.runs.with_status(*_WITH_RECORDS).newest_first()


def _before(cursor: Cursor) -> Q:
    """Return the condition of RunQuerySet.before()."""
    return Q(created_at__lte=cursor.created_at) & (
        Q(created_at__lt=cursor.created_at) | Q(number__lt=cursor.number)
    )


_OF_COLLECTION = f"SELECT * FROM {Retention._meta.db_table} WHERE collection_id = %s"  # noqa: S608


def retention_of(collection: Collection) -> Retention | None:
    """Return what the collection keeps, or None if it keeps everything."""
    # The page of runs reads it. Django would take longer to compile the query than to run it.
    found = next(iter(Retention.objects.raw(_OF_COLLECTION, [collection.pk])), None)
    if found is not None:
        found.collection = collection
    return found


# --- changing the setting -----------------------------------------------------------------------


@transaction.atomic
def set_retention(collection: Collection, kind: str, number: int, *, by: User) -> Retention:
    """Change what a collection keeps. The grace period of all runs starts again.

    Mark the first runs to delete. The worker marks the others.
    """
    now = database.now()
    retention, _ = Retention.objects.update_or_create(
        collection=collection,
        defaults={
            "kind": kind,
            "number": number,
            "set_at": now,
            "set_by": by,
            "checked_at": now - CHECK_EVERY,  # due now
        },
    )
    _clear_all(collection)
    first = collection.runs.filter(retention.is_unmarked(now)).values_list("pk", flat=True)[:BLOCK]
    Run.objects.filter(pk__in=list(first)).update(delete_at=now + GRACE)
    return retention


@transaction.atomic
def remove_retention(collection: Collection) -> None:
    """Keep all runs. Runs that were marked for deletion stay."""
    Retention.objects.filter(collection=collection).delete()
    _clear_all(collection)


def _clear_all(collection: Collection) -> None:
    collection.runs.filter(delete_at__isnull=False).update(delete_at=None)


# --- marking runs -------------------------------------------------------------------------------


def mark_runs(retention: Retention) -> datetime:
    """Set the time of deletion of the runs that the collection no longer keeps, and clear that of the others.

    Return the current time, which is safe to compare with these times. Stops if the setting is removed
    meanwhile. Can be interrupted at any time and called again.
    """
    now = database.now()
    if not timedelta(0) <= now - retention.checked_at <= LONGEST_PAUSE:
        _start_grace_again(retention, now)
    # A process that is killed before this leaves the old time, so the next one starts the periods again.
    Retention.objects.filter(pk=retention.pk).update(checked_at=now)
    _update_in_blocks(retention, lambda current: current.is_wrongly_marked(now), None)
    _update_in_blocks(retention, lambda current: current.is_unmarked(now), now + GRACE)
    return now


def _start_grace_again(retention: Retention, now: datetime) -> None:
    _update_in_blocks(retention, lambda current: Q(delete_at__isnull=False), now + GRACE)


def _update_in_blocks(
    retention: Retention, condition: Callable[[Retention], Q], delete_at: datetime | None
) -> None:
    """Set the time of deletion of the runs that meet a condition, in several transactions."""
    found = list(retention.collection.runs.filter(condition(retention)).values_list("pk", flat=True))
    for start in range(0, len(found), BLOCK):
        with transaction.atomic():
            # The lock keeps the setting from changing in the meantime.
            current = Retention.objects.select_for_update().filter(pk=retention.pk).first()
            if current is not None:
                block = Run.objects.filter(pk__in=found[start : start + BLOCK])
                block.filter(condition(current)).update(delete_at=delete_at)


def has_expired(retention: Retention, now: datetime) -> Q:
    """Return the condition for runs to delete now: their grace period is over, and they still aren't kept."""
    return retention.deletable(now) & Q(delete_at__lte=now)


# --- pinning runs -------------------------------------------------------------------------------


def pin_runs(runs: RunQuerySet, *, by: User) -> int:
    """Pin runs, and return how many weren't pinned before."""
    unpinned = runs.filter(pinned_at=None)
    return unpinned.update(pinned_at=timezone.now(), pinned_by=by, delete_at=None)


@transaction.atomic
def keep_leaving(collection: Collection, *, by: User) -> int:
    """Pin all runs that have a time of deletion, and return how many."""
    # The worker and other requests that update many runs wait for this lock, and so can't cause a deadlock.
    Retention.objects.select_for_update().filter(collection=collection).first()
    return pin_runs(collection.runs.filter(delete_at__isnull=False), by=by)


def unpin_run(run: Run) -> None:
    """Unpin a run. If the collection doesn't keep it, the worker marks it, and its grace period begins."""
    Run.objects.filter(pk=run.pk).update(pinned_at=None, pinned_by=None)


# --- what people see ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Leaving:
    """The runs of a collection that will be deleted."""

    count: int
    first: datetime
    last: datetime


def leaving_of(collection: Collection) -> Leaving | None:
    """Return how many runs will be deleted and when, or None if none will be."""
    marked = collection.runs.filter(delete_at__isnull=False)
    found = marked.aggregate(count=models.Count("pk"), first=Min("delete_at"), last=Max("delete_at"))
    return Leaving(**found) if found["count"] else None


@dataclass(frozen=True)
class Preview:
    """What a setting would delete, and the older runs that it would still keep."""

    runs: RunQuerySet  # the newest first
    count: int
    oldest: datetime | None
    newest: datetime | None
    fingerprint: str  # changes whenever other runs would be deleted
    pinned: int
    processing: int
    always_kept: list[Run]

    @cached_property
    def size(self) -> int:
        """The size of the stored files of the runs, in bytes."""
        stored = ResultFile.objects.filter(run__in=self.runs.order_by()).exclude(key="")
        size: int = stored.aggregate(size=Sum("size", default=0))["size"]
        return size


def preview(retention: Retention) -> Preview:
    """Return what a setting, saved or not, would delete. Changes nothing."""
    now = database.now()
    runs = retention.collection.runs.filter(retention.deletable(now))
    found = runs.aggregate(
        count=models.Count("pk"), oldest=Min("created_at"), newest=Max("created_at"), sum=Sum("number")
    )
    older = retention.collection.runs.filter(retention._is_older(now))
    return Preview(
        runs=runs.newest_first(),
        count=found["count"],
        oldest=found["oldest"],
        newest=found["newest"],
        fingerprint=f"{found['count']}-{found['sum'] or 0}",
        pinned=older.exclude(pinned_at=None).count(),
        processing=older.filter(state=State.PROCESSING).count(),
        always_kept=list(older.filter(pk__in=retention.always_kept())),
    )
