"""When the next run of a collection is expected: learned from earlier runs, or set by a person.

A rhythm is either an interval ("every 6 hours") or a time of day on some weekdays ("at 07:00
Australia/Sydney, Monday to Friday"). A change of clocks makes no run late. While it is unclear which clocks
the runs follow, a run is late only if it is late by all of them.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

# How many runs a rhythm is learned from, at most and at least.
LEARNED_FROM = 20
LEAST_RUNS = 4

_DAY = timedelta(days=1)
_HALF_DAY = 12 * 3600  # seconds
_SHORTEST_GRACE = timedelta(minutes=15)
_LONGEST_GRACE = timedelta(hours=6)
# Shorter intervals come from importing many runs at once.
_SHORTEST_INTERVAL = timedelta(minutes=10)
_LONGEST_INTERVAL = timedelta(days=31)
# A shorter interval is learned as such, a longer one as a time of day if possible.
_SHORTEST_DAILY = timedelta(hours=20)
# Runs are irregular if their usual deviation is more than this share of their interval, or this time.
_REGULAR = 0.25
_LARGEST_DEVIATION = timedelta(hours=2)
# Clocks change on the same days in the European Union, in most of North America, in the south of Australia,
# and in New Zealand.
_COMMON_CLOCKS = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/Los_Angeles",
    "Australia/Sydney",
    "Pacific/Auckland",
)
# How early a run may start and still be the expected one.
_EARLY = timedelta(hours=2)


@dataclass(frozen=True)
class Expected:
    """When the next run is expected, and when it becomes late."""

    at: datetime
    late_at: datetime


@dataclass(frozen=True)
class Interval:
    """A run at regular intervals, perhaps by the clocks of a time zone."""

    every: timedelta
    grace: timedelta
    clocks: tuple[ZoneInfo, ...]

    def next_after(self, last: datetime) -> Expected:
        """Return when the next run is expected after one that started at `last`."""
        at = last.astimezone(UTC) + self.every
        return Expected(at, max(at, *_by_clocks(last, self.every, self.clocks)) + self.grace)


@dataclass(frozen=True)
class TimeOfDay:
    """A run at a time of day, in a time zone, on some weekdays (0 is Monday).

    `clocks` are other time zones that the runs may follow.
    """

    at: time
    zone: ZoneInfo
    weekdays: frozenset[int]
    grace: timedelta
    clocks: tuple[ZoneInfo, ...] = ()

    def next_after(self, last: datetime) -> Expected:
        """Return when the next run is expected after one that started at `last`."""
        return next(
            Expected(at, self._latest(day, last) + self.grace)
            for day in self._days_from(last.astimezone(self.zone).date())
            if (at := self._moment(day)) > last.astimezone(UTC) + _EARLY
        )

    def _days_from(self, first: date) -> Iterator[date]:
        # A week and a day contain every weekday after the first day's time.
        return (day for day in (first + n * _DAY for n in range(9)) if day.weekday() in self.weekdays)

    def _moment(self, day: date, *, fold: int = 0) -> datetime:
        return datetime.combine(day, self.at, self.zone).replace(fold=fold).astimezone(UTC)

    def _latest(self, day: date, last: datetime) -> datetime:
        """Return the latest moment when any clock shows this time. Use the second of two equal times."""
        since_last = datetime.combine(day, self.at) - last.astimezone(self.zone).replace(tzinfo=None)
        return max(self._moment(day), self._moment(day, fold=1), *_by_clocks(last, since_last, self.clocks))


def _by_clocks(last: datetime, later: timedelta, clocks: Iterable[ZoneInfo]) -> list[datetime]:
    """Return the moment at which each clock shows that this much time has passed."""
    # In a time zone, Python adds to the time on the clock.
    return [(last.astimezone(clock) + later).astimezone(UTC) for clock in clocks]


Rhythm = Interval | TimeOfDay


def learn(times: Iterable[datetime], zone: ZoneInfo) -> Rhythm | None:
    """Return the rhythm of the last 20 runs, which started at these times, or None if they are irregular.

    `zone` is the time zone that the runs probably follow. When clocks change, the next run shows which clocks
    the runs follow.
    """
    starts = sorted(times)[-LEARNED_FROM:]
    if len(starts) < LEAST_RUNS:
        return None
    gaps = [later - earlier for earlier, later in pairwise(starts)]
    usual = sorted(gaps)[len(gaps) // 2]
    if usual >= _SHORTEST_DAILY and (daily := _learn_time_of_day(starts, zone)):
        return daily
    return _learn_interval(gaps, usual, zone)


def _clocks(zone: ZoneInfo) -> list[ZoneInfo]:
    """Return the time zone, UTC, and one time zone for each day on which clocks change in many countries."""
    return list(dict.fromkeys([zone, *map(ZoneInfo, _COMMON_CLOCKS)]))


def _learn_interval(gaps: Sequence[timedelta], usual: timedelta, zone: ZoneInfo) -> Interval | None:
    deviation = _usual_deviation([gap - usual for gap in gaps])
    is_regular = deviation <= min(_REGULAR * usual, _LARGEST_DEVIATION)
    if not (is_regular and _SHORTEST_INTERVAL <= usual <= _LONGEST_INTERVAL):
        return None
    return Interval(usual, _grace(deviation, usual), tuple(_clocks(zone)))


def _learn_time_of_day(starts: Sequence[datetime], zone: ZoneInfo) -> TimeOfDay | None:
    times = [_Times(starts, clock) for clock in _clocks(zone)]
    unchanged = tuple(each.zone for each in times if each.is_unchanged)
    daily = _time_of_day(min(times, key=lambda each: each.spread), unchanged)
    return daily if daily and _explains(daily, starts) else None


def _explains(rhythm: Rhythm, starts: Sequence[datetime]) -> bool:
    """Whether at most one run in five would have been late. A run every other day isn't daily."""
    late = [later > rhythm.next_after(earlier).late_at for earlier, later in pairwise(starts)]
    return 5 * sum(late) <= len(late)


class _Times:
    """The times of day of runs, in seconds, and how they deviate from the usual one."""

    def __init__(self, starts: Sequence[datetime], zone: ZoneInfo) -> None:
        self.zone = zone
        self.starts = [start.astimezone(zone) for start in starts]
        times = [start.hour * 3600 + start.minute * 60 + start.second for start in self.starts]
        # Times around midnight are close to one another.
        self.usual = min(times, key=lambda usual: sum(abs(_distance(each, usual)) for each in times))
        self.deviations = [_distance(each, self.usual) for each in times]
        self.spread = sum(map(abs, self.deviations))
        # Whether the clocks haven't changed, so that the runs may follow them or not.
        self.is_unchanged = len({start.utcoffset() for start in self.starts}) == 1


def _distance(one: int, other: int) -> int:
    """Return the distance between two times of day, from -12 to 12 hours, in seconds."""
    return (one - other + _HALF_DAY) % (2 * _HALF_DAY) - _HALF_DAY


def _time_of_day(times: _Times, clocks: tuple[ZoneInfo, ...]) -> TimeOfDay | None:
    deviation = _usual_deviation([timedelta(seconds=each) for each in times.deviations])
    weekdays = _weekdays(times)
    if deviation > _LARGEST_DEVIATION or not weekdays:
        return None
    at = time(times.usual // 3600, times.usual // 60 % 60)
    return TimeOfDay(at, times.zone, weekdays, _grace(deviation, _DAY), clocks if times.is_unchanged else ())


def _weekdays(times: _Times) -> frozenset[int]:
    """Return the weekdays with a run in at least half of the weeks that have runs.

    A weekday that has not occurred yet is included. Weeks without runs are outages.
    """
    # A run at 00:05 may be the run of 23:55 on the day before.
    moved = zip(times.starts, times.deviations, strict=True)
    days = {(start.replace(tzinfo=None) - timedelta(seconds=late)).date() for start, late in moved}
    first, last = min(days), max(days)
    mondays = {day - day.weekday() * _DAY for day in days}
    runs = Counter(day.weekday() for day in days)
    return frozenset(
        weekday
        for weekday in range(7)
        if 2 * runs[weekday] >= sum(first <= monday + weekday * _DAY <= last for monday in mondays)
    )


def _usual_deviation(deviations: Sequence[timedelta]) -> timedelta:
    """Return the deviation that four of five runs don't exceed, because some are started by hand."""
    ordered = sorted(map(abs, deviations))
    return ordered[max(0, -(-len(ordered) * 4 // 5) - 1)]


def _grace(deviation: timedelta, interval: timedelta) -> timedelta:
    return max(_SHORTEST_GRACE, min(2 * deviation, interval / 2, _LONGEST_GRACE))
