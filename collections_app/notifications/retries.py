"""When to try again after sending failed."""

import random
from datetime import timedelta

_PAUSES = (
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    *(timedelta(hours=hours) for hours in (2, 5, 10, 14, 20, 24)),
)
MOST_ATTEMPTS = len(_PAUSES) + 1
_JITTER = 0.2  # so that receivers don't get all retries at once
_FIRST_REST = timedelta(seconds=5)
_LONGEST_REST = timedelta(minutes=5)


def pause_after(attempts: int) -> timedelta | None:
    """Return how long a notification waits after so many failed attempts. None: it isn't tried again."""
    if attempts >= MOST_ATTEMPTS:
        return None
    return _PAUSES[attempts - 1] * random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311  # isn't secret


def rest_after(failures: int) -> timedelta:
    """Return how long a channel rests after so many failures in a row, so that others get their turn."""
    return min(_FIRST_REST * (1 << min(failures - 1, 10)), _LONGEST_REST)
