"""Facts about each column of a run's records: missing values, and the lowest and highest number."""

from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from collections_app.records.numeric_text import Kind
from collections_app.records.preview import number_sql
from collections_app.records.preview.engine import Database
from collections_app.records.preview.table import Table

# Numbers with more digits, or such an exponent, aren't summarized.
_LONGEST = 400

_FILLED = "count(CASE WHEN {is_filled} THEN 1 END)"
_ENDS = """
min(try_cast({column} AS DOUBLE)), max(try_cast({column} AS DOUBLE)),
arg_min({column}, try_cast({column} AS DOUBLE)), arg_max({column}, try_cast({column} AS DOUBLE))
"""
_SELECT = "SELECT {each} FROM read_parquet($table)"
# Chooses one of the numbers that are equal as a DOUBLE.
_EXACT = """
SELECT {column} FROM read_parquet($table) WHERE try_cast({column} AS DOUBLE) = $number
ORDER BY {order} LIMIT 1
"""

Range = tuple[Decimal | None, Decimal | None]


class Column(msgspec.Struct, frozen=True):
    """The values of a column. If all of them are numbers or amounts of money, `low` and `high` are set."""

    name: str
    filled: int
    missing: int
    low: Decimal | None
    high: Decimal | None


def is_filled(column: str) -> str:
    """Return an SQL condition for a value that isn't missing. It isn't true for NULL."""
    return f"{column} NOT IN ('', '[]', '{{}}')"


def columns_in(database: Database, table: Table, names: Sequence[str]) -> list[Column]:
    """Return the facts about these columns of a table."""
    if not names:
        return []
    each = ", ".join(_FILLED.format(is_filled=is_filled(table.sql_name(name))) for name in names)
    (counts,) = database.query(_SELECT.format(each=each), {"table": str(table.path)})
    ranges = _ranges_of_numbers(database, table, names) | _ranges_of_money(database, table, names)
    records = table.records - table.too_large
    return [
        Column(name, filled, records - filled, *ranges.get(name, (None, None)))
        for name, filled in zip(names, counts, strict=True)
    ]


def _ranges_of_money(database: Database, table: Table, columns: Sequence[str]) -> dict[str, Range]:
    """Return the ranges of the columns whose amounts can be compared."""
    notations = {name: table.notations[name] for name in columns if name in table.notations}
    names = [name for name, notation in notations.items() if len(notation.currencies) == 1]
    if not names:
        return {}
    each = ", ".join("min({0}), max({0})".format(table.sql_amount(name)) for name in names)
    (row,) = database.query(_SELECT.format(each=each), {"table": str(table.path)})
    return dict(zip(names, zip(row[::2], row[1::2], strict=True), strict=True))


def _ranges_of_numbers(database: Database, table: Table, columns: Sequence[str]) -> dict[str, Range]:
    kinds = {Kind.NUMBERS, Kind.LONG_NUMBERS}
    names = [name for name in columns if table.kind(name) in kinds and name not in table.notations]
    if not names:
        return {}
    each = ", ".join(_ENDS.format(column=table.sql_name(name)) for name in names)
    (row,) = database.query(_SELECT.format(each=each), {"table": str(table.path)})
    ends = (row[start : start + 4] for start in range(0, len(row), 4))
    return {name: _range(database, table, name, each) for name, each in zip(names, ends, strict=True)}


def _range(database: Database, table: Table, name: str, ends: Sequence[Any]) -> Range:
    """Return the exact range of a column, from its ends as DOUBLE and as text."""
    low, high, low_text, high_text = ends
    if low is not None and table.kind(name) == Kind.LONG_NUMBERS:
        low_text = _exact_text(database, table, name, low, descending=False)
        high_text = _exact_text(database, table, name, high, descending=True)
    return _decimal(low_text), _decimal(high_text)


def _exact_text(database: Database, table: Table, name: str, number: float, *, descending: bool) -> str:
    column = table.sql_name(name)
    order = number_sql.exact_order(column, descending=descending)
    statement = _EXACT.format(column=column, order=order)
    ((text,),) = database.query(statement, {"table": str(table.path), "number": number})
    return str(text)


def _decimal(text: str | None) -> Decimal | None:
    """Return a number, or None if it can't be shown."""
    if text is None or len(text) > _LONGEST:
        return None
    try:
        number = Decimal(text)
    except InvalidOperation:  # its exponent is too large
        return None
    if not number:
        return Decimal()
    return number if abs(number.adjusted()) <= _LONGEST else None
