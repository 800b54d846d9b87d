"""When the runs of the demo start, and how they end. Everything depends only on the date.

A collection has early runs, whose times and numbers never change, and nightly runs up to now. Nights are in
Sydney. A night is named after the date on which its evening begins.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from enum import Enum, auto
from zoneinfo import ZoneInfo

from collections_app.demo.catalog import Shelf
from collections_app.models import Kind
from collections_app.runs.writer import DEFAULT_PAGE_SIZE

SYDNEY = ZoneInfo("Australia/Sydney")
# The outcomes of nights repeat after four weeks.
CYCLE = 28
# The first night after the early runs.
FIRST_NIGHT = date(2026, 6, 24)
DAY = timedelta(days=1)
# The speed of the demo's scraper: 250 records take five minutes.
PER_RECORD = timedelta(seconds=1.2)


class Fault(Enum):
    """What is wrong with the records of a completed run."""

    NO_PRICES = auto()  # the selector of the price matched nothing
    CAPTCHA = auto()  # the shop answered some requests with a captcha


@dataclass(frozen=True)
class Outcome:
    """How a run ends: by default, it finds all requested records."""

    found: int | None = None
    failure: str = ""
    fault: Fault | None = None


@dataclass(frozen=True)
class Early:
    """The runs up to June 2026, at equal intervals: their numbers, and the time of the last one."""

    runs: range
    last_at: datetime
    every: timedelta = DAY
    outcomes: Mapping[int, Outcome] = field(default_factory=dict)  # by the numbers of the runs
    page_sizes: Mapping[int, int] = field(default_factory=dict)

    def started_at(self, number: int) -> datetime:
        """Return when the run with this number started."""
        return self.last_at - (self.runs[-1] - number) * self.every


@dataclass(frozen=True)
class Nightly:
    """The runs since then.

    `late_by` is the number of newest nights without a run. `hangs_at` is the number of records after which
    the newest run stopped making progress. A run that `takes` a day finds its pages at equal intervals.
    """

    at: time  # in Sydney
    newest: int = 14  # how many runs a new demo has
    every: int = 1  # in days
    late_by: int = 0
    hangs_at: int | None = None
    takes: timedelta | None = None
    outcomes: Mapping[int, Outcome] = field(default_factory=dict)  # by the position of the night in the cycle

    def started_at(self, night: date) -> datetime:
        """Return when the run of a night started."""
        return datetime.combine(night, self.at, SYDNEY).astimezone(UTC)

    def is_due(self, night: date) -> bool:
        """Whether a run starts in this night."""
        return night >= FIRST_NIGHT and night.toordinal() % self.every == 0


@dataclass(frozen=True)
class PlannedRun:
    """The state of a run at a given time.

    `found` is the number of its records so far, and `progressed_at` the time of the last one. `step` is the
    time between two pages of a run that takes hours.
    """

    night: date
    started_at: datetime
    ended_at: datetime
    progressed_at: datetime
    found: int
    page_size: int
    outcome: Outcome
    is_paused: bool = False
    step: timedelta | None = None


@dataclass(frozen=True)
class Story:
    """A collection and its runs. Each run should find the same number of products of a shelf."""

    id: int
    team: int
    name: str
    kind: Kind
    shelf: Shelf
    records: int = 0
    page_size: int = DEFAULT_PAGE_SIZE
    early: Early | None = None
    nightly: Nightly | None = None
    added_on: date = FIRST_NIGHT
    archived_at: datetime | None = None
    keeps: int | None = None  # how many runs, or None for all
    pinned: tuple[int, ...] = ()  # the numbers of the pinned runs

    @property
    def created_at(self) -> datetime:
        """When the collection was added."""
        if self.early:
            return self.early.started_at(1)
        return datetime.combine(self.added_on, time(9, 30), SYDNEY)

    @property
    def first_number(self) -> int:
        """The number of the first run."""
        return self.early.runs[0] if self.early else 1

    def runs(self, now: datetime) -> list[PlannedRun]:
        """Return the runs of a demo that is created now, the oldest first."""
        return [*self._early_runs(), *self._nightly_runs(now)]

    def run_of(self, night: date, now: datetime) -> PlannedRun:
        """Return the state of a night's run now."""
        assert self.nightly
        if self.nightly.takes:
            return self._long_run(night, now)
        started_at = self.nightly.started_at(night)
        run = self._run(night, started_at, self._outcome(night), self.page_size)
        if self.nightly.hangs_at is None or not self._is_last(run, now):
            return run
        found = self.nightly.hangs_at
        return replace(run, is_paused=True, found=found, progressed_at=started_at + found * PER_RECORD)

    def _early_runs(self) -> Iterator[PlannedRun]:
        if not self.early:
            return
        for number in self.early.runs:
            started_at = self.early.started_at(number)
            outcome = self.early.outcomes.get(number, Outcome())
            size = self.early.page_sizes.get(number, self.page_size)
            yield self._run(started_at.astimezone(SYDNEY).date(), started_at, outcome, size)

    def _nightly_runs(self, now: datetime) -> list[PlannedRun]:
        if not self.nightly:
            return []
        runs: list[PlannedRun] = []
        night = now.astimezone(SYDNEY).date() - self.nightly.late_by * DAY
        while night >= FIRST_NIGHT and len(runs) < self.nightly.newest:
            if self.nightly.is_due(night) and self._has_begun(night, now):
                runs.append(self.run_of(night, now))
            night -= DAY
        return runs[::-1]

    def _has_begun(self, night: date, now: datetime) -> bool:
        """Whether the demo has this run yet. It has runs that take minutes only once they have ended."""
        assert self.nightly
        started_at = self.nightly.started_at(night)
        shown_at = started_at if self.nightly.takes else started_at + self.records * PER_RECORD
        return shown_at <= now

    def _is_last(self, run: PlannedRun, now: datetime) -> bool:
        assert self.nightly
        return not self._has_begun(run.night + self.nightly.every * DAY, now)

    def _outcome(self, night: date) -> Outcome:
        assert self.nightly
        return self.nightly.outcomes.get(night.toordinal() % CYCLE, Outcome())

    def _run(self, night: date, started_at: datetime, outcome: Outcome, page_size: int) -> PlannedRun:
        found = self.records if outcome.found is None else outcome.found
        ended_at = started_at + found * PER_RECORD
        return PlannedRun(night, started_at, ended_at, ended_at, found, page_size, outcome)

    def _long_run(self, night: date, now: datetime) -> PlannedRun:
        """Return a run that finds its first page at the start and its last page at the end."""
        assert self.nightly
        assert self.nightly.takes
        started_at = self.nightly.started_at(night)
        pages = self.records // self.page_size
        step = self.nightly.takes / (pages - 1)
        steps = min((now - started_at) // step, pages - 1)
        return PlannedRun(
            night,
            started_at,
            ended_at=started_at + self.nightly.takes,
            progressed_at=started_at + steps * step,
            found=(steps + 1) * self.page_size,
            page_size=self.page_size,
            outcome=Outcome(),
            is_paused=steps < pages - 1,
            step=step,
        )
