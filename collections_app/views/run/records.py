"""The list of records on a run's page."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from collections_app.models import ResultFile
from collections_app.records.column_roles import is_title
from collections_app.records.formats.flatten import FlatRecord
from collections_app.records.preview.columns import (
    LONGEST_NAME,
    MOST_COLUMNS,
    ColumnList,
    columns_of,
    flat,
)
from collections_app.records.preview.first_records import first_records
from collections_app.records.preview.queries import MOST_SORTED, run_query
from collections_app.records.preview.records import Record, files_of_records
from collections_app.records.preview.table import Table, TableProgress, is_small
from collections_app.views.run.cells import Cell, cells
from collections_app.views.run.columns import ShownColumns, column_choices, shown_columns
from collections_app.views.run.lookup import find_run
from collections_app.views.run.money import Pricing, show_money
from collections_app.views.run.query import RecordQuery
from collections_app.views.run.table import read_table

# With more columns than _MOST_LISTED, the menu lists the first _LISTED and folds the others.
_MOST_LISTED, _LISTED = 40, 24

_MORE_COLUMNS = (
    f"Only the first {MOST_COLUMNS} columns with names of at most {LONGEST_NAME} characters can be chosen "
    "and sorted by. Search covers all columns."
)


@dataclass(frozen=True)
class ColumnHeader:
    """The header of a column. Its link sorts by the column."""

    name: str
    address: str  # "" if the records can't be sorted by this column
    order: str  # the value of aria-sort; "" if they aren't sorted by it
    is_numeric: bool


@dataclass(frozen=True)
class RecordList:
    """The records to show, or why there are none."""

    rows: Sequence[tuple[Record, Sequence[Cell]]] = ()
    headers: Sequence[ColumnHeader] = ()
    choices: Sequence[tuple[str, bool]] = ()  # every column, and whether it's shown
    has_more_columns: bool = False  # than the choices
    lists_all_columns: bool = True  # not only those of the first records
    total: int | None = None  # the number of matching records, or None if unknown
    next: str = ""  # the query string for the next records
    loads_on_scroll: bool = True
    notes: Sequence[str] = field(default_factory=tuple)
    problem: str = ""
    is_late: bool = False  # the account is slow, so a retry may succeed
    is_refused: bool = False  # the user has too many queries running
    progress: TableProgress | None = None
    is_end_of_sorted: bool = False
    is_sorted_as_text: bool = False  # although the column contains prices

    @property
    def listed_choices(self) -> Sequence[tuple[str, bool]]:
        """The choices at the top of the menu: all of them, unless there are many."""
        return self.choices[:_LISTED] if len(self.choices) > _MOST_LISTED else self.choices

    @property
    def folded_choices(self) -> Sequence[tuple[str, bool]]:
        """The other choices."""
        return self.choices[len(self.listed_choices) :]

    @property
    def has_title_first(self) -> bool:
        """Whether the first column is a title, which stays visible."""
        return bool(self.headers) and is_title(self.headers[0].name)


def record_list(files: Sequence[ResultFile], query: RecordQuery, size: int | None) -> RecordList:
    """Return the records that the query asks for. `size` is that of all records, if known."""
    return _first_records(files, query, size) if query.is_first_records else _from_table(files, query)


def _from_table(files: Sequence[ResultFile], query: RecordQuery) -> RecordList:
    return RecordList(**read_table(files, lambda table: _matching_records(table, query)))


def _matching_records(table: Table, query: RecordQuery) -> dict[str, Any]:
    found = run_query(table, query.table_query)
    values = [flat(record.fields) for record in found.records]
    shown = shown_columns(table.column_list, query.columns, query.saved_columns, values)
    unclear = [name for name in shown if table.sorted_as_text(name)]
    rows = _rows(found.records, values, shown, table.column_list, Pricing(query.currency, unclear))
    following = str(query.table_query.after + len(found.records))
    as_text = table.sorted_as_text(query.table_query.sort)
    return {
        "is_sorted_as_text": bool(as_text),
        "rows": rows,
        "headers": _headers(shown, rows, query, table.columns),
        "choices": column_choices(table.columns, query.columns, shown),
        "has_more_columns": table.has_more_columns,
        "total": found.total,
        "next": query.address(after=following) if found.has_more else "",
        "notes": [
            *table_notes(table),
            *_sorted_as_text(query.table_query.sort, as_text),
            *_currencies(query.table_query.sort, found.currencies),
            *_unknown_columns(query, table.column_list, shown, rows),
        ],
        "is_end_of_sorted": not found.has_more and found.total > MOST_SORTED,
    }


def _first_records(files: Sequence[ResultFile], query: RecordQuery, size: int | None) -> RecordList:
    """Return the records at the start of the first files."""
    first = first_records(files)
    values = [flat(record.fields) for record in first.records]
    known = columns_of(values)
    shown = shown_columns(known, query.columns, query.saved_columns, values)
    if first.is_too_large or (None in shown.values() and not first.is_complete and first.records):
        run = files[0].run
        return _from_table(files_of_records(find_run(run.collection, run.number)), query)
    rows = _rows(first.records, values, shown, known, Pricing(query.currency))
    # Later records may have other columns, but they're added to the same table.
    following = replace(query, columns=list(shown))
    return RecordList(
        rows=rows,
        headers=_headers(shown, rows, query, known.names),
        choices=column_choices(known.names, query.columns, shown),
        has_more_columns=known.has_more,
        lists_all_columns=first.is_complete,
        total=len(first.records) if first.is_complete else None,
        next=""
        if first.is_complete or not first.records
        else following.address(after=str(len(first.records))),
        loads_on_scroll=is_small(size),
        notes=[
            *([first.problem] if first.problem and first.records else []),
            *([_MORE_COLUMNS] if known.has_more else []),
            *_unknown_columns(query, known, shown, rows),
        ],
        problem="" if first.records else first.problem,
        is_late=first.is_late,
    )


def _rows(
    records: Sequence[Record],
    values: Sequence[FlatRecord],
    shown: ShownColumns,
    known: ColumnList,
    pricing: Pricing,
) -> list[tuple[Record, list[Cell]]]:
    rows = [cells(each, list(shown.values())) for each in values]
    show_money(rows, values, shown, known, pricing)
    return list(zip(records, rows, strict=True))


def _headers(
    columns: Iterable[str],
    rows: Sequence[tuple[Record, Sequence[Cell]]],
    query: RecordQuery,
    sortable: Sequence[str],
) -> list[ColumnHeader]:
    headers = []
    for index, column in enumerate(columns):
        kinds = {row[index].kind for _, row in rows} - {"nothing"}
        address, order = _next_order(column, query) if column in sortable else ("", "")
        headers.append(ColumnHeader(column, address, order, is_numeric=kinds == {"number"}))
    return headers


def _next_order(column: str, query: RecordQuery) -> tuple[str, str]:
    """Return the link of a column header and the current order. It cycles: ascending, descending, none."""
    if column != query.table_query.sort:
        return query.address(sort=column, dir=""), ""
    if query.table_query.descending:
        return query.address(sort="", dir=""), "descending"
    return query.address(dir="desc"), "ascending"


def table_notes(table: Table) -> list[str]:
    """Return what the table of a run leaves out, one sentence each."""
    notes = [f"{problem} Records after this point are not shown." for problem in table.problems]
    if not table.is_complete:
        notes.append(
            f"This run is large. Search, sorting and statistics cover its first {table.records:,} records."
        )
    if table.too_large:
        which = "One record is" if table.too_large == 1 else f"{table.too_large:,} records are"
        notes.append(
            f"{which} too large for this page. Search, sorting and statistics skip "
            f"{'it' if table.too_large == 1 else 'them'}; the files contain everything."
        )
    if table.has_more_columns:
        notes.append(_MORE_COLUMNS)
    return notes


def _sorted_as_text(sort: str, problem: str) -> list[str]:
    """Return a note that a column of prices isn't sorted by amount, and why."""
    return [f"“{sort}” is sorted as text. {problem}"] if problem else []


def _currencies(sort: str, currencies: Sequence[str]) -> list[str]:
    """Return a note about the order of the amounts if the column has several currencies."""
    if len(currencies) <= 1:
        return []
    names = ", ".join(each for each in currencies if each)
    others = " and amounts without a currency" if "" in currencies else ""
    return [f"“{sort}” contains {names}{others}. The amounts are sorted without converting them."]


def _unknown_columns(
    query: RecordQuery, known: ColumnList, shown: ShownColumns, rows: Sequence[object]
) -> list[str]:
    """Return which columns of the query these records don't have, one sentence each."""
    notes = []
    if query.table_query.sort and query.table_query.sort not in known.names:
        which = f"first {MOST_COLUMNS} columns" if known.has_more else "columns"
        notes.append(
            f"Can't sort by “{query.table_query.sort}”. It isn't one of the {which} of these records."
        )
    missing = [f"“{column}”" for column, path in shown.items() if path is None]
    if missing and rows:
        notes.append(f"No record here has the column{'s' * (len(missing) > 1)} {', '.join(missing)}.")
    return notes
