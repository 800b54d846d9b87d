"""The filter of the list of runs: by status, and by day in the user's time zone."""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from urllib.parse import urlencode
from zoneinfo import ZoneInfo, available_timezones

from django.core.exceptions import BadRequest
from django.http import QueryDict
from django.utils.functional import cached_property

from collections_app.models import State, Status
from collections_app.models.run_status import statuses_of
from collections_app.models.runs import Cursor, RunQuerySet

# Old addresses contain it.
_READY = "ready", "Completed or empty"

# The values of the parameter `state`. A stalled run counts as failed. The badge of an incomplete run says
# Completed.
_STATUSES = {
    **{status.value: (status,) for status in Status},
    "failed": (Status.FAILED, Status.STALLED),
    "completed": (Status.COMPLETED, Status.INCOMPLETE),
    "ready": tuple(statuses_of(State.READY)),
}

_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
# All runs are between these days, and every time zone can convert them.
_FIRST_DAY, _LAST_DAY = date(1970, 1, 1), date(8999, 12, 31)


@dataclass(frozen=True)
class RunFilter:
    """A filter for the list of runs. Empty fields match every run."""

    state: str = ""
    first: date | None = None
    last: date | None = None
    zone: str = "UTC"

    @classmethod
    def from_query(cls, query: QueryDict) -> "RunFilter":
        """Return the filter for the parameters `state`, `from`, `to` and `zone`. Raises BadRequest.

        An unknown time zone is replaced by UTC, which the page then shows.
        """
        state = query.get("state", "")
        if state and state not in _STATUSES:
            raise BadRequest(f"Unknown run status. Use one of: {', '.join(Status.values)}.")
        zone = query.get("zone", "")
        return cls(
            state=state,
            first=parse_day(query.get("from", "")),
            last=parse_day(query.get("to", "")),
            zone=zone if zone in _zones() else "UTC",
        )

    @property
    def is_on(self) -> bool:
        """Whether it excludes any run."""
        return bool(self.state or self.first or self.last)

    @cached_property
    def parameters(self) -> dict[str, str]:
        """The query parameters of the filter."""
        parts = {"state": self.state, "from": _iso(self.first), "to": _iso(self.last)}
        if self.first or self.last:
            parts["zone"] = self.zone
        return {name: text for name, text in parts.items() if text}

    def query_with(self, **more: str) -> str:
        """Return the query string of the filter with more parameters."""
        return urlencode(self.parameters | more)

    @property
    def query(self) -> str:
        """The query string of the filter."""
        return self.query_with()

    @property
    def choices(self) -> list[tuple[str, str]]:
        """The statuses to choose from, with their labels."""
        return [*Status.choices, _READY] if self.state == "ready" else Status.choices

    @property
    def description(self) -> str:
        """The description on the page, such as "Failed, 1-2 May 2026 (UTC)"."""
        parts = [dict(self.choices)[self.state]] if self.state else []
        if self.first or self.last:
            parts.append(f"{_days(self.first, self.last)} ({self.zone})")
        text = ", ".join(parts)
        return text[:1].upper() + text[1:]

    def apply(self, runs: RunQuerySet) -> RunQuerySet:
        """Return the runs that match."""
        if self.state:
            runs = runs.with_status(*_STATUSES[self.state])
        if self.first:
            runs = runs.filter(created_at__gte=self._start_of(self.first))
        if self.last:
            runs = runs.filter(created_at__lt=self._start_of(self.last + timedelta(days=1)))
        return runs

    def end_of(self, day: date) -> Cursor:
        """Return the position in the list of runs at which a day's newest run comes next."""
        return Cursor(self._start_of(day + timedelta(days=1)), 0)

    def _start_of(self, day: date) -> datetime:
        return datetime.combine(day, time(), ZoneInfo(self.zone)).astimezone(UTC)


def parse_day(text: str) -> date | None:
    """Return the day of a query parameter, or None for "". Raises BadRequest.

    A day outside the supported range is replaced by the nearest one in it.
    """
    if not text:
        return None
    try:
        if _DAY.fullmatch(text):
            return min(max(date.fromisoformat(text), _FIRST_DAY), _LAST_DAY)
    except ValueError:
        pass  # an impossible day, such as 2026-02-30
    raise BadRequest("Invalid date. Use YYYY-MM-DD, for example 2026-06-20.")


def _iso(day: date | None) -> str:
    return day.isoformat() if day else ""


def _days(first: date | None, last: date | None) -> str:
    """Return a range of days in words, such as "1-2 May 2026" or "since 1 May 2026"."""
    if not first or not last:
        return f"since {_long(first)}" if first else f"until {_long(last)}" if last else ""
    if first == last:
        return _long(last)
    if (first.year, first.month) == (last.year, last.month):
        return f"{first.day}-{_long(last)}"
    if first.year == last.year:
        return f"{first.day} {first:%b} - {_long(last)}"
    return f"{_long(first)} - {_long(last)}"


def _long(day: date) -> str:
    return f"{day.day} {day:%b %Y}"


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())
