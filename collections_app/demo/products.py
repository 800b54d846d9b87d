"""Sample product records. They are the same every time, and change a little from run to run.

A product's number, title, brand and specifications never change. Its price, stock, rating and seller depend
on the number of the run.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from random import Random
from typing import Any

from collections_app.models import Kind

Record = dict[str, Any]

# The speed of the demo's scraper: 250 records take five minutes.
SECONDS_PER_RECORD = 1.2
_ASIN_CHARACTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
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
_STORES = ("Alexandria", "Chatswood", "Geelong", "Fortitude Valley", "Joondalup", "Hobart")


@dataclass(frozen=True, eq=False)
class Shelf:
    """A kind of product: what its titles and prices are generated from. Prices are in units of `currency`."""

    name: str
    title: str
    brands: dict[str, tuple[str, ...]]
    specifications: dict[str, tuple[str, ...]]
    prices: tuple[int, int]
    path: tuple[str, ...]
    currency: str = "AUD"
    site: str = "www.amazon.com.au"


@dataclass(frozen=True)
class Product:
    """The properties of a product that never change."""

    asin: str
    parent_asin: str
    variant_asins: tuple[str, ...]
    brand: str
    title: str
    specifications: dict[str, str]
    price: int
    rating: float
    ratings: int
    phase: float
    images: tuple[str, ...]
    features: tuple[str, ...]


def product_records(
    kind: str, shelf: Shelf, run_number: int, count: int, started_at: datetime
) -> Iterator[Record]:
    """Yield the first `count` records that the run with this number finds on a shelf."""
    make = {Kind.OFFICEWORKS: _officeworks, Kind.AMAZON_CATEGORY: _category}.get(Kind(kind), _amazon)
    today = Random(f"{shelf.name} in run {run_number}")
    for position in range(count):
        record = make(shelf, product(shelf, position), run_number, position, today)
        if kind != Kind.AMAZON_CATEGORY:
            scraped_at = started_at + timedelta(seconds=int(position * SECONDS_PER_RECORD))
            record["scraped_at"] = scraped_at.strftime("%Y-%m-%dT%H:%M:%SZ")
        yield record


@cache
def product(shelf: Shelf, position: int) -> Product:
    """Return the product at a position of a shelf, starting at 0."""
    chance = Random(f"{shelf.name} at {position}")
    brand = chance.choice(list(shelf.brands))
    specifications = {name: chance.choice(values) for name, values in shelf.specifications.items()}
    words = {name.lower().replace(" ", "_"): value for name, value in specifications.items()}
    asin = _asin(chance)
    low, high = shelf.prices
    return Product(
        asin=asin,
        parent_asin=_asin(chance),
        variant_asins=tuple(_asin(chance) for _ in range(chance.choice((0, 0, 1, 2, 3)))),
        brand=brand,
        title=shelf.title.format(brand=brand, series=chance.choice(shelf.brands[brand]), **words),
        specifications=specifications
        | {"Model number": f"{brand[:2].upper()}-{chance.randrange(1000, 9999)}"},
        # Cheap products are more common than expensive ones.
        price=int(low * (high / low) ** chance.random() * 100),
        rating=round(min(5.0, max(2.1, chance.gauss(4.2, 0.45))), 1),
        ratings=int(10 ** chance.uniform(0.3, 4.1)),
        phase=chance.uniform(0, 2 * math.pi),
        images=tuple(
            f"https://images.example.com/{asin}/{number}.jpg" for number in range(1, chance.randrange(3, 7))
        ),
        features=tuple(f"{name}: {value}" for name, value in list(specifications.items())[:3]),
    )


def _asin(chance: Random) -> str:
    return "B0" + "".join(chance.choices(_ASIN_CHARACTERS, k=8))


def _happens(chance: Random, share: float) -> bool:
    return chance.random() < share


def _price(base: int, phase: float, run_number: int, today: Random) -> int:
    """Return a price in cents: a slow wave, an occasional sale, and an ending such as .99."""
    wave = 1 + 0.04 * math.sin(run_number / 6 + phase)
    sale = 0.85 if _happens(today, 0.06) else 1.0
    units = max(1, int(base * wave * sale) // 100)
    return units * 100 + today.choice((-1, -1, -5, 0))


def _offer(found: Product, run_number: int, today: Random) -> Record:
    price = _price(found.price, found.phase, run_number, today)
    in_stock = _happens(today, 0.92)
    return {
        "price_cents": price,
        "list_price_cents": max(price, found.price // 100 * 100),
        "in_stock": in_stock,
        "stock": today.randrange(1, 60) if in_stock else 0,
    }


def _reviews(found: Product, run_number: int, today: Random) -> Record:
    return {
        "rating": round(min(5.0, max(1.0, found.rating + today.choice((-0.1, 0, 0, 0, 0.1)))), 1),
        "ratings_count": found.ratings + int(found.ratings * run_number / 400),
    }


def _amazon(shelf: Shelf, found: Product, run_number: int, position: int, today: Random) -> Record:
    offer = _offer(found, run_number, today)
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
        **offer,
        **_reviews(found, run_number, today),
        "seller_name": today.choice(_SELLERS) if offer["in_stock"] else None,
        "is_prime": _happens(today, 0.7),
        "is_sponsored": _happens(today, 0.1),
        "best_sellers_rank": max(1, position * 7 + today.randrange(-20, 60)),
        "categories": list(shelf.path),
        "features": list(found.features),
        "specifications": found.specifications,
        "variants": [
            {
                "asin": asin,
                "price_cents": _price(found.price * (9 + number) // 10, found.phase, run_number, today),
                "in_stock": _happens(today, 0.85),
            }
            for number, asin in enumerate(found.variant_asins)
        ],
    }


def _officeworks(shelf: Shelf, found: Product, run_number: int, position: int, today: Random) -> Record:
    offer = _offer(found, run_number, today)
    return {
        "sku": f"OW{found.asin[2:]}",
        "position": position + 1,
        "title": found.title,
        "brand": found.brand,
        "url": f"https://{shelf.site}/p/{found.asin[2:].lower()}",
        "image_url": found.images[0],
        "currency": shelf.currency,
        **offer,
        **_reviews(found, run_number, today),
        "delivery": today.choice(("Same day", "Next business day", "3 - 5 business days")),
        "stores": [{"store": store, "stock": today.randrange(0, 12)} for store in today.sample(_STORES, k=3)],
        "categories": list(shelf.path),
        "specifications": found.specifications,
    }


def _category(shelf: Shelf, found: Product, run_number: int, position: int, today: Random) -> Record:
    offer = _offer(found, run_number, today)
    is_variant = bool(found.variant_asins)
    return {
        "asin": found.asin,
        "parent_asin": found.parent_asin if is_variant else None,
        "title": found.title,
        "is_variant": is_variant,
        "is_brand": _happens(today, 0.3),
        "is_store": _happens(today, 0.1),
        "is_prime": _happens(today, 0.7),
        "seller_name": today.choice(_SELLERS) if offer["in_stock"] else None,
        "price_cents": offer["price_cents"],
        "in_stock": offer["in_stock"],
    }
