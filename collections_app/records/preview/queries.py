"""What people ask of a run's table: some records, in some order."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from collections_app.records.preview.concurrency import Turns
from collections_app.records.preview.engine import QUESTIONS, Database, Unreadable, database
from collections_app.records.preview.records import Record
from collections_app.records.preview.table import NotPrepared, Table

COUNT = 100
# Each next hundred of found or sorted records costs all those before it; nobody looks at so many.
MOST_SORTED = 10_000
_SECONDS = 5.0

_RECORDS = "SELECT n, record FROM read_parquet($table) WHERE n BETWEEN $first AND $last ORDER BY n"
_THESE = "SELECT n, record FROM read_parquet($table) WHERE n IN (SELECT unnest($numbers))"
_PLACES = """
SELECT n, {total} FROM read_parquet($table) {where} ORDER BY {order} n LIMIT $count OFFSET $after
"""
_WHERE = "WHERE contains(text, strip_accents(lower($search)))"
# What is in lists and objects stands there as JSON.
_OR_AS_JSON = " OR contains(text, strip_accents(lower($as_json)))"
# Numbers by their value, then texts without regard to case; what isn't there comes last either way.
_ORDER = """
try_cast({column} AS DOUBLE) {way} NULLS LAST, lower(nullif({column}, '')) {way} NULLS LAST,
"""


@dataclass(frozen=True)
class Question:
    """Which records somebody wants to see: `after` is how many there are before them in that order."""

    search: str = ""
    sort: str = ""  # a column; in the file's order where it is none
    descending: bool = False
    after: int = 0

    @property
    def is_of_the_file(self) -> bool:
        """Whether these are all records, in the file's order."""
        return not (self.search or self.sort)


@dataclass(frozen=True)
class Answer:
    """At most COUNT records, how many fit in all, and whether more can be shown."""

    records: Sequence[Record]
    total: int
    has_more: bool


def answer(table: Table, question: Question) -> Answer:
    """Return the records that were asked for. Raises NotPrepared, TookTooLong, TooManyQuestions."""
    with asked(table, seconds=_SECONDS) as found:
        if not question.search and question.sort not in table.columns:
            after = question.after
            records = _between(found, table, after + 1, after + COUNT)
            return Answer(records, table.records, after + len(records) < table.records)
        numbers, total = _places(found, table, question, COUNT)
        records = _these(found, table, numbers)
    return Answer(records, total, question.after + len(records) < min(total, MOST_SORTED))


def record_of(table: Table, number: int) -> Record | None:
    """Return the record at a place of the run; None where there is none. Raises as answer() does."""
    with asked(table, seconds=_SECONDS) as found:
        return next(iter(_between(found, table, number, number)), None)


def around(table: Table, question: Question) -> dict[int, int]:
    """Return the numbers of the record at `after` and of those beside it, by how many are before each.

    Raises as answer() does.
    """
    first = max(question.after - 1, 0)
    with asked(table, seconds=_SECONDS) as found:
        numbers, _ = _places(found, table, replace(question, after=first), 3)
    return dict(enumerate(numbers, first))


@contextmanager
def asked(table: Table, *, seconds: float, turns: Turns = QUESTIONS) -> Iterator[Database]:
    """Yield a connection to the table. Raises NotPrepared if it is damaged, and what database() raises."""
    try:
        with database(table.path, seconds=seconds, turns=turns) as found:
            yield found
    except Unreadable:
        # The disk is damaged.
        raise NotPrepared("The records have to be read anew. Try again.") from None


def _between(found: Database, table: Table, first: int, last: int) -> list[Record]:
    values = {"table": str(table.path), "first": first, "last": last}
    return [_record(number, text) for number, text in found.ask(_RECORDS, values)]


def _these(found: Database, table: Table, numbers: Sequence[int]) -> list[Record]:
    if not numbers:
        return []
    rows = dict(found.ask(_THESE, {"table": str(table.path), "numbers": list(numbers)}))
    return [_record(number, rows[number]) for number in numbers]


def _record(number: int, text: str) -> Record:
    fields = json.loads(text)
    return Record(number, {}, is_too_large=True) if fields is None else Record(number, fields)


def _places(found: Database, table: Table, question: Question, count: int) -> tuple[list[int], int]:
    """Return where the records stand in the run, and how many there are in all."""
    values: dict[str, object] = {"table": str(table.path), "count": count, "after": question.after}
    total, where, order = "$records", "", ""
    if question.search:
        total, where = "count(*) OVER ()", _WHERE
        values["search"] = question.search
        as_json = json.dumps(question.search, ensure_ascii=False)[1:-1]
        if as_json != question.search:
            where += _OR_AS_JSON
            values["as_json"] = as_json
    else:
        values["records"] = table.records
    if question.sort in table.columns:
        place = table.columns.index(question.sort)
        order = _ORDER.format(column=f"c{place}", way="DESC" if question.descending else "ASC")
    rows = found.ask(_PLACES.format(total=total, where=where, order=order), values)
    return [number for number, _ in rows], rows[0][1] if rows else 0
