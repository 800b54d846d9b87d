"""The earlier run that a run is compared with."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.core.exceptions import BadRequest

from collections_app.models import Run
from collections_app.models.run_status import State
from collections_app.records.tracking.previous_runs import default_since
from collections_app.views.changes.query import ChangesQuery
from collections_app.views.run.lookup import find_ready_run

# How many earlier runs the menu lists.
_LISTED = 14


@dataclass(frozen=True)
class EarlierRun:
    """An earlier run to choose, and the query string of the comparison with it."""

    run: Run
    address: str
    is_chosen: bool


def find_since(run: Run, query: ChangesQuery) -> Run | None:
    """Return the earlier run, or None if there is none. Raises Http404 and BadRequest."""
    if query.since is None:
        return default_since(run) if run.is_ready else None
    since = find_ready_run(run.collection, query.since)
    if _order(since) >= _order(run):
        raise BadRequest(f"Run {since.number} isn't earlier than run {run.number}. Choose an earlier run.")
    return since


def earlier_choices(run: Run, since: Run | None, query: ChangesQuery) -> Sequence[EarlierRun]:
    """Return the newest earlier runs to compare with."""
    found = run.collection.runs.filter(state=State.READY).before(run.cursor).newest_first()[:_LISTED]
    return [EarlierRun(each, query.address(since=each.number), each == since) for each in found]


def _order(run: Run) -> tuple[datetime, int]:
    return run.created_at, run.number
