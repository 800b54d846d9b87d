"""A collection's download page: its runs, newest first, and the files of each."""

import re
from datetime import UTC, datetime
from urllib.parse import quote

from django.core.exceptions import BadRequest
from django.http import Http404, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.cache import patch_vary_headers
from django.utils.timesince import timesince
from django.views.decorators.http import require_safe

from collections_app.models import Collection, Run, State
from collections_app.models.runs import Cursor
from collections_app.people.access import Action, MemberRequest, collection_member
from collections_app.sources import LISTING_DEADLINE, Freshness, source_of
from collections_app.views.download.filter import RunFilter, parse_day
from collections_app.views.download.rows import may_delete_runs, run_rows

RUNS_SHOWN = 50
# A list of a million runs isn't counted to its end: that would take longer than all else of the page.
MOST_COUNTED = 10_000

_RUNS_ABOVE = 2
_NUMBER = re.compile(r"\d{1,18}", re.ASCII)
_CURSOR = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6})Z_(\d{1,18})", re.ASCII)


@collection_member(Action.SEE)
@require_safe
def collection_home(request: MemberRequest, collection: Collection) -> HttpResponseRedirect:
    """Lead to the collection's runs."""
    return redirect("download", collection.pk)


@collection_member(Action.SEE)
@require_safe
def download(request: MemberRequest, collection: Collection) -> HttpResponse:
    """Show the newest runs, or those `before` a cursor; htmx gets the rows alone.

    `state`, `from` and `to` leave runs out; `on` leads to the runs of a day and those before it, and `run`
    to the runs around one.
    """
    wanted = RunFilter.of(request.GET)
    place = _place(request, collection, wanted)
    if place is not None:
        return redirect(place)
    before = request.GET.get("before", "")
    runs, freshness = _runs(collection, wanted, parse_cursor(before) if before else None)
    next_ = _next(collection, runs, freshness, before)
    runs = runs[:RUNS_SHOWN]
    shown = len(runs) + (_shown_before(request) if before else 0)
    context = {
        "collection": collection,
        "rows": run_rows(
            collection,
            runs,
            may_delete=may_delete_runs(request.membership, collection),
            asks_for_sizes=not freshness.problem,
        ),
        "before": before,
        "next": f"?{wanted.address(before=next_)}" if next_ else "",
        "newest": format_cursor(runs[0].cursor) if runs else "",
        "has_completed": any(run.is_ready for run in runs),
        "wanted": wanted,
        "states": State.choices,
        "shown": shown,
        "found": shown if not (before or next_) else _count(collection, wanted),
        "most_counted": MOST_COUNTED,
        "freshness": freshness,
        "age": _age(freshness),
    }
    fragment = request.htmx and not request.htmx.history_restore_request
    response = render(request, "download/_run_rows.html" if fragment else "download/page.html", context)
    # A fragment and the whole page share an address.
    patch_vary_headers(response, ["HX-Request"])
    return response


def _place(request: MemberRequest, collection: Collection, wanted: RunFilter) -> str | None:
    """Return the address of the part of the list that is asked for by a day or a run, if one is."""
    here = reverse("download", args=[collection.pk])
    day, number = parse_day(request.GET.get("on", "")), request.GET.get("run", "")
    if day:
        return f"{here}?{wanted.address(before=format_cursor(wanted.end_of(day)))}"
    if not number:
        return None
    run = collection.runs.filter(number=int(number)).first() if _NUMBER.fullmatch(number) else None
    if run is None:
        raise Http404("This collection has no run of that number, or none that is known yet.")
    newer = list(collection.runs.after(run.cursor).order_by("created_at", "number")[:RUNS_SHOWN])
    # Some newer ones are shown above it. Near the top, the list begins with the newest run.
    above = f"?before={quote(format_cursor(newer[_RUNS_ABOVE].cursor))}" if len(newer) == RUNS_SHOWN else ""
    return f"{here}{above}#run-{run.number}"


def _runs(collection: Collection, wanted: RunFilter, cursor: Cursor | None) -> tuple[list[Run], Freshness]:
    """Return the runs from the cursor on, and how old their rows are.

    One more than is shown, where there are more: that tells it without counting.
    """
    source = source_of(collection)
    found = wanted.runs(collection.runs.newest_first()).before(cursor)[: RUNS_SHOWN + 1]
    if cursor is None:
        freshness = source.refresh(collection, deadline=LISTING_DEADLINE)
        return list(found), freshness
    runs = list(found)
    if len(runs) > RUNS_SHOWN or not collection.has_older_runs:
        return runs, Freshness(as_of=collection.refreshed_at, has_older=collection.has_older_runs)
    freshness = source.load_older(collection, deadline=LISTING_DEADLINE)
    return list(found.all()), freshness


def _next(collection: Collection, runs: list[Run], freshness: Freshness, before: str) -> str:
    """Return the cursor from which the list goes on, or "" where it doesn't."""
    if len(runs) > RUNS_SHOWN:
        return format_cursor(runs[RUNS_SHOWN - 1].cursor)
    if not freshness.has_older:
        return ""
    # Where older runs couldn't be brought, asking again starts from the same place.
    if runs or before:
        return format_cursor(runs[-1].cursor) if runs else before
    oldest = collection.runs.newest_first().last()
    return format_cursor(oldest.cursor) if oldest else ""


def _count(collection: Collection, wanted: RunFilter) -> int:
    """Return how many runs there are, or one more than is counted at most."""
    return wanted.runs(collection.runs.all())[: MOST_COUNTED + 1].count()


def _shown_before(request: MemberRequest) -> int:
    """Return how many rows a page has already that asks for more."""
    shown = request.GET.get("shown", "")
    return int(shown) if _NUMBER.fullmatch(shown) else 0


def _age(freshness: Freshness) -> str:
    """Return for how long the rows have been as they are, in words; "" where there never were any."""
    if freshness.as_of is None:
        return ""
    age = timesince(freshness.as_of)
    return "a moment" if age.startswith("0") else age


def format_cursor(cursor: Cursor) -> str:
    """Return a place in the list of runs as addresses carry it."""
    time = cursor.created_at.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds")
    return f"{time}Z_{cursor.number}"


def parse_cursor(text: str) -> Cursor:
    """Return the place that an address names. Raises BadRequest."""
    match = _CURSOR.fullmatch(text)
    try:
        if match:
            return Cursor(datetime.fromisoformat(match[1]).replace(tzinfo=UTC), int(match[2]))
    except ValueError:
        pass  # It looks like a time, but there is no such day or hour.
    raise BadRequest("This address is damaged: it names no place in the list of runs.")
