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
# The number of unknown texts that are listed.
_MOST_UNKNOWN = 5

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
    unknown: int = 0
    unknown_texts: list[str] = []  # the most common ones
    more_unknown_texts: int = 0
    count: int = 0
    problem: str = ""


def stock_in(database: Database, table: Table, columns: Sequence[Column]) -> StockFacts:
    """Return the facts about the column of stock with the fewest unknown values."""
    filled = {column.name: column for column in columns if column.filled}
    found: list[StockFacts] = []
    for name in columns_of(Role.STOCK, filled):
        found.append(_stock(database, table, filled[name]))
        if not (found[-1].problem or found[-1].unknown):
            break
    return min(found, key=_share_unknown, default=StockFacts())


def _share_unknown(facts: StockFacts) -> float:
    return 1.0 if facts.problem else facts.unknown / facts.count


def _stock(database: Database, table: Table, column: Column) -> StockFacts:
    sql_name = table.sql_name(column.name)
    if column.low is not None and column.low >= 0:
        is_text = column.name in table.notations
        number = table.sql_amount(column.name) if is_text else f"try_cast({sql_name} AS DOUBLE)"
        ((in_stock,),) = database.query(_COUNTS.format(count=number), {"table": str(table.path)})
        return StockFacts(column.name, in_stock, count=column.filled)
    statement = _VALUES.format(column=sql_name)
    values = database.query(statement, {"table": str(table.path), "most": _MOST_VALUES + 1})
    if len(values) > _MOST_VALUES:
        return StockFacts(column.name, problem="It contains too many different values.")
    return _counted(column.name, values)


def _counted(column: str, values: Sequence[tuple[str, int]]) -> StockFacts:
    """Return the facts about a column with these values, each with its number of records."""
    counts: Counter[Availability | None] = Counter()
    unknown = []
    for value, count in values:
        availability = availability_of(value)
        counts[availability] += count
        if availability is None:
            unknown.append(f"{value:.50}")
    if counts.keys() == {None}:
        return StockFacts(column, problem=f"“{unknown[0]}” isn't a known stock status.")
    return StockFacts(
        column,
        counts[Availability.IN_STOCK],
        counts[Availability.PREORDER],
        counts[Availability.BACKORDER],
        counts[None],
        unknown[:_MOST_UNKNOWN],
        len(unknown[_MOST_UNKNOWN:]),
        counts.total(),
    )
