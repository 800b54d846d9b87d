"""The newest runs of many collections at once, for the Overview."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from django.db.models.expressions import RawSQL

from collections_app.models.collections import Collection
from collections_app.models.run_status import Status, StatusFacts
from collections_app.models.runs import Run

# Django takes longer to compile this for a page of collections than the database takes to run it.
_NEWEST = """SELECT id FROM (
    SELECT id FROM collections_app_run WHERE collection_id = %s
    ORDER BY created_at DESC, number DESC LIMIT %s
) AS newest"""


class RecentRun(NamedTuple):
    """What the Overview shows about a run."""

    number: int
    created_at: datetime
    status: Status
    extracted: int | None  # None if the account doesn't report it


def recent_runs(collections: Sequence[Collection], count: int) -> dict[int, list[RecentRun]]:
    """Return the `count` newest runs of each collection, newest first, in one query."""
    found: dict[int, list[RecentRun]] = defaultdict(list)
    observed = {collection.pk: collection.observed_until for collection in collections}
    if not observed:
        return found
    newest = RawSQL(  # noqa: S611  # no text of people or records
        " UNION ALL ".join([_NEWEST] * len(observed)),
        [value for pk in observed for value in (pk, count)],
    )
    runs = Run.objects.filter(pk__in=newest).newest_first()
    columns = ("collection_id", "number", "created_at", "state", "extracted", "total", "stalls_at")
    for pk, number, created_at, state, extracted, total, stalls_at in runs.values_list(*columns):
        status = StatusFacts(state, extracted, total, stalls_at, observed[pk]).status
        found[pk].append(RecentRun(number, created_at, status, extracted))
    return found
