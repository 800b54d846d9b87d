"""What shops write about stock."""

import pytest

from collections_app.records.availability import Availability, availability_of
from tests.support.tools import cpu_seconds

IN, OUT = Availability.IN_STOCK, Availability.OUT_OF_STOCK


@pytest.mark.parametrize(
    ("values", "availability"),
    [
        ([True, "true", "Yes", 1, 250, "3", "12.0", 0.5], IN),
        (["1,234 in stock", "1.234 auf Lager", "http://www.schema.org/InStock", "In Stock Online"], IN),
        (["No longer in stock", "www.schema.org/OutOfStock"], OUT),
        ([False, "false", "No", 0, "0", "0.0"], OUT),
        (["https://schema.org/InStock", "http://schema.org/LimitedAvailability", "InStock", "in_stock"], IN),
        (["https://schema.org/OutOfStock", "schema.org/SoldOut", "outOfStock", "OUT-OF-STOCK"], OUT),
        (["https://schema.org/PreOrder", "PreSale", "Pre-order", "Coming soon"], Availability.PREORDER),
        (["https://schema.org/BackOrder", "Backorder", "Available on backorder"], Availability.BACKORDER),
        (
            [
                "In stock",
                "In Stock.",
                " IN\u00a0STOCK ",
                "Available",
                "Low stock",
                "In stock (12)",
                "10+ in stock",
            ],
            IN,
        ),
        (
            [
                "Only 3 left in stock",
                "Only 1 left in stock - order soon.",
                "5 left",
                "More than 10 available",
            ],
            IN,
        ),
        (
            [
                "Out of stock",
                "Sold out!",
                "Currently unavailable.",
                "Temporarily out of stock.",
                "0 left in stock",
            ],
            OUT,
        ),
        (["Usually ships within 2 to 3 days", "Ships in 2-3 business days.", "Ready to ship tomorrow"], IN),
        (
            ["In stock. Usually ships within 2 to 3 days.", "In stock - order soon", "In Stock, ships today"],
            IN,
        ),
        (["10+", "999+", "1,000+", "> 10", "10+ units", "In stock (more on the way)"], IN),
        (["Available for pickup", "In stock | Free delivery tomorrow", "In stock. Sold by Lamps"], IN),
        (["Notify me", "Temporarily out of stock. Order soon.", "Currently unavailable - Notify me"], OUT),
        (["Pre-order. Ships in 2 weeks", "This item will be released on 3 March."], Availability.PREORDER),
        (["Auf Lager", "Lieferbar", "Nur noch 2 auf Lager", "Sofort lieferbar."], IN),
        (["Nicht auf Lager", "Derzeit nicht verfügbar.", "Ausverkauft"], OUT),
        (
            [
                "En stock",
                "Il ne reste plus que 4 exemplaire(s) en stock.",
                "Disponibile",
                "Op voorraad",
                "i lager",
            ],
            IN,
        ),
        (["Actuellement indisponible.", "Agotado", "Non disponibile", "Niet op voorraad", "Slutsåld"], OUT),
        (["在庫あり。", "残り3点 ご注文はお早めに", "Tersedia", "Sisa 2", "Còn hàng", "有货"], IN),
        (["現在在庫切れです。", "Stok habis", "Hết hàng", "สินค้าหมด", "缺货", "품절"], OUT),
    ],
)
def test_what_shops_write(values: list[object], availability: Availability) -> None:
    assert {value: availability_of(value) for value in values} == dict.fromkeys(values, availability)


UNKNOWN: list[object] = [
    "",
    None,
    -1,
    "-1",
    "1.2.3",
    "12345678901",
    "5 %",
    "# left",
    "maybe",
    "stock",
    [],
    {},
]
UNKNOWN += [
    "0+",
    ">0",
    "<5",
    "In stock. Out of stock online.",
    "Order soon",
    "In stock. Ask us.",
    "In stock soon",
]
UNKNOWN += ["Ships within 2 parsecs", "Only 3 left in stock from 5 sellers", "In stock on 12 March"]
UNKNOWN += ["https://example.com/InStock", "x" * 10_000_000]


@pytest.mark.parametrize("value", UNKNOWN)
def test_anything_else_is_unknown(value: object) -> None:
    assert availability_of(value) is None


def test_long_texts_take_little_time() -> None:
    texts = ["1" * 10_000_000, " " * 10_000_000, "1 " * 50, "#" * 100]
    assert cpu_seconds(lambda: [availability_of(text) for text in texts]) < 1
