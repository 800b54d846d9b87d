"""Format the values of changes: prices as money, and everything else as on the page of a run."""

import json
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

from collections_app.records.column_roles import is_price
from collections_app.records.formats.json_records import Number
from collections_app.records.money import unit_of
from collections_app.records.tracking.compare import Entry
from collections_app.records.tracking.values import Nothing, value_of
from collections_app.views.run.cells import Cell, cell_of
from collections_app.views.run.money import money_text

# Amounts with more digits aren't money.
_LARGEST, _SMALLEST = Decimal(10) ** 15, Decimal(10) ** -6
_NOTHING = Cell("", "nothing")


def values_of(entry: Entry, currency: str = "") -> tuple[Cell, Cell]:
    """Return the cells of the value before the change, and of the value after it.

    `currency` is that of prices whose records name none.
    """
    if entry.column is None:
        return _NOTHING, _NOTHING
    was, now = _amount(entry.column, entry.was), _amount(entry.column, entry.now)
    usual = _usual_decimals(entry.column, [was, now])
    return (
        _priced(_cell(entry.was), was, entry.currency_before or currency, usual),
        _priced(_cell(entry.now), now, entry.currency or currency, usual),
    )


def percent_text(entry: Entry) -> str:
    """Return the change of a price in percent, such as "-11.5%", or "" if it isn't known."""
    if entry.percent is None:
        return ""
    has_fallen = entry.amount is not None and entry.amount < 0
    return f"{'-' if has_fallen or entry.percent < 0 else '+'}{abs(entry.percent):,}%"


def amount_text(entry: Entry, currency: str = "") -> str:
    """Return the change of a price, such as "-AUD 150.00", or "" if it isn't known."""
    if entry.amount is None:
        return ""
    usual = _usual_decimals(entry.column or "", [entry.amount])
    sign = "-" if entry.amount < 0 else "+"
    return sign + money_text(abs(entry.amount), entry.currency or currency, usual)


def _amount(column: str, cell: str | None) -> Decimal | None:
    """Return a number in a column of prices, in units of the currency."""
    value = value_of(cell) if is_price(column) else None
    return value / unit_of(column) if isinstance(value, Decimal) and _is_usual(value) else None


def _is_usual(number: Decimal) -> bool:
    """Whether a number has as few digits as amounts have. Others are shown as they were scraped."""
    return -_LARGEST < number < _LARGEST and number == number.quantize(_SMALLEST)


def _usual_decimals(column: str, amounts: Sequence[Decimal | None]) -> int:
    """Return the decimals of amounts without a currency."""
    return 2 if unit_of(column) != 1 or any(map(_has_fraction, amounts)) else 0


def _has_fraction(amount: Decimal | None) -> bool:
    return amount is not None and amount != amount.to_integral_value()


def _priced(cell: Cell, amount: Decimal | None, currency: str, usual: int) -> Cell:
    if amount is None:
        return cell
    return replace(cell, text=money_text(amount, currency, usual), kind="number")


def _cell(cell: str | None) -> Cell:
    nothing = value_of(cell)
    if isinstance(nothing, Nothing):
        return Cell(nothing.value, "nothing")
    return cell_of(_parsed(cell or ""))


def _parsed(cell: str) -> Any:
    try:
        return json.loads(cell, parse_float=_number, parse_int=_number)
    except ValueError:  # a long value was cut
        return cell.removeprefix('"')


def _number(text: str) -> Number:
    return Number(text.encode())
