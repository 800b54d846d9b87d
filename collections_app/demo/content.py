"""The content of the demo: teams, people, collections and the outcomes of their runs."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time

from collections_app.demo import catalog
from collections_app.demo.schedule import CYCLE, DAY, Early, Fault, Nightly, Outcome, Story
from collections_app.models import Kind, Role


@dataclass(frozen=True)
class Person:
    """A user and their roles by team id."""

    email: str
    name: str
    roles: Mapping[int, Role]
    is_operator: bool = False


NORTHWIND, SOUTHBANK = 1, 2
# Olivia owns the first team in alphabetical order, so that she sees it when she signs in.
TEAMS = {NORTHWIND: "Northwind Pricing", SOUTHBANK: "Southbank Stationers"}

OLIVIA = Person("olivia@example.com", "Olivia Hartley", {NORTHWIND: Role.OWNER, SOUTHBANK: Role.MEMBER})
MIA = Person("mia@example.com", "Mia Chen", {NORTHWIND: Role.MEMBER})
PEOPLE = [
    OLIVIA,
    Person("arjun@example.com", "Arjun Mehta", {NORTHWIND: Role.ADMIN}),
    MIA,
    Person("sven@example.com", "Sven Lindqvist", {SOUTHBANK: Role.OWNER}),
    Person("beatriz@example.com", "Beatriz Álvarez", {SOUTHBANK: Role.ADMIN}),
    Person("noor@example.com", "Noor Haddad", {}, is_operator=True),
]

# The email addresses of the owners of collections by their ids, and the ids of Olivia's favorites.
OWNERS = {101: OLIVIA.email, 102: "mia@example.com", 103: "arjun@example.com", 107: OLIVIA.email}
FAVORITES = [101, 103]

# A collection of Southbank's account, which was disconnected. So the demo calls no other server.
ACCOUNT = "Southbank Stationers"
LABELS = 114

_WEEK = 7 * DAY


def _at(month: int, day: int, hour: int, minute: int = 0) -> datetime:
    return datetime(2026, month, day, hour, minute, tzinfo=UTC)


_TIMED_OUT = Outcome(found=0, failure="The shop didn't answer within 60 seconds, five times in a row.")
_CHANGED = Outcome(found=0, failure="The shop's pages have changed: no price was found on any of them.")


def _blocked(found: int, total: int) -> Outcome:
    return Outcome(found, f"The shop asked for a captcha after {found} of {total} records.")


def _nights(turn: int, failing: Outcome, found: int) -> dict[int, Outcome]:
    """Return the outcomes of one of the four collections that take turns failing for a week.

    At any time, one of the four has failed at least three times in a row, and another is incomplete.
    """
    incomplete = {
        (7 * week + 1 + day) % CYCLE: Outcome(found=found)
        for week in range(4)
        for day, place in enumerate((1, 2, 3, 1, 2, 3, 2))
        if (week + place) % 4 == turn
    }
    return incomplete | {(7 * turn + night) % CYCLE: failing for night in range(-1, 8)}


AU_LAPTOPS = Story(
    id=101,
    team=NORTHWIND,
    name="AU Laptops",
    kind=Kind.AMAZON,
    shelf=catalog.LAPTOPS,
    records=250,
    early=Early(
        # Run 88 is the one in the examples: 20 June 2026 at noon. The runs before 62 were deleted.
        runs=range(62, 92),
        last_at=_at(6, 23, 12),
        outcomes={
            91: _blocked(187, 250),
            89: _blocked(64, 250),
            86: Outcome(found=231),
            77: _TIMED_OUT,
            76: _TIMED_OUT,
            63: Outcome(found=198),
        },
    ),
    nightly=Nightly(
        at=time(22),
        newest=28,
        outcomes={
            3: _blocked(96, 250),
            9: Outcome(found=0),
            15: Outcome(fault=Fault.NO_PRICES),
            22: Outcome(found=231),
        },
    ),
)

# `demo --live` writes its runs.
ROBOT_VACUUMS = Story(
    id=105,
    team=NORTHWIND,
    name="Robot vacuums",
    kind=Kind.AMAZON,
    shelf=catalog.VACUUMS,
    records=35,
    page_size=5,
    added_on=date(2026, 6, 23),
)

# The name and the columns of saved exports, by the id of their collection.
SAVED_EXPORTS = {
    AU_LAPTOPS.id: (
        "Prices for the buyers",
        ["asin", "title", "price_cents", "list_price_cents", "seller_name", "in_stock"],
    )
}

COLLECTIONS = [
    AU_LAPTOPS,
    Story(
        id=102,
        team=NORTHWIND,
        name="AU Headphones, whole category",
        kind=Kind.AMAZON_CATEGORY,
        shelf=catalog.HEADPHONES,
        records=400,
        nightly=Nightly(at=time(20, 15), outcomes=_nights(0, _TIMED_OUT, found=388)),
        added_on=date(2026, 9, 14),
    ),
    Story(
        id=103,
        team=NORTHWIND,
        name="Office chairs and desks",
        kind=Kind.OFFICEWORKS,
        shelf=catalog.CHAIRS,
        records=80,
        page_size=40,
        early=Early(
            runs=range(15, 23),
            last_at=_at(6, 22, 10, 40),
            outcomes={17: Outcome(found=0), 20: Outcome(found=55)},
        ),
        nightly=Nightly(at=time(20, 40), outcomes=_nights(1, _CHANGED, found=76)),
    ),
    Story(
        id=104,
        team=NORTHWIND,
        name='Café "Crème" / コーヒー ☕ 24/7',
        kind=Kind.AMAZON,
        shelf=catalog.COFFEE,
        records=60,
        page_size=20,
        nightly=Nightly(at=time(21, 15), outcomes=_nights(2, _blocked(12, 60), found=58)),
        added_on=date(2026, 9, 14),
    ),
    ROBOT_VACUUMS,
    Story(
        id=106,
        team=NORTHWIND,
        name="Back to school 2026",
        kind=Kind.OFFICEWORKS,
        shelf=catalog.PAPER,
        records=40,
        early=Early(runs=range(1, 6), last_at=_at(2, 2, 9), every=_WEEK),
        archived_at=_at(2, 27, 16, 40),
    ),
    Story(
        id=107,
        team=NORTHWIND,
        name="US Monitors",
        kind=Kind.AMAZON,
        shelf=catalog.MONITORS,
        records=200,
        page_size=100,
        early=Early(
            runs=range(9, 15),
            last_at=_at(6, 21, 11, 40),
            # A run with 40 pages.
            page_sizes={13: 5},
        ),
        nightly=Nightly(at=time(21, 40), outcomes=_nights(3, _TIMED_OUT, found=181)),
    ),
    Story(
        id=108,
        team=NORTHWIND,
        name="Office furniture, all stores",
        kind=Kind.OFFICEWORKS,
        shelf=catalog.CHAIRS,
        records=140,
        page_size=20,
        # At any time, one of its runs is processing.
        nightly=Nightly(at=time(18, 20), newest=8, takes=DAY),
        added_on=date(2026, 10, 12),
    ),
    Story(
        id=109,
        team=NORTHWIND,
        name="AU Ink and toner",
        kind=Kind.AMAZON,
        shelf=catalog.INK,
        records=80,
        page_size=40,
        nightly=Nightly(at=time(22, 30), hangs_at=40),
        added_on=date(2026, 10, 19),
    ),
    Story(
        id=110,
        team=NORTHWIND,
        name="NZ Headphones",
        kind=Kind.AMAZON,
        shelf=catalog.HEADPHONES,
        records=60,
        page_size=60,
        nightly=Nightly(at=time(21), late_by=3, outcomes={5: _TIMED_OUT, 12: _TIMED_OUT, 20: _TIMED_OUT}),
        added_on=date(2026, 10, 19),
    ),
    Story(
        id=111,
        team=NORTHWIND,
        name="AU Fountain pens",
        kind=Kind.AMAZON,
        shelf=catalog.PENS,
        records=75,
        page_size=75,
        nightly=Nightly(
            at=time(19, 30),
            outcomes={
                4: Outcome(fault=Fault.CAPTCHA),
                11: Outcome(found=0),
                18: Outcome(fault=Fault.CAPTCHA),
                25: Outcome(found=0),
            },
        ),
        added_on=date(2026, 9, 28),
        keeps=10,
        pinned=(1,),
    ),
    Story(
        id=201,
        team=SOUTHBANK,
        name="Copy paper",
        kind=Kind.OFFICEWORKS,
        shelf=catalog.PAPER,
        records=50,
        nightly=Nightly(at=time(19), outcomes={3: _TIMED_OUT, 9: Outcome(found=44), 17: _TIMED_OUT}),
        added_on=date(2026, 9, 7),
    ),
    Story(
        id=202,
        team=SOUTHBANK,
        name="Fountain pens",
        kind=Kind.AMAZON,
        shelf=catalog.PENS,
        records=75,
        page_size=25,
        nightly=Nightly(at=time(20), newest=5, every=7),
        added_on=date(2026, 9, 7),
    ),
    Story(
        id=203,
        team=SOUTHBANK,
        name="Ink and toner, whole category",
        kind=Kind.AMAZON_CATEGORY,
        shelf=catalog.INK,
        records=120,
        nightly=Nightly(at=time(23), newest=5, every=7),
        added_on=date(2026, 9, 7),
    ),
]
