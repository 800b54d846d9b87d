"""Find products in the newest runs of a team's collections."""

import logging
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any

from django.db.models import F, Max, Q, QuerySet

from collections_app.files.storage.cache import BuildFailed
from collections_app.models import Block, Collection, RunCoverage, Team, Verdict
from collections_app.models.verdicts import IS_TRUSTED, is_of_kind, may_be_trusted
from collections_app.records.preview.engine import QueryTimeout, UnreadableFile, open_database
from collections_app.records.tracking.block_files import VERSION
from collections_app.records.tracking.blocks import local_path
from collections_app.records.tracking.keys import key_of_texts
from collections_app.records.tracking.tracked_runs import ProductsUnavailable
from collections_app.system.database import release_connections

logger = logging.getLogger(__name__)

MOST_FOUND = 50
# Conditions for the runs of a block.
_ARE_TRUSTED = may_be_trusted("runs__verdict")
_HAVE_PRICES = Q(runs__verdict=None) | is_of_kind(RunCoverage.FULL, "runs__verdict__")
_MOST_WORDS = 8
# How many collections are searched, those with the newest runs first, how many blocks of each, and how many
# rows of these blocks. The newest run may be incomplete, so its block isn't enough.
_MOST_COLLECTIONS = 100
_MOST_BLOCKS = 2
_MOST_ROWS = 5_000_000
_SECONDS = 3.0

# Exact keys come first. The newest run may only have scraped the availability.
_SEARCH = """
SELECT
    $collections[list_position($files, filename)] AS collection, key,
    arg_max(title, number) FILTER (WHERE title <> ''),
    unnest(
        arg_max({{price: price, amount: amount, unit: unit, currency: currency}}, number)
        FILTER (WHERE price <> '')
    )
FROM read_parquet($files, filename = true)
WHERE (contains(key, $key) OR ({words})) AND NOT list_contains($left_out, concat(number, ' ', filename))
GROUP BY collection, key
ORDER BY contains(key, $key) DESC, collection, key LIMIT $most
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
    blocks, left_out = _chosen_blocks(team)
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


def _chosen_blocks(team: Team) -> tuple[list[Block], int]:
    """Return the newest blocks of each collection, and how many collections were left out."""
    by_collection: dict[int, list[Block]] = defaultdict(list)
    for block in _newest_blocks(team):
        by_collection[block.collection_id].append(block)
    chosen: list[Block] = []
    rows = 0
    for blocks in islice(by_collection.values(), _MOST_COLLECTIONS):
        for block in blocks[:_MOST_BLOCKS]:
            if not chosen or rows + block.records <= _MOST_ROWS:
                chosen.append(block)
                rows += block.records
    return chosen, len(by_collection) - len({block.collection_id for block in chosen})


def _newest_blocks(team: Team) -> QuerySet[Block]:
    """Return the blocks with trusted runs: first those with prices, newest first."""
    blocks = Block.objects.filter(_ARE_TRUSTED, collection__team=team).current(VERSION)
    return (
        blocks.select_related("collection")
        .annotate(newest=Max("runs__created_at"), newest_price=Max("runs__created_at", filter=_HAVE_PRICES))
        .order_by(F("newest_price").desc(nulls_last=True), "-newest", "-pk")
    )


def _distrusted(blocks: Mapping[Path, Block]) -> list[str]:
    """Return the runs of these blocks that can't be trusted: their numbers, and the paths of their blocks."""
    paths = {block.pk: path for path, block in blocks.items()}
    found = Verdict.objects.filter(~IS_TRUSTED, run__blocks__in=paths)
    return [f"{number} {paths[block]}" for number, block in found.values_list("run__number", "run__blocks")]


def _products(blocks: Sequence[Block], text: str, words: Sequence[str]) -> Iterator[FoundProduct]:
    by_path = {local_path(block): block for block in blocks}
    statement = _SEARCH.format(words=" AND ".join(_WORD.format(index=index) for index in range(len(words))))
    values: dict[str, Any] = {
        "files": [*map(str, by_path)],
        "collections": [block.collection_id for block in by_path.values()],
        "key": key_of_texts([text.strip()])[1:-1],
        "most": MOST_FOUND + 1,
        "left_out": _distrusted(by_path),
        **{f"word{index}": word for index, word in enumerate(words)},
    }
    release_connections()
    with open_database(*by_path, seconds=_SECONDS, is_reused=True) as database:
        rows = database.query(statement, values)
    collections = {block.collection_id: block.collection for block in blocks}
    for collection, key, title, price, amount, unit, currency in rows:
        yield FoundProduct(
            collections[collection],
            key,
            title or "",
            price or "",
            None if amount is None else amount / unit,
            currency or "",
        )
