"""The offers of a shop on each night: products, prices, stock and sellers.

Every night, 2% of the products change. Sales and shortages last a few nights. New products replace others,
some of which return. The history of a shop depends only on its shelf, the number of products and the date.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, timedelta
from random import Random

from collections_app.demo.catalog import Shelf
from collections_app.demo.schedule import DAY, FIRST_NIGHT

# The demo has no older runs.
BEGIN = date(2026, 1, 1)
_CHANGING = 0.02
# Every this many nights, a new product replaces another. Every third of these others is only away for a few
# nights. Since the early runs, which never change.
_NEW_EVERY = 3
_AWAY_EVERY = 9
_AWAY_FOR = 4 * DAY
_SELLERS = (
    "Amazon AU",
    "Kogan Outlet",
    "TechBay Direct",
    "Harbour Electronics",
    "Müller & Söhne",
    "日本セレクト",
    "Renewed by Wavelength",
    "Blue Gum Trading",
)


@dataclass(frozen=True, eq=False)
class Offer:
    """A product as a shop offers it. Prices are in cents. `number` is the product's position on its shelf."""

    number: int
    price: int
    usual_price: int
    in_stock: bool
    stock: int
    seller: str
    rating: float
    ratings: int


class History:
    """The offers of one shop."""

    def __init__(self, shelf: Shelf, count: int) -> None:
        """Start with the first offers of `count` products."""
        self._shelf = shelf
        self._count = count
        self._rewind()

    def offers(self, night: date) -> list[Offer]:
        """Return a night's offers. Calls in order of the nights are fastest."""
        if night < self._night:
            self._rewind()
        while self._night < night:
            self._night += DAY
            self._change()
        return list(self._offers)

    def _rewind(self) -> None:
        self._night = BEGIN
        self._next_number = self._count
        self._offers = [_first_offer(self._shelf, number) for number in range(self._count)]
        # The night in which a sale or shortage ends, by the index of the offer.
        self._ends: dict[int, date] = {}
        # The products that are away by the night in which they return, with the index of the offer.
        self._away: dict[date, tuple[int, Offer]] = {}

    def _change(self) -> None:
        """Apply the current night's changes to the offers."""
        chance = Random(f"{self._shelf.name}, {self._count} products on {self._night}")
        ended = [slot for slot, until in self._ends.items() if until == self._night]
        for slot in ended:
            self._end(slot)
        self._return_product()
        quota = max(1, round(_CHANGING * self._count))
        unchanged = [slot for slot in range(self._count) if slot not in self._ends and slot not in ended]
        slots = chance.sample(unchanged, max(0, quota - len(ended)))
        if self._night.toordinal() % _NEW_EVERY == 0 and slots:
            self._replace_product(slots.pop())
        for slot in slots:
            (begin,) = chance.choices(list(_CHANGES), list(_CHANGES.values()))
            offer, nights = begin(self._offers[slot], chance)
            self._offers[slot] = offer
            if nights:
                self._ends[slot] = self._night + timedelta(days=nights)

    def _end(self, slot: int) -> None:
        offer = self._offers[slot]
        self._offers[slot] = replace(
            offer, price=offer.usual_price, in_stock=True, stock=offer.stock or offer.number % 40 + 8
        )
        del self._ends[slot]

    def _replace_product(self, slot: int) -> None:
        if self._night >= FIRST_NIGHT and self._night.toordinal() % _AWAY_EVERY == 0:
            self._away[self._night + _AWAY_FOR] = slot, self._offers[slot]
        self._offers[slot] = _first_offer(self._shelf, self._next_number)
        self._next_number += 1

    def _return_product(self) -> None:
        slot, offer = self._away.pop(self._night, (-1, None))
        # Otherwise the sale or shortage of the new product continues.
        if offer and slot not in self._ends:
            self._offers[slot] = offer


def _first_offer(shelf: Shelf, number: int) -> Offer:
    chance = Random(f"{shelf.name} at {number}")
    low, high = shelf.prices
    # Cheap products are more common than expensive ones.
    price = _ending(low * (high / low) ** chance.random(), chance)
    return Offer(
        number=number,
        price=price,
        usual_price=price,
        in_stock=True,
        stock=chance.randrange(1, 60),
        seller=chance.choice(_SELLERS),
        rating=round(min(5.0, max(2.1, chance.gauss(4.2, 0.45))), 1),
        ratings=int(10 ** chance.uniform(0.3, 4.1)),
    )


def _ending(units: float, chance: Random) -> int:
    """Return a price in cents with a typical ending: 499.00, 498.99 or 498.95."""
    return max(1, int(units)) * 100 + chance.choice((-1, -1, -5, 0))


# The changes of an offer. Each returns the new offer, and how many nights it lasts, or 0 if it is permanent.
_Changed = tuple[Offer, int]


def _sale(offer: Offer, chance: Random) -> _Changed:
    price = _ending(offer.usual_price / 100 * chance.uniform(0.65, 0.9), chance)
    return replace(offer, price=price), chance.randrange(4, 10)


def _shortage(offer: Offer, chance: Random) -> _Changed:
    return replace(offer, in_stock=False, stock=0), chance.randrange(2, 8)


def _new_price(offer: Offer, chance: Random) -> _Changed:
    price = _ending(offer.usual_price / 100 * chance.uniform(0.93, 1.08), chance)
    price += 100 * (price == offer.usual_price)
    return replace(offer, price=price, usual_price=price), 0


def _takeover(offer: Offer, chance: Random) -> _Changed:
    others = [seller for seller in _SELLERS if seller != offer.seller]
    return replace(offer, seller=chance.choice(others)), 0


def _reviews(offer: Offer, chance: Random) -> _Changed:
    rating = round(min(5.0, max(1.0, offer.rating + chance.choice((-0.1, 0, 0.1)))), 1)
    return replace(offer, rating=rating, ratings=offer.ratings + chance.randrange(1, 40)), 0


_CHANGES: dict[Callable[[Offer, Random], _Changed], int] = {
    _sale: 30,
    _shortage: 25,
    _new_price: 25,
    _takeover: 10,
    _reviews: 10,
}
