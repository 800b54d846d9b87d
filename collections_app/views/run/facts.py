"""Facts about a run's records."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.http import HttpResponse
from django.views.decorators.http import require_safe

from collections_app.models import Collection, Run
from collections_app.people.access import Action, MemberRequest, collection_member
from collections_app.records.number_format import price_texts
from collections_app.records.preview.column_facts import Column
from collections_app.records.preview.concurrency import queries_of
from collections_app.records.preview.facts import facts_of
from collections_app.records.preview.price_facts import Bar, Prices
from collections_app.records.preview.records import files_of_records
from collections_app.records.preview.table import Table, is_built, is_built_automatically
from collections_app.views.run.filters import bound_texts
from collections_app.views.run.lookup import find_run
from collections_app.views.run.records import table_notes
from collections_app.views.run.table import PATIENCE, read_table, render_result

_PLOT_WIDTH, _PLOT_HEIGHT, _GAP = 320, 72, 2


@collection_member(Action.SEE)
@require_safe
def run_facts(request: MemberRequest, collection: Collection, number: int) -> HttpResponse:
    """Show facts about the records of a completed run. With `read`, read even a large run."""
    run = find_run(collection, number)
    context: dict[str, Any] = {"collection": collection, "run": run}
    if run.is_ready:
        with queries_of(request.user.pk):
            context |= _facts(run, is_requested="read" in request.GET)
    is_refused = "is_refused" in context
    return render_result(request, "run/facts.html", "run/_facts.html", context, is_refused=is_refused)


def _facts(run: Run, *, is_requested: bool) -> dict[str, Any]:
    files = files_of_records(run)
    if not files:
        return {}
    if not (is_requested or is_built_automatically(files) or is_built(files)):
        return {"is_large": True}
    return read_table(files, lambda table: _read_facts(table, run.collection.currency))


def _read_facts(table: Table, currency: str) -> dict[str, Any]:
    facts = facts_of(table, seconds=PATIENCE)
    return {
        "facts": facts,
        "columns": [(column, *_range(column)) for column in facts.columns],
        "prices": [_price_card(prices, currency) for prices in facts.prices.prices],
        "notes": table_notes(table),
        "table": table,
    }


def _range(column: Column) -> list[str]:
    """Return the lowest and highest number of a column as its cells show them, or "" for both."""
    bounds = (column.low, column.high)
    return bound_texts(column.name, ["" if bound is None else str(bound) for bound in bounds])


@dataclass(frozen=True)
class PlotBar:
    """A bar of a plot, in the units of the SVG."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class PriceCard:
    """The prices in a currency as texts, and their histogram: each range of prices with its count."""

    currency: str
    is_assumed: bool  # from the collection's settings, because the records name none
    low: str
    median: str
    high: str
    count: int
    plot: Sequence[PlotBar]
    ranges: Sequence[tuple[str, str, int]]


def _price_card(prices: Prices, usual_currency: str) -> PriceCard:
    currency = prices.currency or usual_currency
    low, median, high = price_texts([prices.low, prices.median, prices.high], currency)
    edges = price_texts([bar.low for bar in prices.bars], "")
    ranges = zip(edges, [*edges[1:], ""], prices.bars, strict=True)
    return PriceCard(
        currency,
        currency != prices.currency,
        low,
        median,
        high,
        prices.count,
        _plot(prices.bars),
        [(edge, above, bar.count) for edge, above, bar in ranges],
    )


def _plot(bars: Sequence[Bar]) -> list[PlotBar]:
    most = max(bar.count for bar in bars) or 1
    step = _PLOT_WIDTH / len(bars)
    heights = [max(bar.count / most * _PLOT_HEIGHT, 1 if bar.count else 0) for bar in bars]
    return [
        PlotBar(
            round(index * step, 1), round(_PLOT_HEIGHT - height, 1), round(step - _GAP, 1), round(height, 1)
        )
        for index, height in enumerate(heights)
    ]
