"""The lines of the Overview, one for each collection."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from django.utils.safestring import SafeString, mark_safe

from collections_app.models import Collection, Run, State
from collections_app.models.recent_runs import RecentRun, recent_runs
from collections_app.models.run_status import statuses_of
from collections_app.views.collections.rows import prepare_rows

# The number of runs in the strip of a line, which also show the usual number of records.
STRIP_LENGTH = 14
_READY = statuses_of(State.READY)


@dataclass(frozen=True)
class Line:
    """What the Overview shows about a collection, besides its condition."""

    strip: list[RecentRun]  # the newest run is last
    ticks: SafeString  # their HTML: rendering 700 with a template would take most of the page's time
    change: str  # of the newest ready run's records from the median of earlier ones, such as "-12 %", or ""

    @property
    def strip_label(self) -> str:
        """The statuses of the runs, for screen readers."""
        labels = [run.status.label for run in self.strip]
        counts = [f"{labels.count(label)} {label.lower()}" for label in dict.fromkeys(labels)]
        return f"Last {len(labels)} runs: {', '.join(counts)}" if labels else "No runs yet"


def prepare_lines(collections: Sequence[Collection], preferred_format: str) -> None:
    """Set the lines, menus and versions of collections, whose conditions have been prefetched."""
    runs = recent_runs(collections, STRIP_LENGTH)
    for collection in collections:
        collection.line = _line(collection, runs[collection.pk])
    prepare_rows(collections, preferred_format, _shown)


def _line(collection: Collection, newest_first: list[RecentRun]) -> Line:
    newest = collection.details.newest_ready_run
    before = [run.extracted for run in newest_first if _is_older(run, newest) and run.extracted is not None]
    return Line(
        strip=newest_first[::-1],
        ticks=mark_safe("".join(map(_tick, reversed(newest_first)))),  # noqa: S308 (no text of people or records)
        change=_change(newest.extracted, median(before)) if before and newest.extracted is not None else "",
    )


def _is_older(run: RecentRun, newest: Run | None) -> bool:
    return newest is not None and run.status in _READY and run.number != newest.number


def _shown(collection: Collection) -> object:
    """Return what a line shows besides what the list of collections shows."""
    line: Line = collection.line
    return line.ticks, line.change, collection.expected_at


def _tick(run: RecentRun) -> str:
    at = run.created_at.strftime("%Y-%m-%dT%H:%M:%SZ")
    return f'<i data-status="{run.status}" data-run="{run.number}" data-at="{at}"></i>'


def _change(records: int, usual: float) -> str:
    """Return the change in whole percent, or "" if it is less than one."""
    percent = round(100 * (records - usual) / usual) if usual else 0
    return f"{percent:+,} %" if percent else ""
