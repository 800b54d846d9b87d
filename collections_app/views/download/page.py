"""The download page of a collection: its runs, newest first, and their files."""

import re
from collections import Counter
from collections.abc import Mapping
from urllib.parse import quote

from django.http import Http404, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_safe

from collections_app.models import Collection, Run, State, Status
from collections_app.models.keeping import keeping_of
from collections_app.models.retention import leaving_of, retention_of
from collections_app.models.runs import Cursor, count_by_status
from collections_app.people.access import Action, MemberRequest, collection_member
from collections_app.records.tracking.slice_progress import progress_of
from collections_app.sources import LISTING_DEADLINE, Freshness, source_of
from collections_app.views.download.cursor import format_cursor, parse_cursor
from collections_app.views.download.filter import RunFilter, parse_day
from collections_app.views.download.menu import preferred_format
from collections_app.views.download.rows import may_delete_runs, run_rows
from collections_app.views.fragments import render_fragment, wants_fragment
from collections_app.views.page_size import PAGE_SIZE
from collections_app.views.settings.words import kept, late_for

# Counting a million runs would take longer than the rest of the page.
MOST_COUNTED = 10_000

_RUNS_ABOVE = 2
_NUMBER = re.compile(r"\d{1,18}", re.ASCII)


@collection_member(Action.SEE)
@require_safe
def collection_home(request: MemberRequest, collection: Collection) -> HttpResponseRedirect:
    """Redirect to the download page."""
    return redirect("download", collection.pk)


@collection_member(Action.SEE)
@require_safe
def download(request: MemberRequest, collection: Collection) -> HttpResponse:
    """Show the newest runs, or those `before` a cursor. htmx gets the rows only.

    `state`, `when`, `from` and `to` filter the runs. `on` redirects to the runs of a day and earlier, and
    `run` to the runs around one.
    """
    run_filter = RunFilter.from_query(request.GET, collection.team.time_zone)
    target = _target(request, collection, run_filter)
    if target is not None:
        return redirect(target)
    before = request.GET.get("before", "")
    runs, freshness = _runs(collection, run_filter, parse_cursor(before) if before else None)
    next_cursor = _next_cursor(collection, runs, freshness, before)
    runs = runs[:PAGE_SIZE]
    counts: Mapping[Status, int] = {}
    if not wants_fragment(request):
        is_all = not (before or next_cursor or run_filter.state)
        counts = Counter(run.status for run in runs) if is_all else _counts(collection, run_filter)
    shown = len(runs) + (_already_shown(request) if before else 0)
    context = {
        "collection": collection,
        "rows": run_rows(
            collection,
            runs,
            preferred=preferred_format(request),
            may_delete=may_delete_runs(request.membership, collection),
            loads_sizes=not freshness.problem,
        ),
        "before": before,
        "next": f"?{run_filter.query_with(before=next_cursor)}" if next_cursor else "",
        "newest": format_cursor(runs[0].cursor) if runs else "",
        "has_completed": bool(runs) and _has_completed(collection, runs),
        "filter": run_filter,
        "statuses": run_filter.statuses(counts) if counts else [],
        "shown": shown,
        "found": run_filter.found(counts) if counts else _count(collection, run_filter),
        "most_counted": MOST_COUNTED,
        "freshness": freshness,
        "late_for": late_for(collection),
    }
    if not (before or wants_fragment(request)):
        context |= _kept(collection)
        # Runs are prepared the newest first.
        if next_cursor or any(run.needs_slice for run in runs):
            context["slicing"] = progress_of(collection)
    return render_fragment(request, "download/page.html", "download/_run_rows.html", context)


def _has_completed(collection: Collection, shown: list[Run]) -> bool:
    """Return whether the collection has a completed run. Usually, the page shows one."""
    return any(run.is_ready for run in shown) or collection.runs.filter(state=State.READY).exists()


def _kept(collection: Collection) -> dict[str, object]:
    """Return the context of the notes about copies and retention."""
    retention = retention_of(collection)
    context = {"keeping": keeping_of(collection), "retention": retention}
    return context | ({"kept": kept(retention), "leaving": leaving_of(collection)} if retention else {})


def _target(request: MemberRequest, collection: Collection, run_filter: RunFilter) -> str | None:
    """Return the address of the part of the list with a day or a run, if one is requested."""
    here = reverse("download", args=[collection.pk])
    day, number = parse_day(request.GET.get("on", "")), request.GET.get("run", "")
    if day:
        return f"{here}?{run_filter.query_with(before=format_cursor(run_filter.end_of(day)))}"
    if not number:
        return None
    run = collection.runs.filter(number=int(number)).first() if _NUMBER.fullmatch(number) else None
    if run is None:
        older = " Older runs of its account may not be loaded yet." if collection.is_remote else ""
        raise Http404(f"{collection} has no run with this number.{older}")
    newer = list(collection.runs.after(run.cursor).order_by("created_at", "number")[:PAGE_SIZE])
    # Show a few newer runs above it. Near the top, the list starts with the newest run.
    above = f"?before={quote(format_cursor(newer[_RUNS_ABOVE].cursor))}" if len(newer) == PAGE_SIZE else ""
    return f"{here}{above}#run-{run.number}"


def _runs(
    collection: Collection, run_filter: RunFilter, cursor: Cursor | None
) -> tuple[list[Run], Freshness]:
    """Return the runs from the cursor on, and how fresh they are.

    Return one run more than a page shows if there are more, so that they needn't be counted.
    """
    source = source_of(collection)
    found = run_filter.apply(collection.runs.newest_first()).before(cursor)[: PAGE_SIZE + 1]
    if cursor is None:
        freshness = source.refresh(collection, deadline=LISTING_DEADLINE)
        return list(found), freshness
    runs = list(found)
    if len(runs) > PAGE_SIZE or not collection.has_older_runs:
        return runs, Freshness(as_of=collection.refreshed_at, has_older=collection.has_older_runs)
    freshness = source.load_older(collection, deadline=LISTING_DEADLINE)
    return list(found.all()), freshness


def _next_cursor(collection: Collection, runs: list[Run], freshness: Freshness, before: str) -> str:
    """Return the cursor of the next page, or "" on the last one."""
    if len(runs) > PAGE_SIZE:
        return format_cursor(runs[PAGE_SIZE - 1].cursor)
    if not freshness.has_older:
        return ""
    # If older runs couldn't be loaded, the next request tries again from the same cursor.
    if runs or before:
        return format_cursor(runs[-1].cursor) if runs else before
    oldest = collection.runs.newest_first().last()
    return format_cursor(oldest.cursor) if oldest else ""


def _count(collection: Collection, run_filter: RunFilter) -> int:
    """Return the number of matching runs, counting one beyond the limit at most."""
    return run_filter.apply(collection.runs.all())[: MOST_COUNTED + 1].count()


def _counts(collection: Collection, run_filter: RunFilter) -> dict[Status, int]:
    """Return how many runs of the period have each status, counting one beyond the limit at most."""
    return count_by_status(collection, run_filter.in_any_status(collection.runs.all()), MOST_COUNTED + 1)


def _already_shown(request: MemberRequest) -> int:
    """Return the number of rows on the page that requests more."""
    shown = request.GET.get("shown", "")
    return int(shown) if _NUMBER.fullmatch(shown) else 0
