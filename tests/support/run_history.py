"""Collections with a history of runs, one a day until today."""

from datetime import timedelta
from typing import Any

from collections_app.models import Collection, Run
from tests.support.upstream import NOON

HOUR, DAY = timedelta(hours=1), timedelta(days=1)

# The fields of a run, by a letter.
KINDS: dict[str, dict[str, Any]] = {
    "c": {"state": "ready", "extracted": 80, "total": 80},
    "i": {"state": "ready", "extracted": 61, "total": 80},
    "e": {"state": "ready", "extracted": 0, "total": 80},
    "f": {"state": "failed", "failure_reason": "The shop did not respond."},
    "s": {"state": "processing", "stalls_at": NOON - HOUR},
    "p": {"state": "processing", "stalls_at": NOON + HOUR},
}


def make_runs(collection: Collection, kinds: str) -> None:
    """Create a run for each letter of KINDS, the oldest first, one a day until today."""
    first = collection.runs.count() + 1
    Run.objects.bulk_create(
        Run(
            collection=collection,
            number=first + index,
            file_count=1,
            created_at=NOON - DAY * (len(kinds) - index - 1) - HOUR,
            **KINDS[kind],
        )
        for index, kind in enumerate(kinds)
    )
