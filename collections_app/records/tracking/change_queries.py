"""Filter, sort and page through the changes between two runs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from collections_app.records.preview.engine import FACTS, SEARCHES, Database
from collections_app.records.preview.search import terms
from collections_app.records.tracking.compare import Entry
from collections_app.records.tracking.databases import open_files
from collections_app.records.tracking.kinds import ChangeKind

# How many changes a page has.
COUNT = 100
_SECONDS = 5.0
_SECONDS_FOR_ALL = 600.0
_AT_ONCE = 20_000

_KINDS = {kind: rank for rank, kind in enumerate(ChangeKind)}
_RANK_OF_KIND = (
    "CASE kind " + " ".join(f"WHEN '{kind}' THEN {rank}" for kind, rank in _KINDS.items()) + " END"
)
# The biggest fall first, then the biggest rise, then the other kinds.
_DEFAULT_ORDER = (
    f"{_RANK_OF_KIND}, CASE kind WHEN '{ChangeKind.PRICE_UP}' THEN -percent ELSE percent END NULLS LAST"
)
# A number in a text is sorted as a number.
_BY_VALUE = "try_cast(trim({cell}, '\"') AS DOUBLE) {direction} NULLS LAST, {cell} {direction} NULLS LAST"
# The columns that changes can be sorted by.
SORTS = {
    "key": "key {direction}",
    "title": "lower(title) {direction}",
    "kind": f"{_RANK_OF_KIND} {{direction}}",
    "column": "col {direction} NULLS LAST",
    "was": _BY_VALUE.replace("{cell}", "was"),
    "now": _BY_VALUE.replace("{cell}", "now"),
    "percent": "percent {direction} NULLS LAST",
    "amount": "amount {direction} NULLS LAST",
}
_FIELDS = """
key, title, kind, col, was, now, percent, amount, number_before, number, currency_before, currency,
is_volatile
"""
_TOTAL = "SELECT count(*) FROM read_parquet($file) {where}"
_NUMBERS = "SELECT n FROM read_parquet($file) {where} ORDER BY {order}, n LIMIT $limit OFFSET $after"
_BY_NUMBER = f"SELECT n, {_FIELDS} FROM read_parquet($file) WHERE n IN (SELECT unnest($numbers))"  # noqa: S608
# Only the numbers are sorted in memory.
_RANK = """
CREATE TEMP TABLE ranked AS
SELECT n, row_number() OVER (ORDER BY {order}, n) AS rank FROM read_parquet($file) {where}
"""
_BY_RANK = f"""
SELECT {_FIELDS} FROM read_parquet($file) JOIN ranked USING (n)
WHERE rank > $first AND rank <= $last ORDER BY rank
"""  # noqa: S608


@dataclass(frozen=True)
class ChangeQuery:
    """A selection of changes, and their order. `after` is the number of changes to skip."""

    kinds: tuple[ChangeKind, ...] = ()  # empty for all
    column: str = ""
    min_percent: Decimal | None = None  # of a rise or a fall
    min_amount: Decimal | None = None  # of a rise or a fall, in units of the currency
    text: str = ""  # that is searched for, as in records
    is_volatile: bool = False  # the changes of volatile columns instead of the others
    keys: tuple[str, ...] | None = None  # only these products, by keys such as Entry.key
    sort: str = ""  # one of SORTS, or "" for the biggest fall first
    descending: bool = False
    after: int = 0
    limit: int | None = COUNT

    @property
    def is_narrowed(self) -> bool:
        """Whether it may leave out changes."""
        bounds = self.min_percent is not None or self.min_amount is not None or self.keys is not None
        return bounds or bool(self.kinds or self.column or self.text)


@dataclass(frozen=True)
class ChangePage:
    """Some of the selected changes, the total number of them, and the `after` of the next page."""

    entries: Sequence[Entry]
    total: int
    next: int | None = None


NO_CHANGES = ChangePage((), 0)


def query_changes(file: Path, query: ChangeQuery) -> ChangePage:
    """Return the changes that a query selects. Raises what open_database() raises."""
    where, values = _condition(query)
    values["file"] = str(file)
    with open_files(file, seconds=_SECONDS, semaphore=SEARCHES) as database:
        ((total,),) = database.query(_TOTAL.format(where=where), values)
        limit = total if query.limit is None else query.limit
        statement = _NUMBERS.format(where=where, order=_order(query))
        rows = database.query(statement, values | {"limit": limit, "after": min(query.after, total)})
        entries = _by_number(database, file, [number for (number,) in rows])
    following = query.after + len(entries)
    return ChangePage(entries, total, following if entries and following < total else None)


def all_changes(file: Path, query: ChangeQuery) -> Iterator[list[Entry]]:
    """Yield the changes that a query selects, in batches. Raises what open_database() raises."""
    where, values = _condition(query)
    values["file"] = str(file)
    limit = float("inf") if query.limit is None else query.after + query.limit
    # One thread: the database isn't kept for later, because it contains a table.
    with open_files(file, seconds=_SECONDS_FOR_ALL, threads=1, semaphore=FACTS) as database:
        database.query(_RANK.format(where=where, order=_order(query)), values)
        first = query.after
        while first < limit:
            last = min(first + _AT_ONCE, limit)
            rows = database.query(_BY_RANK, {"file": str(file), "first": first, "last": int(last)})
            if not rows:
                return
            yield [_entry(row) for row in rows]
            first = int(last)


def _by_number(database: Database, file: Path, numbers: list[int]) -> list[Entry]:
    rows = database.query(_BY_NUMBER, {"file": str(file), "numbers": numbers}) if numbers else ()
    found = {number: _entry(cells) for number, *cells in rows}
    return [found[number] for number in numbers]


def _entry(cells: Sequence[Any]) -> Entry:
    key, title, kind, column, was, now, percent, amount, number_before, number, *others = cells
    return Entry(
        key,
        title,
        ChangeKind(kind),
        column,
        was,
        now,
        _decimal(percent),
        _decimal(amount),
        number_before,
        number,
        *others,
    )


def _decimal(number: float | None) -> Decimal | None:
    return None if number is None else Decimal(str(number))


def _order(query: ChangeQuery) -> str:
    if query.sort not in SORTS:
        return _DEFAULT_ORDER
    return SORTS[query.sort].format(direction="DESC" if query.descending else "ASC")


def _condition(query: ChangeQuery) -> tuple[str, dict[str, Any]]:
    """Return the condition of a query in SQL, and its parameters."""
    parts = ["is_volatile" if query.is_volatile else "NOT is_volatile"]
    values: dict[str, Any] = {}

    def add(condition: str, name: str, value: object) -> None:
        parts.append(condition)
        values[name] = value

    if query.kinds:
        add("kind IN (SELECT unnest($kinds))", "kinds", [kind.value for kind in query.kinds])
    if query.column:
        add("col = $column", "column", query.column)
    if query.min_percent is not None:
        add("abs(percent) >= $min_percent", "min_percent", float(query.min_percent))
    if query.min_amount is not None:
        add("abs(amount) >= $min_amount", "min_amount", float(query.min_amount))
    if query.keys is not None:
        add("key IN (SELECT unnest($keys::VARCHAR[]))", "keys", list(query.keys))
    for index, term in enumerate(terms(query.text)):
        add(f"contains(text, $term{index})", f"term{index}", term)
    return f"WHERE {' AND '.join(parts)}", values
