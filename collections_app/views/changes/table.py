"""The headers of the table of changes."""

from dataclasses import dataclass

from collections_app.views.changes.query import ChangesQuery

# The columns that changes can be sorted by: their names and classes.
_COLUMNS = {
    "title": ("Product", "title"),
    "key": ("Key", "key"),
    "kind": ("What", "kind"),
    "was": ("Was", "was number"),
    "now": ("Now", "now number"),
    "percent": ("Change", "percent number"),
    "amount": ("Amount", "amount number"),
}


@dataclass(frozen=True)
class Header:
    """The header of a column. Its link sorts by the column."""

    column: str  # to sort by
    name: str
    css_class: str
    address: str
    order: str  # the value of aria-sort, or ""


def headers(query: ChangesQuery) -> list[Header]:
    """Return the headers of the table."""
    return [
        Header(column, name, css_class, query.sorted_by(column), _order(query, column))
        for column, (name, css_class) in _COLUMNS.items()
    ]


def _order(query: ChangesQuery, column: str) -> str:
    if query.changes.sort != column:
        return ""
    return "descending" if query.changes.descending else "ascending"
