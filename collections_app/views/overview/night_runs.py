"""Last night's runs that can be downloaded together, and those that are left out."""

from collections.abc import Collection as Container
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from django.db.models import OuterRef, Subquery

from collections_app.files.names import printable
from collections_app.models import Collection, Run, State, Team
from collections_app.models.collections import CollectionQuerySet
from collections_app.models.conditions import conditions_of
from collections_app.views.overview.last_night import LastNight, Outcome, evening_of, last_night_of

_WHY = {
    Outcome.FAILED: "The run failed or stalled.",
    Outcome.RUNNING: "The run is still processing.",
    Outcome.LATE: "The run is late.",
}
# If an earlier run of that night is included.
_THEN = {
    Outcome.FAILED: "A newer run failed or stalled.",
    Outcome.RUNNING: "A newer run is still processing.",
}
NOT_STORED = "The files are only at the account, or one of them is damaged."


@dataclass(frozen=True)
class Entry:
    """A collection that was due last night."""

    collection: Collection
    outcome: Outcome
    run: Run | None  # its newest completed run of last night

    @property
    def note(self) -> str:
        """Why no run is included, or a problem of the included run; "" if there is none."""
        if self.run is None:
            return _WHY.get(self.outcome, "The run was deleted.")
        if self.run.missing:
            missing = f"{self.run.missing:,} of {self.run.total:,} records are missing."
            return f"{missing} {_THEN[self.outcome]}" if self.outcome in _THEN else missing
        return _THEN.get(self.outcome, "")


@dataclass(frozen=True)
class NightRuns:
    """The collections that were due last night, by name."""

    team: Team
    night: LastNight
    entries: list[Entry]

    @cached_property
    def runs(self) -> list[Run]:
        """The runs that can be downloaded."""
        return [entry.run for entry in self.entries if entry.run]

    def readme(self, stored: Container[int]) -> str:
        """Return the README of a ZIP. `stored` are the ids of the runs that it contains."""
        since = f"{self.night.evening:%Y-%m-%d %H:%M} ({self.team.time_zone})"
        lines = [
            f"The runs of {printable(self.team.name)} since {since}.",
            *("", "Included:", *self._included(stored)),
            *("", "Left out:", *(self._left_out(stored) or ["None."])),
        ]
        return "".join(f"{line}\r\n" for line in lines)

    def _included(self, stored: Container[int]) -> list[str]:
        return [
            f"{_name(entry)}: run {entry.run.number}. {entry.note}".rstrip()
            for entry in self.entries
            if entry.run and entry.run.pk in stored
        ]

    def _left_out(self, stored: Container[int]) -> list[str]:
        return [
            f"{_name(entry)}: {NOT_STORED if entry.run else entry.note}"
            for entry in self.entries
            if not entry.run or entry.run.pk not in stored
        ]


def _name(entry: Entry) -> str:
    return printable(entry.collection.name)


def night_runs(team: Team) -> NightRuns:
    """Return last night's runs of a team's collections, in a constant number of queries."""
    current = team.collections.current().by_name()
    evening = evening_of(team)
    night = last_night_of(conditions_of(current, since=evening), evening)
    due = [each for each in current.select_related("account") if each.pk in night.outcomes]
    runs = _newest_runs(current, evening)
    for collection in due:
        if run := runs.get(collection.pk):
            run.collection = collection
    return NightRuns(team, night, [Entry(each, night.outcomes[each.pk], runs.get(each.pk)) for each in due])


def _newest_runs(collections: CollectionQuerySet, evening: datetime) -> dict[int, Run]:
    """Return the newest completed run since the evening, by collection."""
    ready = Run.objects.filter(collection=OuterRef("pk"), state=State.READY, created_at__gte=evening)
    newest = collections.values_list(Subquery(ready.newest_first().values("pk")[:1]), flat=True)
    return {run.collection_id: run for run in Run.objects.filter(pk__in=list(filter(None, newest)))}
