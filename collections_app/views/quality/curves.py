"""Draw how full columns were in the last runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from collections_app.models import Verdict
from collections_app.records.quality.profile import Profile
from collections_app.records.quality.reasons import Reason, percent
from collections_app.records.tracking.kinds import Tracked

# In the units of the SVG.
WIDTH, HEIGHT = 320, 72
_MARGIN = 4
# How many columns have a curve.
MOST_CURVES = 8


@dataclass(frozen=True)
class Point:
    """A run in a curve. Its circle is hollow if the run isn't trusted."""

    x: float
    y: float
    number: int
    share: str  # such as "98%"
    is_trusted: bool


@dataclass(frozen=True)
class Curve:
    """The share of records that had a value in a column, in each run, the oldest first. None: no records."""

    column: str
    runs: Sequence[Point | None]

    @property
    def points(self) -> list[Point]:
        """The points of runs with records."""
        return [point for point in self.runs if point]

    @property
    def lines(self) -> list[str]:
        """The points of each line, as SVG writes them. A run without records interrupts the line."""
        groups = groupby(self.runs, key=bool)
        return [
            " ".join(f"{p.x},{p.y}" for p in points if p) for has_records, points in groups if has_records
        ]

    @property
    def last(self) -> Point | None:
        """The newest run."""
        return self.runs[-1]


def curves(history: Sequence[Verdict], reasons: Sequence[Reason]) -> list[Curve]:
    """Return the curves of the most important columns. `history` is oldest first."""
    profiles = [Profile.from_json(verdict.profile) for verdict in history]
    return [Curve(column, _points(column, history, profiles)) for column in _columns(profiles[-1], reasons)]


def _columns(profile: Profile, reasons: Sequence[Reason]) -> list[str]:
    known = Tracked.among(list(profile.columns))
    roles = [known.title, known.price, known.stock, known.seller]
    of_reasons = [reason.column for reason in reasons if reason.column]
    columns = dict.fromkeys([*of_reasons, *filter(None, roles), *profile.columns])
    return list(columns)[:MOST_CURVES]


def _points(column: str, history: Sequence[Verdict], profiles: Sequence[Profile]) -> list[Point | None]:
    step = (WIDTH - 2 * _MARGIN) / max(1, len(history) - 1)
    points: list[Point | None] = []
    for index, (verdict, profile) in enumerate(zip(history, profiles, strict=True)):
        share = profile.coverage(column)
        y = _MARGIN + (1 - share) * (HEIGHT - 2 * _MARGIN)
        x = _MARGIN + index * step
        points.append(Point(round(x, 1), round(y, 1), verdict.run.number, percent(share), verdict.is_trusted))
    return points
