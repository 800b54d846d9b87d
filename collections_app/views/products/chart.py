"""The chart of a product's price, as parts of an SVG."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from itertools import pairwise
from statistics import quantiles
from typing import NamedTuple

from collections_app.models import Collection
from collections_app.records.tracking.history import History, Sighting
from collections_app.records.tracking.tracked_runs import TrackedRun
from collections_app.views.products.address import runs_address
from collections_app.views.products.money import PriceFormat

WIDTH, HEIGHT = 1000, 240
# With more runs, points would overlap.
_MOST_DOTS = 60
# How many runs the chart shows. The others are in the table.
MOST_RUNS = 400
_INTERVALS = 4
_STEPS = (Decimal(1), Decimal(2), Decimal("2.5"), Decimal(5), Decimal(10))


class Shade(NamedTuple):
    """A time in which the product was out of stock."""

    x: float
    width: float


class Mark(NamedTuple):
    """A price of a run."""

    x: float
    y: float
    is_trusted: bool


class Point(NamedTuple):
    """What a run says, for the script: the position, without y if there is no price, a text and a link."""

    x: float
    y: float | None
    text: str
    address: str


@dataclass(frozen=True)
class Chart:
    """A chart in the units of the SVG."""

    path: str
    shades: Sequence[Shade]
    marks: Sequence[Mark]
    points: Sequence[Point]
    prices: Sequence[str]  # on the axis, from the highest to the lowest
    lines: Sequence[float]  # where they are
    start: datetime
    end: datetime
    outside: int  # how many prices are above or below the chart
    runs: int


class _Plot:
    """The scales of a chart. The axis of prices ignores the lowest and highest 2 percent."""

    def __init__(self, start: datetime, end: datetime, amounts: Sequence[Decimal]) -> None:
        self.start = start
        self._seconds = (end - start).total_seconds()
        low, *_, high = quantiles(amounts, n=50) if len(amounts) > 1 else (amounts[0], amounts[0])
        low, high = max(low, min(amounts)), min(high, max(amounts))
        step = _step((high - low) or abs(high) / 5 or Decimal(1))
        # A little space below and above, but not below 0.
        low, high = max(low - step / 4, min(low, Decimal(0))), high + step / 4
        self.low = (low / step).to_integral_value(ROUND_FLOOR) * step
        self.high = max((high / step).to_integral_value(ROUND_CEILING) * step, self.low + step)
        count = int((self.high - self.low) / step)
        self.ticks = [self.high - step * index for index in range(count + 1)]

    def x(self, at: datetime) -> float:
        """Return where a time is."""
        share = (at - self.start).total_seconds() / self._seconds if self._seconds else 0.5
        return round(share * WIDTH, 1)

    def mark(self, amount: Decimal) -> float:
        """Return where the mark of a price is: at the edge if the price is outside of the chart."""
        return min(max(self.y(amount), 0.0), float(HEIGHT))

    def y(self, amount: Decimal) -> float:
        """Return where a price is, which may be outside of the chart."""
        return round(float((self.high - amount) / (self.high - self.low)) * HEIGHT, 1)


def _step(width: Decimal) -> Decimal:
    """Return the round difference between two prices on the axis."""
    least = width / _INTERVALS
    power = Decimal(1).scaleb(least.adjusted())
    return next(step * power for step in _STEPS if step * power >= least)


def chart_of(collection: Collection, history: History, prices: PriceFormat) -> Chart | None:
    """Return the chart of a product, or None if no trusted run has a price that can be read as an amount."""
    drawing = _Drawing(collection, history, prices)
    return drawing.chart() if drawing.amounts else None


class _Drawing:
    """Draws the newest runs, from the first one that contains the product."""

    def __init__(self, collection: Collection, history: History, prices: PriceFormat) -> None:
        self._runs_address = runs_address(collection)
        self._history = history
        self._prices = prices
        newest = {run.number for run in history.runs[-MOST_RUNS:]}
        self._sightings = {each.run.number: each for each in history.sightings if each.run.number in newest}
        first = next((run for run in history.runs if run.number in self._sightings), history.runs[-1])
        self._runs = [run for run in history.runs if run.created_at >= first.created_at]
        self.amounts = {
            each.run.number: amount for each, amount in history.priced if each.run.number in self._sightings
        }

    def chart(self) -> Chart:
        """Return the chart."""
        start, end = self._runs[0].created_at, self._runs[-1].created_at
        self._plot = plot = _Plot(start, end, [*self.amounts.values()])
        marks = list(self._marks())
        has_dots = len(marks) <= _MOST_DOTS
        return Chart(
            path=self._path(),
            shades=list(self._shades()),
            marks=[mark for mark in marks if has_dots or not mark.is_trusted],
            points=[self._point(run, self._sightings.get(run.number)) for run in self._runs],
            prices=[self._text(amount) for amount in plot.ticks],
            lines=[plot.y(amount) for amount in plot.ticks],
            start=start,
            end=end,
            outside=sum(not plot.low <= amount <= plot.high for amount in self._drawn()),
            runs=len(self._runs),
        )

    def _path(self) -> str:
        """Return the line: a price stays until the next trusted run, and ends there if that run lacks it."""
        parts: list[str] = []
        is_open = False
        for run, following in pairwise([*filter(self._tells_price, self._runs), None]):
            amount = self.amounts.get(run.number) if run else None
            if run is None or amount is None:
                is_open = False
                continue
            x, y = self._plot.x(run.created_at), self._plot.y(amount)
            parts.append(f"V{y}" if is_open else f"M{x} {y}")
            parts.append(f"H{self._plot.x(following.created_at)}" if following else "h0")
            is_open = True
        return "".join(parts)

    def _tells_price(self, run: TrackedRun) -> bool:
        """Whether a run changes the line: a price stays while only the availability is scraped."""
        return run.is_trusted and (run.has_prices or run.number not in self._sightings)

    def _shades(self) -> Iterator[Shade]:
        for start, end in self._history.sold_out_times():
            if start >= self._runs[0].created_at:
                x = self._plot.x(start)
                yield Shade(x, round(self._plot.x(end) - x, 1))

    def _drawn(self) -> Iterator[Decimal]:
        """Yield the prices that have a mark."""
        for sighting in self._sightings.values():
            if sighting.amount is not None and sighting.first.currency == self._history.currency:
                yield sighting.amount

    def _marks(self) -> Iterator[Mark]:
        for sighting in self._sightings.values():
            amount, currency = sighting.amount, sighting.first.currency
            if amount is not None and currency == self._history.currency:
                run = sighting.run
                yield Mark(self._plot.x(run.created_at), self._plot.mark(amount), run.is_trusted)

    def _point(self, run: TrackedRun, sighting: Sighting | None) -> Point:
        x, day = self._plot.x(run.created_at), f"{run.created_at:%-d %b %Y}"
        if sighting is None:
            return Point(x, None, f"Run {run.number}, {day}: not found", f"{self._runs_address}{run.number}/")
        first = sighting.first
        address = f"{self._runs_address}{run.number}/records/{first.position}"
        y = None if sighting.amount is None else self._plot.y(sighting.amount)
        return Point(x, y, f"Run {run.number}, {day}: {', '.join(self._words(sighting))}", address)

    def _words(self, sighting: Sighting) -> Iterator[str]:
        first = sighting.first
        if sighting.amount is None:
            yield first.price or "no price" if len(sighting.observations) == 1 else "several records"
        else:
            yield self._prices.text(sighting.amount, first.currency)
        if first.availability:
            yield first.availability.value
        if first.seller:
            yield first.seller
        if not sighting.run.is_trusted:
            yield "run not trusted"

    def _text(self, amount: Decimal) -> str:
        return self._prices.text(amount, self._history.currency)
