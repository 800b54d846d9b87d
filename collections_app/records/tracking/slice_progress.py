"""How many runs are prepared for comparison, which means that they have slices."""

from dataclasses import dataclass

from django.db.models import Q

from collections_app.models import Collection, Run, Slice, SliceState
from collections_app.models.runs import RunQuerySet

# Fewer runs are prepared before anyone reads about it.
_LEAST = 5
# Counting a million runs would take too long for a page.
_MOST = 10_000


@dataclass(frozen=True)
class Progress:
    """The number of prepared runs, and of these and those that wait."""

    prepared: int
    total: int


def waiting_runs() -> RunQuerySet:
    """Return the runs that the worker will prepare."""
    tracking = Collection.objects.connected().filter(account__tracks_runs=True)
    return Run.objects.to_slice().filter(Q(is_kept=True) | Q(is_kept=False, collection__in=tracking))


def progress() -> Progress:
    """Return the progress of all collections."""
    # Counting all rows and the few others takes an index each, unlike counting those that are ready.
    others = Slice.objects.filter(state__in=[SliceState.RUNNING, SliceState.FAILED]).count()
    prepared = Slice.objects.count() - others
    return Progress(prepared, prepared + waiting_runs().count())


def progress_of(collection: Collection) -> Progress | None:
    """Return the progress of a collection, or None if no more than a few runs wait."""
    failed = Q(slice__state=SliceState.FAILED)
    waiting = waiting_runs().filter(collection=collection).exclude(failed)[:_MOST].count()
    if waiting < _LEAST:
        return None
    prepared = Slice.objects.ready().filter(run__collection=collection)[:_MOST].count()
    return Progress(prepared, prepared + waiting)
