"""Facts about the records of a run: missing values, the range of prices, and how many are in stock."""

import math
from collections.abc import Sequence
from typing import IO

import msgspec

from collections_app.files.storage.cache import BuildFailed, cached, existing
from collections_app.records.preview.concurrency import current_user_id
from collections_app.records.preview.engine import FACTS, Database, QueryTimeout
from collections_app.records.preview.queries import connect
from collections_app.records.preview.table import Table, TableUnavailable
from collections_app.system.background import Background

_SECONDS = 60.0
BARS = 16

# The price and the stock are in the first of these columns that the run has.
PRICES = ("price_cents", "price", "current_price", "sale_price", "buybox_price")
STOCKS = ("in_stock", "is_in_stock", "available", "is_available", "availability", "stock_status", "stock")

# With many columns, a FILTER for each of them would be ten times as slow.
_NUMBER = """
{column},
CASE WHEN isfinite(try_cast({column} AS DOUBLE)) THEN try_cast({column} AS DOUBLE) END AS {column}_number
"""
_COLUMN = """
count(CASE WHEN {column} NOT IN ('', '[]', '{{}}') THEN 1 END),
count({column}_number), min({column}_number), max({column}_number)
"""
_COLUMNS = "SELECT {each} FROM (SELECT {numbers} FROM read_parquet($table))"
_QUANTILES = """
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
    """The values of a column."""

    name: str
    filled: int
    missing: int
    numbers: int
    low: float | None
    high: float | None

    @property
    def is_numeric(self) -> bool:
        """Whether all values are numbers."""
        return 0 < self.filled == self.numbers


class Bar(msgspec.Struct, frozen=True):
    """The number of prices in a range. `high` is None in the last bar, which has no upper limit."""

    low: float
    high: float | None
    count: int


class Prices(msgspec.Struct, frozen=True):
    """The range of prices. If the column is in cents, they are converted to the main unit."""

    column: str
    low: float
    median: float = msgspec.field(name="middle")  # its name in cached files
    high: float
    count: int
    bars: list[Bar]


class Stock(msgspec.Struct, frozen=True):
    """The number of records in stock, of those with a value in the column."""

    column: str
    yes: int
    count: int


class Facts(msgspec.Struct, frozen=True):
    """Facts about the records in a table."""

    records: int
    columns: list[Column]
    prices: Prices | None
    stock: Stock | None

    @property
    def has_gaps(self) -> bool:
        """Whether a column has missing values."""
        return any(column.missing for column in self.columns)


_background = Background("preview-facts", most=2)


def facts_of(table: Table, *, seconds: float) -> Facts:
    """Return the facts about a table, which are cached. Raises StillWorking, TableUnavailable."""
    name = name_of_facts(table.path.name)
    entry = existing(name)
    if entry is None:
        return _background.done_within(seconds, name, lambda: _build(name, table), owner=current_user_id())
    with entry:
        return msgspec.json.decode(entry.read(), type=Facts)


def name_of_facts(table: str) -> str:
    """Return the name in the cache of the facts about a table."""
    return f"{table}.facts"


def _build(name: str, table: Table) -> Facts:
    try:
        with cached(name, lambda out: _write(table, out)) as entry:
            return msgspec.json.decode(entry.read(), type=Facts)
    except (BuildFailed, OSError):
        raise TableUnavailable("The statistics can't be calculated. Try again.") from None
    except QueryTimeout:
        raise TableUnavailable("Calculating the statistics takes too long.") from None


def _write(table: Table, out: IO[bytes]) -> None:
    out.write(msgspec.json.encode(_facts(table)))


def _facts(table: Table) -> Facts:
    with connect(table, seconds=_SECONDS, semaphore=FACTS) as database:
        columns = _columns(database, table)
        prices, stock = _prices(database, table, columns), _stock(database, table, columns)
        return Facts(_record_count(table), columns, prices, stock)


def _record_count(table: Table) -> int:
    return table.records - table.too_large


def _columns(database: Database, table: Table) -> list[Column]:
    if not table.columns:
        return []
    each, numbers = (
        ", ".join(part.format(column=f"c{index}") for index in range(len(table.columns)))
        for part in (_COLUMN, _NUMBER)
    )
    (row,) = database.query(_COLUMNS.format(each=each, numbers=numbers), {"table": str(table.path)})
    parts = (row[4 * index : 4 * index + 4] for index in range(len(table.columns)))
    return [
        Column(name, filled, _record_count(table) - filled, numbers, low, high)
        for name, (filled, numbers, low, high) in zip(table.columns, parts, strict=True)
    ]


def _first_of(columns: Sequence[Column], names: Sequence[str]) -> Column | None:
    by_name = {column.name.lower(): column for column in columns if column.filled}
    return next((by_name[name] for name in names if name in by_name), None)


def _prices(database: Database, table: Table, columns: Sequence[Column]) -> Prices | None:
    column = _first_of([each for each in columns if each.is_numeric], PRICES)
    if column is None or column.low is None or column.high is None:
        return None
    sql_name = f"c{table.columns.index(column.name)}"
    values: dict[str, object] = {"table": str(table.path)}
    (((median, nearly_all),),) = database.query(_QUANTILES.format(column=sql_name), values)
    # A few very high prices would put all others into the first bar.
    top = nearly_all if column.high > 2 * nearly_all > 0 else column.high
    width = (top - column.low) / BARS
    # The difference between the largest floats is infinite.
    if not 0 < width < math.inf:
        counts, bars, width = {0: column.filled}, 1, 0.0
    else:
        values |= {"low": column.low, "width": width, "last": BARS - 1}
        counts, bars = dict(database.query(_BARS.format(column=sql_name), values)), BARS
    unit = 100 if column.name.lower().endswith("_cents") else 1
    return Prices(
        column=column.name,
        low=column.low / unit,
        median=median / unit,
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


def _stock(database: Database, table: Table, columns: Sequence[Column]) -> Stock | None:
    column = _first_of(columns, STOCKS)
    if column is None:
        return None
    sql_name = f"c{table.columns.index(column.name)}"
    ((yes,),) = database.query(_IN_STOCK.format(column=sql_name), {"table": str(table.path)})
    return Stock(column.name, yes, column.filled)
