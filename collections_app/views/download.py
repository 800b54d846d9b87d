"""A collection's download page: its runs, newest first, and the files of each."""

import re
from datetime import UTC, datetime

from django.core.exceptions import BadRequest
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.utils.cache import patch_vary_headers
from django.utils.timesince import timesince
from django.views.decorators.http import require_safe

from collections_app.access import Action, MemberRequest, collection_member
from collections_app.models import Collection, Run
from collections_app.models.runs import Cursor
from collections_app.sources import LISTING_DEADLINE, Freshness, source_of
from collections_app.views.run_rows import may_delete_runs, run_rows

RUNS_SHOWN = 50

_CURSOR = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6})Z_(\d{1,18})", re.ASCII)


@collection_member(Action.SEE)
@require_safe
def collection_home(request: MemberRequest, collection: Collection) -> HttpResponseRedirect:
    """Lead to the collection's runs."""
    return redirect("download", collection.pk)


@collection_member(Action.SEE)
@require_safe
def download(request: MemberRequest, collection: Collection) -> HttpResponse:
    """Show the newest runs, or those `before` a cursor; htmx gets the rows alone."""
    before = request.GET.get("before", "")
    cursor = parse_cursor(before) if before else None
    runs, freshness = _runs(collection, cursor)
    more = len(runs) > RUNS_SHOWN or freshness.has_older
    runs = runs[:RUNS_SHOWN]
    context = {
        "collection": collection,
        "rows": run_rows(
            collection,
            runs,
            may_delete=may_delete_runs(request.membership, collection),
            asks_for_sizes=not freshness.problem,
        ),
        "before": before,
        # Where older runs couldn't be brought, asking again starts from the same place.
        "next": (format_cursor(runs[-1].cursor) if runs else before) if more else "",
        "newest": format_cursor(runs[0].cursor) if runs else "",
        "freshness": freshness,
        "age": _age(freshness),
    }
    fragment = request.htmx and not request.htmx.history_restore_request
    response = render(request, "download/_run_rows.html" if fragment else "download/page.html", context)
    # A fragment and the whole page share an address.
    patch_vary_headers(response, ["HX-Request"])
    return response


def _runs(collection: Collection, cursor: Cursor | None) -> tuple[list[Run], Freshness]:
    """Return the runs from the cursor on, and how old their rows are.

    One more than is shown, where there are more: that tells it without counting.
    """
    source = source_of(collection)
    found = collection.runs.newest_first().before(cursor)[: RUNS_SHOWN + 1]
    if cursor is None:
        freshness = source.refresh(collection, deadline=LISTING_DEADLINE)
        return list(found), freshness
    runs = list(found)
    if len(runs) > RUNS_SHOWN or not collection.has_older_runs:
        return runs, Freshness(as_of=collection.refreshed_at, has_older=collection.has_older_runs)
    freshness = source.reach_back(collection, deadline=LISTING_DEADLINE)
    return list(found.all()), freshness


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
