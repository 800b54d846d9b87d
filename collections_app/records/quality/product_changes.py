"""How much the products of a run have changed since an earlier run, for its verdict.

Unlike a comparison for people, this reads at most two million values of each run, and at most some 100,000
products, chosen by the hashes of their keys.
"""

from decimal import Decimal

from collections_app.records.preview.engine import Database
from collections_app.records.quality.prices import PriceCount, median, notation_of
from collections_app.records.quality.profile import ProductChanges
from collections_app.records.tracking.keys import Key, sql_key
from collections_app.records.tracking.kinds import Tracked
from collections_app.records.tracking.slices import SliceFile

_MOST_VALUES = 2_000_000
_MOST_PRODUCTS = 100_000
# A column that changes for more than this share of the products says nothing about them, such as a time.
_VOLATILE_SHARE = 0.9

# Keys that occur more than once are left out.
_PRODUCTS = """
SELECT key, count(*) AS count, any_value(price) AS price, any_value(currency) AS currency {hashes}
FROM (
    SELECT hash({key}) AS key, {price} AS price, {currency} AS currency {cells}
    FROM read_parquet($slice_{run}) WHERE {key} IS NOT NULL
)
WHERE key % {step} = 0 GROUP BY key HAVING count(*) = 1
"""
_PAIRS = """
CREATE OR REPLACE TEMP TABLE pairs AS
SELECT
    before.key IS NOT NULL AS is_before, after.key IS NOT NULL AS is_after,
    before.price AS was, before.currency AS was_currency, after.price AS now, after.currency AS now_currency
    {differences}
FROM ({before}) AS before FULL JOIN ({after}) AS after USING (key)
"""
_RECORDS = """
SELECT greatest(
    (SELECT count(*) FROM read_parquet($slice_before)), (SELECT count(*) FROM read_parquet($slice_after))
)
"""
_SHARES = """
SELECT
    count(*) FILTER (is_before), count(*) FILTER (is_after), count(*) FILTER (is_before AND is_after) {shares}
FROM pairs
"""
_CHANGED = "SELECT count(*) FROM pairs WHERE is_before AND is_after AND ({changed})"
_PRICES = """
SELECT was, was_currency, now, now_currency, count(*) FROM pairs
WHERE is_before AND is_after AND was IS NOT NULL AND now IS NOT NULL GROUP BY ALL
"""


def changes_since(database: Database, before: SliceFile, after: SliceFile, key: Key) -> ProductChanges:
    """Return how much has changed between an earlier run and a later one."""
    pairs = _Pairs(database, before, after, key)
    in_before, in_after, matched, changed = pairs.count()
    prices, changed_prices, ratio = _prices(database)
    return ProductChanges(
        products=min(in_before, in_after),
        matched=matched,
        changed=changed,
        prices=prices,
        changed_prices=changed_prices,
        price_ratio=ratio,
    )


class _Pairs:
    """The products of both runs, matched by their keys in the table `pairs`."""

    def __init__(self, database: Database, before: SliceFile, after: SliceFile, key: Key) -> None:
        self._database = database
        self._key = key
        # A record that lacks a column of the other run has changed.
        columns = dict.fromkeys([*after.columns, *before.columns])
        self._columns = [column for column in columns if column not in key]
        shared = [column for column in self._columns if column in before.columns and column in after.columns]
        self._tracked = Tracked.among(shared)
        self._files = {"slice_before": str(before.path), "slice_after": str(after.path)}
        step = self._step()
        differences = self._each(", before.h{0} <> after.h{0} AS d{0}")
        statement = _PAIRS.format(
            before=self._products(before, "before", step),
            after=self._products(after, "after", step),
            differences=differences,
        )
        database.query(statement, self._files)

    def count(self) -> tuple[int, int, int, int]:
        """Return the number of products in each run, of those in both, and of those that have changed."""
        statement = _SHARES.format(shares=self._each(", count(*) FILTER (d{0})"))
        ((before, after, matched, *counts),) = self._database.query(statement, {})
        stable = [
            f"d{index}"
            for index, count in enumerate(counts)
            if count and self._is_stable(self._columns[index], count / matched)
        ]
        if not stable:
            return before, after, matched, 0
        ((changed,),) = self._database.query(_CHANGED.format(changed=" OR ".join(stable)), {})
        return before, after, matched, changed

    def _is_stable(self, column: str, share: float) -> bool:
        known = Tracked.among(self._columns)
        return column in {known.title, known.price, known.stock, known.seller} or share <= _VOLATILE_SHARE

    def _step(self) -> int:
        """Return how many parts the keys have. One of them is read."""
        ((records,),) = self._database.query(_RECORDS, self._files)
        values = records * (len(self._columns) + 4)
        return max(1, -(-int(values) // _MOST_VALUES), -(-int(records) // _MOST_PRODUCTS))

    def _products(self, of: SliceFile, run: str, step: int) -> str:
        cells = [f", hash({of.sql_name(column)}) AS h{index}" for index, column in enumerate(self._columns)]
        return _PRODUCTS.format(
            run=run,
            key=sql_key(of, self._key),
            price=of.sql_name(self._tracked.price or ""),
            currency=of.sql_name(self._tracked.currency or ""),
            cells="".join(cells),
            hashes=self._each(", any_value(h{0}) AS h{0}"),
            step=step,
        )

    def _each(self, template: str) -> str:
        return "".join(template.format(index) for index in range(len(self._columns)))


def _prices(database: Database) -> tuple[int, int, float | None]:
    """Return the number of prices in both runs, of those that have changed, and the median ratio."""
    rows = database.query(_PRICES, {})
    was, now = (
        notation_of(PriceCount(*row[:2]) for row in rows),
        notation_of(PriceCount(*row[2:4]) for row in rows),
    )
    ratios: list[tuple[Decimal, int]] = []
    for *cells, count in rows:
        before, after = PriceCount(*cells[:2]).amount(was), PriceCount(*cells[2:]).amount(now)
        if before and after:
            ratios.append((after / before, count))
    changed = sum(count for ratio, count in ratios if ratio != 1)
    middle = median(ratios)
    return sum(count for _, count in ratios), changed, None if middle is None else float(middle)
