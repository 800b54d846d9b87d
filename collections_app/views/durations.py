"""Durations, and times relative to now, in words."""

from datetime import datetime, timedelta

from django.utils import timezone

_UNITS = ((86_400, "day", "days"), (3_600, "h", "h"), (60, "min", "min"))


def lasting(time: timedelta) -> str:
    """Return a duration in words, as static/js/times.js does."""
    seconds = time.total_seconds()
    for length, one, many in _UNITS:
        if seconds >= length:
            count = int(seconds // length)
            return f"{count:,} {one if count == 1 else many}"
    return "less than a minute"


def relative_time(at: datetime) -> str:
    """Return a time such as "5 h ago", "in 3 h" or "just now"."""
    passed = timezone.now() - at
    if abs(passed) < timedelta(minutes=1):
        return "just now"
    return f"in {lasting(-passed)}" if passed < timedelta() else f"{lasting(passed)} ago"
