"""Prices of products as texts."""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

from collections_app.models import Collection
from collections_app.records.currencies import decimals_of
from collections_app.records.number_format import formatted_number


@dataclass(frozen=True)
class PriceFormat:
    """How the prices of a product are written: with decimals if any of them has some.

    `currency` is that of prices whose records name none.
    """

    decimals: bool
    currency: str = ""

    @classmethod
    def of(cls, collection: Collection, amounts: Iterable[Decimal]) -> "PriceFormat":
        """Return the format of these prices."""
        return cls(any(amount % 1 for amount in amounts), collection.currency)

    def text(self, amount: Decimal, currency: str) -> str:
        """Return a price with its currency."""
        currency = currency or self.currency
        decimals = decimals_of(currency) if self.decimals else 0
        return f"{currency} {formatted_number(amount, decimals)}".strip()


class _Priced(Protocol):
    @property
    def price(self) -> str: ...

    @property
    def amount(self) -> Decimal | None: ...

    @property
    def currency(self) -> str: ...


def price_text(observation: _Priced, prices: PriceFormat) -> str:
    """Return a price as money, or as it was scraped."""
    if observation.amount is None:
        return observation.price
    return prices.text(observation.amount, observation.currency)
