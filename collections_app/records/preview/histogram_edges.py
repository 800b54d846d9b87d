"""Choose the bounds of a histogram's bars, so that they are round numbers or dates."""

import math
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal, localcontext
from itertools import count

# About this many; rounding the first and the last bound adds up to two.
_BARS = 10
_MOST_BARS = _BARS + 2
# More digits than the difference of any two numbers with a range.
_PRECISION = 1000
_STEPS = [Decimal(step) for step in ("1", "2", "2.5", "5", "10")]

_HOUR, _DAY = 3600, 86_400
_SECONDS = [60, 300, 900, _HOUR, 3 * _HOUR, 6 * _HOUR, 12 * _HOUR, _DAY, 2 * _DAY, 7 * _DAY]
_MONTHS = [1, 2, 3, 6, 12, 24, 60, 120, 240, 600, 1200, 2400, 6000, 12_000]


def number_edges(low: Decimal, high: Decimal, *, is_whole: bool) -> list[Decimal]:
    """Return at least two round numbers at equal distances. All values are between the first and the last.

    If the values are integers, so are the bounds.
    """
    with localcontext(prec=_PRECISION):
        step = _step((high - low) / _BARS, is_whole=is_whole)
        first = (low / step).to_integral_value("ROUND_FLOOR")
        last = max((high / step).to_integral_value("ROUND_CEILING"), first + 1)
        return [(first + index) * step for index in range(int(last - first) + 1)]


def _step(width: Decimal, *, is_whole: bool) -> Decimal:
    """Return 1, 2, 2.5 or 5 times a power of ten: the smallest one that is at least this wide."""
    if not width or (is_whole and width <= 1):
        return Decimal(1)
    power = Decimal(1).scaleb(width.adjusted())
    steps = [step * power for step in _STEPS if step * power >= width]
    return next(step for step in steps if not is_whole or step == step.to_integral_value())


def time_edges(low: datetime, high: datetime) -> list[datetime]:
    """Return at least two round times in UTC. All values are before the last one, and none before the first.

    They are the same number of hours, days or months apart. Raises OverflowError if none after `high` exists.
    """
    for edges in _candidates(low, high):
        found = _until(high, edges)
        if len(found) <= _MOST_BARS + 1:
            return found
    raise OverflowError


def _candidates(low: datetime, high: datetime) -> Iterator[Iterable[datetime]]:
    seconds = (high - low).total_seconds()
    yield from (_by_seconds(low, step) for step in _SECONDS if seconds / step <= _MOST_BARS)
    yield from (_by_months(low, step) for step in _MONTHS)


def _by_seconds(low: datetime, step: int) -> Iterator[datetime]:
    midnight = low.replace(hour=0, minute=0, second=0, microsecond=0)
    passed = math.floor((low - midnight).total_seconds() / step)
    return (midnight + timedelta(seconds=step * index) for index in count(passed))


def _by_months(low: datetime, step: int) -> Iterator[datetime]:
    first = (12 * low.year + low.month - 1) // step * step
    # The first month is January of the year 1.
    months = (max(first + step * index, 12) for index in count())
    return (datetime(month // 12, month % 12 + 1, 1, tzinfo=UTC) for month in months)


def _until(high: datetime, times: Iterable[datetime]) -> list[datetime]:
    """Return the times up to the first one after `high`, or more than fit."""
    found: list[datetime] = []
    for each in times:
        found.append(each)
        if each > high or len(found) > _MOST_BARS + 1:
            break
    return found
