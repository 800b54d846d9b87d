"""The products whose prices have moved most, compared with their median in the last runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from collections_app.models import Collection
from collections_app.records.tracking.percent import LARGEST
from collections_app.records.tracking.tracked_runs import TrackedRun, query_products

# How many falls and rises are shown.
MOST_MOVERS = 25
# The rows of blocks that are read. With more, fewer runs are compared.
_MOST_ROWS = 4_000_000

# A product that occurs more than once in a run has no price there.
_MOVERS = """
WITH prices AS (
    SELECT
        key, number, any_value(amount::DOUBLE / unit) AS price, coalesce(any_value(currency), '') AS currency
    FROM read_parquet($files) WHERE list_contains($numbers, number) AND amount IS NOT NULL
    GROUP BY key, number HAVING count(*) = 1
), moves AS (
    SELECT
        key, currency, count(*) - 1 AS runs,
        median(price) FILTER (WHERE number <> $newest) AS usual,
        any_value(price) FILTER (WHERE number = $newest) AS now
    FROM prices GROUP BY key, currency HAVING usual > 0 AND now IS NOT NULL
), ranked AS (
    SELECT
        *, 100 * (now - usual) / usual AS percent,
        row_number() OVER (PARTITION BY now > usual ORDER BY abs(now - usual) / usual DESC, key) AS rank
    FROM moves WHERE abs(now - usual) / usual BETWEEN $least AND $largest
), movers AS (SELECT * FROM ranked WHERE rank <= $most)
SELECT key, title, movers.currency, usual, now, percent, runs
FROM movers JOIN read_parquet($files) USING (key) WHERE number = $newest ORDER BY rank
"""
# A smaller change, as a share, isn't a move.
_LEAST = 0.001
# Nor is a larger one: then one of the prices is wrong.
_LARGEST = float(LARGEST / 1000)
_CENTS, _TENTHS = Decimal("0.01"), Decimal("0.1")


@dataclass(frozen=True)
class Mover:
    """A product whose price differs from its median in the runs before. Prices are rounded to cents."""

    key: str
    title: str
    currency: str
    usual: Decimal
    now: Decimal
    percent: Decimal  # with one decimal
    runs: int  # how many of the runs before have its price


@dataclass(frozen=True)
class Movers:
    """The biggest falls and rises, biggest first, in the newest trusted run with prices."""

    newest: TrackedRun | None
    runs: int  # how many runs before are compared with it
    falls: Sequence[Mover]
    rises: Sequence[Mover]


def movers_of(collection: Collection, runs: int) -> Movers:
    """Return the biggest movers against the median of this many runs. Only trusted runs count.

    Raises ProductsUnavailable and TooManyQueries.
    """
    read, rows = query_products(
        collection, _MOVERS, _values, most=runs + 1, most_rows=_MOST_ROWS, with_prices=True
    )
    movers = [_mover(row) for row in rows]
    trusted = [run for run in read if run.is_trusted]
    return Movers(
        trusted[-1] if trusted else None,
        max(0, len(trusted) - 1),
        [mover for mover in movers if mover.percent < 0],
        [mover for mover in movers if mover.percent > 0],
    )


def _values(runs: Sequence[TrackedRun]) -> dict[str, object]:
    numbers = [run.number for run in runs if run.is_trusted]
    return {
        "numbers": numbers,
        "newest": numbers[-1] if numbers else 0,
        "least": _LEAST,
        "largest": _LARGEST,
        "most": MOST_MOVERS,
    }


def _mover(row: tuple[Any, ...]) -> Mover:
    key, title, currency, usual, now, percent, runs = row
    usual, now = (Decimal(each).quantize(_CENTS) for each in (usual, now))
    return Mover(key, title or "", currency, usual, now, Decimal(percent).quantize(_TENTHS), runs)
