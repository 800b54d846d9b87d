"""Durations in words."""

from datetime import timedelta

_UNITS = ((86_400, "day", "days"), (3_600, "h", "h"), (60, "min", "min"))


def lasting(time: timedelta) -> str:
    """Return a duration in words, as static/js/times.js does."""
    seconds = time.total_seconds()
    for length, one, many in _UNITS:
        if seconds >= length:
            count = int(seconds // length)
            return f"{count:,} {one if count == 1 else many}"
    return "less than a minute"
