"""Find products in the newest runs of a team's collections."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from django.db.models import Max

from collections_app.files.storage.cache import BuildFailed
from collections_app.models import Block, Collection, Team
from collections_app.records.preview.engine import QueryTimeout, UnreadableFile, open_database
from collections_app.records.tracking.block_files import VERSION
from collections_app.records.tracking.blocks import local_path
from collections_app.records.tracking.keys import key_of_texts
from collections_app.records.tracking.tracked_runs import ProductsUnavailable
from collections_app.system.database import release_connections

logger = logging.getLogger(__name__)

MOST_FOUND = 50
_MOST_WORDS = 8
# How many collections are searched, those with the newest runs first, and how many rows of their blocks.
_MOST_COLLECTIONS = 100
_MOST_ROWS = 5_000_000
_SECONDS = 3.0

# Exact keys come first.
_SEARCH = """
SELECT
    filename, key,
    unnest(arg_max({{title: title, price: price, amount: amount, unit: unit, currency: currency}}, number))
FROM read_parquet($files, filename = true)
WHERE contains(key, $key) OR ({words})
GROUP BY filename, key
ORDER BY contains(key, $key) DESC, filename, key LIMIT $most
"""
_WORD = "contains(strip_accents(lower(title)), strip_accents(lower($word{index})))"


@dataclass(frozen=True)
class FoundProduct:
    """A product in the newest runs of a collection."""

    collection: Collection
    key: str
    title: str
    price: str  # as it was scraped
    amount: Decimal | None  # in units of the currency
    currency: str


@dataclass(frozen=True)
class Found:
    """Products, at most MOST_FOUND, and the collections that weren't searched because there are too many."""

    products: Sequence[FoundProduct]
    has_more: bool
    left_out: int


def search_products(team: Team, text: str) -> Found:
    """Find products by their key, or one of its parts, and by all words in their title.

    Raises ProductsUnavailable and TooManyQueries.
    """
    words = text.split()[:_MOST_WORDS]
    blocks, left_out = _newest_blocks(team)
    if not words or not blocks:
        return Found([], has_more=False, left_out=left_out)
    try:
        found = list(_products(blocks, text, words))
    except QueryTimeout:
        raise ProductsUnavailable("This search took too long. Use the key of a product.") from None
    except (UnreadableFile, OSError, BuildFailed) as error:
        logger.warning("product search team=%s problem=%s", team.pk, error)
        raise ProductsUnavailable("The products can't be searched now. Try again in a minute.") from None
    return Found(found[:MOST_FOUND], len(found) > MOST_FOUND, left_out)


def _newest_blocks(team: Team) -> tuple[list[Block], int]:
    """Return the newest block of each collection, and how many collections were left out."""
    current = Block.objects.filter(collection__team=team).current(VERSION).select_related("collection")
    by_collection: dict[int, Block] = {}
    for block in current.annotate(newest=Max("runs__created_at")).order_by("-newest", "-pk"):
        by_collection.setdefault(block.collection_id, block)
    chosen: list[Block] = []
    rows = 0
    for block in by_collection.values():
        if len(chosen) < _MOST_COLLECTIONS and (not chosen or rows + block.records <= _MOST_ROWS):
            chosen.append(block)
            rows += block.records
    return chosen, len(by_collection) - len(chosen)


def _products(blocks: Sequence[Block], text: str, words: Sequence[str]) -> Iterator[FoundProduct]:
    by_path = {local_path(block): block for block in blocks}
    release_connections()
    statement = _SEARCH.format(words=" AND ".join(_WORD.format(index=index) for index in range(len(words))))
    values: dict[str, Any] = {
        "files": [*map(str, by_path)],
        "key": key_of_texts([text.strip()])[1:-1],
        "most": MOST_FOUND + 1,
        **{f"word{index}": word for index, word in enumerate(words)},
    }
    with open_database(*by_path, seconds=_SECONDS, is_reused=True) as database:
        rows = database.query(statement, values)
    for path, key, title, price, amount, unit, currency in rows:
        yield FoundProduct(
            by_path[Path(path)].collection,
            key,
            title or "",
            price or "",
            None if amount is None else amount / unit,
            currency or "",
        )
