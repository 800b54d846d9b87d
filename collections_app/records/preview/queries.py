"""Query the table of a run: search, sort and page through its records."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from collections_app.records.column_roles import currency_column, is_price
from collections_app.records.currencies import CODES
from collections_app.records.formats.json_records import parse_value
from collections_app.records.money import currency_of
from collections_app.records.preview import number_sql
from collections_app.records.preview.concurrency import FairSemaphore
from collections_app.records.preview.engine import FACTS, SEARCHES, Database, UnreadableFile, open_database
from collections_app.records.preview.filters import Filter, condition
from collections_app.records.preview.records import Record
from collections_app.records.preview.search import terms
from collections_app.records.preview.table import Table, TableUnavailable

COUNT = 100
# Each page of search results or sorted records costs as much as all pages before it.
MOST_SORTED = 10_000
_SECONDS = 5.0
# The numbers of matching records are read in parts, which bounds the memory.
_NUMBERS_AT_ONCE = 100_000
_SECONDS_FOR_ALL = 60.0

_BETWEEN = "SELECT n, record FROM read_parquet($table) WHERE n BETWEEN $first AND $last ORDER BY n"
_BY_NUMBER = "SELECT n, record FROM read_parquet($table) WHERE n IN (SELECT unnest($numbers))"
_POSITIONS = """
SELECT n, {total} FROM read_parquet($table) {where} ORDER BY {order} n LIMIT $count OFFSET $after
"""
# Missing values come last in both directions.
_ORDER_OF_MONEY = "{column} {direction} NULLS LAST,"
_MATCHES = "SELECT n FROM read_parquet($table) {where} ORDER BY n LIMIT $count"
_CURRENCIES = "SELECT DISTINCT {column} FROM read_parquet($table) WHERE {column} <> '' LIMIT 10"


@dataclass(frozen=True)
class TableQuery:
    """A selection of records, and their order. `after` is the number of records to skip."""

    search: str = ""
    filters: tuple[Filter, ...] = ()
    sort: str = ""  # a column, or "" for the order of the file
    descending: bool = False
    after: int = 0

    @property
    def is_unfiltered(self) -> bool:
        """Whether it selects all records in the order of the file."""
        return not (self.is_narrowed or self.sort)

    @property
    def is_narrowed(self) -> bool:
        """Whether it may leave out records."""
        return bool(self.search or self.filters)


@dataclass(frozen=True)
class QueryResult:
    """At most COUNT records, the total number of matches, and whether more can be shown.

    If they are sorted by a price, `currencies` are up to ten currencies of that column, codes or signs.
    """

    records: Sequence[Record]
    total: int
    has_more: bool
    currencies: Sequence[str] = ()


def run_query(table: Table, query: TableQuery) -> QueryResult:
    """Return the records that a query selects.

    Raises TableUnavailable, QueryTimeout, TooManyQueries and InvalidFilter.
    """
    with connect(table, seconds=_SECONDS) as database:
        if not query.is_narrowed and query.sort not in table.columns:
            after = query.after
            records = _between(database, table, after + 1, after + COUNT)
            return QueryResult(records, table.records, after + len(records) < table.records)
        numbers, total = _positions(database, table, query, COUNT)
        records = _records(database, table, numbers)
        currencies = _currencies(database, table, query.sort)
    has_more = query.after + len(records) < min(total, MOST_SORTED)
    return QueryResult(records, total, has_more, currencies)


def record_at(table: Table, number: int) -> Record | None:
    """Return the record with this number, or None. Raises what run_query() raises."""
    with connect(table, seconds=_SECONDS) as database:
        return next(iter(_between(database, table, number, number)), None)


def neighbors(table: Table, query: TableQuery) -> dict[int, int]:
    """Return the numbers of the record at `after`, the one before and the one after it, by their positions.

    Raises what run_query() raises.
    """
    first = max(query.after - 1, 0)
    with connect(table, seconds=_SECONDS) as database:
        numbers, _ = _positions(database, table, replace(query, after=first), 3)
    return dict(enumerate(numbers, first))


def matching_numbers(table: Table, query: TableQuery) -> Iterator[int]:
    """Yield the numbers of all records that match the search and the filters of a query, in order.

    Raises what run_query() raises.
    """
    _, where, values = _matching(table, query)
    where = f"{where} AND n > $last" if where else "WHERE n > $last"
    statement, last = _MATCHES.format(where=where), 0
    values = {name: value for name, value in values.items() if name != "records"}
    values |= {"table": str(table.path), "count": _NUMBERS_AT_ONCE}
    with connect(table, seconds=_SECONDS_FOR_ALL, semaphore=FACTS) as database:
        while rows := database.query(statement, values | {"last": last}):
            yield from (number for (number,) in rows)
            last = rows[-1][0]


@contextmanager
def connect(table: Table, *, seconds: float, semaphore: FairSemaphore = SEARCHES) -> Iterator[Database]:
    """Yield a connection to a table.

    Raises TableUnavailable if it is damaged, and what open_database() raises.
    """
    try:
        with open_database(table.path, seconds=seconds, semaphore=semaphore) as database:
            yield database
    except UnreadableFile:
        # The disk is damaged.
        raise TableUnavailable("The cached records can't be read. Try again.") from None


def _between(database: Database, table: Table, first: int, last: int) -> list[Record]:
    values = {"table": str(table.path), "first": first, "last": last}
    return [_record(number, text) for number, text in database.query(_BETWEEN, values)]


def _records(database: Database, table: Table, numbers: Sequence[int]) -> list[Record]:
    if not numbers:
        return []
    rows = dict(database.query(_BY_NUMBER, {"table": str(table.path), "numbers": list(numbers)}))
    return [_record(number, rows[number]) for number in numbers]


def _record(number: int, text: str) -> Record:
    fields = parse_value(text)
    return Record(number, {}, is_too_large=True) if fields is None else Record(number, fields)


def _matching(table: Table, query: TableQuery) -> tuple[str, str, dict[str, object]]:
    """Return the SQL of the number of matches, the condition, and their parameters."""
    if not query.is_narrowed:
        return "$records", "", {"records": table.records}
    found = terms(query.search)
    conditions = [f"contains(text, $term{index})" for index in range(len(found))]
    values: dict[str, object] = {f"term{index}": term for index, term in enumerate(found)}
    for index, each in enumerate(query.filters):
        sql, bounds = condition(table, each, f"filter{index}")
        conditions.append(f"({sql})")
        values |= bounds
    # A search for a quotation mark has no terms.
    return "count(*) OVER ()", f"WHERE {' AND '.join(conditions or ['true'])}", values


def _positions(database: Database, table: Table, query: TableQuery, count: int) -> tuple[list[int], int]:
    """Return the numbers of the selected records, and the total number of matches."""
    values: dict[str, object] = {"table": str(table.path), "count": count, "after": query.after}
    total, where, matched = _matching(table, query)
    values, order = values | matched, ""
    if query.sort in table.columns:
        order = _order(table, query)
    rows = database.query(_POSITIONS.format(total=total, where=where, order=order), values)
    return [number for number, _ in rows], rows[0][1] if rows else 0


def _order(table: Table, query: TableQuery) -> str:
    if query.sort in table.notations:
        direction = "DESC" if query.descending else "ASC"
        return _ORDER_OF_MONEY.format(column=table.sql_amount(query.sort), direction=direction)
    column, kind = table.sql_name(query.sort), table.kind(query.sort)
    return f"{number_sql.order(column, kind, descending=query.descending)},"


def _currencies(database: Database, table: Table, sort: str) -> Sequence[str]:
    notation = table.notations.get(sort)
    within = notation.currencies if notation and any(notation.currencies) else ()
    column = currency_column(sort, table.columns) if is_price(sort) else None
    if column is None or (within and CODES.issuperset(within)):
        return within
    rows = database.query(_CURRENCIES.format(column=table.sql_name(column)), {"table": str(table.path)})
    return sorted({currency_of(text) for (text,) in rows} | CODES.intersection(within)) or within
