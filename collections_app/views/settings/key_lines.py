"""The checks of keys as lines of a table."""

from dataclasses import dataclass
from urllib.parse import urlencode

from collections_app.models import Run
from collections_app.records.tracking.candidates import Candidate
from collections_app.records.tracking.keys import Key, KeyCheck
from collections_app.records.tracking.run_checks import RunCheck


@dataclass(frozen=True)
class CheckLine:
    """How well a key names the products of a run. `of` is the number of records if not all were checked."""

    run: Run
    check: KeyCheck
    of: int | None
    filled: str
    unique: str

    @property
    def others(self) -> int:
        """The number of records that can't be compared."""
        return self.check.records - self.check.unique


@dataclass(frozen=True)
class CandidateLine:
    """A possible key, and the query string that checks it."""

    key: Key
    address: str
    check: KeyCheck
    filled: str
    unique: str


def check_line(checked: RunCheck) -> CheckLine:
    """Return the line of a run."""
    check = checked.check
    of = checked.records if checked.is_sample else None
    return CheckLine(
        checked.run, check, of, share(check.filled, check.records), share(check.unique, check.records)
    )


def candidate_line(candidate: Candidate) -> CandidateLine:
    """Return the line of a possible key."""
    check = candidate.check
    return CandidateLine(
        candidate.key,
        "?" + urlencode([("column", column) for column in candidate.key]),
        check,
        share(check.filled, check.records),
        share(check.unique, check.records),
    )


def share(part: int, total: int) -> str:
    """Return a percentage with one decimal, rounded down, so that it is 100% only if that is exact."""
    if part == total:
        return "100%" if total else "0%"
    return f"{part * 1000 // total / 10:.1f}%"
