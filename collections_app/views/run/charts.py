"""Draw the histogram of a column, and describe it in words. Each bar links to its records."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from collections_app.records.preview.filters import Filter
from collections_app.records.preview.histograms import MOST_DISTINCT, Histogram, Shape
from collections_app.views.run.filters import bound_texts, filter_words
from collections_app.views.run.query import RecordQuery

# Each bar repeats the query. If it is longer, only the table of values has links.
_LONGEST_REPEATED = 300

# In the units of the SVG, which is stretched to the width of the column.
WIDTH, HEIGHT = 100, 24
_GAP = 1.5
# The height of a bar that consists of values.
_BAND = 9
# With more values, it doesn't show them.
_MOST_VALUES = 50
_VALUES_SHOWN = 5


@dataclass(frozen=True)
class ChartBar:
    """A bar in the units of the SVG, and the query string of its records."""

    x: float
    width: float
    height: float
    kind: str  # determines its color
    title: str
    address: str = ""
    is_chosen: bool = False

    @property
    def y(self) -> float:
        """The distance from the top of the chart."""
        return round(HEIGHT - self.height, 1)


@dataclass(frozen=True)
class Chart:
    """The chart of a column, and a summary of its values."""

    column: str
    bars: Sequence[ChartBar]
    summary: str
    missing: str


def chart_of(each: Histogram, query: RecordQuery) -> Chart:
    """Return the chart of a histogram."""
    draw = _ranges if each.shape == Shape.RANGES else _segments
    missing = f"{share(each.missing, each.filled + each.missing)} missing" if each.missing else ""
    return Chart(each.column, list(draw(each, query)), summary(each), missing)


def summary(each: Histogram) -> str:
    """Return the values of a column in a few words: their range, their number, or the only one."""
    if not each.filled:
        return "no values"
    if each.shape == Shape.RANGES:
        low, high = bound_texts(each.column, [each.low, each.high])
        return low if low == high else f"{low}\N{EN DASH}{high}"
    if each.distinct is None:
        return f"over {MOST_DISTINCT:,} values"
    if each.distinct == 1 and each.bars:
        return filter_words(each.bars[0].filter)
    counts = {bar.filter.value: bar.count for bar in each.bars}
    if counts.keys() == {"true", "false"}:
        return f"{share(counts['true'], each.filled)} true"
    return f"{each.distinct:,} values"


def share(part: int, total: int) -> str:
    """Return a percentage. It is 0% or 100% only if that is exact."""
    percent = round(100 * part / total) if total else 0
    if part and not percent:
        return "<1%"
    return ">99%" if percent == 100 and part < total else f"{percent}%"  # noqa: PLR2004


def bar_address(query: RecordQuery, each: Filter) -> str:
    """Return the query string with a filter, or without it if it is one of the query's."""
    return query.without_filter(each) if each in query.filters else query.with_filter(each)


def _ranges(each: Histogram, query: RecordQuery) -> Iterator[ChartBar]:
    """Yield a bar for each range, and one for missing values."""
    bars = [(bar.filter, bar.count) for bar in each.bars]
    missing = [(Filter(each.column), each.missing)] if each.missing else []
    most = max(count for _, count in bars) or 1
    step = WIDTH / len(bars + missing)
    for index, (kept, count) in enumerate(bars + missing):
        height = min(max(count / most * HEIGHT, 1.5 if count else 0), HEIGHT)
        kind = "missing" if kept.is_missing else "range"
        yield _bar((index * step, step - _GAP, height), kind, kept, count, query)


def _segments(each: Histogram, query: RecordQuery) -> Iterator[ChartBar]:
    """Yield the parts of a bar: the most common values, the others, and the missing ones."""
    is_short = each.distinct is not None and each.distinct <= _MOST_VALUES
    shown = each.bars[:_VALUES_SHOWN] if is_short else []
    parts: list[tuple[str, Filter | None, int]] = [
        (f"value-{index}", bar.filter, bar.count) for index, bar in enumerate(shown)
    ]
    parts.append(("others", None, each.filled - sum(bar.count for bar in shown)))
    parts.append(("missing", Filter(each.column), each.missing))
    total, done = each.filled + each.missing, 0
    for kind, kept, count in parts:
        if count:
            width = max(count / total * WIDTH - _GAP / 2, 0.5)
            yield _bar((done / total * WIDTH, width, _BAND), kind, kept, count, query)
        done += count


def _bar(
    box: tuple[float, float, float], kind: str, kept: Filter | None, count: int, query: RecordQuery
) -> ChartBar:
    """Return a bar with this position, width and height."""
    words = filter_words(kept) if kept else "Other values"
    title = f"{words}: {count:,} record{'' if count == 1 else 's'}"
    x, width, height = (round(each, 1) for each in box)
    if kept is None or len(query.again) > _LONGEST_REPEATED:
        return ChartBar(x, width, height, kind, title)
    return ChartBar(x, width, height, kind, title, bar_address(query, kept), is_chosen=kept in query.filters)
