"""The page of a product: its price over time, and what each run says about it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from django.http import Http404, HttpResponse
from django.views.decorators.http import require_safe

from collections_app.models import Collection, WatchedProduct
from collections_app.people.access import Action, MemberRequest, collection_member
from collections_app.records.preview.concurrency import TooManyQueries, queries_of
from collections_app.records.tracking.history import History, Observation, Sighting, history_of
from collections_app.records.tracking.key_text import shown_key
from collections_app.records.tracking.tracked_runs import MOST_RUNS, ProductsUnavailable, TrackedRun
from collections_app.views.products.address import key_in_address, product_address, runs_address
from collections_app.views.products.chart import HEIGHT, WIDTH, chart_of
from collections_app.views.products.money import PriceFormat, price_text
from collections_app.views.run.table import render_result

_MOST_SELLERS = 5
# How many runs the table shows at once, and how many records of each.
_LINES = 100
_MOST_RECORDS = 10


@collection_member(Action.SEE)
@require_safe
def product(request: MemberRequest, collection: Collection, key: str) -> HttpResponse:
    """Show the history of a product. htmx gets the rows of the table after `before`, the number of a run."""
    found = key_in_address(collection, key)
    context: dict[str, Any] = {
        "collection": collection,
        "key": found,
        "name": shown_key(found),
        "here": product_address(collection.pk, found),
        "runs_address": runs_address(collection),
        "is_watched": collection.watchlist.filter(key=found).exists(),
        "most_watched": WatchedProduct.MOST,
    }
    try:
        with queries_of(request.user.pk):
            history = history_of(collection, found)
    except ProductsUnavailable as problem:
        context["problem"] = str(problem)
    except TooManyQueries as problem:
        context |= {"problem": str(problem), "is_refused": True}
    else:
        if history is None:
            raise Http404(
                f"The product “{shown_key(found)}” isn't in the newest {MOST_RUNS} runs of {collection}. "
                "A new run appears here a few minutes after it has completed."
            )
        context |= _context(collection, history, _before(request))
    is_refused = "is_refused" in context
    return render_result(
        request, "products/product.html", "products/_observations.html", context, is_refused=is_refused
    )


def _before(request: MemberRequest) -> int | None:
    text = request.GET.get("before", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < len(str(2**63)) else None


def _context(collection: Collection, history: History, before: int | None) -> dict[str, Any]:
    amounts = [
        each.amount
        for sighting in history.sightings
        for each in sighting.observations
        if each.amount is not None
    ]
    prices = PriceFormat.of(collection, amounts)
    lines = list(_lines(history, prices))
    start = next((index + 1 for index, line in enumerate(lines) if line.run.number == before), 0)
    shown = lines[start : start + _LINES]
    return {
        "history": history,
        "newest": history.newest,
        "newest_price": history.newest_price,
        "title": history.title,
        "is_current": not history.missed,
        "now": price_text(history.newest_price.first, prices),
        "chart": chart_of(collection, history, prices),
        "width": WIDTH,
        "height": HEIGHT,
        "has_untrusted": any(not each.run.is_trusted for each in history.sightings),
        "figures": _figures(history, prices),
        "lines": shown,
        "more": f"?before={shown[-1].run.number}" if start + _LINES < len(lines) else "",
    }


@dataclass(frozen=True)
class Extreme:
    """The lowest or the highest price, and the first run that has it."""

    name: str
    price: str
    sighting: Sighting


@dataclass(frozen=True)
class Figures:
    """Figures about a product. Shares are percentages."""

    extremes: Sequence[Extreme]
    median: str
    sold_out: int | None
    sellers: Sequence[tuple[str, int]]
    more_sellers: int


def _figures(history: History, prices: PriceFormat) -> Figures:
    median, share, sellers = history.recent_median, history.sold_out_share, history.sellers
    named = sum(count for _, count in sellers)
    return Figures(
        [
            Extreme(name, prices.text(found.amount, history.currency), found.sighting)
            for name, found in (("Lowest", history.lowest), ("Highest", history.highest))
            if found
        ],
        "" if median is None else prices.text(median, history.currency),
        None if share is None else round(share * 100),
        [(name, round(count * 100 / named)) for name, count in sellers[:_MOST_SELLERS]],
        max(0, len(sellers) - _MOST_SELLERS),
    )


@dataclass(frozen=True)
class Row:
    """A record in the table."""

    observation: Observation
    price: str

    @property
    def stock(self) -> str:
        """Whether the product can be bought, or what the record says about that."""
        known = self.observation.availability
        return known.value.capitalize() if known else self.observation.stock


@dataclass(frozen=True)
class Line:
    """The records of a run, or several runs in a row that lack the product, of which `run` is the oldest.

    Either all of these runs can be trusted, or none.
    """

    run: TrackedRun
    rows: Sequence[Row] = ()
    more_records: int = 0
    newest: TrackedRun | None = None  # of the runs that lack it


def _lines(history: History, prices: PriceFormat) -> Iterator[Line]:
    """Yield the lines of the table, newest first, down to the first run that contains the product."""
    lacking: list[Line] = []
    for run in reversed(history.runs):
        found = history.by_run.get(run.number)
        if found is None:
            newest = run
            if lacking and lacking[-1].run.is_trusted == run.is_trusted:
                newest = lacking.pop().newest or run
            lacking.append(Line(run, newest=newest))
            continue
        yield from lacking
        lacking.clear()
        rows = [Row(each, price_text(each, prices)) for each in found[:_MOST_RECORDS]]
        yield Line(run, rows, len(found) - len(rows))
