"""The progress of a run that is being written, in words."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from statistics import median

from django.utils import timezone

from collections_app.models import ResultFile, Run
from collections_app.views.durations import lasting

# After this time without progress, a run shows its last progress instead of an estimate.
IDLE_AFTER = timedelta(minutes=2)


@dataclass(frozen=True)
class RunProgress:
    """The progress of a run that is being written, as its row shows it."""

    since: datetime
    lasting: str  # how long it has been running, such as "3 min"
    left: str  # such as "about 2 min left"; "" if unknown
    is_idle: bool
    progressed_at: datetime
    idle: str  # how long there has been no progress
    is_finishing: bool  # all records are scraped, but the files aren't complete
    pages: int  # the number of pages that are written


def progress_of(run: Run) -> RunProgress:
    """Return the progress of a run. Needs prefetch_last_pages()."""
    now = timezone.now()
    idle = is_idle(run)
    return RunProgress(
        since=run.created_at,
        lasting=lasting(now - run.created_at),
        left="" if idle else _left(run),
        is_idle=idle,
        progressed_at=_progressed_at(run),
        idle=lasting(now - _progressed_at(run)),
        is_finishing=bool(run.total) and run.extracted is not None and not run.unscraped,
        pages=run.last_pages[-1].position if run.last_pages else 0,
    )


def is_idle(run: Run) -> bool:
    """Whether there has been no progress for a while."""
    return timezone.now() - _progressed_at(run) > IDLE_AFTER


def _progressed_at(run: Run) -> datetime:
    return run.progressed_at or run.updated_at


def _left(run: Run) -> str:
    pace = _seconds_per_record(run.last_pages)
    if pace is None:
        pace = _average_pace(run)
    if pace is None or not run.unscraped:
        return ""
    left = timedelta(seconds=pace * run.unscraped)
    return ("" if left < timedelta(minutes=1) else "about ") + f"{lasting(left)} left"


def _average_pace(run: Run) -> float | None:
    return (run.updated_at - run.created_at).total_seconds() / run.extracted if run.extracted else None


def _seconds_per_record(pages: Sequence[ResultFile]) -> float | None:
    """Return the pace of the last pages, or None if unknown.

    The median ignores a pause between two pages.
    """
    paces = [
        (page.modified - before.modified).total_seconds() / page.records
        for before, page in pairwise(pages)
        if page.records
    ]
    return median(paces) if paces else None
