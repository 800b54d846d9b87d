"""The content of the demo: teams, people, collections and runs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from collections_app.demo import catalog
from collections_app.demo.products import Shelf
from collections_app.models import Kind, Role
from collections_app.runs.writer import DEFAULT_PAGE_SIZE


@dataclass(frozen=True)
class Person:
    """A user and their roles by team id."""

    email: str
    name: str
    roles: Mapping[int, Role]


@dataclass(frozen=True)
class Outcome:
    """The outcome of a run that doesn't find all requested records."""

    found: int | None = None
    failure: str = ""
    is_processing: bool = False


@dataclass(frozen=True)
class Story:
    """A collection and its runs: their numbers, their start times and their outcomes."""

    id: int
    team: int
    name: str
    kind: Kind
    shelf: Shelf
    runs: range
    last_run_at: datetime
    every: timedelta
    records: int
    page_size: int = DEFAULT_PAGE_SIZE
    page_sizes: Mapping[int, int] = field(default_factory=dict)
    outcomes: Mapping[int, Outcome] = field(default_factory=dict)
    archived_at: datetime | None = None

    def started_at(self, number: int) -> datetime:
        """Return when the run with this number started. Runs start at equal intervals."""
        return self.last_run_at - (self.runs[-1] - number) * self.every

    def page_size_of(self, number: int) -> int:
        """Return how many records a page of this run contains."""
        return self.page_sizes.get(number, self.page_size)


NORTHWIND, SOUTHBANK = 1, 2
# Olivia owns the first team in alphabetical order, so that she sees it when she signs in.
TEAMS = {NORTHWIND: "Northwind Pricing", SOUTHBANK: "Southbank Stationers"}

OLIVIA = Person("olivia@example.com", "Olivia Hartley", {NORTHWIND: Role.OWNER, SOUTHBANK: Role.MEMBER})
PEOPLE = [
    OLIVIA,
    Person("arjun@example.com", "Arjun Mehta", {NORTHWIND: Role.ADMIN}),
    Person("mia@example.com", "Mia Chen", {NORTHWIND: Role.MEMBER}),
    Person("sven@example.com", "Sven Lindqvist", {SOUTHBANK: Role.OWNER}),
    Person("beatriz@example.com", "Beatriz Álvarez", {SOUTHBANK: Role.ADMIN}),
]

# In the demo, it is always the afternoon of 23 June 2026.
_DAY, _WEEK = timedelta(days=1), timedelta(days=7)


def _at(month: int, day: int, hour: int, minute: int = 0) -> datetime:
    return datetime(2026, month, day, hour, minute, tzinfo=UTC)


_TIMED_OUT = Outcome(found=0, failure="The shop didn't answer within 60 seconds, five times in a row.")
_CHANGED = Outcome(found=0, failure="The shop's pages have changed: no price was found on any of them.")


def _blocked(found: int, total: int) -> Outcome:
    return Outcome(found, f"The shop asked for a captcha after {found} of {total} records.")


AU_LAPTOPS = Story(
    id=101,
    team=NORTHWIND,
    name="AU Laptops",
    kind=Kind.AMAZON,
    shelf=catalog.LAPTOPS,
    # Run 88 is the one in the examples: 20 June 2026 at noon. The runs before 28 were deleted.
    runs=range(28, 92),
    last_run_at=_at(6, 23, 12),
    every=_DAY,
    records=250,
    page_sizes={91: 50},
    outcomes={
        91: Outcome(found=187, is_processing=True),
        89: _blocked(64, 250),
        86: Outcome(found=231),
        77: _TIMED_OUT,
        76: _TIMED_OUT,
        63: Outcome(found=198),
        52: _CHANGED,
        40: _blocked(212, 250),
    },
)

COLLECTIONS = [
    AU_LAPTOPS,
    Story(
        id=102,
        team=NORTHWIND,
        name="AU Headphones, whole category",
        kind=Kind.AMAZON_CATEGORY,
        shelf=catalog.HEADPHONES,
        runs=range(1, 15),
        last_run_at=_at(6, 21, 3, 30),
        every=_WEEK,
        records=400,
        outcomes={6: _TIMED_OUT, 13: Outcome(found=371)},
    ),
    Story(
        id=103,
        team=NORTHWIND,
        name="Office chairs and desks",
        kind=Kind.OFFICEWORKS,
        shelf=catalog.CHAIRS,
        runs=range(1, 23),
        last_run_at=_at(6, 22, 18),
        every=timedelta(days=3),
        records=80,
        page_size=40,
        outcomes={9: _CHANGED, 17: Outcome(found=0), 20: Outcome(found=55)},
    ),
    Story(
        id=104,
        team=NORTHWIND,
        name='Café "Crème" / コーヒー ☕ 24/7',
        kind=Kind.AMAZON,
        shelf=catalog.COFFEE,
        runs=range(1, 7),
        last_run_at=_at(6, 19, 7, 15),
        every=_WEEK,
        records=60,
        page_size=20,
    ),
    Story(
        id=105,
        team=NORTHWIND,
        name="Robot vacuums",
        kind=Kind.AMAZON,
        shelf=catalog.LAPTOPS,
        runs=range(0),
        last_run_at=_at(6, 23, 12),
        every=_DAY,
        records=0,
    ),
    Story(
        id=106,
        team=NORTHWIND,
        name="Back to school 2026",
        kind=Kind.OFFICEWORKS,
        shelf=catalog.PAPER,
        runs=range(1, 6),
        last_run_at=_at(2, 2, 9),
        every=_WEEK,
        records=40,
        archived_at=_at(2, 27, 16, 40),
    ),
    Story(
        id=107,
        team=NORTHWIND,
        name="US Monitors",
        kind=Kind.AMAZON,
        shelf=catalog.MONITORS,
        runs=range(3, 15),
        last_run_at=_at(6, 21, 22),
        every=_WEEK,
        records=200,
        page_size=100,
        # A run with 40 pages.
        page_sizes={13: 5},
        outcomes={8: _TIMED_OUT},
    ),
    Story(
        id=201,
        team=SOUTHBANK,
        name="Copy paper",
        kind=Kind.OFFICEWORKS,
        shelf=catalog.PAPER,
        runs=range(1, 11),
        last_run_at=_at(6, 23, 6),
        every=_DAY,
        records=50,
        outcomes={4: _TIMED_OUT},
    ),
    Story(
        id=202,
        team=SOUTHBANK,
        name="Fountain pens",
        kind=Kind.AMAZON,
        shelf=catalog.PENS,
        runs=range(1, 7),
        last_run_at=_at(6, 22, 20),
        every=_WEEK,
        records=75,
        page_size=25,
    ),
    Story(
        id=203,
        team=SOUTHBANK,
        name="Ink and toner, whole category",
        kind=Kind.AMAZON_CATEGORY,
        shelf=catalog.INK,
        runs=range(1, 5),
        last_run_at=_at(6, 20, 4),
        every=_WEEK,
        records=120,
    ),
]
