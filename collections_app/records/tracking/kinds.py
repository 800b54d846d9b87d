"""The kinds of changes, and which kind a change of a column's value is."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple

from collections_app.records.availability import Availability, availability_of
from collections_app.records.column_roles import Role, columns_of, currency_column
from collections_app.records.formats.json_records import Number
from collections_app.records.money import Amount, Notation, currency_named, unit_of
from collections_app.records.tracking.percent import percent_of
from collections_app.records.tracking.values import Nothing, Value, text_of, value_of

# The number of changes, and of currencies, whose meaning is remembered.
_MOST_REMEMBERED = 2048


class ChangeKind(StrEnum):
    """What has changed about a product between two runs."""

    PRICE_DOWN = "price_down"
    PRICE_UP = "price_up"
    CURRENCY = "currency"
    SOLD_OUT = "sold_out"
    BACK = "back"
    SELLER = "seller"
    OTHER = "other"
    NEW = "new"
    RETURNED = "returned"
    MISSING = "missing"
    GONE = "gone"
    NOT_SCRAPED = "not_scraped"


@dataclass(frozen=True)
class Tracked:
    """The columns whose changes have a meaning of their own, if the runs have such columns."""

    title: str | None
    price: str | None
    currency: str | None
    stock: str | None
    seller: str | None

    @classmethod
    def among(cls, columns: Sequence[str]) -> "Tracked":
        """Find the columns by their names."""
        price = _first(Role.PRICE, columns)
        return cls(
            title=_first(Role.TITLE, columns),
            price=price,
            currency=currency_column(price, columns) if price else None,
            stock=_first(Role.STOCK, columns),
            seller=_first(Role.SELLER, columns),
        )


def _first(role: Role, columns: Sequence[str]) -> str | None:
    return next(iter(columns_of(role, columns)), None)


class Change(NamedTuple):
    """A change of one column's value."""

    kind: ChangeKind
    percent: Decimal | None = None  # of a price, with one decimal
    amount: Decimal | None = None  # the difference, in units of the currency


class Cell(NamedTuple):
    """The value of a column in one run, and the currency that the same record names beside a price."""

    json: str | None
    currency: str | None = None


class Classifier:
    """Tell what changes mean. The notations are those of the prices in the earlier and the later run."""

    def __init__(self, tracked: Tracked, before: Notation | None, after: Notation | None) -> None:
        self._tracked = tracked
        self._before = before
        self._after = after
        self._unit = unit_of(tracked.price or "")
        # Many products change in the same way, such as their stock.
        self._change_of_other = lru_cache(_MOST_REMEMBERED)(self._change)

    def change(self, column: str, was: Cell, now: Cell) -> Change | None:
        """Return how a column has changed, or None if both values mean the same.

        Absent, null and empty values differ from each other.
        """
        if column != self._tracked.price:
            return self._change_of_other(column, was.json, now.json)
        before, after = value_of(was.json), value_of(now.json)
        if isinstance(before, Nothing) and isinstance(after, Nothing):
            return None if before is after else Change(ChangeKind.OTHER)
        return self._price(was, now) if _differ(before, after) or was.currency != now.currency else None

    def _change(self, column: str, was: str | None, now: str | None) -> Change | None:
        """Return how a column that isn't the price has changed."""
        before, after = value_of(was), value_of(now)
        if not _differ(before, after):
            return None
        if isinstance(before, Nothing) or isinstance(after, Nothing):
            return Change(ChangeKind.OTHER)
        if column == self._tracked.stock:
            return Change(_stock(before, after))
        return Change(ChangeKind.SELLER if column == self._tracked.seller else ChangeKind.OTHER)

    def _price(self, was: Cell, now: Cell) -> Change | None:
        before, after = amount_of(was, self._before), amount_of(now, self._after)
        if before is None or after is None:
            return Change(ChangeKind.OTHER) if was.json != now.json else None
        if before.currency and after.currency and before.currency != after.currency:
            return Change(ChangeKind.CURRENCY)
        difference = after.value - before.value
        if not difference:
            return None
        kind = ChangeKind.PRICE_UP if difference > 0 else ChangeKind.PRICE_DOWN
        return Change(kind, percent_of(before.value, after.value), difference / self._unit)


def _differ(before: Value, after: Value) -> bool:
    # In Python, True equals Decimal(1).
    return type(before) is not type(after) or before != after


def amount_of(cell: Cell, notation: Notation | None) -> Amount | None:
    """Return the amount of a price, with its currency, or None if it isn't one."""
    if notation is None or cell.json is None:
        return None
    value = text_of(cell.json) if cell.json.startswith('"') else Number(cell.json.encode())
    amount = notation.amount(value)
    if amount is None:
        return None
    currency = _currency_named(amount.currency, cell.currency)
    return amount if currency == amount.currency else Amount(amount.value, currency)


@lru_cache(_MOST_REMEMBERED)
def _currency_named(within: str, beside: str | None) -> str:
    return currency_named(within, text_of(beside) if beside else "")


def _stock(before: Value, after: Value) -> ChangeKind:
    was, now = _availability(before), _availability(after)
    if was == Availability.IN_STOCK and now == Availability.OUT_OF_STOCK:
        return ChangeKind.SOLD_OUT
    if was == Availability.OUT_OF_STOCK and now == Availability.IN_STOCK:
        return ChangeKind.BACK
    return ChangeKind.OTHER


def _availability(value: Value) -> Availability | None:
    return availability_of(float(value) if isinstance(value, Decimal) else value)
