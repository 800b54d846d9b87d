"""Filters of a run's records by the values of one column.

In a URL, a filter is a list, written like a list of columns:

    brand,is,Lenovo             this value
    price,missing               no value
    price,from,10,below,20      a range of numbers, amounts of money or dates; `to` includes its end

Bounds are compared exactly. Bounds for money are in the unit of the column, such as cents.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from collections_app.records.column_list import encode_columns, parse_columns
from collections_app.records.formats.numbers import is_short
from collections_app.records.money import MOST_DIGITS, SQL_TYPE
from collections_app.records.numeric_text import Kind
from collections_app.records.preview import number_sql
from collections_app.records.preview.column_facts import is_filled
from collections_app.records.preview.columns import LONGEST_NAME
from collections_app.records.preview.table import Table

MOST_FILTERS = 10
# A longer value has no filter, because links contain it.
LONGEST_VALUE = 200
LONGEST_BOUND = 60

_NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,3})?")
_OFFSET = "(?:Z|[+-][0-9]{2}(?::?[0-9]{2})?)"
_DAY = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
_TIME = "[0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:[.][0-9]{1,9})?)?"
# ISO 8601, in UTC unless it has an offset. Also a regular expression for DuckDB.
SQL_DATE = f"{_DAY}(?:[T ]{_TIME}{_OFFSET}?)?"
_DATE = re.compile(SQL_DATE)

# The record of a row that is empty because it is too large is null.
_MISSING = "({column} IS NULL OR NOT {is_filled}){except_too_large}"
_EXCEPT_TOO_LARGE = " AND record <> 'null'"


class InvalidFilter(Exception):
    """A filter is invalid. The message is for users."""


@dataclass(frozen=True)
class Filter:
    """A value that a column must have, a range, or neither of them if the value must be missing.

    A range includes its lower bound and, with `includes_high`, its upper bound. A bound may be "".
    """

    column: str
    value: str | None = None
    low: str = ""
    high: str = ""
    includes_high: bool = False

    @property
    def is_range(self) -> bool:
        """Whether it is a range."""
        return bool(self.low or self.high)

    @property
    def is_missing(self) -> bool:
        """Whether the value must be missing."""
        return self.value is None and not self.is_range

    def __str__(self) -> str:
        """Return the filter as it is written in a URL."""
        if self.value is not None:
            return encode_columns([self.column, "is", self.value])
        low = ["from", self.low] if self.low else []
        high = ["to" if self.includes_high else "below", self.high] if self.high else []
        return encode_columns([self.column, *(low + high or ["missing"])])


def parse_filters(texts: Sequence[str]) -> tuple[Filter, ...]:
    """Return the filters in a URL. Raises InvalidFilter."""
    if len(texts) > MOST_FILTERS:
        raise InvalidFilter(f"Use at most {MOST_FILTERS} filters.")
    return tuple(dict.fromkeys(map(_parse, texts)))


def condition(table: Table, each: Filter, name: str) -> tuple[str, dict[str, str]]:
    """Return a filter as an SQL condition, and its parameters, whose names begin with `name`.

    Raises InvalidFilter if the records can't be filtered in this way.
    """
    if each.column not in table.columns:
        raise InvalidFilter(f"Can't filter by “{each.column:.100}”. These records have no such column.")
    column = table.sql_name(each.column)
    if each.is_missing:
        except_too_large = _EXCEPT_TOO_LARGE if table.too_large else ""
        return _MISSING.format(
            column=column, is_filled=is_filled(column), except_too_large=except_too_large
        ), {}
    if each.value is not None:
        return f"{column} = ${name}", {name: each.value}
    return _range(table, each, name)


def is_date(text: str) -> bool:
    """Whether a bound is a date or a time."""
    try:
        return bool(_DATE.fullmatch(text) and datetime.fromisoformat(text))
    except ValueError:
        return False


def sql_time(text: str) -> str:
    """Return an SQL expression for a date or time in a text, or NULL if it has none."""
    return f"CASE WHEN regexp_full_match({text}, '{SQL_DATE}') THEN try_cast({text} AS TIMESTAMPTZ) END"


def _parse(text: str) -> Filter:
    column, words = _words(text)
    if not column or len(column) > LONGEST_NAME or "\0" in text:
        raise _invalid(text)
    match words:
        case ["missing"]:
            return Filter(column)
        case ["is", value] if 0 < len(value) <= LONGEST_VALUE:
            return Filter(column, value)
        case ["from", low]:
            return _checked(Filter(column, low=low), text)
        case [("below" | "to") as word, high]:
            return _checked(Filter(column, high=high, includes_high=word == "to"), text)
        case ["from", low, ("below" | "to") as word, high]:
            return _checked(Filter(column, low=low, high=high, includes_high=word == "to"), text)
    raise _invalid(text)


def _words(text: str) -> tuple[str, list[str]]:
    """Return the column that a filter names, and the other words of the list."""
    try:
        names = list(parse_columns(text)) if len(text) <= 2 * (LONGEST_NAME + LONGEST_VALUE) else []
    except ValueError:
        return "", []
    # The last name is empty.
    return (names[0], names[1:-1]) if names else ("", [])


def _invalid(text: str) -> InvalidFilter:
    return InvalidFilter(
        f"Invalid “filter” parameter “{text:.100}”. Use a list such as price,from,10,below,20, "
        "brand,is,Lenovo or brand,missing."
    )


def _checked(each: Filter, text: str) -> Filter:
    """Return a range, whose bounds must be ascending numbers or dates. Raises InvalidFilter."""
    bounds = [bound for bound in (each.low, each.high) if bound]
    if not bounds or any(len(bound) > LONGEST_BOUND for bound in bounds):
        raise _invalid(text)
    if not (all(map(is_date, bounds)) or all(map(_NUMBER.fullmatch, bounds))):
        raise InvalidFilter(f"Invalid “filter” parameter “{text:.100}”. Bounds must be numbers or dates.")
    return each


def _range(table: Table, each: Filter, name: str) -> tuple[str, dict[str, str]]:
    low, high, below = f"{name}_low", f"{name}_high", "<=" if each.includes_high else "<"
    bounds = [(">=", low, each.low), (below, high, each.high)]
    given = [(operator, key, bound) for operator, key, bound in bounds if bound]
    conditions = [_comparison(table, each.column, operator, key, bound) for operator, key, bound in given]
    return " AND ".join(conditions), {key: bound for _, key, bound in given}


def _comparison(table: Table, name: str, operator: str, key: str, bound: str) -> str:
    """Return the SQL that compares a column with a bound, which is a parameter."""
    column, kind = table.sql_name(name), table.kind(name)
    if _DATE.fullmatch(bound):
        return f"{sql_time(column)} {operator} {sql_time(f'${key}::VARCHAR')}"
    if name in table.notations:
        _check_amount(name, bound)
        return f"{table.sql_amount(name)} {operator} CAST(${key} AS {SQL_TYPE})"
    if kind not in {Kind.NUMBERS, Kind.LONG_NUMBERS}:
        raise InvalidFilter(f"Can't filter “{name:.100}” by numbers. It contains other values.")
    return number_sql.comparison(
        column, operator, f"${key}::VARCHAR", is_exact=kind == Kind.LONG_NUMBERS or not is_short(bound)
    )


def _check_amount(name: str, bound: str) -> None:
    """Raise InvalidFilter if a bound has more digits than amounts of money."""
    amount = Decimal(bound)
    exponent = amount.normalize().as_tuple().exponent
    if amount.adjusted() >= MOST_DIGITS or (isinstance(exponent, int) and -exponent > MOST_DIGITS):
        raise InvalidFilter(f"The bound {bound} of “{name:.100}” has too many digits.")
