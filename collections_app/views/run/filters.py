"""Describe filters of records in words, and link to the records without them."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation, localcontext

from collections_app.records.column_roles import is_price
from collections_app.records.money import unit_of
from collections_app.records.number_format import formatted_number
from collections_app.records.preview.filters import Filter, is_date
from collections_app.views.run.query import RecordQuery

_LONGEST = 60
_PRECISION = 1100  # the digits of any bound


@dataclass(frozen=True)
class FilterChip:
    """A filter of the records on the page, and the query string without it."""

    column: str
    words: str
    removed: str


def filter_chips(query: RecordQuery) -> list[FilterChip]:
    """Return the filters of a query."""
    return [FilterChip(each.column, filter_words(each), query.without_filter(each)) for each in query.filters]


def narrowing(search: str, filters: Sequence[Filter]) -> str:
    """Return a search and filters in words, such as "“lamp” and brand: Lenovo"."""
    names = [f"{_short(each.column)}: {filter_words(each)}" for each in filters]
    return " and ".join([f"“{search}”", *names] if search else names)


def filter_words(each: Filter) -> str:
    """Return the values that a filter selects, such as "1,299.00 to under 1,499.00"."""
    if each.value is not None:
        return _short(each.value)
    if not each.is_range:
        return "no value"
    low, high = bound_texts(each.column, [each.low, each.high])
    under = "before" if is_date(each.low or each.high) else "under"
    if not high:
        return f"{low} or more"
    if not low:
        return f"at most {high}" if each.includes_high else f"{under} {high}"
    if low == high:
        return low
    return f"{low} to {high}" if each.includes_high else f"{low} to {under} {high}"


def bound_texts(column: str, bounds: Sequence[str]) -> list[str]:
    """Return bounds as the column's cells show them: amounts in the main unit, and dates as they are."""
    unit = unit_of(column) if is_price(column) else 1
    numbers = [_number(bound, unit) for bound in bounds]
    has_decimals = any(number is not None and number != number.to_integral_value() for number in numbers)
    decimals = 2 if is_price(column) and (has_decimals or unit != 1) else 0
    return [
        bound if number is None else formatted_number(number, decimals)
        for bound, number in zip(bounds, numbers, strict=True)
    ]


def _number(bound: str, unit: int) -> Decimal | None:
    try:
        with localcontext(prec=_PRECISION):
            return Decimal(bound) / unit
    except InvalidOperation:  # a date, or no bound
        return None


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
