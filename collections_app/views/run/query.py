"""The query of a run's page: which records it shows, and which of their columns."""

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from django.core.exceptions import BadRequest
from django.http import QueryDict

from collections_app.people.access import MemberRequest
from collections_app.records.preview.filters import Filter, InvalidFilter, parse_filters
from collections_app.records.preview.queries import TableQuery
from collections_app.records.preview.search import LONGEST_SEARCH

# Every column header and every row repeats the query in its links.
_LONGEST_ADDRESS = 8_000
_MOST_DIGITS = 12


@dataclass(frozen=True)
class RecordQuery:
    """The records to show, their order, and the columns to show."""

    table_query: TableQuery
    columns: Sequence[str]
    lists_all_columns: bool = False  # even those that the first records don't have
    saved_columns: Sequence[str] = ()  # shown if `columns` is empty
    currency: str = ""  # of prices whose records name none

    def address(self, *, filters: Sequence[Filter] | None = None, **changes: str) -> str:
        """Return the query string with some parameters changed. Empty ones are left out."""
        query = self.table_query
        parts = {"q": query.search, "sort": query.sort, "dir": "desc" if query.descending else ""}
        pairs = [(name, value) for name, value in (parts | changes).items() if value]
        kept = query.filters if filters is None else filters
        pairs += [("filter", str(each)) for each in kept]
        return "?" + urlencode([*pairs, *(("column", column) for column in self.columns)])

    def with_filter(self, each: Filter) -> str:
        """Return the query string with this filter instead of the others of its column."""
        return self.address(filters=[*(kept for kept in self.filters if kept.column != each.column), each])

    def without_filter(self, each: Filter) -> str:
        """Return the query string without this filter."""
        return self.address(filters=[kept for kept in self.filters if kept != each])

    @property
    def filters(self) -> Sequence[Filter]:
        """The filters of the records."""
        return self.table_query.filters

    @property
    def is_first_records(self) -> bool:
        """Whether it asks for the first records in file order, which needs no table."""
        return self.table_query.is_unfiltered and not (self.table_query.after or self.lists_all_columns)

    @property
    def again(self) -> str:
        """The query string that repeats this query."""
        listed = "all" if self.lists_all_columns else ""
        return self.address(after=str(self.table_query.after or ""), columns=listed)

    @property
    def with_all_columns(self) -> str:
        """The query string that lists all columns of the run, open to choose from."""
        return self.address(columns="all")

    @property
    def from_start(self) -> str:
        """The query string for the first records."""
        return self.address()

    @property
    def in_order(self) -> str:
        """The prefix of a record's query string, to which its index in the results is appended.

        It makes Previous and Next on the record's page follow these results.
        """
        return "" if self.table_query.is_unfiltered else f"{self.from_start}&after="

    @property
    def all(self) -> str:
        """The query string without the search and the filters, in the same order."""
        return self.address(q="", filters=())


def parse_query(request: MemberRequest) -> RecordQuery:
    """Return the query of the request. Raises BadRequest."""
    query = read_query(request.GET)
    if len(query.again) > _LONGEST_ADDRESS:
        raise BadRequest("The address is too long. Choose fewer columns.")
    return query


def read_query(values: QueryDict) -> RecordQuery:
    """Return the query in URL parameters or form fields. Raises BadRequest."""
    search = values.get("q", "").replace("\0", "").strip()
    if len(search) > LONGEST_SEARCH:
        raise BadRequest(f"The search is too long. Use at most {LONGEST_SEARCH} characters.")
    after = values.get("after", "0")
    if not (after.isascii() and after.isdecimal() and len(after) <= _MOST_DIGITS):
        raise BadRequest("Invalid “after” parameter. It must be a whole number.")
    filters = read_filters(values)
    table_query = TableQuery(search, filters, values.get("sort", ""), values.get("dir") == "desc", int(after))
    columns = list(dict.fromkeys(values.getlist("column")))
    return RecordQuery(table_query, columns, lists_all_columns=values.get("columns") == "all")


def read_filters(values: QueryDict) -> tuple[Filter, ...]:
    """Return the filters in URL parameters or form fields. Raises BadRequest."""
    try:
        return parse_filters(values.getlist("filter"))
    except InvalidFilter as problem:
        raise BadRequest(str(problem)) from None
