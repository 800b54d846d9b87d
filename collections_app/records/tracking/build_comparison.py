"""Compare two runs and store the changes: the file is complete, or doesn't exist.

The process that builds a comparison holds a lease, as the writer of a run does. If it is killed, another one
starts again.
"""

import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypedDict

from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from collections_app.files.storage.base import results
from collections_app.models import Comparison, ComparisonState, Run, Slice, TrackingSettings
from collections_app.models.comparisons import ComparisonQuerySet
from collections_app.records.preview.engine import SEARCHES, QueryTimeout, UnreadableFile
from collections_app.records.tracking import comparison_files
from collections_app.records.tracking.change_file import write_changes, write_lines
from collections_app.records.tracking.compare import Comparer, Entry
from collections_app.records.tracking.databases import open_files
from collections_app.records.tracking.previous_runs import complete_run_between, earlier_runs, is_partial
from collections_app.records.tracking.settings import tracking_of
from collections_app.records.tracking.slices import SliceFile
from collections_app.records.tracking.stored_slices import SliceUnavailable, existing_slice, slice_of
from collections_app.records.tracking.verify import TrackingVerifier
from collections_app.runs.lease import LeaseLost, kept_renewed, lapsed, new_attempt, new_expiry
from collections_app.runs.new_file import store
from collections_app.runs.strays import key_of

logger = logging.getLogger(__name__)

_SECONDS = 600.0
# How many changes to write between two checks of whether to stop.
_CHANGES_AT_ONCE = 1000

_NO_KEY = "No column tells the products of this collection apart. Choose a key in the collection's settings."
_TOO_SLOW = "Comparing these runs takes more than 10 minutes. Compare smaller runs."
_TOO_LARGE = "These runs are too large to be compared."
_NO_SPACE = (
    "The changes can't be stored, perhaps because the disk is full. Try again later, or tell the operator."
)
_BROKEN = "Something went wrong on our side. The error was logged. Try again later."


class NoKey(Exception):
    """The collection has no key, so its runs can't be compared. The message is for users."""

    def __init__(self) -> None:
        super().__init__(_NO_KEY)


class _Stopped(Exception):
    """The process has to stop comparing."""


class Basis(TypedDict):
    """What a comparison depends on besides its two runs and the key."""

    between: int | None  # the primary keys of runs
    earlier: list[int]
    is_partial: bool


@dataclass(frozen=True)
class _Others:
    """The runs that tell what happened to products that only one of the compared runs contains."""

    between: list[Run]
    earlier: list[Run]
    is_partial: bool

    @classmethod
    def of(cls, comparison: Comparison) -> "_Others":
        since, run = comparison.since, comparison.run
        between = complete_run_between(since, run)
        return cls([between] if between else [], earlier_runs(since), is_partial(run))

    @property
    def basis(self) -> Basis:
        between = self.between[0].pk if self.between else None
        earlier = [run.pk for run in self.earlier]
        return {"between": between, "earlier": earlier, "is_partial": self.is_partial}


def basis_of(comparison: Comparison) -> Basis:
    """Return what a comparison depends on now. It is built again if this has changed."""
    return _Others.of(comparison).basis


def _never() -> bool:
    return False


def _due() -> Q:
    """Return the condition for comparisons that need to be built."""
    return Q(state=ComparisonState.QUEUED) | (Q(state=ComparisonState.RUNNING) & lapsed())


def build_next(*, has_slices: bool | None = None, must_stop: Callable[[], bool] = _never) -> bool:
    """Build the comparison that was requested last. Return whether one was built. See build().

    Those that users requested come first. If `has_slices` is given, limit them to those of two runs with
    slices, or to the others, which may take minutes.
    """
    waiting = Comparison.objects.under_way().filter(_due())
    if has_slices is not None:
        with_slice = Slice.objects.ready()
        both = Exists(with_slice.filter(run=OuterRef("run"))) & Exists(
            with_slice.filter(run=OuterRef("since"))
        )
        waiting = waiting.filter(both if has_slices else ~both)
    rows = waiting.select_related("run__collection__account", "since__collection__account")
    comparison = rows.order_by("-is_requested", "-created_at", "-pk").first()
    return comparison is not None and build(comparison, must_stop=must_stop)


def build(comparison: Comparison, *, must_stop: Callable[[], bool] = _never) -> bool:
    """Build a queued comparison. Return whether this process did; its row has the outcome.

    When `must_stop` returns true, put it back into the queue. Its `attempt` shows that it was tried.
    """
    attempt = new_attempt()
    taken = Comparison.objects.filter(_due(), pk=comparison.pk).update(
        state=ComparisonState.RUNNING, attempt=attempt, lease_expires_at=new_expiry()
    )
    if taken:
        with suppress(_Stopped):
            _Build(comparison, attempt, must_stop).run()
    return bool(taken)


class _Build:
    """One attempt at a comparison."""

    def __init__(self, comparison: Comparison, attempt: str, must_stop: Callable[[], bool]) -> None:
        self._comparison = comparison
        self._attempt = attempt
        self._must_stop = must_stop
        self._is_lost = threading.Event()

    def run(self) -> None:
        """Build the comparison and record the outcome. Raises _Stopped."""
        try:
            with kept_renewed(self._mine) as self._is_lost:
                self._build()
        except (_Stopped, KeyboardInterrupt):
            self._put_back()
            raise
        except LeaseLost:
            logger.warning("comparison=%s problem=deleted, or taken over", self._comparison.pk)
        except QueryTimeout:
            self._put_back() if self._must_stop() else self._fail(_TOO_SLOW)
        except (NoKey, SliceUnavailable) as error:
            self._fail(str(error))
        except (UnreadableFile, OSError) as error:
            logger.warning("comparison=%s problem=%s", self._comparison.pk, error)
            self._fail_or_repair(error)
        except Exception:
            logger.exception("comparison=%s problem=unexpected", self._comparison.pk)
            self._fail(_BROKEN)

    def _fail_or_repair(self, error: UnreadableFile | OSError) -> None:
        """Put the comparison back if slices are damaged. They are created again. Otherwise, it has failed."""
        try:
            is_damaged = isinstance(error, UnreadableFile) and self._has_damaged_slices()
        except OSError as problem:
            error, is_damaged = problem, False
        if is_damaged:
            self._put_back()
        else:
            self._fail(_TOO_LARGE if isinstance(error, UnreadableFile) else _NO_SPACE)

    def _has_damaged_slices(self) -> bool:
        others, verifier = _Others.of(self._comparison), TrackingVerifier()
        runs = [self._comparison.since, self._comparison.run, *others.between, *others.earlier]
        intact = [verifier.verify(run) for run in runs]  # all of them, so that all are repaired
        return not all(intact)

    def _build(self) -> None:
        comparison = self._comparison
        before, after = slice_of(comparison.since), slice_of(comparison.run)
        settings = tracking_of(comparison.run.collection)
        if not settings.key:
            raise NoKey
        with comparison_files.SCRATCH.folder(self._attempt) as folder:
            lines, parquet = folder / "changes.lines", folder / "changes.parquet"
            values = self._compare(before, after, settings, lines)
            if values["rows"]:
                values["summary"] |= write_changes(lines, parquet)
                values |= self._store(parquet)
        self._finish(values)

    def _compare(
        self, before: SliceFile, after: SliceFile, settings: TrackingSettings, lines: Path
    ) -> dict[str, Any]:
        """Write the changes, and return the values of the row."""
        others = _Others.of(self._comparison)
        between, earlier = (_existing(runs) for runs in (others.between, others.earlier))
        paths = [each.path for each in (before, after, *between, *earlier)]
        with open_files(
            *paths, seconds=_SECONDS, semaphore=SEARCHES, is_wanted=lambda: not self._must_stop()
        ) as database:
            comparer = Comparer(
                database,
                before,
                after,
                settings.key,
                between=between,
                earlier=earlier,
                is_partial=others.is_partial,
            )
            rows = write_lines(self._while_alive(comparer.entries()), lines)
        summary = {
            "key": settings.key_columns,
            "tracked": asdict(comparer.tracked),
            "volatile": comparer.volatile,
            "volatile_of": comparer.counts.volatile_of,
            "basis": others.basis,
        }
        counts = comparer.counts.by_name()
        return {
            "settings_version": settings.version,
            "key": "",
            "size": 0,
            "sha256": "",
            "rows": rows,
            "counts": counts,
            "summary": summary,
        }

    def _store(self, parquet: Path) -> dict[str, Any]:
        """Store the file of changes, and return the values of the row."""
        comparison_files.make_room(parquet.stat().st_size, but=self._comparison)
        key = key_of(comparison_files.FOLDER, self._comparison, self._attempt)
        new = store(parquet, key, self._alive)
        return {"key": key, "size": new.size, "sha256": new.sha256}

    def _while_alive(self, entries: Iterable[Entry]) -> Iterator[Entry]:
        self._alive()
        for number, entry in enumerate(entries, 1):
            yield entry
            if not number % _CHANGES_AT_ONCE:
                self._alive()

    def _alive(self) -> None:
        """Raise _Stopped, LeaseLost, or OSError on a nearly full disk."""
        if self._must_stop():
            raise _Stopped
        if self._is_lost.is_set():
            raise LeaseLost
        comparison_files.SCRATCH.check_disks()

    def _finish(self, values: dict[str, Any]) -> None:
        """Make the comparison ready, and delete the file that it replaces. Raises LeaseLost."""
        is_stored = False
        try:
            is_stored = bool(self._mine.update(state=ComparisonState.READY, lease_expires_at=None, **values))
        finally:
            unneeded = self._comparison.key if is_stored else values["key"]
            if unneeded:
                results().delete(unneeded)
        if not is_stored:
            raise LeaseLost

    @property
    def _mine(self) -> ComparisonQuerySet:
        running = Comparison.objects.filter(pk=self._comparison.pk, state=ComparisonState.RUNNING)
        return running.filter(attempt=self._attempt)

    def _put_back(self) -> None:
        self._mine.update(state=ComparisonState.QUEUED, lease_expires_at=None)

    def _fail(self, problem: str) -> None:
        self._mine.update(
            state=ComparisonState.FAILED,
            failure=problem[:500],
            failed_at=timezone.now(),
            settings_version=tracking_of(self._comparison.run.collection).version,
            lease_expires_at=None,
        )


def _existing(runs: Iterable[Run]) -> list[SliceFile]:
    return [found for found in map(existing_slice, runs) if found is not None]
