"""Compare the records of two runs of a collection.

The records are matched by the hashes of their keys. Python reads only the values that differ, and decides
what has changed. So the cost depends on how much has changed, and the memory doesn't.
"""

from collections.abc import Iterator, Sequence
from decimal import Decimal
from functools import lru_cache
from typing import NamedTuple

from collections_app.records.column_roles import is_price
from collections_app.records.money import currency_of
from collections_app.records.preview.engine import Database
from collections_app.records.tracking.counts import Counts
from collections_app.records.tracking.differences import ChangedCells, Differences
from collections_app.records.tracking.keys import Key
from collections_app.records.tracking.kinds import Cell, ChangeKind, Classifier, Tracked
from collections_app.records.tracking.matching import Matcher
from collections_app.records.tracking.prices import notation_of
from collections_app.records.tracking.slices import SliceFile
from collections_app.records.tracking.unmatched import OtherRuns, Unmatched
from collections_app.records.tracking.values import text_of
from collections_app.records.tracking.volatile import create_sample, volatile_columns

# The changes of volatile columns are listed for this many products.
_MOST_VOLATILE = 5000


class Entry(NamedTuple):
    """A change of a product between two runs. Cells are JSON."""

    key: str  # a JSON list of texts
    title: str
    kind: ChangeKind
    column: str | None = None  # of a changed value
    was: str | None = None
    now: str | None = None
    percent: Decimal | None = None
    amount: Decimal | None = None
    number_before: int | None = None  # of the record in the earlier run
    number: int | None = None  # in the later run
    # What the records name beside a price: codes or signs, or "".
    currency_before: str = ""
    currency: str = ""
    is_volatile: bool = False  # the column changes in nearly every product


_COUNTS = """
SELECT
    count(*) FILTER (WHERE count_before = 1 AND count_after = 1),
    coalesce(sum(count_after) FILTER (WHERE count_before > 1 OR count_after > 1), 0),
    coalesce(sum(count_before) FILTER (WHERE count_before > 1 OR count_after > 1), 0)
FROM pairs
"""
_MATCHED = "SELECT n_before, n_after FROM pairs WHERE count_before = 1 AND count_after = 1"
_TABLES = f"""
CREATE OR REPLACE TEMP TABLE changed AS {_MATCHED} LIMIT 0;
CREATE OR REPLACE TEMP TABLE looked_at AS {_MATCHED} ORDER BY n_after LIMIT {_MOST_VOLATILE}
"""
_ADD_CHANGED = f"INSERT INTO changed {_MATCHED} AND is_changed"
# Neighboring records are in the same part of the file.
_SORT_CHANGED = "CREATE OR REPLACE TEMP TABLE changed AS FROM changed ORDER BY n_after"


class Comparer:
    """Compares two runs, by a key. All files must be open in the database.

    See OtherRuns for `between`, `earlier` and `is_partial`.
    """

    def __init__(  # noqa: PLR0913  # what a comparison depends on
        self,
        database: Database,
        before: SliceFile,
        after: SliceFile,
        key: Key,
        *,
        between: Sequence[SliceFile] = (),
        earlier: Sequence[SliceFile] = (),
        is_partial: bool = False,
    ) -> None:
        self._database = database
        self._before = before
        self._after = after
        self._key = key
        self.counts = Counts()
        shared = [column for column in after.columns if column in before.columns and column not in key]
        self.tracked = Tracked.among(shared)
        self._columns = [column for column in shared if column != self.tracked.currency]
        self._prices = set(filter(is_price, self._columns))
        others = OtherRuns(between, earlier, is_partial)
        self._unmatched = Unmatched(database, before, after, key, self.tracked, others)
        self._differences = Differences(database, before, after, key, self.tracked)
        self.volatile: list[str] = []

    def entries(self) -> Iterator[Entry]:
        """Yield all changes, in any order. Afterwards, `counts` is complete.

        The changes of volatile columns are marked, aren't counted, and are listed for some products only.
        """
        notations = [notation_of(self._database, run, self.tracked) for run in (self._before, self._after)]
        classifier = Classifier(self.tracked, *notations)
        self.volatile = self._volatile_columns()
        yield from self._match()
        stable = [column for column in self._columns if column not in self.volatile]
        self._database.query(_SORT_CHANGED, {})
        for product in self._differences.changed(stable, "changed"):
            entries = self._entries(product, classifier)
            self.counts.add_changes(product.n_after, {entry.kind for entry in entries})
            yield from entries
        for product in self._differences.changed(self.volatile, "looked_at"):
            for entry in self._entries(product, classifier):
                yield entry._replace(is_volatile=True)

    def _volatile_columns(self) -> list[str]:
        sample = create_sample(self._database, self._before, self._after, self._key)
        tracked = {self.tracked.title, self.tracked.price, self.tracked.stock, self.tracked.seller}
        others = [column for column in self._columns if column not in tracked]
        return volatile_columns(self._differences, others, sample)

    def _match(self) -> Iterator[Entry]:
        """Yield the products that only one of the runs contains, and collect the pairs that have changed."""
        matcher = Matcher(self._database, self._before, self._after, self._key)
        stable = [column for column in self._columns if column not in self.volatile]
        beside = [self.tracked.currency] if self.tracked.currency else []
        for part, _ in enumerate(matcher.match([*stable, *beside])):
            if part == 0:
                self._database.query(_TABLES, {})
            self._database.query(_ADD_CHANGED, {})
            self._count_pairs()
            for kind, key, title, number_before, number in self._unmatched.products():
                self.counts.products[kind] += 1
                yield Entry(key, title, kind, number_before=number_before, number=number)
        ((self.counts.volatile_of,),) = self._database.query("SELECT count(*) FROM looked_at", {})
        self.counts.without_key_before = matcher.without_key_before
        self.counts.without_key = matcher.without_key

    def _count_pairs(self) -> None:
        ((matched, duplicates, duplicates_before),) = self._database.query(_COUNTS, {})
        self.counts.matched += matched
        self.counts.duplicates += int(duplicates)
        self.counts.duplicates_before += int(duplicates_before)

    def _entries(self, product: ChangedCells, classifier: Classifier) -> list[Entry]:
        """Return the changes of a product. Values that mean the same are no change."""
        key, title, n_before, n_after, before, after, cells = product
        entries = []
        for column, was, now in cells:
            change = classifier.change(column, Cell(was, before), Cell(now, after))
            if change is not None:
                kind, percent, amount = change
                currencies = (_currency(before), _currency(after)) if column in self._prices else ("", "")
                values = (percent, amount, n_before, n_after, *currencies)
                entries.append(Entry(key, title, kind, column, was, now, *values))
        return entries


@lru_cache(1024)
def _currency(cell: str | None) -> str:
    return currency_of(text_of(cell)) if cell and cell.startswith('"') else ""
