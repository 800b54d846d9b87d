"""Prices of a slice, read as amounts of money."""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import NamedTuple

from collections_app.records.money import Notation, NotationFinder
from collections_app.records.tracking.kinds import Cell, amount_of
from collections_app.records.tracking.values import scraped_value


class PriceCount(NamedTuple):
    """A price with the currency beside it, as the slice contains them, and how many records have both."""

    price: str | None
    currency: str | None
    records: int = 1

    def amount(self, notation: Notation | None) -> Decimal | None:
        """Return the amount in the unit of the column, or None if the price isn't one."""
        amount = amount_of(Cell(self.price, self.currency), notation)
        return amount.value if amount else None


def notation_of(prices: Iterable[PriceCount]) -> Notation | None:
    """Return how the prices are written, or None if that is unclear."""
    finder = NotationFinder()
    for each in prices:
        finder.add([scraped_value(each.price)], [scraped_value(each.currency)])
    return finder.notation()


def median(counted: Sequence[tuple[Decimal, int]]) -> Decimal | None:
    """Return the lower median of values that occur several times, or None if there are none."""
    half = (sum(count for _, count in counted) + 1) // 2
    for value, count in sorted(counted):
        half -= count
        if half <= 0:
            return value
    return None
