"""The lines of the Overview, one for each collection."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from statistics import median

from django.utils.safestring import SafeString, mark_safe

from collections_app.models import Collection, State
from collections_app.models.recent_runs import RecentRun, recent_runs
from collections_app.models.run_status import statuses_of

# The number of runs in the strip of a line, which the usual number of records is also taken from.
STRIP_LENGTH = 14
_READY = statuses_of(State.READY)


@dataclass(frozen=True)
class Line:
    """What the Overview shows about a collection, besides its condition."""

    strip: list[RecentRun]  # the newest run is last
    ticks: SafeString  # their HTML: rendering 700 with a template would take most of the page's time
    is_ready: bool  # whether the strip has a ready run
    records: int | None  # of the newest ready run, if the account reports them
    change: str  # of the records, compared with the median of the runs before, such as "-12 %"; "" if usual
    duration: timedelta | None  # of the newest ready run

    @property
    def strip_label(self) -> str:
        """The statuses of the runs, for screen readers."""
        labels = [run.status.label for run in self.strip]
        counts = [f"{labels.count(label)} {label.lower()}" for label in dict.fromkeys(labels)]
        return f"Last {len(labels)} runs: {', '.join(counts)}" if labels else "No runs yet"


def add_lines(collections: Sequence[Collection]) -> None:
    """Set the `line` of each collection, in two queries."""
    runs = recent_runs(collections, STRIP_LENGTH)
    for collection in collections:
        collection.line = _line(runs[collection.pk])


def _line(newest_first: list[RecentRun]) -> Line:
    ready = [run for run in newest_first if run.status in _READY]
    newest = ready[0] if ready else None
    before = [run.extracted for run in ready[1:] if run.extracted is not None]
    records = newest.extracted if newest else None
    return Line(
        strip=newest_first[::-1],
        ticks=mark_safe("".join(map(_tick, reversed(newest_first)))),  # noqa: S308 (no text of people or records)
        is_ready=newest is not None,
        records=records,
        change="" if records is None or not before else _change(records, median(before)),
        duration=newest.duration if newest else None,
    )


def _tick(run: RecentRun) -> str:
    at = run.created_at.strftime("%Y-%m-%dT%H:%M:%SZ")
    return f'<i data-status="{run.status}" data-run="{run.number}" data-at="{at}"></i>'


def _change(records: int, usual: float) -> str:
    """Return the change in whole percent, or "" if it is less than one."""
    percent = round(100 * (records - usual) / usual) if usual else 0
    return f"{percent:+,} %" if percent else ""
