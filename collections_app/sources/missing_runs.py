"""Runs of the account that a collection's rows lack: unreadable runs, and runs that may be missing.

They are recorded on the collection. Reading a part of the list replaces the record for that part.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from typing import Any, Self

from collections_app.models import Collection
from collections_app.sources.run_list import RunListPart, Unreadable

# A limit is needed because an account may list only unreadable runs.
MAX_KEPT = 500
_MAX_NUMBERS_SHOWN = 20


@dataclass(frozen=True)
class MissingRuns:
    """The runs that a collection's rows lack."""

    unreadable: Sequence[Unreadable] = ()
    doubtful: frozenset[datetime] = frozenset()  # times for which some runs may be missing

    @classmethod
    def of(cls, collection: Collection) -> Self:
        """Return the record on the collection."""
        stored = collection.unlisted
        return cls(
            [
                Unreadable(number, reason, _time(near))
                for number, reason, near in stored.get("unreadable", [])
            ],
            frozenset(map(datetime.fromisoformat, stored.get("doubtful", []))),
        )

    @property
    def numbers(self) -> set[int]:
        """The numbers of the unreadable runs that have one."""
        return {run.number for run in self.unreadable if run.number is not None}

    def after(self, part: RunListPart) -> "MissingRuns":
        """Return the updated record after reading a part of the list. The part's runs come last."""
        seen = {run.key for run in part.unreadable}
        kept = [
            run
            for run in self.unreadable
            if not (part.has_all_of(run.near) or run.number in part.numbers or run.key in seen)
        ]
        doubtful = {moment for moment in self.doubtful if not part.has_all_of(moment)} | part.doubtful
        return MissingRuns([*kept, *part.unreadable][-MAX_KEPT:], frozenset(doubtful))

    def as_json(self) -> dict[str, list[Any]]:
        """Return the JSON that is stored on the collection."""
        return {
            "unreadable": [
                [run.number, run.reason, run.near and run.near.isoformat()] for run in self.unreadable
            ],
            "doubtful": sorted(moment.isoformat() for moment in self.doubtful),
        }

    def sentences(self) -> list[str]:
        """Return sentences for members."""
        return [*_of_unreadable(self.unreadable), *_of_doubtful(sorted(self.doubtful, reverse=True))]


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _of_unreadable(runs: Sequence[Unreadable]) -> list[str]:
    if not runs:
        return []
    by_reason = groupby(sorted(runs, key=lambda run: run.reason), key=lambda run: run.reason)
    which = "; ".join(_named(reason, [run.number for run in some]) for reason, some in by_reason)
    count = f"{len(runs)} run{'s' * (len(runs) > 1)}"
    if len(runs) >= MAX_KEPT:
        count = f"At least {count}"
    return [f"{count} at MultiCartAPI can't be shown: {which}."]


def _named(reason: str, numbers: Iterable[int | None]) -> str:
    all_numbers = list(numbers)
    known = sorted(number for number in all_numbers if number is not None)
    shown = [str(number) for number in known[:_MAX_NUMBERS_SHOWN]]
    others = len(all_numbers) - len(shown)
    if others:
        shown.append(f"{others} more" if shown else f"{others} without a number")
    return f"{', '.join(shown)} ({reason})"


def _of_doubtful(moments: Sequence[datetime]) -> list[str]:
    if not moments:
        return []
    newest = moments[0].astimezone(UTC)
    when = f"{newest:%H:%M:%S UTC on} {newest.day} {newest:%B %Y}"
    if others := len(moments) - 1:
        when += f" and at {others} other time{'s' * (others > 1)}"
    problem = "MultiCartAPI lists too many runs with the same creation time, or changes their order."
    return [f"Some runs created at {when} may be missing: {problem}"]
