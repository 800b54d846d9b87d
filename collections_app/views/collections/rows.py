"""The columns of the list of collections, and the rows of both lists."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from zlib import crc32

from collections_app.models import Collection
from collections_app.views.download.menu import latest_menu


@dataclass(frozen=True)
class Column:
    """A column of the list. `order` is the sort order that its header links to, if any."""

    name: str
    css_class: str
    order: str = ""
    direction: str = ""  # the value of aria-sort


COLUMNS = (
    Column("ID", "id number", "id", "ascending"),
    Column("Name", "", "name", "ascending"),
    Column("Type", "type"),
    Column("Status", "", "state", "other"),
    Column("Last run", "last-run", "recent", "descending"),
    Column("Last success", ""),
    Column("Records", "number", "records", "descending"),
    Column("Duration", "duration number"),
)


@dataclass(frozen=True)
class Header:
    """The header of a column, in a list that is sorted by `order`. Its link leads to `address`."""

    column: Column
    order: str
    address: str

    @property
    def direction(self) -> str:
        """The value of aria-sort, or "" if the list isn't sorted by this column."""
        return self.column.direction if self.column.order == self.order else ""


def prepare_rows(
    collections: Iterable[Collection], preferred_format: str, shown: Callable[[Collection], object] = bool
) -> None:
    """Set the menus and versions of rows, whose conditions have been prefetched.

    `shown` returns what a row shows besides, as an object whose repr() differs if the row does.
    """
    for collection in collections:
        collection.download_menu = latest_menu(collection, preferred_format)
        collection.latest = _version(collection, shown(collection))


def _version(collection: Collection, shown: object) -> str:
    """Return a token that changes whenever the row changes, except for its name, type and relative times.

    It contains the number and the status of the newest run, and whether the next one is late.
    """
    run, details, condition = collection.latest_run, collection.details, collection.condition
    runs = (details.last_run, details.last_successful_run, details.newest_ready_run)
    facts = (
        [each and (each.number, each.status) for each in runs],
        details.failures,
        condition.is_paused,
        collection.refresh_problem,
        details.acknowledgment and details.acknowledgment.until,
        shown,
    )
    late = "late." if collection.is_late else ""
    digest = f"{crc32(repr(facts).encode()):08x}"
    return f"{run.number}.{late}{digest}.{run.status}" if run else f"0.{late}{digest}.none"
