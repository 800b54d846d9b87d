"""Facts about each column of a run's records: missing values, and the lowest and highest number."""

from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from collections_app.records.preview.engine import Database
from collections_app.records.preview.table import Table

# Integers below this are exact as a DOUBLE.
_EXACT = 2**53
# A number may have megabytes of zeros, or an exponent that means the same.
_LONGEST = 400

# With many columns, a FILTER for each of them would be ten times as slow.
_NUMBER = """
{column},
CASE WHEN isfinite(try_cast({column} AS DOUBLE)) THEN try_cast({column} AS DOUBLE) END AS {column}_number
"""
_COLUMN = """
count(CASE WHEN {column} NOT IN ('', '[]', '{{}}') THEN 1 END), count({column}_number),
min({column}_number), max({column}_number),
arg_min({column}, {column}_number), arg_max({column}, {column}_number)
"""
_COLUMNS = "SELECT {each} FROM (SELECT {numbers} FROM read_parquet($table))"
_AMOUNTS = "SELECT {each} FROM read_parquet($table)"
_LARGE = """
SELECT {column} FROM read_parquet($table) WHERE try_cast({column} AS DOUBLE) = $number
ORDER BY try_cast({column} AS HUGEINT) {direction} LIMIT 1
"""


class Column(msgspec.Struct, frozen=True):
    """The values of a column. If all of them are numbers or amounts of money, `low` and `high` are set."""

    name: str
    filled: int
    missing: int
    low: Decimal | None
    high: Decimal | None


def columns_in(database: Database, table: Table, records: int) -> list[Column]:
    """Return the facts about each column of a table with this many records."""
    if not table.columns:
        return []
    each, numbers = (
        ", ".join(part.format(column=table.sql_name(name)) for name in table.columns)
        for part in (_COLUMN, _NUMBER)
    )
    (row,) = database.query(_COLUMNS.format(each=each, numbers=numbers), {"table": str(table.path)})
    amounts = _ranges_of_money(database, table)
    columns = []
    for index, name in enumerate(table.columns):
        filled, count, *ends = row[6 * index : 6 * index + 6]
        low, high = amounts.get(name, (None, None))
        if 0 < filled == count:
            low, high = _range_of_numbers(database, table, name, ends)
        columns.append(Column(name, filled, records - filled, low, high))
    return columns


def _ranges_of_money(database: Database, table: Table) -> dict[str, tuple[Decimal | None, Decimal | None]]:
    """Return the ranges of the columns whose amounts can be compared."""
    names = [name for name, notation in table.notations.items() if len(notation.currencies) == 1]
    if not names:
        return {}
    each = ", ".join("min({0}), max({0})".format(table.sql_amount(name)) for name in names)
    (row,) = database.query(_AMOUNTS.format(each=each), {"table": str(table.path)})
    return dict(zip(names, zip(row[::2], row[1::2], strict=True), strict=True))


def _range_of_numbers(
    database: Database, table: Table, name: str, ends: Sequence[Any]
) -> tuple[Decimal, Decimal]:
    """Return the exact range of a column, from its ends as DOUBLE and as text."""
    low, high, low_text, high_text = ends
    if low <= -_EXACT or low >= _EXACT:
        low_text = _exact_text(database, table, name, low, "ASC")
    if high <= -_EXACT or high >= _EXACT:
        high_text = _exact_text(database, table, name, high, "DESC")
    return _decimal(low_text, low), _decimal(high_text, high)


def _exact_text(database: Database, table: Table, name: str, number: float, direction: str) -> str:
    statement = _LARGE.format(column=table.sql_name(name), direction=direction)
    ((text,),) = database.query(statement, {"table": str(table.path), "number": number})
    return str(text)


def _decimal(text: str, number: float) -> Decimal:
    try:
        exact = Decimal(text if len(text) <= _LONGEST else repr(number))
    except InvalidOperation:  # DuckDB reads more forms of numbers
        return Decimal(repr(number))
    return exact if abs(exact.adjusted()) <= _LONGEST else Decimal(repr(number))
