"""Compare the records of two runs of a collection.

The slices of both runs are joined by key. Python reads only the rows whose cells have different hashes, and
decides what has changed. So the cost depends on how much has changed. Large runs are compared in parts.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

from collections_app.records.column_roles import is_price
from collections_app.records.money import Notation, NotationFinder, currency_of
from collections_app.records.preview.engine import Database
from collections_app.records.tracking.counts import Counts
from collections_app.records.tracking.keys import Key, sql_key
from collections_app.records.tracking.kinds import Cell, ChangeKind, Classifier, Tracked
from collections_app.records.tracking.slices import SliceFile
from collections_app.records.tracking.values import scraped_value, text_of

# How many records of a run are compared at once, and how many changed ones are read at once.
_MOST_RECORDS = 250_000
_MOST_CHANGED = 20_000
# A column is volatile if it changes in more than this share of the matched records.
_VOLATILE_SHARE = 0.9
_SAMPLE = 5000
_LEAST_SAMPLE = 20


@dataclass(frozen=True)
class Entry:
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


# Only the hashes of the keys and cells fit into memory.
_HASHES = """
CREATE OR REPLACE TEMP TABLE {table} AS
SELECT hash({key}) AS key, n, hash({cells}) AS cells FROM read_parquet($slice) WHERE {key} IS NOT NULL
"""
_PAIRS = """
CREATE OR REPLACE TEMP TABLE pairs AS
WITH before AS ({before}), after AS ({after})
SELECT
    key, before.n AS n_before, after.n AS n_after, coalesce(before.count, 0) AS count_before,
    coalesce(after.count, 0) AS count_after, before.cells IS DISTINCT FROM after.cells AS is_changed
FROM before FULL JOIN after USING (key)
"""
_GROUPS = """
SELECT key, count(*) AS count, min(n) AS n, min(cells) AS cells FROM hashes_{run}
WHERE key % {parts} = {part} GROUP BY key
"""
_COUNTS = """
SELECT
    count(*) FILTER (WHERE count_before = 1 AND count_after = 1),
    coalesce(sum(count_after) FILTER (WHERE count_before > 1 OR count_after > 1), 0),
    coalesce(sum(count_before) FILTER (WHERE count_before > 1 OR count_after > 1), 0)
FROM pairs
"""
_WITHOUT_KEY = "SELECT count(*) FROM read_parquet($slice) WHERE {key} IS NULL"
# The products that only one of the runs contains, and whether another run contains them.
_UNMATCHED = """
CREATE OR REPLACE TEMP TABLE unmatched AS
SELECT key, coalesce(n_before, n_after) AS n, n_before IS NOT NULL AS is_before, false AS is_elsewhere
FROM pairs WHERE count_before + count_after = 1
"""
_FIND = """
UPDATE unmatched SET is_elsewhere = true
WHERE is_before = $is_before AND NOT is_elsewhere
    AND key IN (SELECT hash({key}) FROM read_parquet($slice) WHERE {key} IS NOT NULL)
"""
_UNMATCHED_RECORDS = """
SELECT {key}, {title}, slice.n, is_elsewhere FROM read_parquet($slice) AS slice
JOIN unmatched ON slice.n = unmatched.n AND is_before = $is_before
ORDER BY slice.n
"""
_CHANGED = """
CREATE OR REPLACE TEMP TABLE changed AS
SELECT n_before, n_after, row_number() OVER (ORDER BY n_after) AS row FROM pairs
WHERE count_before = 1 AND count_after = 1 AND is_changed
"""
_DIFFERENCES = """
SELECT key, title, n_before, n_after, currency_before, currency_after, cell.col, cell.was, cell.now
FROM (
    SELECT
        {key} AS key, {title} AS title, n_before, n_after,
        {currency_before} AS currency_before, {currency_after} AS currency_after,
        unnest(list_filter(
            [{cells}],
            lambda cell: cell.was IS DISTINCT FROM cell.now
                OR (cell.col = $price AND {currency_before} IS DISTINCT FROM {currency_after})
        )) AS cell
    FROM changed
    JOIN changed_before AS before ON before.n = n_before
    JOIN changed_after AS after ON after.n = n_after
    WHERE row > $first AND row <= $first + $most
)
"""
# Read the rows one slice at a time, so that DuckDB keeps only these in memory.
_ROWS = """
CREATE OR REPLACE TEMP TABLE changed_{run} AS
SELECT * FROM read_parquet($slice)
WHERE n IN (SELECT n_{run} FROM changed WHERE row > $first AND row <= $first + $most)
"""
_SAMPLE_SHARES = """
SELECT {shares}
FROM (SELECT n_before, n_after FROM pairs WHERE count_before = 1 AND count_after = 1 LIMIT {most})
JOIN read_parquet($before) AS before ON before.n = n_before
JOIN read_parquet($after) AS after ON after.n = n_after
"""


class Comparer:
    """Compares two runs, by a key.

    `between` are complete runs between the two that can be trusted, newest first: a product is gone if the
    first one lacks it too. `earlier` are the runs before the earlier one: a product that one of them contains
    has returned. If the later run is partial, products that it lacks were not scraped.

    All files must be open in the database.
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
        self._between = between
        self._earlier = earlier
        self._is_partial = is_partial
        self.counts = Counts()
        shared = [column for column in after.columns if column in before.columns and column not in key]
        self.tracked = Tracked.among(shared)
        self._columns = [column for column in shared if column != self.tracked.currency]
        self.volatile: list[str] = []

    def entries(self, records: int) -> Iterator[Entry]:
        """Yield all changes. `records` is the size of the larger run. Afterwards, `counts` is complete."""
        self.counts.without_key_before = self._without_key(self._before)
        self.counts.without_key = self._without_key(self._after)
        classifier = Classifier(self.tracked, self._notation(self._before), self._notation(self._after))
        parts = max(1, -(-records // _MOST_RECORDS))
        self._hash()
        for part in range(parts):
            self._pair(parts, part)
            if not part and self._find_volatile_columns():
                self._hash()
                self._pair(parts, part)
            self._count()
            yield from self._unmatched()
            yield from self._changes(classifier)

    def _without_key(self, run: SliceFile) -> int:
        statement = _WITHOUT_KEY.format(key=sql_key(run, self._key))
        ((count,),) = self._database.query(statement, {"slice": str(run.path)})
        return int(count)

    def _notation(self, run: SliceFile) -> Notation | None:
        """Return how a run writes prices, or None if they are unclear."""
        if self.tracked.price is None:
            return None
        finder = NotationFinder()
        statement = _PRICES.format(
            price=run.sql_name(self.tracked.price), currency=run.sql_name(self.tracked.currency)
        )
        for price, currency in self._database.rows(statement, {"slice": str(run.path)}):
            finder.add([scraped_value(price)], [scraped_value(currency)])
        return finder.notation()

    def _pair(self, parts: int, part: int) -> None:
        """Match the records of a part, in the table `pairs`."""
        before, after = (_GROUPS.format(run=run, parts=parts, part=part) for run in ("before", "after"))
        self._database.query(_PAIRS.format(before=before, after=after), {})

    def _hash(self) -> None:
        """Compute the hashes of keys and cells."""
        for table, run in (("hashes_before", self._before), ("hashes_after", self._after)):
            statement = _HASHES.format(
                table=table,
                key=sql_key(run, self._key),
                cells=", ".join([*map(run.sql_name, self._stable), "0"]),
            )
            self._database.query(statement, {"slice": str(run.path)})

    @property
    def _stable(self) -> list[str]:
        currency = [self.tracked.currency] if self.tracked.currency else []
        return [column for column in self._columns if column not in self.volatile] + currency

    def _find_volatile_columns(self) -> bool:
        """Find the columns that change in nearly every run, and return whether there are any."""
        known = {self.tracked.title, self.tracked.price, self.tracked.stock, self.tracked.seller}
        columns = [column for column in self._columns if column not in known]
        shares = [
            f"avg(({self._cell('before', column)} IS DISTINCT FROM {self._cell('after', column)})::INT)"
            for column in columns
        ]
        statement = _SAMPLE_SHARES.format(shares=", ".join([*shares, "count(*)"]), most=_SAMPLE)
        ((*found, matched),) = self._database.query(statement, self._files)
        self.volatile = [
            column
            for column, share in zip(columns, found, strict=True)
            if matched >= _LEAST_SAMPLE and share > _VOLATILE_SHARE
        ]
        return bool(self.volatile)

    def _cell(self, run: str, column: str | None) -> str:
        """Return a column of a run in SQL. The run is "before" or "after"."""
        return (self._before if run == "before" else self._after).sql_name(column, run)

    @property
    def _files(self) -> dict[str, object]:
        return {"before": str(self._before.path), "after": str(self._after.path)}

    def _count(self) -> None:
        ((matched, duplicates, duplicates_before),) = self._database.query(_COUNTS, {})
        self.counts.matched += matched
        self.counts.duplicates += int(duplicates)
        self.counts.duplicates_before += int(duplicates_before)

    def _unmatched(self) -> Iterator[Entry]:
        """Yield the products that only one of the runs contains."""
        self._database.query(_UNMATCHED, {})
        if self._is_partial:
            missing, gone = ChangeKind.NOT_SCRAPED, ChangeKind.NOT_SCRAPED
        else:
            self._find(self._between[:1], is_before=True)
            missing, gone = ChangeKind.MISSING, ChangeKind.GONE if self._between else ChangeKind.MISSING
        self._find(self._earlier, is_before=False)
        for n, key, title, is_elsewhere in self._unmatched_records(self._before, is_before=True):
            yield self._count_product(Entry(key, title, missing if is_elsewhere else gone, number_before=n))
        for n, key, title, is_elsewhere in self._unmatched_records(self._after, is_before=False):
            kind = ChangeKind.RETURNED if is_elsewhere else ChangeKind.NEW
            yield self._count_product(Entry(key, title, kind, number=n))

    def _count_product(self, entry: Entry) -> Entry:
        self.counts.products[entry.kind] += 1
        return entry

    def _find(self, runs: Sequence[SliceFile], *, is_before: bool) -> None:
        """Find out which unmatched products are in at least one of these runs."""
        for run in runs:
            statement = _FIND.format(key=sql_key(run, self._key))
            self._database.query(statement, {"slice": str(run.path), "is_before": is_before})

    def _unmatched_records(self, run: SliceFile, *, is_before: bool) -> Iterator[tuple[int, str, str, bool]]:
        title = run.sql_name(self.tracked.title)
        statement = _UNMATCHED_RECORDS.format(key=sql_key(run, self._key, "slice"), title=title)
        values = {"slice": str(run.path), "is_before": is_before}
        for key, name, n, is_elsewhere in self._database.rows(statement, values):
            yield n, key, _title(name), is_elsewhere

    def _changes(self, classifier: Classifier) -> Iterator[Entry]:
        self._database.query(_CHANGED, {})
        ((total,),) = self._database.query("SELECT count(*) FROM changed", {})
        for first in range(0, total, _MOST_CHANGED):
            yield from self._changes_from(first, classifier)

    def _changes_from(self, first: int, classifier: Classifier) -> Iterator[Entry]:
        columns = [column for column in self._columns if column not in self.volatile]
        cells = ", ".join(
            f"{{col: {index}, was: {self._cell('before', column)}, now: {self._cell('after', column)}}}"
            for index, column in enumerate(columns)
        )
        statement = _DIFFERENCES.format(
            key=sql_key(self._after, self._key, "after"),
            title=self._cell("after", self.tracked.title),
            currency_before=self._cell("before", self.tracked.currency),
            currency_after=self._cell("after", self.tracked.currency),
            cells=cells,
        )
        price = columns.index(self.tracked.price) if self.tracked.price else -1
        chunk = {"first": first, "most": _MOST_CHANGED}
        for run, of in (("before", self._before), ("after", self._after)):
            self._database.query(_ROWS.format(run=run), {"slice": str(of.path), **chunk})
        values = {"price": price, **chunk}
        last: tuple[int, set[ChangeKind]] = (0, set())
        for key, title, n_before, n_after, before, after, index, was, now in self._database.rows(
            statement, values
        ):
            column = columns[index]
            change = classifier.change(column, Cell(was, before), Cell(now, after))
            if change is None:
                continue
            if last[0] != n_after:
                last = (n_after, set())
            self.counts.products[change.kind] += change.kind not in last[1]
            self.counts.columns[column] += 1
            if change.kind in {ChangeKind.PRICE_DOWN, ChangeKind.PRICE_UP}:
                self.counts.add_price(change.percent)
            last[1].add(change.kind)
            yield Entry(
                key,
                _title(title),
                change.kind,
                column,
                was,
                now,
                change.percent,
                change.amount,
                n_before,
                n_after,
                *((_currency(before), _currency(after)) if is_price(column) else ()),
            )


_PRICES = "SELECT DISTINCT {price}, {currency} FROM read_parquet($slice) WHERE {price} IS NOT NULL"


def _currency(cell: str | None) -> str:
    return currency_of(text_of(cell)) if cell and cell.startswith('"') else ""


def _title(cell: str | None) -> str:
    return text_of(cell) if cell and cell.startswith('"') else cell or ""
