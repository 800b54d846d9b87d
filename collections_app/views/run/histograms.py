"""The histograms of the columns of a run's records: below the headers of the table, and as a table."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.cache import patch_vary_headers
from django.views.decorators.http import require_safe

from collections_app.models import Collection, ResultFile, Run
from collections_app.people.access import Action, MemberRequest, collection_member
from collections_app.records.column_list import encode_columns, parse_columns
from collections_app.records.preview.concurrency import queries_of
from collections_app.records.preview.filters import Filter
from collections_app.records.preview.histograms import Histogram, histograms_of
from collections_app.records.preview.records import files_of_records
from collections_app.records.preview.table import Table, is_built, is_built_automatically
from collections_app.views.fragments import wants_fragment
from collections_app.views.run.charts import Chart, bar_address, chart_of, summary
from collections_app.views.run.filters import filter_words
from collections_app.views.run.lookup import find_ready_run
from collections_app.views.run.query import RecordQuery, parse_query
from collections_app.views.run.table import PATIENCE, read_table, render_result

# How long the page of a run waits for histograms. After that, it loads them later.
_PATIENCE_OF_PAGE = 0.3
# The page shows no more.
_MOST_SHOWN = 48
_LONGEST_LIST = 4_000


@dataclass(frozen=True)
class HeaderChart:
    """The chart of a column, and the address of the table of its values."""

    chart: Chart
    address: str


@dataclass(frozen=True)
class ChartRow:
    """The chart of each column, or None. Unless `address` is "", the row is loaded from there."""

    charts: Sequence[HeaderChart | None]
    address: str = ""
    is_retry: bool = False


@dataclass(frozen=True)
class ValueLine:
    """The number of records with a value or range, and the query string that selects them, if any."""

    words: str
    count: int
    address: str = ""
    is_chosen: bool = False


def chart_row(
    run: Run, files: Sequence[ResultFile], query: RecordQuery, columns: Sequence[str]
) -> ChartRow | None:
    """Return the row of charts below these headers, or None if the run's page has none."""
    has_table = is_built(files)
    listed = encode_columns(columns)
    if len(listed) > _LONGEST_LIST or not (has_table or is_built_automatically(files)):
        return None
    if has_table:
        found = read_table(files, lambda table: _charts(table, run, query, columns, _PATIENCE_OF_PAGE))
        if "charts" in found:
            return ChartRow(found["charts"])
    return ChartRow([None] * len(columns), _address(run, query, "histograms", "shown", listed))


@collection_member(Action.SEE)
@require_safe
def run_histograms(request: MemberRequest, collection: Collection, number: int) -> HttpResponse:
    """Return the row of charts of the columns `shown`, a list, to htmx. Others get the run's page."""
    run, query = find_ready_run(collection, number), parse_query(request)
    if not wants_fragment(request):
        return redirect(f"{reverse('run', args=[collection.pk, number])}{query.again}")
    columns = _columns(request.GET.get("shown", ""))
    with queries_of(request.user.pk):
        found = read_table(files_of_records(run), lambda table: _charts(table, run, query, columns, PATIENCE))
    address = request.get_full_path() if "progress" in found else ""
    row = ChartRow(found.get("charts", [None] * len(columns)), address, is_retry=True)
    return render(request, "run/_histograms.html", {"row": row, "run": run})


@collection_member(Action.SEE)
@require_safe
def run_values(request: MemberRequest, collection: Collection, number: int) -> HttpResponse:
    """Show the values `of` a column as a table, with links to their records."""
    run, query, column = find_ready_run(collection, number), parse_query(request), request.GET.get("of", "")
    context: dict[str, Any] = {"collection": collection, "run": run, "column": column}
    context["again"] = f"?{request.GET.urlencode()}"
    context["in_dialog"] = request.htmx.target == "record-dialog"
    with queries_of(request.user.pk):
        context |= read_table(files_of_records(run), lambda table: _values(table, query, column))
    is_refused = "is_refused" in context
    response = render_result(request, "run/values.html", "run/_values.html", context, is_refused=is_refused)
    patch_vary_headers(response, ["HX-Target"])
    return response


def _address(run: Run, query: RecordQuery, page: str, name: str, value: str) -> str:
    folder = reverse("run", args=[run.collection_id, run.number])
    return f"{folder}{page}?{urlencode({name: value})}&{query.from_start.removeprefix('?')}".removesuffix("&")


def _columns(listed: str) -> list[str]:
    try:
        # The last name is empty.
        return list(parse_columns(listed[: 2 * _LONGEST_LIST]))[:-1]
    except ValueError:
        return []


def _charts(
    table: Table, run: Run, query: RecordQuery, columns: Sequence[str], seconds: float
) -> dict[str, Any]:
    known = [name for name in columns[:_MOST_SHOWN] if name in table.columns]
    found = histograms_of(table, known, seconds=seconds)
    charts = {
        name: HeaderChart(chart_of(each, query), _address(run, query, "values", "of", name))
        for name, each in found.items()
    }
    return {"charts": [charts.get(name) for name in columns]}


def _values(table: Table, query: RecordQuery, column: str) -> dict[str, Any]:
    if column not in table.columns:
        raise Http404(f"These records have no column “{column:.100}”.")
    found = histograms_of(table, [column], seconds=PATIENCE)[column]
    return {
        "lines": _lines(found, query),
        "summary": summary(found),
        "records": found.filled + found.missing,
    }


def _lines(found: Histogram, query: RecordQuery) -> list[ValueLine]:
    def line(each: Filter, count: int) -> ValueLine:
        words = "No value" if each.is_missing else filter_words(each)
        return ValueLine(words, count, bar_address(query, each), is_chosen=each in query.filters)

    others = [ValueLine("Other values", found.others)] if found.others else []
    missing = [line(Filter(found.column), found.missing)] if found.missing else []
    return [*(line(bar.filter, bar.count) for bar in found.bars), *others, *missing]
