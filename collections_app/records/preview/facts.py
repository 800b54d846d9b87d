"""Facts of a run's records: what is missing in each column, the range of prices, the share in stock."""

import math
from collections.abc import Sequence
from typing import IO

import msgspec

from collections_app.files.storage.cache import BuildFailed, cached, existing
from collections_app.records.preview.concurrency import asker
from collections_app.records.preview.engine import COUNTING, Database, TookTooLong
from collections_app.records.preview.queries import asked
from collections_app.records.preview.table import NotPrepared, Table
from collections_app.system.background import Background

_SECONDS = 60.0
BARS = 16

# Columns that are taken for the price and for what is in stock: the first of these names that the run has.
PRICES = ("price_cents", "price", "current_price", "sale_price", "buybox_price")
STOCKS = ("in_stock", "is_in_stock", "available", "is_available", "availability", "stock_status", "stock")

# A FILTER for each would take DuckDB ten times as long where there are many columns.
_NUMBER = """
{column},
CASE WHEN isfinite(try_cast({column} AS DOUBLE)) THEN try_cast({column} AS DOUBLE) END AS {column}_number
"""
_COLUMN = """
count(CASE WHEN {column} NOT IN ('', '[]', '{{}}') THEN 1 END),
count({column}_number), min({column}_number), max({column}_number)
"""
_COLUMNS = "SELECT {each} FROM (SELECT {numbers} FROM read_parquet($table))"
_MIDDLE = """
SELECT quantile_cont(price, [0.5, 0.98])
FROM (SELECT try_cast({column} AS DOUBLE) AS price FROM read_parquet($table)) WHERE isfinite(price)
"""
_BARS = """
SELECT least(greatest(floor((price - $low) / $width), 0), $last)::INTEGER AS bar, count(*)
FROM (SELECT try_cast({column} AS DOUBLE) AS price FROM read_parquet($table)) WHERE isfinite(price)
GROUP BY bar
"""
_IN_STOCK = """
SELECT count(*) FILTER (
    try_cast({column} AS DOUBLE) > 0 OR starts_with(lower({column}), 'in stock')
    OR lower({column}) IN ('true', 'yes', 'instock', 'in_stock', 'available')
) FROM read_parquet($table)
"""


class Column(msgspec.Struct, frozen=True):
    """What one column holds."""

    name: str
    filled: int
    missing: int
    numbers: int
    low: float | None
    high: float | None

    @property
    def is_numeric(self) -> bool:
        """Whether all values that there are are numbers."""
        return 0 < self.filled == self.numbers


class Bar(msgspec.Struct, frozen=True):
    """How many prices lie in a range; `high` is None in the last one, which is open."""

    low: float
    high: float | None
    count: int


class Prices(msgspec.Struct, frozen=True):
    """The range of prices, in whole units of money where the column is in cents."""

    column: str
    low: float
    middle: float
    high: float
    count: int
    bars: list[Bar]


class Stock(msgspec.Struct, frozen=True):
    """How many records are in stock, of those that say so or otherwise."""

    column: str
    yes: int
    count: int


class Facts(msgspec.Struct, frozen=True):
    """Facts of the records in a run's table."""

    records: int
    columns: list[Column]
    prices: Prices | None
    stock: Stock | None

    @property
    def has_gaps(self) -> bool:
        """Whether something is missing in a column."""
        return any(column.missing for column in self.columns)


_background = Background("preview-facts", most=2)


def facts_of(table: Table, *, seconds: float) -> Facts:
    """Return the facts of a table, which are found out once. Raises StillWorking, NotPrepared."""
    name = name_of_facts(table.path.name)
    entry = existing(name)
    if entry is None:
        return _background.done_within(seconds, name, lambda: _found_out(name, table), owner=asker())
    with entry:
        return msgspec.json.decode(entry.read(), type=Facts)


def name_of_facts(table: str) -> str:
    """Return what the facts of a table of that name are called in the cache."""
    return f"{table}.facts"


def _found_out(name: str, table: Table) -> Facts:
    try:
        with cached(name, lambda out: _write(table, out)) as entry:
            return msgspec.json.decode(entry.read(), type=Facts)
    except (BuildFailed, OSError):
        raise NotPrepared("These facts could not be found out a moment ago. Try again.") from None
    except TookTooLong:
        raise NotPrepared("It takes too long to find these facts out.") from None


def _write(table: Table, out: IO[bytes]) -> None:
    out.write(msgspec.json.encode(_facts(table)))


def _facts(table: Table) -> Facts:
    with asked(table, seconds=_SECONDS, turns=COUNTING) as found:
        columns = _columns(found, table)
        return Facts(_counted(table), columns, _prices(found, table, columns), _stock(found, table, columns))


def _counted(table: Table) -> int:
    return table.records - table.too_large


def _columns(found: Database, table: Table) -> list[Column]:
    if not table.columns:
        return []
    each, numbers = (
        ", ".join(part.format(column=f"c{place}") for place in range(len(table.columns)))
        for part in (_COLUMN, _NUMBER)
    )
    (row,) = found.ask(_COLUMNS.format(each=each, numbers=numbers), {"table": str(table.path)})
    parts = (row[4 * place : 4 * place + 4] for place in range(len(table.columns)))
    return [
        Column(name, filled, _counted(table) - filled, numbers, low, high)
        for name, (filled, numbers, low, high) in zip(table.columns, parts, strict=True)
    ]


def _chosen(columns: Sequence[Column], names: Sequence[str]) -> Column | None:
    by_name = {column.name.lower(): column for column in columns if column.filled}
    return next((by_name[name] for name in names if name in by_name), None)


def _prices(found: Database, table: Table, columns: Sequence[Column]) -> Prices | None:
    column = _chosen([each for each in columns if each.is_numeric], PRICES)
    if column is None or column.low is None or column.high is None:
        return None
    place = f"c{table.columns.index(column.name)}"
    values: dict[str, object] = {"table": str(table.path)}
    (((middle, nearly_all),),) = found.ask(_MIDDLE.format(column=place), values)
    # Few very high prices would press all others into the first bar.
    top = nearly_all if column.high > 2 * nearly_all > 0 else column.high
    width = (top - column.low) / BARS
    # The difference between the largest floats is infinite.
    if not 0 < width < math.inf:
        counts, bars, width = {0: column.filled}, 1, 0.0
    else:
        values |= {"low": column.low, "width": width, "last": BARS - 1}
        counts, bars = dict(found.ask(_BARS.format(column=place), values)), BARS
    unit = 100 if column.name.lower().endswith("_cents") else 1
    return Prices(
        column=column.name,
        low=column.low / unit,
        middle=middle / unit,
        high=column.high / unit,
        count=column.filled,
        bars=[
            Bar(
                (column.low + bar * width) / unit,
                None if bar == bars - 1 else (column.low + (bar + 1) * width) / unit,
                counts.get(bar, 0),
            )
            for bar in range(bars)
        ],
    )


def _stock(found: Database, table: Table, columns: Sequence[Column]) -> Stock | None:
    column = _chosen(columns, STOCKS)
    if column is None:
        return None
    place = f"c{table.columns.index(column.name)}"
    ((yes,),) = found.ask(_IN_STOCK.format(column=place), {"table": str(table.path)})
    return Stock(column.name, yes, column.filled)
