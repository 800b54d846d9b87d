"""Read the values that differ in matched records.

First, the hashes of cells tell which of them differ. Only those values are read, a limited amount at once.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from collections_app.records.preview.engine import Database
from collections_app.records.tracking.keys import Key, sql_key
from collections_app.records.tracking.kinds import Tracked
from collections_app.records.tracking.slices import SliceFile
from collections_app.records.tracking.values import shown_text

# How many pairs of records are compared at once, and how many of their cells.
_MOST_PAIRS = 200_000
_MOST_CELLS = 1_600_000
# The values of the earlier run that are in memory, in bytes.
_MOST_BYTES = 32 * 1024**2

_COUNT = "SELECT count(*) FROM {pairs}"
# The hashes are computed before the join, which may keep either side in memory.
_HASHES = """
CREATE OR REPLACE TEMP TABLE hashes_before AS
SELECT before.* EXCLUDE n, n_before, n_after
FROM (SELECT n, {hashes} FROM read_parquet($slice)) AS before JOIN {pairs} AS pairs ON before.n = n_before
WHERE pairs.rowid >= {first} AND pairs.rowid < {last}
"""
# DuckDB would take minutes to plan a join with a condition on a hundred columns.
_DIFFERENT = """
CREATE OR REPLACE TEMP TABLE different AS
WITH compared AS MATERIALIZED (
    SELECT n_before, n_after, {flags}, {sizes}
    FROM (SELECT n, {hashes} FROM read_parquet($slice)) AS after JOIN hashes_before ON after.n = n_after
)
SELECT COLUMNS('n_.*|d.*'), sum(list_sum([{size}])) OVER (ORDER BY n_after) // {most} AS part
FROM compared WHERE list_bool_or([{different}])
"""
_FOUND = "SELECT coalesce(max(part), -1) + 1, {flags} FROM different"
_SUMS = "SELECT {sums} FROM different"
_VALUES = """
CREATE OR REPLACE TEMP TABLE values_before AS
SELECT n_before, n_after, {currency} AS currency_before, {values}
FROM read_parquet($slice) AS before JOIN different ON before.n = n_before
WHERE part = {part}
"""
_ROWS = """
SELECT {key}, {title}, n_before, n_after, currency_before, {currency}, {values}
FROM read_parquet($slice) AS after JOIN values_before ON after.n = n_after
"""


class ChangedCells(NamedTuple):
    """The cells of a product that differ between two runs, in some columns."""

    key: str
    title: str
    n_before: int
    n_after: int
    currency_before: str | None  # as a cell
    currency_after: str | None
    cells: list[tuple[str, str | None, str | None]]  # the column, and both values


class Differences:
    """Compares the cells of pairs of records in a table with their numbers, `n_before` and `n_after`."""

    def __init__(
        self, database: Database, before: SliceFile, after: SliceFile, key: Key, tracked: Tracked
    ) -> None:
        self._database = database
        self._before = before
        self._after = after
        self._key = key
        self._tracked = tracked

    def changed(self, columns: Sequence[str], pairs: str) -> Iterator[ChangedCells]:
        """Yield the cells that differ. A product may occur several times, with different columns."""
        for group in self._groups(columns, pairs):
            flags = ", ".join(f"coalesce(bool_or(d{index}), false)" for index in range(len(group)))
            ((parts, *found),) = self._database.query(_FOUND.format(flags=flags), {})
            different = [index for index, is_found in enumerate(found) if is_found]
            for part in range(int(parts)):
                yield from self._rows(group, different, part)

    def count(self, columns: Sequence[str], pairs: str) -> list[int]:
        """Return in how many of the pairs each column differs."""
        counts = [0] * len(columns)
        for group in self._groups(columns, pairs):
            sums = ", ".join(f"count(*) FILTER (d{index})" for index in range(len(group)))
            (found,) = self._database.query(_SUMS.format(sums=sums), {})
            for column, number in zip(group, found, strict=True):
                counts[columns.index(column)] += number
        return counts

    def _groups(self, columns: Sequence[str], pairs: str) -> Iterator[Sequence[str]]:
        """Yield some columns at a time, after comparing them in the table `different`."""
        ((total,),) = self._database.query(_COUNT.format(pairs=pairs), {})
        for first in range(0, total, _MOST_PAIRS):
            last = min(first + _MOST_PAIRS, total)
            most = max(1, _MOST_CELLS // (last - first))
            for start in range(0, len(columns), most):
                group = columns[start : start + most]
                self._compare(group, pairs, first, last)
                yield group

    def _compare(self, columns: Sequence[str], pairs: str, first: int, last: int) -> None:
        hashes = [
            f"hash({self._cell(self._before, column)}) AS h{index},"
            f" coalesce(strlen({self._before.sql_name(column)}), 0) AS s{index}"
            for index, column in enumerate(columns)
        ]
        hashes_after = [
            f"hash({self._cell(self._after, column)}) AS a{index}" for index, column in enumerate(columns)
        ]
        indexes = range(len(columns))
        self._database.query(
            _HASHES.format(hashes=", ".join(hashes), pairs=pairs, first=first, last=last),
            {"slice": str(self._before.path)},
        )
        self._database.query(
            _DIFFERENT.format(
                hashes=", ".join(hashes_after),
                flags=", ".join(f"a{index} <> h{index} AS d{index}" for index in indexes),
                sizes=", ".join(f"s{index}" for index in indexes),
                size=", ".join(f"CASE WHEN d{index} THEN s{index} ELSE 0 END" for index in indexes),
                different=", ".join(f"d{index}" for index in indexes),
                most=_MOST_BYTES,
            ),
            {"slice": str(self._after.path)},
        )

    def _cell(self, run: SliceFile, column: str) -> str:
        """Return what is compared of a column in SQL: of the price, also the currency beside it."""
        cell = run.sql_name(column)
        return f"{cell}, {run.sql_name(self._tracked.currency)}" if column == self._tracked.price else cell

    def _rows(self, columns: Sequence[str], different: Sequence[int], part: int) -> Iterator[ChangedCells]:
        before = [
            f"d{index}, CASE WHEN d{index} THEN {self._before.sql_name(columns[index])} END AS v{index}"
            for index in different
        ]
        after = [
            f"v{index}, CASE WHEN d{index} THEN {self._after.sql_name(columns[index])} END"
            for index in different
        ]
        self._database.query(
            _VALUES.format(
                currency=self._before.sql_name(self._tracked.currency), values=", ".join(before), part=part
            ),
            {"slice": str(self._before.path)},
        )
        statement = _ROWS.format(
            key=sql_key(self._after, self._key),
            title=self._after.sql_name(self._tracked.title),
            currency=self._after.sql_name(self._tracked.currency),
            values=", ".join(after),
        )
        names = [columns[index] for index in different]
        for key, title, n_before, n_after, currency_before, currency_after, *values in self._database.rows(
            statement, {"slice": str(self._after.path)}
        ):
            cells = [
                (column, was, now)
                for column, was, now in zip(names, values[::2], values[1::2], strict=True)
                if was is not None or now is not None
            ]
            yield ChangedCells(
                key, shown_text(title), n_before, n_after, currency_before, currency_after, cells
            )
