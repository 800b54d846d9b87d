"""The first line of the Overview: whether the collections that were due last night are fine."""

import enum
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from django.utils import timezone

from collections_app.models import Run, Status, Team
from collections_app.models.conditions import Condition
from collections_app.models.time_zones import days_before, zone
from collections_app.views.download.filter import EVENING


class Outcome(enum.StrEnum):
    """The result of a collection last night. The values appear in URLs."""

    FAILED = "failed"  # or stalled
    LATE = "late"
    EMPTY = "empty"
    INCOMPLETE = "incomplete"
    RUNNING = "running"
    FINE = "fine"

    @property
    def words(self) -> str:
        """What the collections did, such as "failed last night"."""
        return _WORDS[self]


_WORDS = {
    Outcome.FAILED: "failed last night",
    Outcome.LATE: "were late last night",
    Outcome.EMPTY: "found no records last night",
    Outcome.INCOMPLETE: "missed records last night",
    Outcome.RUNNING: "are still running",
    Outcome.FINE: "were fine last night",
}

_OUTCOMES = {
    Status.FAILED: Outcome.FAILED,
    Status.EMPTY: Outcome.EMPTY,
    Status.INCOMPLETE: Outcome.INCOMPLETE,
    Status.COMPLETED: Outcome.FINE,
}
# The other outcomes can have files too, of an earlier run of that night.
_WITH_FILES = {Outcome.EMPTY, Outcome.INCOMPLETE, Outcome.FINE}


def evening_before(now: datetime, zone: ZoneInfo) -> datetime:
    """Return the time at which "last night" began: 18:00 yesterday in the time zone."""
    return days_before(now, 1, EVENING, zone)


@dataclass(frozen=True)
class Part:
    """A part of the line, such as "1 failed". It links to these collections."""

    outcome: Outcome
    text: str


@dataclass(frozen=True)
class LastNight:
    """The results of the collections that were due last night. Paused collections don't count."""

    outcomes: Mapping[int, Outcome]  # by the collection's id
    missing: int  # records of the incomplete runs
    evening: datetime  # when it began, in the team's time zone

    @property
    def has_results(self) -> bool:
        """Whether a run of last night has ended well enough to have files."""
        return not _WITH_FILES.isdisjoint(self.outcomes.values())

    @property
    def summary(self) -> str:
        """How many collections are fine, such as "5 of 6 fine"."""
        due, fine = len(self.outcomes), Counter(self.outcomes.values())[Outcome.FINE]
        if not due:
            return "no runs were due"
        return f"all {due:,} fine" if fine == due > 1 else f"{fine:,} of {due:,} fine"

    @property
    def parts(self) -> list[Part]:
        """The collections that aren't fine, by outcome, the most urgent first."""
        counts = Counter(self.outcomes.values())
        return [
            Part(outcome, self._text(outcome, counts[outcome]))
            for outcome in Outcome
            if counts[outcome] and outcome != Outcome.FINE
        ]

    def _text(self, outcome: Outcome, count: int) -> str:
        text = f"{count:,} {outcome}"
        return f"{text} ({self.missing:,} missing)" if outcome == Outcome.INCOMPLETE else text


def evening_of(team: Team) -> datetime:
    """Return the time at which a team's last night began."""
    return evening_before(timezone.now(), zone(team.time_zone))


def last_night_of(conditions: Mapping[int, Condition], evening: datetime) -> LastNight:
    """Return the results of collections, given their conditions since the evening."""
    waiting = [pk for pk, each in conditions.items() if not (each.last and each.last.is_recent)]
    running = Run.objects.with_status(Status.PROCESSING).filter(
        collection__in=waiting, created_at__gte=evening
    )
    return last_night(conditions, running.values_list("collection_id", flat=True), evening)


def last_night(conditions: Mapping[int, Condition], running: Iterable[int], evening: datetime) -> LastNight:
    """Return the results since the evening. `running` are the ids of collections with a run in progress."""
    started = set(running)
    found = {pk: _outcome(each, is_running=pk in started) for pk, each in conditions.items()}
    outcomes = {pk: outcome for pk, outcome in found.items() if outcome}
    incomplete = (pk for pk, outcome in outcomes.items() if outcome == Outcome.INCOMPLETE)
    missing = sum(last.missing for pk in incomplete if (last := conditions[pk].last))
    return LastNight(outcomes, missing, evening)


def _outcome(condition: Condition, *, is_running: bool) -> Outcome | None:
    """Return the result of a collection, or None if it wasn't due."""
    last = condition.last
    if condition.is_paused or condition.is_archived:
        return None
    if last and last.is_recent:
        return _OUTCOMES[last.status]
    if is_running:
        return Outcome.RUNNING
    return Outcome.LATE if condition.is_late else None
