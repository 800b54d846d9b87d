"""Tell what has happened to the products that only one of two runs contains."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from collections_app.records.preview.engine import Database
from collections_app.records.tracking.keys import Key, sql_key, sql_key_hash
from collections_app.records.tracking.kinds import ChangeKind, Tracked
from collections_app.records.tracking.slices import SliceFile
from collections_app.records.tracking.values import shown_text

_UNMATCHED = """
CREATE OR REPLACE TEMP TABLE unmatched AS
SELECT key, coalesce(n_before, n_after) AS n, n_before IS NOT NULL AS is_before, false AS is_elsewhere
FROM pairs WHERE count_before + count_after = 1
"""
_REMAINING = "SELECT count(*) FROM unmatched WHERE is_before = $is_before AND NOT is_elsewhere"
_FIND = """
UPDATE unmatched SET is_elsewhere = true
WHERE is_before = $is_before AND NOT is_elsewhere AND key IN (SELECT {key} FROM read_parquet($slice))
"""
_RECORDS = """
SELECT run.n, {key}, {title}, is_elsewhere FROM read_parquet($slice) AS run
JOIN unmatched ON run.n = unmatched.n AND is_before = $is_before
"""


class OtherRuns(NamedTuple):
    """What is known besides the two runs.

    `between` are complete runs between the two that can be trusted, newest first: a product is gone if the
    first of them lacks it, too. `earlier` are the runs before the earlier one: a product that one of them
    contains has returned. Products that a partial run lacks were not scraped.
    """

    between: Sequence[SliceFile] = ()
    earlier: Sequence[SliceFile] = ()
    is_partial: bool = False

    def kind(self, *, is_before: bool, is_elsewhere: bool) -> ChangeKind:
        """Return what has happened to a product of the earlier or of the later run."""
        if not is_before:
            return ChangeKind.RETURNED if is_elsewhere else ChangeKind.NEW
        if self.is_partial:
            return ChangeKind.NOT_SCRAPED
        return ChangeKind.GONE if self.between and not is_elsewhere else ChangeKind.MISSING

    def may_contain(self, *, is_before: bool) -> Sequence[SliceFile]:
        """Return the runs that decide about the products of the earlier or of the later run."""
        if not is_before:
            return self.earlier
        return () if self.is_partial else self.between[:1]


class UnmatchedProduct(NamedTuple):
    """A product that only one of the runs contains, with the number of its record."""

    kind: ChangeKind
    key: str
    title: str
    number_before: int | None
    number: int | None


class Unmatched:
    """Finds the products that only one of the runs contains."""

    def __init__(  # noqa: PLR0913, PLR0917  # what the comparison depends on
        self,
        database: Database,
        before: SliceFile,
        after: SliceFile,
        key: Key,
        tracked: Tracked,
        others: OtherRuns,
    ) -> None:
        self._database = database
        self._before = before
        self._after = after
        self._key = key
        self._tracked = tracked
        self._others = others

    def products(self) -> Iterator[UnmatchedProduct]:
        """Yield those in the table `pairs`."""
        self._database.query(_UNMATCHED, {})
        for n, key, title, kind in self._products(self._before, is_before=True):
            yield UnmatchedProduct(kind, key, title, n, None)
        for n, key, title, kind in self._products(self._after, is_before=False):
            yield UnmatchedProduct(kind, key, title, None, n)

    def _products(self, run: SliceFile, *, is_before: bool) -> Iterator[tuple[int, str, str, ChangeKind]]:
        for other in self._others.may_contain(is_before=is_before):
            self._find(other, is_before=is_before)
        title = self._tracked.title or Tracked.among(run.columns).title
        statement = _RECORDS.format(key=sql_key(run, self._key, "run"), title=run.sql_name(title, "run"))
        values = {"slice": str(run.path), "is_before": is_before}
        for n, key, title, is_elsewhere in self._database.rows(statement, values):
            kind = self._others.kind(is_before=is_before, is_elsewhere=is_elsewhere)
            yield n, key, shown_text(title), kind

    def _find(self, other: SliceFile, *, is_before: bool) -> None:
        """Find out which of them another run contains, unless all have been found."""
        ((remaining,),) = self._database.query(_REMAINING, {"is_before": is_before})
        if remaining:
            statement = _FIND.format(key=sql_key_hash(other, self._key))
            self._database.query(statement, {"slice": str(other.path), "is_before": is_before})
