"""The changes between two runs, or why a page can't show them."""

from typing import Any

from django.urls import reverse

from collections_app.models import Comparison, Run, SliceState, State
from collections_app.models.queues import TooManyQueued
from collections_app.records.preview.concurrency import TooManyQueries
from collections_app.records.preview.engine import QueryTimeout, UnreadableFile
from collections_app.records.tracking.build_comparison import NoKey
from collections_app.records.tracking.change_queries import ChangePage
from collections_app.records.tracking.comparisons import changes_of, comparison_of
from collections_app.system.background import StillWorking
from collections_app.views.changes.counts import count_texts, found_text, has_changes, kind_chips
from collections_app.views.changes.query import ChangesQuery
from collections_app.views.changes.rows import change_rows
from collections_app.views.changes.table import headers

# The states in which the page updates itself.
UNFINISHED = ("processing", "under_way")
_MOST_COLUMNS = 200
_PROBLEMS = (TooManyQueries, TooManyQueued, QueryTimeout, UnreadableFile, OSError)
_TOO_SLOW = "This query took too long. Use fewer search words or filters, or don't sort."
_UNREADABLE = "The changes can't be read. Try again in a moment."


def changes_or_reason(run: Run, since: Run | None, query: ChangesQuery) -> dict[str, Any]:
    """Return the context of _results.html: its `state`, and what that state shows."""
    if not run.is_ready:
        return {"state": run.state}
    if since is None:
        is_first = not run.collection.runs.filter(state=State.READY).before(run.cursor).exists()
        return {"state": "first" if is_first else "unlike_others"}
    try:
        return _compared(comparison_of(run, since), query)
    except NoKey:
        return {"state": "no_key"}
    except StillWorking:
        return _under_way(run, since)
    except _PROBLEMS as problem:
        return _problem(_words(problem), is_refused=isinstance(problem, TooManyQueries))


def _compared(comparison: Comparison, query: ChangesQuery) -> dict[str, Any]:
    if comparison.is_ready:
        return _changes(comparison, changes_of(comparison, query.changes), query)
    if comparison.failure:
        return _problem(comparison.failure)
    return _under_way(comparison.run, comparison.since)


def _words(problem: Exception) -> str:
    if isinstance(problem, QueryTimeout):
        return _TOO_SLOW
    return _UNREADABLE if isinstance(problem, UnreadableFile | OSError) else str(problem)


def _problem(problem: str, *, is_refused: bool = False) -> dict[str, Any]:
    return {"state": "problem", "problem": problem} | ({"is_refused": True} if is_refused else {})


def _under_way(run: Run, since: Run) -> dict[str, Any]:
    """Return the context of a comparison that isn't ready, with the runs that have no slice yet."""
    ready = Run.objects.filter(pk__in=[since.pk, run.pk], slice__state=SliceState.READY)
    numbers = set(ready.values_list("number", flat=True))
    return {
        "state": "under_way",
        "unprepared": [each.number for each in (since, run) if each.number not in numbers],
    }


def _changes(comparison: Comparison, page: ChangePage, query: ChangesQuery) -> dict[str, Any]:
    address = reverse("run_changes", args=[comparison.run.collection_id, comparison.run.number])
    return {
        "state": "ready",
        "page": page,
        "found": found_text(comparison, query, page.total),
        "rows": change_rows(page.entries, comparison.run, comparison.since),
        "more": page.next and f"{address}{query.address(after=page.next)}",
        "chips": kind_chips(comparison, query),
        "has_changes": has_changes(comparison),
        "matched": comparison.counts["matched"],
        "count_texts": count_texts(comparison),
        "columns": _columns(comparison),
        "headers": headers(query),
        "filters": query.filters,
        "volatile": comparison.summary.get("volatile", []),
        "volatile_of": comparison.summary.get("volatile_of", 0),
        "kept_fields": _kept_fields(query),
    }


def _columns(comparison: Comparison) -> list[tuple[str, int]]:
    """Return the changed columns, those with the most changes first, and the number of changes of each."""
    # PostgreSQL doesn't keep the order of keys.
    columns = comparison.summary.get("columns", {}).items()
    return sorted(columns, key=lambda each: (-each[1], each[0]))[:_MOST_COLUMNS]


def _kept_fields(query: ChangesQuery) -> list[tuple[str, object]]:
    """Return the parameters that no field of the form shows."""
    kept = [("since", query.since), *(("what", kind.value) for kind in query.changes.kinds)]
    order = [("sort", query.changes.sort), ("dir", query.parameters["dir"])]
    order += [("volatile", query.parameters["volatile"])]
    return [*kept, *(each for each in order if each[1])]
