"""Histograms of the columns of a run's records: how many have which values.

Each bar is counted with the filter that selects its records, so the filter finds exactly what the bar shows.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from enum import StrEnum
from functools import partial
from itertools import pairwise
from time import monotonic
from typing import IO, Any

import msgspec

from collections_app.files.storage.cache import BuildFailed, cached, existing
from collections_app.records.column_roles import shown_first
from collections_app.records.preview.column_facts import Column, columns_in, is_filled
from collections_app.records.preview.columns import MOST_COLUMNS
from collections_app.records.preview.concurrency import current_user_id
from collections_app.records.preview.engine import FACTS, Database, QueryTimeout
from collections_app.records.preview.filters import LONGEST_BOUND, LONGEST_VALUE, Filter, condition, sql_time
from collections_app.records.preview.histogram_edges import number_edges, time_edges
from collections_app.records.preview.queries import connect
from collections_app.records.preview.table import Table, TableUnavailable
from collections_app.system.background import Background

_SECONDS = 60.0
# How many columns are counted and cached together.
_AT_ONCE = 12
# The most common values of a column of text.
MOST_VALUES = 20
# Distinct values are counted up to this number.
MOST_DISTINCT = 10_000
# If an estimate is higher than this, there are more than MOST_DISTINCT, even if it is off by a few percent.
_CERTAINLY_MORE = 12_000
# If most values are this much closer together than all of them, the first and last bars have no limit.
_SPREAD = 4

_ESTIMATE = "approx_count_distinct({column}) FILTER ({is_filled})"
_TIMES = "count({time}), epoch_us(min({time})), epoch_us(max({time}))"
_MIDDLE = "approx_quantile({value}, [0.02, 0.98]), bool_and({value} = floor({value}))"
_SELECT = "SELECT {each} FROM read_parquet($table)"
_DISTINCT = """
SELECT count(DISTINCT hash({column})) FROM read_parquet($table) WHERE {is_filled}
"""
_VALUES = """
SELECT {column} AS value, count(*) FROM read_parquet($table)
WHERE {is_filled} AND length({column}) <= $longest AND NOT contains({column}, chr(0))
GROUP BY value ORDER BY count(*) DESC, value LIMIT $most
"""
# Longer numbers have an exponent.
_LONGEST_PLAIN = 30
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Shape(StrEnum):
    """What the bars of a histogram stand for."""

    RANGES = "ranges"  # of numbers, amounts of money or dates, in order
    VALUES = "values"  # the most common ones first


class Bar(msgspec.Struct, frozen=True):
    """The number of records that a filter selects."""

    filter: Filter
    count: int


class Histogram(msgspec.Struct, frozen=True):
    """The values of a column.

    `low` and `high` are the ends of all ranges. `distinct`, the number of values, is None if there are more
    than MOST_DISTINCT.
    """

    column: str
    shape: Shape
    filled: int
    missing: int
    bars: list[Bar]
    low: str = ""
    high: str = ""
    distinct: int | None = None

    @property
    def others(self) -> int:
        """The number of records with a value that has no bar."""
        return self.filled - sum(bar.count for bar in self.bars)


_background = Background("preview-histograms", most=4)


def histograms_of(table: Table, names: Sequence[str], *, seconds: float) -> dict[str, Histogram]:
    """Return the histograms of these columns by name. They are cached.

    Raises StillWorking and TableUnavailable.
    """
    order = shown_first(table.columns)
    parts = sorted({order.index(name) // _AT_ONCE for name in names})
    until = monotonic() + seconds
    found = [_part(table, order, part, max(until - monotonic(), 0.0)) for part in parts]
    by_name = {each.column: each for part in found for each in part}
    return {name: by_name[name] for name in names}


def names_of_histograms(table: str) -> list[str]:
    """Return the names in the cache of the histograms of a table's columns."""
    return [f"{table}.histograms{part}" for part in range(-(-MOST_COLUMNS // _AT_ONCE))]


def _part(table: Table, order: Sequence[str], part: int, seconds: float) -> list[Histogram]:
    """Return histograms that are cached together, such as those of the columns shown by default."""
    name = names_of_histograms(table.path.name)[part]
    entry = existing(name)
    if entry is None:
        columns = order[part * _AT_ONCE : (part + 1) * _AT_ONCE]
        work = partial(_build, name, table, columns)
        return _background.done_within(seconds, name, work, owner=current_user_id())
    with entry:
        return msgspec.json.decode(entry.read(), type=list[Histogram])


def _build(name: str, table: Table, columns: Sequence[str]) -> list[Histogram]:
    def write(out: IO[bytes]) -> None:
        with connect(table, seconds=_SECONDS, semaphore=FACTS) as database:
            out.write(msgspec.json.encode(histograms_in(database, table, columns)))

    try:
        with cached(name, write) as entry:
            return msgspec.json.decode(entry.read(), type=list[Histogram])
    except (BuildFailed, OSError):
        raise TableUnavailable("The histograms can't be calculated. Try again.") from None
    except QueryTimeout:
        raise TableUnavailable("Calculating the histograms takes too long.") from None


def histograms_in(database: Database, table: Table, names: Sequence[str]) -> list[Histogram]:
    """Return the histograms of these columns."""
    columns = columns_in(database, table, names)
    texts = [column.name for column in columns if column.filled]
    times = _times(database, table, texts)
    distinct = _distinct(database, table, texts)
    return [
        _numbers(database, table, column)
        or _dates(database, table, column, times.get(column.name))
        or _values(database, table, column, distinct.get(column.name))
        for column in columns
    ]


def _numbers(database: Database, table: Table, column: Column) -> Histogram | None:
    if column.low is None or column.high is None:
        return None
    filters = list(_number_filters(database, table, column.name, column.low, column.high))
    if any(max(len(each.low), len(each.high)) > LONGEST_BOUND for each in filters):
        return None
    return _ranges(database, table, column, filters, (_text(column.low), _text(column.high)))


def _number_filters(
    database: Database, table: Table, name: str, low: Decimal, high: Decimal
) -> Iterator[Filter]:
    if low == high:
        yield Filter(name, low=_text(low), high=_text(high), includes_high=True)
        return
    first, last, is_whole = _middle(database, table, name, low, high)
    edges = number_edges(first, last, is_whole=is_whole)
    if is_whole and edges[1] - edges[0] == 1:
        edges = [edge for edge in edges if first <= edge <= last]
        pairs = [(edge, edge) for edge in edges]
    else:
        pairs = list(pairwise(edges))
    for index, (start, end) in enumerate(pairs):
        is_first, is_last = index == 0, index == len(pairs) - 1
        yield Filter(
            name,
            low="" if is_first and first > low else _text(start),
            high="" if is_last and last < high else _text(end),
            includes_high=(is_last and last >= high) or start == end,
        )


def _middle(
    database: Database, table: Table, name: str, low: Decimal, high: Decimal
) -> tuple[Decimal, Decimal, bool]:
    """Return the range that the bars show, without outliers, and whether all numbers are integers."""
    number = table.sql_amount(name) if name in table.notations else table.sql_name(name)
    value = f"try_cast({number} AS DOUBLE)"
    ((ends, is_whole),) = _query(database, table, _SELECT.format(each=_MIDDLE.format(value=value)))
    if not all(map(math.isfinite, ends)):
        return low, high, is_whole
    start, end = (Decimal(repr(each)) for each in ends)
    width = end - start
    if width <= 0 or high - low <= _SPREAD * width:
        return low, high, is_whole
    return low if start - low <= width else start, high if high - end <= width else end, is_whole


def _text(number: Decimal) -> str:
    text = f"{number.normalize():f}"
    return text if len(text) <= _LONGEST_PLAIN else str(number.normalize())


def _times(database: Database, table: Table, names: Sequence[str]) -> dict[str, tuple[int, int, int]]:
    """Return the number of times in each column, and the first and last one in microseconds."""
    if not names:
        return {}
    each = ", ".join(_TIMES.format(time=sql_time(table.sql_name(name))) for name in names)
    (row,) = _query(database, table, _SELECT.format(each=each))
    return {name: row[3 * index : 3 * index + 3] for index, name in enumerate(names)}


def _dates(
    database: Database, table: Table, column: Column, times: tuple[int, int, int] | None
) -> Histogram | None:
    if times is None or times[0] != column.filled or not column.filled:
        return None
    try:
        low, high = (_EPOCH + timedelta(microseconds=each) for each in times[1:])
        edges = time_edges(low, high)
    except (OverflowError, ValueError):  # before the year 1, or near the end of 9999
        return None
    texts = map(_time_text, edges)
    filters = [Filter(column.name, low=start, high=end) for start, end in pairwise(texts)]
    ends = low.date().isoformat(), high.date().isoformat()
    return _ranges(database, table, column, filters, ends)


def _time_text(at: datetime) -> str:
    day = at.date().isoformat()
    return day if at.time() == time() else f"{day}T{at:%H:%M}Z"


def _ranges(
    database: Database, table: Table, column: Column, filters: Sequence[Filter], ends: tuple[str, str]
) -> Histogram:
    conditions = [condition(table, each, f"bar{index}") for index, each in enumerate(filters)]
    counts = ", ".join(f"count(*) FILTER ({sql})" for sql, _ in conditions)
    bounds = {name: bound for _, values in conditions for name, bound in values.items()}
    (row,) = _query(database, table, _SELECT.format(each=counts), bounds)
    bars = [Bar(each, number) for each, number in zip(filters, row, strict=True)]
    return Histogram(column.name, Shape.RANGES, column.filled, column.missing, bars, *ends)


def _distinct(database: Database, table: Table, names: Sequence[str]) -> dict[str, int | None]:
    """Return the number of distinct values in each column, or None if there are more than MOST_DISTINCT."""
    if not names:
        return {}
    each = ", ".join(_of_filled(_ESTIMATE, table, name) for name in names)
    (estimates,) = _query(database, table, _SELECT.format(each=each))
    return {
        name: None if estimate > _CERTAINLY_MORE else _exactly_distinct(database, table, name)
        for name, estimate in zip(names, estimates, strict=True)
    }


def _exactly_distinct(database: Database, table: Table, name: str) -> int | None:
    ((number,),) = _query(database, table, _of_filled(_DISTINCT, table, name))
    return int(number) if number <= MOST_DISTINCT else None


def _values(database: Database, table: Table, column: Column, distinct: int | None) -> Histogram:
    bars = []
    if distinct:
        statement = _of_filled(_VALUES, table, column.name)
        rows = _query(database, table, statement, {"longest": LONGEST_VALUE, "most": MOST_VALUES})
        bars = [Bar(Filter(column.name, value), number) for value, number in rows]
    return Histogram(column.name, Shape.VALUES, column.filled, column.missing, bars, distinct=distinct)


def _of_filled(sql: str, table: Table, name: str) -> str:
    column = table.sql_name(name)
    return sql.format(column=column, is_filled=is_filled(column))


def _query(
    database: Database, table: Table, statement: str, values: Mapping[str, object] | None = None
) -> Sequence[tuple[Any, ...]]:
    return database.query(statement, {"table": str(table.path), **(values or {})})
