"""How many runs are prepared for comparison, which means that they have slices."""

from dataclasses import dataclass

from django.db.models import Count, Q

from collections_app.models import Collection, Run, Slice, SliceState
from collections_app.models.runs import RunQuerySet
from collections_app.runs.lease import lapsed

# Fewer runs are prepared before anyone reads about it.
_LEAST = 5
# Counting a million runs would take too long for a page.
_MOST = 10_000


@dataclass(frozen=True)
class Progress:
    """The number of prepared runs, and of these and those that wait."""

    prepared: int
    total: int
    running: int = 0  # of all collections


def _waiting() -> list[RunQuerySet]:
    """Return the runs that the worker will prepare, from stored files and from accounts.

    In one query, the database wouldn't use the indexes of either.
    """
    tracking = Collection.objects.connected().filter(account__tracks_runs=True)
    runs = Run.objects.to_slice()
    return [runs.filter(is_kept=True), runs.filter(is_kept=False, collection__in=tracking)]


def progress() -> Progress:
    """Return the progress of all collections."""
    # Counting all rows and the few others takes an index each, unlike counting those that are ready.
    is_running = Q(state=SliceState.RUNNING) & ~lapsed()
    others = Slice.objects.unready().aggregate(all=Count("pk"), running=Count("pk", filter=is_running))
    prepared = Slice.objects.count() - others["all"]
    return Progress(prepared, prepared + sum(runs.count() for runs in _waiting()), others["running"])


def progress_of(collection: Collection) -> Progress | None:
    """Return the progress of a collection, or None if no more than a few runs wait."""
    kept, *remote = (runs.filter(collection=collection) for runs in _waiting())
    queues = [kept, *remote] if collection.is_remote else [kept]
    waiting = sum(runs.exclude(slice__state=SliceState.FAILED)[:_MOST].count() for runs in queues)
    if waiting < _LEAST:
        return None
    prepared = Slice.objects.ready().filter(run__collection=collection)[:_MOST].count()
    return Progress(prepared, prepared + waiting)
