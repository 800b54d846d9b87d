"""The filter of the list of runs: by status, and by time in the user's time zone."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from urllib.parse import urlencode
from zoneinfo import available_timezones

from django.core.exceptions import BadRequest
from django.http import QueryDict
from django.utils import timezone
from django.utils.functional import cached_property

from collections_app.models import State, Status, Verdict, VerdictLevel
from collections_app.models.run_status import statuses_of
from collections_app.models.runs import Cursor, RunQuerySet
from collections_app.models.time_zones import days_before
from collections_app.models.time_zones import zone as zone_of
from collections_app.models.verdicts import OVERRULED, shown_as

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

# The values of the parameter `only`: a name, and a field that is set on these runs.
_MARKS = {"pinned": ("Pinned", "pinned_at"), "leaving": ("To be deleted", "delete_at")}

# The values of the parameter `verdict`, as the badges show them.
_VERDICTS = dict([*VerdictLevel.choices, *OVERRULED.items()])

# When "last night" begins, on the day before.
EVENING = time(18)

# The values of the parameter `when`: how many days ago the period began, at what time, and its names.
_PERIODS = {
    "last-night": (1, EVENING, "Last night", f"since {EVENING:%H:%M} yesterday"),
    "7-days": (6, time(), "7 days", "last 7 days"),
}

_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
# All runs are between these days, and every time zone can convert them.
_FIRST_DAY, _LAST_DAY = date(1970, 1, 1), date(8999, 12, 31)


@dataclass(frozen=True)
class Choice:
    """A status, a verdict or a period to choose, and the query string of the list if it is chosen."""

    name: str
    query: str
    is_chosen: bool
    count: int = 0


@dataclass(frozen=True)
class RunFilter:
    """A filter for the list of runs. Empty fields match every run."""

    state: str = ""
    only: str = ""
    verdict: str = ""
    first: date | None = None
    last: date | None = None
    when: str = ""
    zone: str = "UTC"

    @classmethod
    def from_query(cls, query: QueryDict, team_zone: str) -> "RunFilter":
        """Return the filter in the parameters of an address. Raises BadRequest.

        Days are in the user's time zone if the browser reports it. Periods are in the team's, as on the
        Overview. The page shows which one it uses.
        """
        state = query.get("state", "")
        if state and state not in _STATUSES:
            raise BadRequest(f"Unknown run status. Use one of: {', '.join(Status.values)}.")
        when = query.get("when", "")
        if when and when not in _PERIODS:
            raise BadRequest(f"Unknown period. Use one of: {', '.join(_PERIODS)}.")
        only = query.get("only", "")
        if only and only not in _MARKS:
            raise BadRequest(f"Unknown “only” parameter. Use {' or '.join(_MARKS)}.")
        verdict = query.get("verdict", "")
        if verdict and verdict not in _VERDICTS:
            raise BadRequest(f"Unknown verdict. Use one of: {', '.join(_VERDICTS)}.")
        zone = query.get("zone", "")
        first, last = parse_day(query.get("from", "")), parse_day(query.get("to", ""))
        if first and last and first > last:
            first, last = last, first
        return cls(
            state=state,
            only=only,
            verdict=verdict,
            first=first,
            last=last,
            when=when,
            zone=zone if zone in _zones() and not when else team_zone,
        )

    @property
    def is_on(self) -> bool:
        """Whether it excludes any run."""
        return bool(self.state or self.only or self.verdict or self.has_times)

    @property
    def has_times(self) -> bool:
        """Whether it excludes runs because of their times."""
        return bool(self.when or self.first or self.last)

    @cached_property
    def parameters(self) -> dict[str, str]:
        """The query parameters of the filter."""
        parts = {
            "state": self.state,
            "only": self.only,
            "verdict": self.verdict,
            "when": self.when,
            "from": _iso(self.first),
            "to": _iso(self.last),
        }
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
    def _names(self) -> dict[str, str]:
        return dict([*Status.choices, _READY] if self.state == "ready" else Status.choices)

    def statuses(self, counts: Mapping[Status, int]) -> list[Choice]:
        """Return the statuses to choose from, with the numbers of their runs. The first one means all."""
        return [
            Choice("All", replace(self, state="").query, not self.state, sum(counts.values())),
            *(
                Choice(name, replace(self, state=state).query, state == self.state, _number_of(state, counts))
                for state, name in self._names.items()
            ),
        ]

    def found(self, counts: Mapping[Status, int]) -> int:
        """Return the number of runs that match. `counts` are the numbers of runs in its period."""
        return _number_of(self.state, counts) if self.state else sum(counts.values())

    @property
    def status_name(self) -> str:
        """The name of the chosen status, or ""."""
        return self._names.get(self.state, "")

    @property
    def verdict_name(self) -> str:
        """The name of the chosen verdict, or ""."""
        return _VERDICTS.get(self.verdict, "")

    @property
    def verdicts(self) -> list[Choice]:
        """The verdicts to choose from. The first one means all. Their runs aren't counted."""
        return [
            Choice(name, replace(self, verdict=value).query, value == self.verdict)
            for value, name in [("", "All"), *_VERDICTS.items()]
        ]

    @property
    def periods(self) -> list[Choice]:
        """The periods to choose from. The query string of the chosen one clears it."""
        free = replace(self, first=None, last=None, when="")
        return [
            Choice(
                name,
                free.query if value == self.when else replace(free, when=value).query,
                value == self.when,
            )
            for value, (_, _, name, _) in _PERIODS.items()
        ]

    @property
    def days(self) -> str:
        """The chosen days, such as "1-2 May 2026", or ""."""
        return _days(self.first, self.last)

    @property
    def description(self) -> str:
        """The description on the page, such as "Failed, 1-2 May 2026 (UTC)"."""
        times = [_PERIODS[self.when][-1]] if self.when else []
        times += [self.days] if self.days else []
        parts = [_MARKS[self.only][0]] if self.only else []
        parts += [self.status_name] if self.state else []
        parts += [f"verdict {self.verdict_name}"] if self.verdict else []
        if times:
            parts.append(f"{', '.join(times)} ({self.zone})")
        text = ", ".join(parts)
        return text[:1].upper() + text[1:]

    def apply(self, runs: RunQuerySet) -> RunQuerySet:
        """Return the runs that match."""
        runs = self.in_any_status(runs)
        return runs.with_status(*_STATUSES[self.state]) if self.state else runs

    def in_any_status(self, runs: RunQuerySet) -> RunQuerySet:
        """Return the runs that match, whatever their status."""
        if self.only:
            runs = runs.filter(**{f"{_MARKS[self.only][1]}__isnull": False})
        if self.verdict:
            runs = runs.filter(verdict__in=Verdict.objects.filter(shown_as(self.verdict)))
        if self.when:
            runs = runs.filter(created_at__gte=self._start_of_period())
        if self.first:
            runs = runs.filter(created_at__gte=self._start_of(self.first))
        if self.last:
            runs = runs.filter(created_at__lt=self._start_of(self.last + timedelta(days=1)))
        return runs

    def end_of(self, day: date) -> Cursor:
        """Return the position in the list of runs at which a day's newest run comes next."""
        return Cursor(self._start_of(day + timedelta(days=1)), 0)

    def _start_of_period(self) -> datetime:
        days, at, _, _ = _PERIODS[self.when]
        return days_before(timezone.now(), days, at, zone_of(self.zone)).astimezone(UTC)

    def _start_of(self, day: date) -> datetime:
        return datetime.combine(day, time(), zone_of(self.zone)).astimezone(UTC)


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


def _number_of(state: str, counts: Mapping[Status, int]) -> int:
    return sum(counts[status] for status in _STATUSES[state])


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
