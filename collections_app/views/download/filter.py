"""Which runs somebody looks for: those in a state, those of some days, which begin where the reader is."""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from urllib.parse import urlencode
from zoneinfo import ZoneInfo, available_timezones

from django.core.exceptions import BadRequest
from django.http import QueryDict
from django.utils.functional import cached_property

from collections_app.models import State
from collections_app.models.runs import Cursor, RunQuerySet

_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
# No run is of a day before or after; of these, every time zone knows when they begin and end.
_FIRST_DAY, _LAST_DAY = date(1970, 1, 1), date(8999, 12, 31)


@dataclass(frozen=True)
class RunFilter:
    """What is asked for; what isn't named is left open."""

    state: str = ""
    first: date | None = None
    last: date | None = None
    zone: str = "UTC"

    @classmethod
    def of(cls, asked: QueryDict) -> "RunFilter":
        """Return the filter of an address: `state`, `from`, `to`, `zone`. Raises BadRequest.

        A zone that isn't known is read as UTC, which the page then says.
        """
        state = asked.get("state", "")
        if state and state not in State.values:
            raise BadRequest(f"This address asks for runs in a state that there is none of. {_states()}")
        zone = asked.get("zone", "")
        return cls(
            state=state,
            first=parse_day(asked.get("from", "")),
            last=parse_day(asked.get("to", "")),
            zone=zone if zone in _zones() else "UTC",
        )

    @property
    def is_on(self) -> bool:
        """Whether it leaves out any run."""
        return bool(self.state or self.first or self.last)

    @cached_property
    def asked(self) -> dict[str, str]:
        """The parts of an address that ask for this."""
        parts = {"state": self.state, "from": _text(self.first), "to": _text(self.last)}
        if self.first or self.last:
            parts["zone"] = self.zone
        return {name: text for name, text in parts.items() if text}

    def address(self, **more: str) -> str:
        """Return what follows an address's "?" to ask for this, and for more."""
        return urlencode(self.asked | more)

    @property
    def query(self) -> str:
        """What follows an address's "?" to ask for this."""
        return self.address()

    @property
    def words(self) -> str:
        """What is shown, such as "Only failed runs since 1 May 2026, UTC time."."""
        said = ["Only", State(self.state).label.lower(), "runs"] if self.state else ["Only runs"]
        if self.first and self.first == self.last:
            said.append(f"of {_in_words(self.first)}")
        else:
            said += [f"since {_in_words(self.first)}"] if self.first else []
            said += [f"until {_in_words(self.last)}"] if self.last else []
        return " ".join(said) + (f", {self.zone} time." if self.first or self.last else ".")

    def runs(self, runs: RunQuerySet) -> RunQuerySet:
        """Return those of the runs that are asked for."""
        if self.state:
            runs = runs.filter(state=self.state)
        if self.first:
            runs = runs.filter(created_at__gte=self._begin(self.first))
        if self.last:
            runs = runs.filter(created_at__lt=self._begin(self.last + timedelta(days=1)))
        return runs

    def end_of(self, day: date) -> Cursor:
        """Return the place in the list where the runs of a day begin, the newest first."""
        return Cursor(self._begin(day + timedelta(days=1)), 0)

    def _begin(self, day: date) -> datetime:
        return datetime.combine(day, time(), ZoneInfo(self.zone)).astimezone(UTC)


def parse_day(text: str) -> date | None:
    """Return an address's day, or the nearest that a run can be of; None for "". Raises BadRequest."""
    if not text:
        return None
    try:
        if _DAY.fullmatch(text):
            return min(max(date.fromisoformat(text), _FIRST_DAY), _LAST_DAY)
    except ValueError:
        pass  # It looks like a day, but there is none such.
    raise BadRequest("This address names no day that there is. A day looks like this: 2026-06-20.")


def _text(day: date | None) -> str:
    return day.isoformat() if day else ""


def _in_words(day: date) -> str:
    return f"{day.day} {day:%b %Y}"


def _states() -> str:
    return f"There are these: {', '.join(State.values)}."


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())
