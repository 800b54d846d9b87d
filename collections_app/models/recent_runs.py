"""The newest runs of many collections at once, for the Overview."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from operator import or_

from django.db.models import OuterRef, Q, Subquery

from collections_app.models.collections import Collection
from collections_app.models.run_status import Status, StatusFacts
from collections_app.models.runs import Run


@dataclass(frozen=True)
class RecentRun:
    """What the Overview shows about a run."""

    number: int
    created_at: datetime
    status: Status
    extracted: int | None  # None if the account doesn't report it


def recent_runs(collections: Sequence[Collection], count: int) -> dict[int, list[RecentRun]]:
    """Return the `count` newest runs of each collection, newest first, in two queries."""
    found: dict[int, list[RecentRun]] = defaultdict(list)
    by_id = {collection.pk: collection for collection in collections}
    if not by_id:
        return found
    columns = (
        "collection_id",
        "number",
        "created_at",
        "state",
        "extracted",
        "total",
        "stalls_at",
    )
    for pk, number, created_at, state, extracted, total, stalls_at in (
        Run.objects.filter(_not_before(_oldest(by_id, count))).newest_first().values_list(*columns)
    ):
        status = StatusFacts(state, extracted, total, stalls_at, by_id[pk].observed_until).status
        found[pk].append(RecentRun(number, created_at, status, extracted))
    return found


def _oldest(by_id: Iterable[int], count: int) -> list[tuple[int, datetime | None, int | None]]:
    """Return each collection's id, and the time and number of its run at position `count`, if any."""
    runs = Run.objects.filter(collection=OuterRef("pk")).newest_first()
    at, number = (Subquery(runs.values(field)[count - 1 : count]) for field in ("created_at", "number"))
    return list(Collection.objects.filter(pk__in=by_id).values_list("pk", at, number))


def _not_before(oldest: Iterable[tuple[int, datetime | None, int | None]]) -> Q:
    """Return the condition for runs of the collections that aren't older than these."""
    return reduce(
        or_,
        (
            Q(collection=pk)
            if at is None
            # The first comparison is redundant. It lets the database start within the index.
            else Q(collection=pk, created_at__gte=at) & (Q(created_at__gt=at) | Q(number__gte=number))
            for pk, at, number in oldest
        ),
    )
