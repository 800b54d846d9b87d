"""Create slices in the results storage: each is complete or doesn't exist.

The process that creates a slice holds a lease, as the writer of a run does. If it is killed, another one
starts again.
"""

import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from collections_app.files.storage.base import check_free_space, results
from collections_app.models import Run, Slice, SliceState, State
from collections_app.records.formats.json_records import InvalidRecords, read_texts
from collections_app.records.preview.engine import QueryTimeout
from collections_app.records.reading import open_file
from collections_app.records.tracking import databases
from collections_app.records.tracking.slices import VERSION, write_slice
from collections_app.runs.lease import LeaseLost, kept_renewed, lapsed, new_attempt, new_expiry
from collections_app.runs.new_file import NewFile, store
from collections_app.sources import FileUnavailable, SourceBusy, SourceUnavailable
from collections_app.system import database

logger = logging.getLogger(__name__)

FOLDER, SCRATCH = databases.SLICES, databases.SLICE_SCRATCH

# The pause after the first failure. It doubles with each further one.
_FIRST_PAUSE = timedelta(minutes=5)
_LONGEST_PAUSE = timedelta(days=1)
_MOST_DOUBLINGS = 10

_TOO_SLOW = "Reading the records takes too long. The dashboard tries again later."
_NO_SPACE = "The run can't be prepared for comparison, perhaps because the disk is full. It is retried later."
_BROKEN = "Something went wrong on our side. The error was logged. The dashboard tries again later."


class RunDeleted(Exception):
    """The run has been deleted, or isn't ready."""


class Stopped(Exception):
    """The process has to stop creating the slice."""


class _CannotBeSliced(Exception):
    """Creating the slice again would fail in the same way. The message is for people."""


def _never() -> bool:
    return False


def build_slice(run: Run, *, must_stop: Callable[[], bool] = _never) -> bool:
    """Create the slice of a ready run. Return False if another process does, or the run was deleted.

    A failure is stored in the row. Those that may concern other runs too are also raised: SourceUnavailable
    and OSError. Raises RunDeleted, and Stopped when `must_stop` returns true.
    """
    attempt = _claimed(run)
    if attempt is None:
        return False
    _Build(run, attempt, must_stop).run()
    return True


def _claimed(run: Run) -> str | None:
    """Return the token under which this process may create the slice, or None."""
    attempt = new_attempt()
    taken: dict[str, Any] = {
        "state": SliceState.RUNNING,
        "attempt": attempt,
        "lease_expires_at": new_expiry(),
        "failure": "",
    }
    ready = Run.objects.filter(pk=run.pk, state=State.READY)
    with transaction.atomic():
        # This also locks the run, so that it isn't deleted now.
        if not ready.update(needs_slice=True):
            raise RunDeleted
        _, is_new = Slice.objects.get_or_create(run=run, defaults=taken | {"version": VERSION})
        is_mine = is_new or Slice.objects.filter(_unfinished(), run=run).update(**taken)
        if not is_mine and Slice.objects.ready().filter(run=run).exists():
            ready.update(needs_slice=False)
    return attempt if is_mine else None


def _unfinished() -> Q:
    """Return the condition for slices that a process may create."""
    is_outdated = Q(state=SliceState.READY, version__lt=VERSION)
    return Q(state=SliceState.FAILED) | is_outdated | (Q(state=SliceState.RUNNING) & lapsed())


class _Build:
    """One attempt at a slice."""

    def __init__(self, run: Run, attempt: str, must_stop: Callable[[], bool]) -> None:
        self._run = run
        self._attempt = attempt
        self._must_stop = must_stop
        self._mine = Slice.objects.filter(run=run.pk, state=SliceState.RUNNING, attempt=attempt)
        self._is_lost = threading.Event()
        self._records = 0

    def run(self) -> None:
        """Create the slice, and store the outcome. See build_slice()."""
        try:
            with kept_renewed(self._mine) as self._is_lost:
                self._build()
        except (Stopped, KeyboardInterrupt):
            self._mine.update(lease_expires_at=database.now())
            raise
        except LeaseLost:
            logger.warning("slice run=%s problem=deleted, or taken over by another process", self._run.pk)
        except (_CannotBeSliced, FileUnavailable, QueryTimeout) as error:
            self._store_failure(error)
        except (SourceUnavailable, OSError) as error:
            self._store_failure(error)
            raise
        except Exception as error:
            logger.exception("slice run=%s problem=unexpected", self._run.pk)
            self._store_failure(error)

    def _store_failure(self, error: Exception) -> None:
        match error:
            case _CannotBeSliced():
                self._fail(str(error), retry_at=None)
            case SourceBusy():
                self._fail(str(error), retry_at=timezone.now() + timedelta(seconds=error.retry_after))
            case FileUnavailable() | SourceUnavailable():
                self._fail(str(error))
            case QueryTimeout():
                self._fail(_TOO_SLOW)
            case OSError():
                self._fail(_NO_SPACE)
            case _:
                self._fail(_BROKEN)

    def _build(self) -> None:
        key = f"{FOLDER}/{self._run.collection_id}/{self._run.number}-{self._attempt}.parquet"
        with SCRATCH.folder(self._attempt) as folder:
            parquet = folder / "slice.parquet"
            columns = write_slice(self._batches(), folder / "records.lines", parquet)
            check_free_space(parquet.stat().st_size)
            new = store(parquet, key, self._check)
        try:
            self._finish(new, columns)
        except BaseException:
            results().delete(key)
            raise

    def _finish(self, new: NewFile, columns: Iterable[str]) -> None:
        """Make the slice ready, and delete the one that it replaces. Raises LeaseLost."""
        replaced = self._mine.values_list("key", flat=True).first()
        with transaction.atomic():
            # In this order, as when the run is deleted, so that the two don't wait for each other.
            Run.objects.filter(pk=self._run.pk).update(needs_slice=False)
            is_mine = self._mine.update(
                state=SliceState.READY,
                version=VERSION,
                lease_expires_at=None,
                retry_at=None,
                failures=0,
                key=new.key,
                size=new.size,
                sha256=new.sha256,
                records=self._records,
                columns=list(columns),
                created_at=timezone.now(),
            )
            if not is_mine:
                raise LeaseLost
        if replaced:
            results().delete(replaced)

    def _fail(self, failure: str, **retry: Any) -> None:
        """Store the failure. By default, the slice is tried again after a pause that grows."""
        failures = self._mine.values_list("failures", flat=True).first() or 0
        pause = min(_FIRST_PAUSE * 2 ** min(failures, _MOST_DOUBLINGS), _LONGEST_PAUSE)
        fields = {"retry_at": timezone.now() + pause} | retry
        with transaction.atomic():
            if fields["retry_at"] is None:
                Run.objects.filter(pk=self._run.pk).update(needs_slice=False)
            self._mine.update(
                state=SliceState.FAILED,
                failure=failure[:500],
                failures=failures + 1,
                lease_expires_at=None,
                **fields,
            )

    def _batches(self) -> Iterator[list[Any]]:
        """Yield the records in batches.

        Raises _CannotBeSliced, ResultNotFound and SourceUnavailable, and what _check() raises.
        """
        for file in self._run.files.with_records().select_related("run__collection__account"):
            stream, _ = open_file(file)
            try:
                with stream:
                    for batch in read_texts(stream):
                        self._check()
                        yield batch
                        self._records += len(batch)
            except InvalidRecords as error:
                raise _CannotBeSliced(f"“{file.name}” is damaged: {error}.") from None

    def _check(self) -> None:
        """Raise Stopped, LeaseLost, or OSError on a nearly full disk."""
        if self._must_stop():
            raise Stopped
        if self._is_lost.is_set():
            raise LeaseLost
        SCRATCH.check_disks()
