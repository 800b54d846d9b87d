"""The lines of the Overview, one for each collection."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from django.utils.safestring import SafeString, mark_safe

from collections_app.models import Collection, Run, State
from collections_app.models.recent_runs import RecentRun, recent_runs
from collections_app.models.run_status import statuses_of
from collections_app.views.collections.rows import set_versions

# The number of runs in the strip of a line, which also show the usual number of records.
STRIP_LENGTH = 14
CELLS = "overview/_live_cells.html"
LINE = "overview/_line.html"
_READY = statuses_of(State.READY)


@dataclass(frozen=True)
class Line:
    """What the Overview shows about a collection, besides its condition."""

    strip: list[RecentRun]  # the newest run is last
    change: str  # of the newest ready run's records from the median of earlier ones, such as "-12%", or ""

    @property
    def statuses(self) -> list[tuple[int, str]]:
        """The numbers of the runs, and their statuses."""
        return [(run.number, run.status.value) for run in self.strip]

    @property
    def ticks(self) -> SafeString:
        """The HTML of the strip, which a template would take longer to render than the rest of the line."""
        return mark_safe("".join(map(_tick, self.strip)))  # noqa: S308  # no text of people or records

    @property
    def strip_label(self) -> str:
        """The statuses of the runs, for screen readers."""
        labels = [run.status.label for run in self.strip]
        counts = [f"{labels.count(label)} {label.lower()}" for label in dict.fromkeys(labels)]
        return f"Last {len(labels)} runs: {', '.join(counts)}" if labels else "No runs yet"


def set_lines(collections: Sequence[Collection]) -> None:
    """Set the lines of collections, and their versions. Their conditions have been prefetched."""
    runs = recent_runs(collections, STRIP_LENGTH)
    for collection in collections:
        collection.line = _line(collection, runs[collection.pk])
    set_versions(collections, lambda collection: (collection.line.statuses, collection.expected_at))


def _line(collection: Collection, newest_first: list[RecentRun]) -> Line:
    newest = collection.details.newest_ready_run
    before = [run.extracted for run in newest_first if _is_older(run, newest) and run.extracted is not None]
    change = _change(newest.extracted, median(before)) if before and newest.extracted is not None else ""
    return Line(newest_first[::-1], change)


def _is_older(run: RecentRun, newest: Run | None) -> bool:
    return newest is not None and run.status in _READY and run.number != newest.number


def _tick(run: RecentRun) -> str:
    at = run.created_at.strftime("%Y-%m-%dT%H:%M:%SZ")
    return f'<i data-status="{run.status}" data-run="{run.number}" data-at="{at}"></i>'


def _change(records: int, usual: float) -> str:
    """Return the change in whole percent, or "" if it is less than one."""
    percent = round(100 * (records - usual) / usual) if usual else 0
    return f"{percent:+,}%" if percent else ""
