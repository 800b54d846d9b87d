"""Show the prices of records as money, such as "AUD 2,236.00"."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from collections_app.records.column_roles import currency_column, is_price
from collections_app.records.currencies import decimals_of
from collections_app.records.formats.flatten import FlatRecord
from collections_app.records.money import Amount, Notation, NotationFinder, currency_of, unit_of
from collections_app.records.number_format import formatted_number
from collections_app.records.preview.columns import ColumnList
from collections_app.views.run.cells import Cell
from collections_app.views.run.columns import ShownColumns


@dataclass(frozen=True)
class Pricing:
    """What a page knows about the prices of its records.

    `unclear` columns stay as they were scraped, because records on other pages disagree.
    """

    currency: str  # of prices whose records name none, or ""
    unclear: Collection[str] = ()


def show_money(
    rows: Sequence[list[Cell]],
    values: Sequence[FlatRecord],
    shown: ShownColumns,
    known: ColumnList,
    pricing: Pricing,
) -> None:
    """Align columns of money as numbers, and format the prices among them.

    A price that names its currency stays as it was scraped. Others show the currency that their record names,
    or else that of the collection.
    """
    for index, (name, path) in enumerate(shown.items()):
        column = [None if path is None else each.get(path) for each in values]
        notation = _notation_of(name, column) if name not in pricing.unclear else None
        if notation is None:
            continue
        for row in rows:
            row[index] = _aligned(row[index])
        if is_price(name):
            currencies = [each or pricing.currency for each in _currencies(name, known, values)]
            for row, text in zip(rows, _texts(name, notation, column, currencies), strict=True):
                row[index] = replace(row[index], text=text) if text else row[index]


def _notation_of(column: str, values: Sequence[object]) -> Notation | None:
    finder = NotationFinder()
    finder.add(values)
    notation = finder.notation()
    return notation if notation and (not notation.is_plain or is_price(column)) else None


def _aligned(cell: Cell) -> Cell:
    return cell if cell.kind == "nothing" else replace(cell, kind="number")


def _currencies(price: str, known: ColumnList, values: Sequence[FlatRecord]) -> list[str]:
    """Return the currency that each record names for a price, or ""."""
    named = currency_column(price, known.names)
    path = known.path_of(named) if named else None
    texts = (None if path is None else record.get(path) for record in values)
    return [currency_of(text) if isinstance(text, str) else "" for text in texts]


def _texts(
    column: str, notation: Notation, values: Sequence[object], currencies: Sequence[str]
) -> Iterator[str]:
    """Yield each price with its currency, or "" for values that stay as they are."""
    unit = unit_of(column)
    shown = [_without_currency(notation.amount(value), unit) for value in values]
    usual = 2 if unit != 1 or any(each is not None and each % 1 for each in shown) else 0
    for amount, currency in zip(shown, currencies, strict=True):
        if amount is None:
            yield ""
        else:
            yield money_text(amount, currency, usual)


def money_text(amount: Decimal, currency: str, usual: int) -> str:
    """Return an amount with its currency, if known. Without one, it has at least the `usual` decimals."""
    decimals = decimals_of(currency) if currency else usual
    return f"{currency} {formatted_number(amount, decimals)}".strip()


def _without_currency(amount: Amount | None, unit: int) -> Decimal | None:
    """Return an amount in the main unit, or None if its value names a currency."""
    return None if amount is None or amount.currency else amount.value / unit
