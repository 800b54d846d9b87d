"""The profile of a run: how full its columns are, and other figures that verdicts compare.

A profile comes from the run's slice. It covers the columns of the slice, which are the first 300.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from collections_app.records.preview.engine import Database
from collections_app.records.quality.prices import PriceCount, median, notation_of
from collections_app.records.tracking.keys import Key, sql_key
from collections_app.records.tracking.kinds import Tracked
from collections_app.records.tracking.slices import SliceFile
from collections_app.records.tracking.values import text_of

# How many records are grouped by their key or title at once, and how many prices are read.
_MOST_GROUPED = 1_000_000
_MOST_PRICES = 100_000
_LONGEST_TITLE = 200

# A value without quotes, or "" if it is missing. A list without items is missing, too.
_TEXT = "CASE WHEN {column} IN ('null', '[]', '{{}}') THEN '' ELSE trim({column}, '\" ') END"
_COUNTS = "count({t}) FILTER ({t} <> ''), count(TRY_CAST({t} AS DOUBLE))"
_COLUMNS = "SELECT count(*), {counts} FROM (SELECT {texts} FROM read_parquet($slice))"
_GROUPS = """
SELECT count(*), coalesce(sum(count) FILTER (count > 1), 0), coalesce(max(count), 0), arg_max(n, count)
FROM (
    SELECT count(*) AS count, min(n) AS n
    FROM (SELECT hash({value}) AS value, n FROM read_parquet($slice) WHERE {value} IS NOT NULL)
    WHERE value % {parts} = {part} GROUP BY value
)
"""
_WITHOUT_KEY = "SELECT count(*) FROM read_parquet($slice) WHERE {key} IS NULL"
_VALUE = "SELECT {column} FROM read_parquet($slice) WHERE n = $n"
_PRICES = """
SELECT {price}, {currency}, count(*) FROM read_parquet($slice)
WHERE {price} IS NOT NULL AND n % {step} = 0 GROUP BY ALL
"""


@dataclass(frozen=True)
class ColumnProfile:
    """How many records have a value in a column, and how many of these values are numbers."""

    filled: int
    numbers: int


@dataclass(frozen=True)
class ProductChanges:
    """What a comparison with an earlier run shows. It reads at most some 100,000 products."""

    products: int  # in the run that has fewer
    matched: int  # in both runs
    changed: int  # of the matched ones, except in columns that change in every run
    prices: int  # matched products with a price in both runs
    changed_prices: int
    price_ratio: float | None = None  # the median of the price now divided by the price then

    @property
    def matched_share(self) -> float | None:
        """The share of products that are in both runs, or None if a run has none."""
        return self.matched / self.products if self.products else None

    @property
    def changed_price_share(self) -> float | None:
        """The share of prices that have changed, or None if there are none to compare."""
        return self.changed_prices / self.prices if self.prices else None


@dataclass(frozen=True)
class Profile:
    """What the records of a run look like. Shares are between 0 and 1."""

    records: int
    extracted: int | None = None
    total: int | None = None
    columns: Mapping[str, ColumnProfile] = field(default_factory=dict)
    has_key: bool = False
    duplicates: int = 0  # all records whose keys occur more than once
    without_key: int = 0
    title_column: str | None = None
    common_title: str = ""
    common_titles: int = 0  # how many records have this title
    price_column: str | None = None
    median_price: float | None = None  # in the unit of the column
    since: int | None = None  # the number of the earlier run that `changes` compares with
    changes: ProductChanges | None = None

    def coverage(self, column: str) -> float:
        """Return the share of records that have a value in a column."""
        found = self.columns.get(column)
        return found.filled / self.records if found and self.records else 0.0

    def number_share(self, column: str) -> float | None:
        """Return the share of a column's values that are numbers, or None if it has no values."""
        found = self.columns.get(column)
        return found.numbers / found.filled if found and found.filled else None

    def to_json(self) -> dict[str, Any]:
        """Return the profile as it is stored."""
        columns = {name: [each.filled, each.numbers] for name, each in self.columns.items()}
        return asdict(self) | {"columns": columns}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """Return a profile that was stored."""
        columns = {name: ColumnProfile(*counts) for name, counts in stored["columns"].items()}
        changes = stored["changes"] and ProductChanges(**stored["changes"])
        return cls(**{**stored, "columns": columns, "changes": changes})


def profile_of(database: Database, run: SliceFile, key: Key | None) -> Profile:
    """Return the profile of a run's slice. Its `extracted`, `total` and `changes` are unknown.

    The key tells products apart, if there is one.
    """
    tracked = Tracked.among(run.columns)
    records, columns = _columns(database, run)
    duplicates = without_key = common_titles = 0
    common_title = ""
    if key:
        duplicates = sum(count for _, count, _, _ in _groups(database, run, sql_key(run, key), records))
        ((without_key,),) = database.query(_WITHOUT_KEY.format(key=sql_key(run, key)), _slice(run))
    if tracked.title:
        common_titles, common_title = _common_title(database, run, tracked.title, records)
    return Profile(
        records=records,
        columns=columns,
        has_key=bool(key),
        duplicates=duplicates,
        without_key=without_key,
        title_column=tracked.title,
        common_title=common_title,
        common_titles=common_titles,
        price_column=tracked.price,
        median_price=_median_price(database, run, tracked, records),
    )


def _slice(run: SliceFile) -> dict[str, object]:
    return {"slice": str(run.path)}


def _columns(database: Database, run: SliceFile) -> tuple[int, dict[str, ColumnProfile]]:
    """Return the number of records, and the profile of each column."""
    names = [run.sql_name(column) for column in run.columns]
    texts = ", ".join(f"{_TEXT.format(column=name)} AS {name}" for name in names)
    counts = ", ".join(_COUNTS.format(t=name) for name in names)
    if not names:
        texts, counts = "n", "0"
    ((records, *found),) = database.query(_COLUMNS.format(counts=counts, texts=texts), _slice(run))
    each = zip(run.columns, found[::2], found[1::2], strict=False)
    return records, {column: ColumnProfile(filled, numbers) for column, filled, numbers in each}


def _groups(
    database: Database, run: SliceFile, value: str, records: int
) -> Iterator[tuple[int, int, int, int | None]]:
    """Group the records by a value, one part of the values at a time.

    Yield the numbers of groups, of records in groups of several, and of records in the largest group, and the
    first record of that group.
    """
    parts = -(-records // _MOST_GROUPED)
    for part in range(parts):
        statement = _GROUPS.format(value=value, parts=parts, part=part)
        ((groups, repeated, largest, first),) = database.query(statement, _slice(run))
        yield groups, int(repeated), largest, first


def _common_title(database: Database, run: SliceFile, column: str, records: int) -> tuple[int, str]:
    """Return how many records have the most common title, and the title."""
    name = run.sql_name(column)
    filled = f"CASE WHEN {name} NOT IN ('null', '\"\"') THEN {name} END"
    largest = [(count, first) for _, _, count, first in _groups(database, run, filled, records)]
    count, first = max(largest, key=lambda each: each[0], default=(0, None))
    if not count:
        return 0, ""
    ((title,),) = database.query(_VALUE.format(column=name), {**_slice(run), "n": first})
    return count, text_of(title)[:_LONGEST_TITLE]


def _median_price(database: Database, run: SliceFile, tracked: Tracked, records: int) -> float | None:
    if tracked.price is None:
        return None
    statement = _PRICES.format(
        price=run.sql_name(tracked.price),
        currency=run.sql_name(tracked.currency or ""),
        step=max(1, -(-records // _MOST_PRICES)),
    )
    prices = [PriceCount(*row) for row in database.query(statement, _slice(run))]
    notation = notation_of(prices)
    if notation is None:
        return None
    amounts = [(each.amount(notation), each.records) for each in prices]
    middle = median([(amount, count) for amount, count in amounts if amount is not None])
    return None if middle is None else float(middle)
