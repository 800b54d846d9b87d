"""The time zones that people may choose."""

from datetime import datetime, time, timedelta
from functools import cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from django.core.exceptions import ValidationError

UTC = "UTC"
_CONTINENTS = {"Africa", "America", "Antarctica", "Arctic", "Asia", "Atlantic", "Australia", "Europe"}
_CONTINENTS |= {"Indian", "Pacific"}


@cache
def time_zones() -> list[str]:
    """Return UTC and all time zones that are named after a city or an area."""
    named = (name for name in available_timezones() if name.partition("/")[0] in _CONTINENTS)
    return [UTC, *sorted(named)]


def is_time_zone(name: str) -> None:
    """Raise ValidationError unless people may choose this time zone."""
    if name not in time_zones():
        raise ValidationError("Choose a time zone from the list.")


def zone(name: str) -> ZoneInfo:
    """Return the time zone, or UTC if this machine no longer knows it."""
    try:
        return ZoneInfo(name)
    except ZoneInfoNotFoundError:
        return ZoneInfo(UTC)


def days_before(now: datetime, days: int, at: time, zone: ZoneInfo) -> datetime:
    """Return a time of day in the time zone, so many days before today there."""
    return datetime.combine(now.astimezone(zone).date() - timedelta(days=days), at, zone)
