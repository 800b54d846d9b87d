"""Facts about stock: how many of a run's records are in stock."""

from collections import Counter
from collections.abc import Sequence

import msgspec

from collections_app.records.availability import Availability, availability_of
from collections_app.records.column_roles import Role, columns_of
from collections_app.records.preview.column_facts import Column
from collections_app.records.preview.engine import Database
from collections_app.records.preview.table import Table

# A column with more distinct values doesn't describe stock, unless they are counts.
_MOST_VALUES = 10_000

_VALUES = """
SELECT {column} AS value, count(*) FROM read_parquet($table) WHERE {column} <> ''
GROUP BY value ORDER BY count(*) DESC, value LIMIT $most
"""
_COUNTS = "SELECT count(*) FILTER ({count} > 0) FROM read_parquet($table)"


class StockFacts(msgspec.Struct, frozen=True):
    """The number of records in stock, of those with a value in the column, or why it isn't known."""

    column: str = ""  # "" if no column has the name of a stock
    in_stock: int = 0
    preorder: int = 0
    backorder: int = 0
    count: int = 0
    problem: str = ""


def stock_in(database: Database, table: Table, columns: Sequence[Column]) -> StockFacts:
    """Return the facts about the best column of stock whose values are all known."""
    filled = {column.name: column for column in columns if column.filled}
    found = StockFacts()
    for name in columns_of(Role.STOCK, filled):
        facts = _stock(database, table, filled[name])
        if not facts.problem:
            return facts
        found = found if found.problem else facts
    return found


def _stock(database: Database, table: Table, column: Column) -> StockFacts:
    sql_name = table.sql_name(column.name)
    if column.low is not None and column.low >= 0:
        is_text = column.name in table.notations
        number = table.sql_amount(column.name) if is_text else f"try_cast({sql_name} AS DOUBLE)"
        ((in_stock,),) = database.query(_COUNTS.format(count=number), {"table": str(table.path)})
        return StockFacts(column.name, in_stock, count=column.filled)
    counts: Counter[Availability] = Counter()
    statement = _VALUES.format(column=sql_name)
    values = database.query(statement, {"table": str(table.path), "most": _MOST_VALUES + 1})
    for value, count in values[:_MOST_VALUES]:
        availability = availability_of(value)
        if availability is None:
            return StockFacts(column.name, problem=f"“{value:.50}” isn't a known stock status.")
        counts[availability] += count
    if len(values) > _MOST_VALUES:
        return StockFacts(column.name, problem="It contains too many different values.")
    return StockFacts(
        column.name,
        counts[Availability.IN_STOCK],
        counts[Availability.PREORDER],
        counts[Availability.BACKORDER],
        counts.total(),
    )
