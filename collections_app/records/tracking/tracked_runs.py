"""The runs whose products are known, and queries of their blocks."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate
from typing import Any

from collections_app.files.storage.cache import BuildFailed
from collections_app.models import Block, Collection, RunCoverage
from collections_app.models.verdicts import is_of_kind, is_trusted
from collections_app.records.preview.engine import QueryTimeout, UnreadableFile, open_database
from collections_app.records.tracking.block_files import VERSION
from collections_app.records.tracking.blocks import forget_missing, local_path
from collections_app.system.database import release_connections

logger = logging.getLogger(__name__)

_AVAILABILITY = RunCoverage.AVAILABILITY.value
_ONLY_AVAILABILITY = is_of_kind(_AVAILABILITY, "verdict__")
# The newest runs that are read.
MOST_RUNS = 1000
_SECONDS = 5.0
_ATTEMPTS = 3


@dataclass(frozen=True)
class TrackedRun:
    """A run whose products are known."""

    number: int
    created_at: datetime
    is_trusted: bool
    has_prices: bool = True  # false if it only scraped the availability


class ProductsUnavailable(Exception):
    """The products of a collection can't be read now. The message is for people."""


def query_products(  # noqa: PLR0913  # what to read
    collection: Collection,
    statement: str,
    values: Callable[[Sequence[TrackedRun]], Mapping[str, object]],
    *,
    most: int = MOST_RUNS,
    most_rows: int | None = None,
    with_prices: bool = False,
) -> tuple[list[TrackedRun], Sequence[tuple[Any, ...]]]:
    """Return the newest runs whose products are known, oldest first, and the rows of a query of their blocks.

    `values` returns the parameters of the query for these runs. The parameter `files` is added: the blocks,
    which may contain other runs too. If they have more than `most_rows`, leave out the oldest ones. With
    `with_prices`, leave out runs that only scraped the availability. Raises ProductsUnavailable and
    TooManyQueries.
    """
    problem: Exception | None = None
    for _ in range(_ATTEMPTS):
        runs, blocks = _tracked(collection, most, most_rows, with_prices=with_prices)
        try:
            return runs, _rows(blocks, statement, values(runs))
        except FileNotFoundError as error:
            # A block was replaced, its copy was evicted from the cache, or a backup was restored without it.
            problem = error
        except QueryTimeout:
            raise ProductsUnavailable("Reading the history takes too long. Try again later.") from None
        except (UnreadableFile, OSError, BuildFailed) as error:
            problem = error
            break
    if isinstance(problem, FileNotFoundError):
        forget_missing(blocks)
    logger.warning("products collection=%s problem=%s", collection.pk, problem)
    raise ProductsUnavailable("The history can't be read. Try again later, or tell the operator.")


def _tracked(
    collection: Collection, most: int, most_rows: int | None, *, with_prices: bool
) -> tuple[list[TrackedRun], list[Block]]:
    current = Block.objects.filter(collection=collection).current(VERSION)
    newest = collection.runs.filter(blocks__in=current).newest_first()
    if with_prices:
        newest = newest.exclude(_ONLY_AVAILABILITY)
    rows = newest.values_list(
        "number",
        "created_at",
        "verdict__level",
        "verdict__overrule",
        "verdict__chosen_coverage",
        "verdict__coverage",
        "blocks",
    )[:most]
    blocks = Block.objects.in_bulk({block for *_, block in rows})
    # The newest first. A block may have been replaced since the first query.
    used = [blocks[pk] for pk in dict.fromkeys(block for *_, block in rows) if pk in blocks]
    if most_rows is not None:
        totals = accumulate(block.records for block in used)
        used = [
            block
            for index, (block, total) in enumerate(zip(used, totals, strict=True))
            if not index or total <= most_rows
        ]
    kept = {block.pk for block in used}
    runs = [
        TrackedRun(number, created_at, is_trusted(level, overrule), (chosen or coverage) != _AVAILABILITY)
        for number, created_at, level, overrule, chosen, coverage, block in rows
        if block in kept
    ]
    return runs[::-1], used


def _rows(blocks: Sequence[Block], statement: str, values: Mapping[str, object]) -> Sequence[tuple[Any, ...]]:
    if not blocks:
        return []
    paths = [local_path(block) for block in blocks]
    release_connections()
    with open_database(*paths, seconds=_SECONDS, is_reused=True) as database:
        return database.query(statement, {**values, "files": [*map(str, paths)]})
