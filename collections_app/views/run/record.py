"""The page of a single record."""

from collections.abc import Sequence
from typing import Any

from django.http import Http404, HttpResponse
from django.utils.cache import patch_vary_headers
from django.views.decorators.http import require_safe

from collections_app.models import Collection, ResultFile
from collections_app.people.access import Action, MemberRequest, collection_member
from collections_app.records.preview.concurrency import queries_of
from collections_app.records.preview.first_records import first_records
from collections_app.records.preview.queries import neighbors, record_at
from collections_app.records.preview.records import Record, files_of_records
from collections_app.records.preview.table import Table
from collections_app.views.run.cells import pretty
from collections_app.views.run.json_colors import colored
from collections_app.views.run.lookup import find_run
from collections_app.views.run.query import RecordQuery, parse_query
from collections_app.views.run.table import read_table, render_result


@collection_member(Action.SEE)
@require_safe
def record(request: MemberRequest, collection: Collection, number: int, position: int) -> HttpResponse:
    """Show the JSON of one record of a completed run.

    With the query of the run's page, Previous and Next follow its results, in which `after` is the index of
    this record.
    """
    run = find_run(collection, number)
    if not run.is_ready:
        raise Http404(f"Run {number} is not completed. It has no records to show yet.")
    query, files = parse_query(request), files_of_records(run)
    context: dict[str, Any] = {"collection": collection, "run": run, "position": position, "query": query}
    with queries_of(request.user.pk):
        context |= _record(files, position)
        if not query.table_query.is_unfiltered:
            context |= _neighbors(files, position, query)
    context["in_dialog"] = request.htmx.target == "record-dialog"
    is_refused = "is_refused" in context
    response = render_result(request, "run/record.html", "run/_record.html", context, is_refused=is_refused)
    patch_vary_headers(response, ["HX-Target"])
    return response


def _record(files: Sequence[ResultFile], position: int) -> dict[str, Any]:
    first = first_records(files)
    if 1 <= position <= len(first.records):
        has_next = not first.is_complete or position < len(first.records)
        return _shown(first.records[position - 1], has_next=has_next)
    return read_table(files, lambda table: _read_record(table, position))


def _read_record(table: Table, position: int) -> dict[str, Any]:
    found = record_at(table, position) if 1 <= position <= table.records else None
    if found is None:
        raise Http404(f"This run has no record {position}.")
    return _shown(found, has_next=position < table.records)


def _shown(found: Record, *, has_next: bool) -> dict[str, Any]:
    text, is_cut = pretty(found.fields)
    return {
        "is_too_large": found.is_too_large,
        "json": colored(text),
        "is_cut": is_cut,
        "previous": found.number - 1,
        "next": found.number + 1 if has_next else None,
    }


def _neighbors(files: Sequence[ResultFile], position: int, query: RecordQuery) -> dict[str, Any]:
    """Return the links to the previous and next results, or nothing if the record's position has changed."""
    index = query.table_query.after
    found = read_table(files, lambda table: {"positions": neighbors(table, query.table_query)})
    positions = found.get("positions", {})
    if positions.get(index) != position:
        return {}
    previous, following = (
        f"{positions[each]}{query.in_order}{each}" if each in positions else ""
        for each in (index - 1, index + 1)
    )
    return {"previous": previous, "next": following}
