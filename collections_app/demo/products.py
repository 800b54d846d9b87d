"""Sample product records, as a scraper finds them.

A product's id, title, brand and specifications never change. Its price, stock, seller and reviews are those
of its offer (history.py). Only the rank and the time differ in every run.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from random import Random
from typing import Any

from collections_app.demo.catalog import Shelf
from collections_app.demo.history import History, Offer
from collections_app.demo.schedule import FIRST_NIGHT, PER_RECORD, Fault, PlannedRun, Story
from collections_app.models import Kind

Record = dict[str, Any]

_ASIN_CHARACTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
_STORES = ("Alexandria", "Chatswood", "Geelong", "Fortitude Valley", "Joondalup", "Hobart")


@dataclass(frozen=True)
class Product:
    """The properties of a product that never change."""

    asin: str
    parent_asin: str
    variant_asins: tuple[str, ...]
    brand: str
    title: str
    specifications: dict[str, str]
    images: tuple[str, ...]
    features: tuple[str, ...]
    is_prime: bool
    is_sponsored: bool
    is_brand: bool
    is_store: bool


class Shop:
    """The shop that a collection scrapes."""

    def __init__(self, story: Story) -> None:
        """Open a shop that sells the products of the collection."""
        self.story = story
        self._history = History(story.shelf, story.records)

    def records(self, run: PlannedRun) -> Iterator[Record]:
        """Yield the records of a run. Calls in order of the runs are fastest."""
        kind, shelf = self.story.kind, self.story.shelf
        fault, is_early = run.outcome.fault, run.night < FIRST_NIGHT
        for position, offer in enumerate(self._history.offers(run.night)):
            record = _record(kind, shelf, offer, position, is_early=is_early)
            record = record | _volatile(kind, position, run.started_at)
            yield _with_fault(record, fault, position) if fault else record


def _volatile(kind: Kind, position: int, started_at: datetime) -> Record:
    """Return the fields that differ in every run."""
    if kind == Kind.AMAZON_CATEGORY:
        return {}
    scraped_at = (started_at + position * PER_RECORD).replace(microsecond=0, tzinfo=None)
    times = {"scraped_at": f"{scraped_at.isoformat()}Z"}
    if kind != Kind.AMAZON:
        return times
    return {"best_sellers_rank": position * 7 + (started_at.toordinal() * 37 + position) % 60 + 1, **times}


def _with_fault(record: Record, fault: Fault, position: int) -> Record:
    if fault is Fault.NO_PRICES:
        without = {name: value for name, value in record.items() if name != "list_price_cents"}
        return without | {"price_cents": None}
    if position % 3:
        return record
    unread = {name: None for name in ("brand", "price_cents", "seller_name") if name in record}
    return record | {"title": "Robot Check"} | unread


@cache
def product(shelf: Shelf, number: int) -> Product:
    """Return a shelf's product by its number, starting at 0."""
    chance = Random(f"{shelf.name} at {number}")
    brand = chance.choice(list(shelf.brands))
    specifications = {name: chance.choice(values) for name, values in shelf.specifications.items()}
    words = {name.lower().replace(" ", "_"): value for name, value in specifications.items()}
    asin = _asin(chance)
    return Product(
        asin=asin,
        parent_asin=_asin(chance),
        variant_asins=tuple(_asin(chance) for _ in range(chance.choice((0, 0, 1, 2, 3)))),
        brand=brand,
        title=shelf.title.format(brand=brand, series=chance.choice(shelf.brands[brand]), **words),
        specifications=specifications
        | {"Model number": f"{brand[:2].upper()}-{chance.randrange(1000, 9999)}"},
        images=tuple(
            f"https://images.example.com/{asin}/{number}.jpg" for number in range(1, chance.randrange(3, 7))
        ),
        features=tuple(f"{name}: {value}" for name, value in list(specifications.items())[:3]),
        is_prime=_happens(chance, 0.7),
        is_sponsored=_happens(chance, 0.1),
        is_brand=_happens(chance, 0.3),
        is_store=_happens(chance, 0.1),
    )


def _asin(chance: Random) -> str:
    return "B0" + "".join(chance.choices(_ASIN_CHARACTERS, k=8))


def _happens(chance: Random, share: float) -> bool:
    return chance.random() < share


@cache
def _record(kind: Kind, shelf: Shelf, offer: Offer, position: int, *, is_early: bool) -> Record:
    """Return a record without the fields that differ in every run."""
    make = {Kind.OFFICEWORKS: _officeworks, Kind.AMAZON_CATEGORY: _category}.get(kind, _amazon)
    found = product(shelf, offer.number)
    record = make(shelf, found, offer, position)
    return (
        record | {"variants": _variants(found, offer, is_early=is_early)} if kind == Kind.AMAZON else record
    )


def _offer(offer: Offer) -> Record:
    return {
        "price_cents": offer.price,
        "list_price_cents": max(offer.price, offer.usual_price * (20 + offer.number % 4) // 2000 * 100),
        "in_stock": offer.in_stock,
        "stock": offer.stock,
        "rating": offer.rating,
        "ratings_count": offer.ratings,
    }


def _seller(offer: Offer) -> str | None:
    return offer.seller if offer.in_stock else None


def _amazon(shelf: Shelf, found: Product, offer: Offer, position: int) -> Record:
    return {
        "asin": found.asin,
        "parent_asin": found.parent_asin,
        "position": position + 1,
        "title": found.title,
        "brand": found.brand,
        "url": f"https://{shelf.site}/dp/{found.asin}",
        "image_url": found.images[0],
        "images": list(found.images),
        "currency": shelf.currency,
        **_offer(offer),
        "seller_name": _seller(offer),
        "is_prime": found.is_prime,
        "is_sponsored": found.is_sponsored,
        "categories": list(shelf.path),
        "features": list(found.features),
        "specifications": found.specifications,
    }


def _variants(found: Product, offer: Offer, *, is_early: bool) -> list[Record]:
    """Return other sizes of a product. Only in the early runs, its sales and shortages include them."""
    price = offer.price if is_early else offer.usual_price
    return [
        {
            "asin": asin,
            "price_cents": price * (9 + number) // 1000 * 100 - 1,
            "in_stock": offer.in_stock or not is_early,
        }
        for number, asin in enumerate(found.variant_asins)
    ]


def _officeworks(shelf: Shelf, found: Product, offer: Offer, position: int) -> Record:
    chance = Random(f"{found.asin} in the stores")
    return {
        "sku": f"OW{found.asin[2:]}",
        "position": position + 1,
        "title": found.title,
        "brand": found.brand,
        "url": f"https://{shelf.site}/p/{found.asin[2:].lower()}",
        "image_url": found.images[0],
        "currency": shelf.currency,
        **_offer(offer),
        "delivery": chance.choice(("Same day", "Next business day", "3 - 5 business days")),
        "stores": [
            {"store": store, "stock": chance.randrange(12) if offer.in_stock else 0}
            for store in chance.sample(_STORES, k=3)
        ],
        "categories": list(shelf.path),
        "specifications": found.specifications,
    }


def _category(shelf: Shelf, found: Product, offer: Offer, position: int) -> Record:
    is_variant = bool(found.variant_asins)
    return {
        "asin": found.asin,
        "parent_asin": found.parent_asin if is_variant else None,
        "title": found.title,
        "is_variant": is_variant,
        "is_brand": found.is_brand,
        "is_store": found.is_store,
        "is_prime": found.is_prime,
        "seller_name": _seller(offer),
        "price_cents": offer.price,
        "in_stock": offer.in_stock,
    }
