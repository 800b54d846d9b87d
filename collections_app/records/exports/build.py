"""Build exports: one process at a time builds an export, which appears only when it is complete.

The process holds a lease, as the writer of a run does. If it is killed, the lease expires and another process
starts again; retention.tidy() removes the unfinished file. A process that has to stop puts the export back
into the queue.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import cached_property, partial
from pathlib import Path
from typing import IO, cast

from django.db.models import Exists, OuterRef, Q, Sum
from django.utils import timezone

from collections_app.files.storage.base import results
from collections_app.models import Export, ExportState, FileKind, Layout, ResultFile, Run
from collections_app.models.exports import ExportQuerySet
from collections_app.records.exports import records, retention
from collections_app.records.exports.changes import ChangeRecords, ready_comparison
from collections_app.records.exports.matching import matches_of
from collections_app.records.exports.run_columns import with_run_columns
from collections_app.records.exports.stored_spec import spec_of
from collections_app.records.formats.export_formats import (
    ExportSpec,
    Format,
    Read,
    write_records,
    write_workbook,
)
from collections_app.records.formats.json_records import Record
from collections_app.records.formats.parquet import Interrupted
from collections_app.records.formats.tables import ConversionError
from collections_app.runs.lease import LeaseLost, kept_renewed, lapsed, new_attempt, new_expiry
from collections_app.runs.new_file import NewFile
from collections_app.runs.strays import key_of
from collections_app.sources import ResultNotFound, SourceTimeout, SourceUnavailable
from collections_app.sources.upstream.connection import read_deadline

logger = logging.getLogger(__name__)

# How often the progress of an export is saved, and the free disk space checked.
_NOTE_AFTER_SECONDS = 1.0
# The maximum size of an export.
MOST_BYTES = 2 * 1024**3
# How long one attempt may take.
_MOST_SECONDS = 600.0
# How many records to process between two checks of whether to stop.
_RECORDS_AT_ONCE = 500

_TOO_LARGE = (
    "This export would be larger than 2 GiB. Choose the columns you need, or download the original files."
)

_TOO_SLOW = "This export takes more than 10 minutes. Choose fewer columns, or export JSON Lines."
_SLOW_ACCOUNT = (
    "The account takes more than 10 minutes to send these records. Choose fewer columns, or try again later."
)
_NO_SPACE = (
    "The export can't be stored, perhaps because the disk is full. Try again later, or tell the operator."
)
_RUN_DELETED = "A run was deleted during the export. Export the remaining runs."
_BROKEN = "Something went wrong on our side. The error was logged. Try again later."


def due() -> Q:
    """Return the condition for exports that need to be built."""
    return Q(state=ExportState.QUEUED) | (Q(state=ExportState.RUNNING) & lapsed())


def _never() -> bool:
    return False


class Queue:
    """The exports that need to be built. Teams take turns.

    `remote` limits the queue to exports whose files are at an account, or to those whose files are stored.
    """

    def __init__(self, *, remote: bool | None = None) -> None:
        self._remote = remote
        self._last: dict[int, float] = {}  # when a team last had its turn

    def next(self) -> Export | None:
        """Return the oldest export of the team whose last turn was longest ago, stored files first."""
        first = min(self._waiting(), key=lambda each: (each[0], self._last.get(each[1], 0.0)), default=None)
        if first is None:
            return None
        _, team, pk = first
        self._last[team] = time.monotonic()
        return Export.objects.filter(pk=pk).select_related("run__collection__account").first()

    def _waiting(self) -> Iterable[tuple[bool, int, int]]:
        remote = ResultFile.objects.with_records().filter(key="")
        others = Export.other_runs.through.objects.filter(export=OuterRef(OuterRef("pk")))
        waiting = (
            Export.objects.under_way()
            .filter(due())
            .annotate(
                is_remote=Exists(remote.filter(run=OuterRef("run")))
                | Exists(remote.filter(run__in=others.values("run")))
            )
        )
        if self._remote is not None:
            waiting = waiting.filter(is_remote=self._remote)
        return waiting.values_list("is_remote", "run__collection__team", "pk")


def build_next(queue: Queue | None = None, *, must_stop: Callable[[], bool] = _never) -> bool:
    """Build the next export of the queue. Return whether one was built. See build_export()."""
    export = (queue or Queue()).next()
    return export is not None and build_export(export, must_stop=must_stop)


def build_export(export: Export, *, must_stop: Callable[[], bool] = _never) -> bool:
    """Build a queued export. Return whether this process did; its row has the outcome.

    When `must_stop` returns true, put it back into the queue. Its `attempt` shows that it was tried.
    """
    attempt = new_attempt()
    mine = Export.objects.filter(due(), pk=export.pk)
    taken = mine.update(
        state=ExportState.RUNNING, attempt=attempt, lease_expires_at=new_expiry(), done=0, is_final=False
    )
    if taken:
        with suppress(_Stopped):
            _Build(export, attempt, must_stop).run()
    return bool(taken)


class _Stopped(Exception):
    """The process has to stop building the export."""


class _ExportFile(NewFile):
    """The file of an export, at most MOST_BYTES."""

    def write(self, data: bytes) -> int:
        """Write all bytes. Raises ConversionError if the file would be too large."""
        if self.size + len(data) > MOST_BYTES:
            raise ConversionError(_TOO_LARGE)
        return super().write(data)


class _Build:
    """One attempt at an export."""

    def __init__(self, export: Export, attempt: str, must_stop: Callable[[], bool]) -> None:
        self._export = export
        self._attempt = attempt
        self._must_stop = must_stop
        self._spec = spec_of(export)
        self._runs = export.runs()
        self._noted_at = time.monotonic()
        self._ends_at = self._noted_at + _MOST_SECONDS
        self._records_read = 0  # in all passes
        self._is_lost = threading.Event()
        self._matches: bytearray | None = None  # of the search and filters; see matches_of()

    def run(self) -> None:
        """Build the export and record the outcome. Raises _Stopped."""
        try:
            with kept_renewed(self._mine()) as self._is_lost, read_deadline(self._ends_at):
                self._build()
        except (_Stopped, KeyboardInterrupt):
            self._put_back()
            raise
        except LeaseLost:
            logger.warning("export=%s problem=deleted, or taken over by another process", self._export.pk)
        except ConversionError as error:
            self._fail(str(error), is_final=True)
        except (ResultNotFound, SourceUnavailable) as error:
            self._fail(_SLOW_ACCOUNT if self._is_late() else str(error))
        except OSError as error:
            logger.warning("export=%s problem=%s", self._export.pk, error)
            self._fail(_NO_SPACE)
        except Exception:
            logger.exception("export=%s problem=unexpected", self._export.pk)
            self._fail(_BROKEN)

    def _build(self) -> None:
        export = self._export
        self._check_runs()
        retention.make_room(min(self._size(), MOST_BYTES), but=export)
        key = key_of(retention.FOLDER, export, self._attempt)
        if self._spec.is_narrowed and not export.has_changes:
            self._matches = matches_of(export.run, self._spec, self._alive)
        with retention.SCRATCH.folder(self._attempt) as folder, _ExportFile(key, self._alive) as new:
            self._write(cast(IO[bytes], new), folder)
            self._check_runs()
        stored = new.row(FileKind.PAGE, 0, "", None)
        try:
            self._note(
                state=ExportState.READY,
                lease_expires_at=None,
                done=self._done() if export.total is None else export.total,
                key=key,
                size=stored.size,
                sha256=stored.sha256,
                modified=stored.modified,
            )
        except LeaseLost:
            results().delete(key)
            raise
        retention.make_room(0, but=export)

    def _check_runs(self) -> None:
        """Raise ConversionError if one of the runs has been deleted."""
        if len(self._export.runs()) != self._export.run_count:
            raise ConversionError(_RUN_DELETED)

    def _write(self, out: IO[bytes], folder: Path) -> None:
        if self._export.layout == Layout.SHEETS:
            sheets = ((run.collection.name, partial(self._read, run)) for run in self._runs)
            write_workbook(sheets, out, folder=folder)
            return
        if self._export.has_changes and self._spec.format == Format.XLSX:
            write_workbook(self._changes.sheets(), out, folder=folder)
            return
        try:
            write_records(*self._records(), out, folder=folder, is_over=self._is_over)
        except Interrupted:
            self._alive()  # raises the reason
            raise

    @cached_property
    def _changes(self) -> ChangeRecords:
        comparison = ready_comparison(self._export, self._alive, self._must_stop)
        return ChangeRecords(self._export, comparison, self._spec, self._counted)

    def _size(self) -> int:
        """Return about how many bytes are needed."""
        return 0 if self._export.has_changes else _size_of_records(self._runs)

    def _records(self) -> tuple[Read, ExportSpec]:
        if self._export.has_changes:
            return self._changes.read, self._changes.spec
        if self._export.layout == Layout.RUNS:
            return with_run_columns(self._runs, self._read, self._spec)
        return partial(self._read, self._export.run), self._spec

    def _is_over(self) -> bool:
        """Return whether _alive() would raise an error, without using the database."""
        return self._must_stop() or self._is_late() or self._is_lost.is_set()

    def _wanted(self, some: list[Record], number: int) -> list[Record]:
        """Return the records that match the search and filters. `number` is that of the first one."""
        matches = self._matches
        if matches is None:
            return some
        return [
            record
            for record, is_match in zip(some, matches[number : number + len(some)], strict=False)
            if is_match
        ]

    def _read(self, run: Run) -> Iterator[list[Record]]:
        number = 1
        for some in records.read(run):
            for start in range(0, len(some), _RECORDS_AT_ONCE):
                few = some[start : start + _RECORDS_AT_ONCE]
                if wanted := self._wanted(few, number):
                    yield wanted
                number += len(few)
                self._records_read += len(few)
                self._alive()

    def _counted(self, batches: Iterable[list[Record]]) -> Iterator[list[Record]]:
        for some in batches:
            yield some
            self._records_read += len(some)
            self._alive()

    def _alive(self) -> None:
        """Save the progress at intervals.

        Raises _Stopped, LeaseLost, OSError on a nearly full disk, and ConversionError or SourceTimeout if it
        takes too long.
        """
        if self._must_stop():
            raise _Stopped
        if self._is_late():
            raise SourceTimeout(_SLOW_ACCOUNT) if self._is_remote() else ConversionError(_TOO_SLOW)
        if self._is_lost.is_set() or time.monotonic() - self._noted_at > _NOTE_AFTER_SECONDS:
            self._noted_at = time.monotonic()
            self._note(done=self._done(), lease_expires_at=new_expiry())
            retention.SCRATCH.check_disks()

    def _is_late(self) -> bool:
        return time.monotonic() > self._ends_at

    def _is_remote(self) -> bool:
        return ResultFile.objects.with_records().filter(run__in=self._runs, key="").exists()

    def _done(self) -> int:
        # Finding names for the columns of the runs takes another pass.
        passes = self._spec.passes + (self._export.layout == Layout.RUNS)
        done, total = self._records_read // passes, self._export.total
        return done if total is None else min(done, total)

    def _put_back(self) -> None:
        self._mine().update(state=ExportState.QUEUED, lease_expires_at=None, done=0)

    def _mine(self) -> ExportQuerySet:
        running = Export.objects.filter(pk=self._export.pk, state=ExportState.RUNNING)
        return running.filter(attempt=self._attempt)

    def _note(self, **values: object) -> None:
        if not self._mine().update(**values):
            raise LeaseLost

    def _fail(self, problem: str, *, is_final: bool = False) -> None:
        self._mine().update(
            state=ExportState.FAILED,
            failure=problem[:1000],
            failed_at=timezone.now(),
            is_final=is_final,
            lease_expires_at=None,
        )


def _size_of_records(runs: Sequence[Run]) -> int:
    """Return the total size of the files with the records. Unknown sizes count as 0."""
    files = ResultFile.objects.with_records().filter(run__in=runs)
    size: int = files.aggregate(size=Sum("size", default=0))["size"]
    return size
