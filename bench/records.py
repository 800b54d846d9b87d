"""Random records that compress as well as real ones.

Real pages of two shops (1,000 records each, 2.7 KB per record) compress to 0.19 - 0.20 of their size with
zip, and to 1.10 - 1.12 times that with isal's level 3. The demo's products are more repetitive. Each of these
records has a description with a few frequent and many rare words, URLs with random numbers and digests, and
the same keys and a few repeated values. They compress to 0.19, and 1.12 times that.
"""

import json
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from random import Random
from typing import Any

_SYLLABLES = (
    *("an", "ar", "ba", "be", "bo", "cha", "co", "da", "de", "di", "e", "el", "fa", "fi", "ga", "ge", "ha"),
    *(
        "in",
        "ka",
        "ke",
        "la",
        "le",
        "li",
        "lo",
        "ma",
        "me",
        "mi",
        "mo",
        "na",
        "ne",
        "no",
        "o",
        "or",
        "pa",
        "pe",
    ),
    *("ra", "re", "ri", "ro", "sa", "se", "si", "so", "sta", "ta", "te", "ti", "to", "tri", "un", "va", "ve"),
)
_WORDS = 12_000
_BRANDS = 150
_CATEGORIES = 60
_SPECIFICATIONS = 25


class Shop:
    """Generates records, the same ones for the same seed."""

    def __init__(self, seed: int = 1) -> None:
        self._random = Random(seed)  # noqa: S311  # no secrets
        self._words = [
            "".join(self._random.choices(_SYLLABLES, k=self._random.randint(1, 4))) for _ in range(_WORDS)
        ]
        # As in natural languages, the n-th most frequent word occurs 1/n as often as the first (Zipf).
        self._weights = list(accumulate(1 / rank for rank in range(1, _WORDS + 1)))
        self._brands = [self._text(1).title() for _ in range(_BRANDS)]
        self._categories = [[self._text(2).title() for _ in range(3)] for _ in range(_CATEGORIES)]
        self._specifications = [self._text(2).capitalize() for _ in range(_SPECIFICATIONS)]

    def records(self) -> Iterator[dict[str, Any]]:
        """Yield records of about 2.5 KB, endlessly."""
        random = self._random
        while True:
            number, title = random.randrange(10**9, 10**10), self._text(12).title()
            slug = title.lower().replace(" ", "-")
            digests = [f"{random.getrandbits(128):032x}" for _ in range(3)]
            pictures = [f"https://img.shop.example.com/g/p/{digest}.jpg" for digest in digests]
            price = random.randrange(500, 500_000)
            yield {
                "url": f"https://www.shop.example.com/products/{slug}-i{number}.html",
                "product_id": str(number),
                "title": title,
                "brand": random.choice(self._brands),
                "initial_price": str(price + random.choice((0, 0, 1000))),
                "final_price": str(price),
                "price_cents": price,
                "currency": "AUD",
                "in_stock": random.random() < 0.9,  # noqa: PLR2004
                "rating": round(random.uniform(1, 5), 1),
                "reviews_count": random.randrange(2000),
                "main_image": f"{pictures[0]}_720x720q80.jpg_.webp",
                "image_urls": [
                    f"{picture}_{size}q80.jpg_.webp"
                    for picture in pictures
                    for size in ("120x120", "720x720")
                ],
                "category_tree": [
                    {"name": name, "url": f"https://www.shop.example.com/{name.replace(' ', '-')}-c.html"}
                    for name in random.choice(self._categories)
                ],
                "product_specifications": [
                    {"name": name, "value": self._text(2)} for name in random.sample(self._specifications, 6)
                ],
                "description": f"{title}. {self._text(50).capitalize()}.",
                "returns_and_warranty": ["Change of mind", "Free returns for 7 days", "No warranty"],
                "color": None,
                "variations": [],
                "domain": "www.shop.example.com",
                "country_code": "AU",
            }

    def _text(self, words: int) -> str:
        return " ".join(self._random.choices(self._words, cum_weights=self._weights, k=words))


def write_page(path: Path, records: Iterator[dict[str, Any]], size: int) -> None:
    """Write a list of at least this size."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as page:
        page.write(b"[\n")
        while page.tell() < size:
            page.write(b",\n" if page.tell() > 2 else b"")  # noqa: PLR2004
            page.write(json.dumps(next(records), ensure_ascii=False).encode())
        page.write(b"\n]\n")
