"""Find the records of a run that match a search and filters, as the run's page does."""

from collections.abc import Callable

from collections_app.models import Run
from collections_app.records.formats.export_formats import ExportSpec
from collections_app.records.formats.tables import ConversionError
from collections_app.records.preview.engine import QueryTimeout
from collections_app.records.preview.filters import InvalidFilter, parse_filters
from collections_app.records.preview.queries import TableQuery, matching_numbers
from collections_app.records.preview.records import files_of_records
from collections_app.records.preview.table import Table, TableUnavailable, table_of
from collections_app.sources import SourceUnavailable
from collections_app.system.background import StillWorking

_POLL_SECONDS = 0.5


def matches_of(run: Run, spec: ExportSpec, alive: Callable[[], None]) -> bytearray:
    """Return 1 for each record that matches, and 0 for others. Records are numbered from 1.

    While the run's table is being built, this calls `alive`, which may raise an error. Raises
    SourceUnavailable if the records can't be searched now, and ConversionError if the table lacks some, or if
    these records can't be filtered in this way.
    """
    files = files_of_records(run)
    try:
        query = TableQuery(spec.search, parse_filters(spec.filters))
        return _matches(_table(run, alive), query) if files else bytearray()
    except InvalidFilter as problem:
        raise ConversionError(str(problem)) from None
    except TableUnavailable as problem:
        raise SourceUnavailable(str(problem)) from None
    except QueryTimeout:
        raise SourceUnavailable("This search takes too long. Try again later.") from None


def _table(run: Run, alive: Callable[[], None]) -> Table:
    while True:
        try:
            return table_of(files_of_records(run), seconds=_POLL_SECONDS)
        except StillWorking:
            alive()


def _matches(table: Table, query: TableQuery) -> bytearray:
    if not table.is_complete:
        what = "Search covers" if query.search else "Filters cover"
        raise ConversionError(
            f"{what} only the first {table.records:,} records of this run. Export all records instead."
        )
    found = bytearray(table.records + 1)
    for number in matching_numbers(table, query):
        found[number] = 1
    return found
