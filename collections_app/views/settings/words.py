"""Describe rhythms and delays in words."""

from datetime import timedelta

from django.utils import timezone

from collections_app.models import Collection, Retention
from collections_app.models.retention import RetentionKind
from collections_app.models.rhythm import Interval, Rhythm
from collections_app.views.durations import lasting

WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_SHORTEST_RANGE = 3  # days; fewer are listed one by one
_DAY, _HOUR, _MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)


def describe(rhythm: Rhythm, *, is_learned: bool) -> str:
    """Return a rhythm in words, such as "daily at about 02:10 (Australia/Sydney)"."""
    about = "about " if is_learned else ""
    if isinstance(rhythm, Interval):
        return f"{about}every {_duration(rhythm.every)}"
    return f"{_days(sorted(rhythm.weekdays))} at {about}{rhythm.at:%H:%M} ({rhythm.zone.key})"


def late_for(collection: Collection) -> str:
    """Return how long ago the expected run should have started, such as "5 h"; "" if it isn't late."""
    if not collection.is_late or collection.expected_at is None:
        return ""
    return lasting(timezone.now() - collection.expected_at)


def kept(retention: Retention | None) -> str:
    """Return what a collection keeps, such as "keeps the newest 90 runs"."""
    if retention is None:
        return "keeps all runs"
    if retention.kind == RetentionKind.RUNS:
        runs = f"the newest {_number(retention.number, 'run')}"
    else:
        runs = f"runs from the last {_number(retention.number, 'day')}"
    return f"keeps copies of {runs}" if retention.collection.is_remote else f"keeps {runs}"


def _number(number: int, what: str) -> str:
    return what if number == 1 else f"{number:,} {what}s"


def _duration(every: timedelta) -> str:
    for unit, one, many in ((_DAY, "day", "days"), (_HOUR, "hour", "hours")):
        if every >= 1.5 * unit or every == unit:
            number = f"{every / unit:.3g}"
            return one if number == "1" else f"{number} {many}"
    return f"{round(every / _MINUTE)} minutes"


def _days(weekdays: list[int]) -> str:
    if len(weekdays) == len(WEEKDAYS):
        return "daily"
    if len(weekdays) >= _SHORTEST_RANGE and weekdays == list(range(weekdays[0], weekdays[-1] + 1)):
        return f"{WEEKDAYS[weekdays[0]]} to {WEEKDAYS[weekdays[-1]]}"
    *others, last = (f"{WEEKDAYS[day]}s" for day in weekdays)
    return f"{', '.join(others)} and {last}" if others else last
