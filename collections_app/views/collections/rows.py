"""The columns of the list of collections, and the rows of both lists."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from zlib import crc32

from django.core.cache import caches
from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.safestring import SafeString

from collections_app.models import Collection
from collections_app.views.changes.summary import changes_summaries
from collections_app.views.download.menu import latest_menu
from collections_app.views.durations import relative_time
from collections_app.views.fragments import without_indentation

CELLS = "collections/_live_cells.html"


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
    Column("Owner", "owner"),
    Column("Status", "", "state", "other"),
    Column("Last run", "last-run", "recent", "descending"),
    Column("Last success", ""),
    Column("Records", "number", "records", "descending"),
    Column("Duration", "duration number"),
    Column("Changes", "changes-cell"),
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


def set_versions(
    collections: Sequence[Collection], more: Callable[[Collection], object] = lambda collection: None
) -> None:
    """Set the versions of rows, whose conditions have been prefetched, and the changes of their runs.

    A version changes whenever the row's cells do, except for relative times. `more` returns what the cells
    show besides, as an object whose repr() differs if they do.
    """
    newest = {each.pk: each.details.newest_ready_run for each in collections}
    changes = changes_summaries([run for run in newest.values() if run])
    for collection in collections:
        run = newest[collection.pk]
        collection.changes = changes.get(run.pk) if run else None
        collection.facts = repr((_facts(collection), more(collection)))
        collection.latest = _version(collection)


def set_html(collections: Sequence[Collection], preferred_format: str, template: str) -> None:
    """Set the HTML of rows, or of their cells that change with the runs, from a cache if possible.

    It depends on nothing but the facts and what _key() adds, so no user sees an outdated row.
    """
    cache = caches["collection_rows"]
    keys = {each.pk: _key(each, preferred_format, template) for each in collections}
    cached = cache.get_many(keys.values())
    for collection in collections:
        collection.html = cached.get(keys[collection.pk]) or _render(collection, preferred_format, template)
    cache.set_many({key: each.html for each in collections if (key := keys[each.pk]) not in cached})


def _facts(collection: Collection) -> tuple[object, ...]:
    details, condition = collection.details, collection.condition
    ready, acknowledgment = details.newest_ready_run, details.acknowledgment
    runs = (details.newest_run, details.last_run, details.last_successful_run, ready)
    return (
        collection.pk,
        collection.kind,
        [run and (run.number, run.status, run.created_at) for run in runs],
        ready and (ready.extracted, ready.total, ready.updated_at),
        collection.changes,
        details.failures,
        condition.problems,
        condition.last and condition.last.verdict,
        condition.is_acknowledged,
        condition.is_paused,
        collection.is_late,
        collection.refresh_problem,
        acknowledgment and (acknowledgment.note, acknowledgment.until, collection.team.time_zone),
    )


def _version(collection: Collection) -> str:
    """Return a token of the newest run's number and status, and of whether the next run is late."""
    run = collection.latest_run
    late = "late." if collection.is_late else ""
    digest = f"{crc32(collection.facts.encode()):08x}"
    return f"{run.number}.{late}{digest}.{run.status}" if run else f"0.{late}{digest}.none"


def _key(collection: Collection, preferred_format: str, template: str) -> str:
    now = timezone.now()
    runs = (collection.latest_run, collection.details.last_successful_run)
    times = [*(run and run.created_at for run in runs), collection.expected_at, collection.refreshed_at]
    relative = [at and (relative_time(at), at < now) for at in times]
    menu = (collection.export_menu, preferred_format)
    parts = (collection.facts, collection.name, collection.is_favorite, relative, menu, template)
    return blake2b(repr(parts).encode(), digest_size=16).hexdigest()


def _render(collection: Collection, preferred_format: str, template: str) -> SafeString:
    menu = latest_menu(collection, preferred_format)
    context = {"collection": collection, "menu": menu, "now": timezone.now()}
    return without_indentation(render_to_string(template, context))
