"""The status of a run: one rule for pages, the API, commands and the worker.

A run stores its stage (`Run.state`) and the deadline of its next progress (`Run.stalls_at`). Its status
follows from these and its counts, so it is right even if no worker runs. `StatusFacts` is the rule for a
row that was read, and `in_status` is the same rule as a condition for the database.
"""

from datetime import datetime, timedelta
from functools import reduce
from operator import or_
from typing import NamedTuple, TypedDict

from django.db import models
from django.db.models import F, Q
from django.utils import timezone

# A run stalls if it makes no progress for twice as long as its collection's longest recent step, but not
# sooner than this.
_SHORTEST_PATIENCE = timedelta(minutes=15)
_UNKNOWN_PATIENCE = timedelta(hours=1)
_PATIENCE_IN_STEPS = 2


class State(models.TextChoices):
    """The stage of a run, as it is stored. People see its status instead."""

    PROCESSING = "processing", "Processing"
    READY = "ready", "Completed"
    FAILED = "failed", "Failed"


class Status(models.TextChoices):
    """The status of a run, as people see it. The values are the API's `state`."""

    PROCESSING = "processing", "Processing"
    STALLED = "stalled", "Stalled"
    FAILED = "failed", "Failed"
    COMPLETED = "completed", "Completed"
    INCOMPLETE = "incomplete", "Incomplete"
    EMPTY = "empty", "Empty"


_STATES = {
    Status.PROCESSING: State.PROCESSING,
    Status.STALLED: State.PROCESSING,
    Status.FAILED: State.FAILED,
    Status.COMPLETED: State.READY,
    Status.INCOMPLETE: State.READY,
    Status.EMPTY: State.READY,
}


def statuses_of(state: State) -> set[Status]:
    """Return the statuses that runs of a stage can have."""
    return {status for status, its_state in _STATES.items() if its_state == state}


class StatusFacts(NamedTuple):
    """What the status of a run depends on. `observed_until` is Collection.observed_until."""

    state: str
    extracted: int | None
    total: int | None
    stalls_at: datetime | None
    observed_until: datetime | None

    @property
    def status(self) -> Status:
        """The status of the run."""
        if self.state == State.FAILED:
            return Status.FAILED
        if self.state == State.PROCESSING:
            return Status.STALLED if self._is_late else Status.PROCESSING
        if self.extracted is None or self.total is None or self.extracted >= self.total:
            return Status.COMPLETED
        return Status.INCOMPLETE if self.extracted else Status.EMPTY

    @property
    def _is_late(self) -> bool:
        if self.stalls_at is None or self.observed_until is None:
            return False
        return self.stalls_at <= self.observed_until


def unscraped(extracted: int | None, total: int | None) -> int:
    """Return how many of the requested records haven't been scraped, or 0 if unknown."""
    return 0 if extracted is None or total is None else max(0, total - extracted)


def in_status(*statuses: Status) -> Q:
    """Return the condition for runs that have one of the statuses now."""
    conditions = _conditions(timezone.now())
    states = sorted({_STATES[status] for status in statuses})
    # A condition for all statuses of a stage compares only the stage, so that its index can be used.
    complete = {state for state in states if statuses_of(state) <= set(statuses)}
    partial = [
        Q(state=_STATES[status]) & conditions[status]
        for status in statuses
        if _STATES[status] not in complete
    ]
    # An index covers failed and processing runs together.
    return Q(state__in=states) & reduce(or_, [*(Q(state=state) for state in complete), *partial])


def _conditions(now: datetime) -> dict[Status, Q]:
    """Return the conditions that distinguish the statuses of the same stage."""
    is_ours, is_remote = Q(collection__account=None), Q(collection__account__isnull=False)
    refreshed_at = F("collection__refreshed_at")
    late = (is_ours & Q(stalls_at__lte=now)) | (is_remote & Q(stalls_at__lte=refreshed_at))
    # Not the negation of `late`: in SQL, a comparison with NULL is neither true nor false.
    in_time = (
        Q(stalls_at=None)
        | (is_ours & Q(stalls_at__gt=now))
        | (is_remote & (Q(stalls_at__gt=refreshed_at) | Q(collection__refreshed_at=None)))
    )
    return {
        Status.PROCESSING: in_time,
        Status.STALLED: late,
        Status.FAILED: Q(),
        Status.COMPLETED: Q(extracted=None) | Q(total=None) | Q(extracted__gte=F("total")),
        Status.INCOMPLETE: IS_INCOMPLETE,
        Status.EMPTY: IS_EMPTY,
    }


# Of ready runs.
IS_INCOMPLETE = Q(extracted__gt=0, extracted__lt=F("total"))
IS_EMPTY = Q(extracted=0, total__gt=0)


class Progress(TypedDict):
    """The columns of a run that change when it makes progress."""

    progressed_at: datetime
    longest_step: timedelta | None
    stalls_at: datetime


def progress(
    at: datetime,
    *,
    usual_step: timedelta | None,
    longest_step: timedelta | None = None,
    step: timedelta | None = None,
) -> Progress:
    """Return the columns of a run after progress.

    `usual_step` is the collection's longest_recent_step(), `longest_step` is the run's own so far, and `step`
    is the time since the previous progress, if known.
    """
    longest = _longest(longest_step, step)
    usual = _longest(usual_step, longest)
    patience = _UNKNOWN_PATIENCE if usual is None else max(_SHORTEST_PATIENCE, _PATIENCE_IN_STEPS * usual)
    return {"progressed_at": at, "longest_step": longest, "stalls_at": at + patience}


def _longest(*steps: timedelta | None) -> timedelta | None:
    return max((step for step in steps if step is not None), default=None)
