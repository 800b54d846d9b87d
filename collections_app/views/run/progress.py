"""How a run that is being written goes on, in words: for how long, what is left, which pages there are."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from statistics import median

from django.utils import timezone

from collections_app.models import ResultFile, Run

# A run that brought nothing for so long says so, instead of how long it may still take.
IDLE_AFTER = timedelta(minutes=2)

_UNITS = ((86_400, "day"), (3_600, "hour"), (60, "minute"))


@dataclass(frozen=True)
class Progress:
    """What the row of a run that is being written says."""

    since: datetime
    lasting: str  # for how long already, such as "3 minutes"
    left: str  # such as "about 2 minutes left"; "" where nobody can tell
    is_idle: bool
    idle: str  # for how long nothing came
    is_finishing: bool  # all records are there, the files aren't
    pages: list[int]  # the numbers of the last pages that are written
    earlier: int  # how many pages there are before those


def progress_of(run: Run) -> Progress:
    """Return how a run that is being written goes on. Needs prefetch_last_pages()."""
    now = timezone.now()
    idle = is_idle(run)
    pages = [page.position for page in run.last_pages]
    return Progress(
        since=run.created_at,
        lasting=lasting(now - run.created_at),
        left="" if idle else _left(run),
        is_idle=idle,
        idle=lasting(now - run.updated_at),
        is_finishing=bool(run.total) and run.extracted is not None and not run.unscraped,
        pages=pages,
        earlier=pages[0] - 1 if pages else 0,
    )


def is_idle(run: Run) -> bool:
    """Whether nothing has come for a while."""
    return timezone.now() - run.updated_at > IDLE_AFTER


def lasting(time: timedelta) -> str:
    """Return a length of time in words; static/js/times.js has the same ones."""
    seconds = time.total_seconds()
    for length, unit in _UNITS:
        if seconds >= length:
            count = int(seconds // length)
            return f"{count:,} {unit}" + "s" * (count > 1)
    return "less than a minute"


def _left(run: Run) -> str:
    pace = _seconds_per_record(run.last_pages)
    if pace is None:
        pace = _pace_so_far(run)
    if pace is None or not run.unscraped:
        return ""
    left = timedelta(seconds=pace * run.unscraped)
    return ("" if left < timedelta(minutes=1) else "about ") + f"{lasting(left)} left"


def _pace_so_far(run: Run) -> float | None:
    return (run.updated_at - run.created_at).total_seconds() / run.extracted if run.extracted else None


def _seconds_per_record(pages: Sequence[ResultFile]) -> float | None:
    """Return the pace of the last pages; None where it isn't known.

    The median: a run that was paused meanwhile is not slow.
    """
    paces = [
        (page.modified - before.modified).total_seconds() / page.records
        for before, page in pairwise(pages)
        if page.records
    ]
    return median(paces) if paces else None
