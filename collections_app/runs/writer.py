"""Write the files of a run: pages and ZIP during the scrape, the rest at its end.

This is the only writer of runs and result files. Even if it is killed, readers see either a ready run with
complete files or a run that isn't ready:

- A file is written under another name, synced and renamed. Only then is its row saved.
- The run's row contains the token of its only writer (`attempt`) and the writer's lease. Every change depends
  on them, so a writer that has lost its run changes nothing.
- `repair` removes what a killed writer leaves behind.

A writer commits its own transactions, so it can't be used inside a transaction.
"""

import enum
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import partial
from types import TracebackType
from typing import Any, BinaryIO, Self, cast

from django.db import transaction
from django.db.models import Q, Sum
from django.utils import timezone

from collections_app.files import names
from collections_app.files.storage.base import results
from collections_app.models import Collection, FileKind, ResultFile, Run, State
from collections_app.models.run_status import progress
from collections_app.records.formats.category_csv import convert_category_list
from collections_app.records.formats.json_records import JsonPath, Readable, copy_records, read_records
from collections_app.records.formats.json_text import SPACED, SPACED_ASCII, styled_json
from collections_app.runs import folder
from collections_app.runs.archive import RunArchive
from collections_app.runs.lease import Lease, RunIsBeingWritten, abandoned, new_attempt, new_expiry
from collections_app.runs.new_file import NewFile

DEFAULT_PAGE_SIZE = 250

_LONGEST_REASON = 500


class WrongUse(Exception):
    """A run can't be written in this way. The message is for people."""


class RecordsLost(Exception):
    """The files contain fewer or more records than were added, so the run must not become ready."""


class _Input(enum.Enum):
    """The source of a run's files: records or existing files."""

    RECORDS = "records"
    PAGES = "pages"


class ResultSetWriter:
    """The only writer of a run.

    Use it in a `with` block. Leaving the block finishes the run. If an exception leaves it, a run that was
    started is deleted, and a run that was resumed is paused with the pages it has.
    """

    @classmethod
    def start(
        cls,
        collection: Collection,
        *,
        total: int = 0,
        page_size: int = DEFAULT_PAGE_SIZE,
        created_at: datetime | None = None,
        discard_if_killed: bool = False,
    ) -> Self:
        """Create the collection's next run, as Processing. `total` is the number of requested records.

        If the process is killed, the run becomes Failed or, with `discard_if_killed`, is deleted.
        Raises WrongUse if the collection's runs come from an account.
        """
        _check_page_size(page_size)
        _check_is_local(collection)
        started_at = created_at or timezone.now()
        usual_step = collection.runs.longest_recent_step()
        with transaction.atomic(durable=True):
            run = Run.objects.create_next(
                collection,
                total=total,
                created_at=started_at,
                updated_at=started_at,
                attempt=new_attempt(),
                lease_expires_at=new_expiry(),
                discard_if_killed=discard_if_killed,
                **progress(timezone.now(), usual_step=usual_step),
            )
        return cls(run, page_size=page_size, usual_step=usual_step)

    @classmethod
    def resume(cls, run: Run, *, page_size: int = DEFAULT_PAGE_SIZE) -> Self:
        """Continue a Processing run that has no writer. Raises RunIsBeingWritten, WrongUse."""
        _check_page_size(page_size)
        _check_is_local(run.collection)
        usual_step = run.collection.runs.longest_recent_step()
        resumed = progress(timezone.now(), usual_step=usual_step, longest_step=run.longest_step)
        taken = {"attempt": new_attempt(), "lease_expires_at": new_expiry(), **resumed}
        without_writer = abandoned() | Q(lease_expires_at=None)
        if not Run.objects.filter(without_writer, pk=run.pk, state=State.PROCESSING).update(**taken):
            if Run.objects.filter(pk=run.pk, state=State.PROCESSING).exists():
                raise RunIsBeingWritten(f"Another process is writing run {run.number}.")
            raise WrongUse(f"Run {run.number} is finished or deleted. Only a processing run can be resumed.")
        run = Run.objects.select_related("collection").get(pk=run.pk)
        return cls(run, page_size=page_size, usual_step=usual_step, resumed=True)

    def __init__(
        self, run: Run, *, page_size: int, usual_step: timedelta | None, resumed: bool = False
    ) -> None:
        """Take over a run whose attempt and lease are this writer's. Use start() or resume()."""
        self.run = run
        self._page_size = page_size
        self._resumed = resumed
        self._is_category = run.collection.is_category
        files = run.files.all() if resumed else run.files.none()
        page_names = set(files.filter(kind=FileKind.PAGE).values_list("name", flat=True))
        self._page_count = len(page_names)
        self._list = files.filter(kind=FileKind.CATEGORY_LIST).first()
        self._archive_name = names.archive_name(run.collection.name, run.number)
        self._names = names.UniqueNames([self._archive_name, *page_names])
        self._extracted = run.extracted or 0
        self._usual_step = usual_step
        self._input: _Input | None = None
        self._file: NewFile | None = None  # the page or list in progress
        self._file_name = ""
        self._file_records = 0
        self._is_over = False
        self._lease = Lease(run, run.attempt, State.PROCESSING, on_loss=self._lose)
        self._archive = RunArchive(run, self._lease)

    def add_record(self, record: Mapping[str, Any]) -> None:
        """Add a record. Raises ValueError or TypeError if JSON can't represent it, WrongUse, LeaseLost."""
        self.add_record_text(_serialized(record))

    def add_record_text(self, text: bytes) -> None:
        """Add the JSON text of a record, which isn't checked. Raises WrongUse, LeaseLost."""
        self._choose(_Input.RECORDS)
        self._append(text)
        self._extracted += 1
        if not self._is_category and self._file_records == self._page_size:
            self._end_file()

    def add_page(self, name: str, stream: Readable, *, records_at: JsonPath | None = None) -> None:
        """Copy a page file byte for byte; of a category, the entire list.

        Several lists that follow each other become one. With `records_at`, the file is an object, and only
        the list with this path is copied. A page keeps its name, with unsafe characters replaced. A
        category's list has a fixed name. Raises InvalidRecords if the file has no such list, WrongUse,
        LeaseLost.
        """
        self._choose(_Input.PAGES)
        name = self._unused_name(names.CATEGORY_LIST if self._is_category else names.kept_name(name))
        try:
            with self._lease.checked_if_files_vanish(), self._new_file() as file:
                write = partial(self._copy, file)
                records = copy_records(stream, write, wrapped=self._is_category, at=records_at)
        except BaseException:
            self._archive.discard_page()
            raise
        self._extracted += records
        self._keep(file, name, records)

    def finish(self, *, at: datetime | None = None) -> Run:
        """Write the remaining files (the last page, the ZIP or CSV), and make the run ready.

        `at` is the run's completion time, by default the current time. Raises LeaseLost, RecordsLost.
        """
        self._check_not_over()
        if self._file is not None or not self._has_files:
            self._end_file()
        others = self._list_and_csv() if self._is_category else [self._finished_archive()]
        with transaction.atomic(durable=True):
            self._change(
                **self._progress(),
                state=State.READY,
                lease_expires_at=None,
                updated_at=at or timezone.now(),
                total=self.run.total or self._extracted,
                file_count=self._page_count + len(others),
                is_kept=True,
            )
            self._check_records()
            self._replace_all_but_pages(others)
        self._is_over = True
        if self._resumed:
            folder.remove_strays(self.run)
        return self.run

    def pause(self) -> None:
        """Release the run. It stays Processing and keeps everything that was added. Raises LeaseLost."""
        self._check_not_over()
        if self._file is not None:
            self._end_file()
        self._archive.discard()
        with transaction.atomic(durable=True):
            self._change(**self._progress(), lease_expires_at=None, updated_at=timezone.now())
            self._replace_all_but_pages([self._list] if self._list else [])
        self._is_over = True

    def fail(self, reason: str, *, at: datetime | None = None) -> Run:
        """Make the run Failed and remove its files. The reason is for people. Raises LeaseLost."""
        self._check_not_over()
        self._discard_unfinished()
        with transaction.atomic(durable=True):
            self._change(
                state=State.FAILED,
                failure_reason=reason[:_LONGEST_REASON],
                lease_expires_at=None,
                updated_at=at or timezone.now(),
                extracted=self._extracted,
            )
            self.run.files.all().delete()
        self._is_over = True
        folder.remove(self.run)
        return self.run

    def discard(self) -> None:
        """Delete the run and its files. Its number isn't used again."""
        self._discard_unfinished()
        with transaction.atomic(durable=True):
            run = self._lease.held_run.select_for_update().first()
            if run is not None:
                run.delete()
        self._is_over = True
        if run is not None:
            folder.remove(self.run)
        else:
            folder.remove_strays(self.run, self.run.attempt)

    def renew(self) -> None:
        """Renew the lease while waiting for records. Writing renews it anyway. Raises LeaseLost."""
        self._change()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Finish the run. Undo it if an exception left the block, or if finishing fails."""
        if self._is_over:
            return
        if kind is not None:
            self._undo()
            return
        try:
            self.finish()
        except BaseException:
            self._undo()
            raise

    def _undo(self) -> None:
        if not self._resumed:
            self.discard()
            return
        self._discard_unfinished()
        self._lease.held_run.update(lease_expires_at=None)
        self._is_over = True
        folder.remove_strays(self.run, self.run.attempt)

    # The run

    def _change(self, **fields: Any) -> None:
        """Change the run's row and renew the lease. Raises LeaseLost."""
        self._lease.renew(**fields)
        for name, value in fields.items():
            setattr(self.run, name, value)

    def _progress(self) -> dict[str, Any]:
        """Return the fields of the run that change with each page."""
        run, now = self.run, timezone.now()
        step = now - run.progressed_at if run.progressed_at else None
        steps = progress(now, usual_step=self._usual_step, longest_step=run.longest_step, step=step)
        return {"extracted": self._extracted, **steps}

    def _lose(self) -> None:
        self._is_over = True
        self._discard_unfinished()
        folder.remove_strays(self.run, self.run.attempt)

    def _check_not_over(self) -> None:
        if self._is_over:
            raise WrongUse(f"This writer of run {self.run.number} is closed, so nothing can be added.")

    def _choose(self, chosen: _Input) -> None:
        self._check_not_over()
        if self._input not in {None, chosen}:
            raise WrongUse("A run is written either from records or from page files, not from both.")
        self._input = chosen

    # Its pages or list

    @property
    def _has_files(self) -> bool:
        return bool(self._page_count or self._list)

    def _unused_name(self, name: str) -> str:
        if name in self._names or (self._input is _Input.PAGES and self._list):
            raise WrongUse(f"The run already has a file named {name}.")
        return name

    def _new_file(self) -> NewFile:
        if self._is_category:
            return self._lease.new_file("list.json")
        file = self._lease.new_file(f"page-{self._page_count + 1:04}.json")
        self._archive.begin_page(is_first=not self._page_count)
        return file

    def _append(self, data: bytes) -> None:
        if self._file is None:
            self._begin_file()
        self._write((b",\n" if self._file_records else b"[\n") + data)
        self._file_records += 1

    def _write(self, data: bytes) -> None:
        assert self._file is not None
        self._copy(self._file, data)

    def _copy(self, file: NewFile, data: bytes) -> None:
        file.write(data)
        self._archive.write(data)

    def _begin_file(self) -> None:
        if self._is_category:
            self._file_name = names.CATEGORY_LIST
        else:
            name = names.page_name(self.run.collection.name, self.run.number, self._page_count + 1)
            self._file_name = self._unused_name(name)
        with self._lease.checked_if_files_vanish():
            self._file = self._new_file()
        self._file_records = 0
        if self._list is not None:
            # The run was paused, and its list is one file, so a new file begins with the earlier records.
            earlier, self._list = self._list, None
            with results().open(earlier.key) as stored:
                for record in read_records(stored):
                    self._append(_serialized(record))

    def _end_file(self) -> None:
        if self._file is None:
            self._begin_file()  # without records, to contain an empty list
        assert self._file is not None
        with self._lease.checked_if_files_vanish(), self._file as file:
            self._write(b"\n]\n" if self._file_records else b"[]\n")
        self._file = None
        self._keep(file, self._file_name, self._file_records)

    def _discard_unfinished(self) -> None:
        if self._file is not None:
            self._file.discard()
            self._file = None
        self._archive.discard()

    def _keep(self, file: NewFile, name: str, records: int) -> None:
        """Save the row of a page. The row of a category's list is saved by finish() or pause()."""
        if self._is_category:
            self._list = file.row(FileKind.CATEGORY_LIST, 0, name, records)
            return
        page = file.row(FileKind.PAGE, self._page_count + 1, name, records)
        page.run = self.run
        with self._archive.adding(page), transaction.atomic(durable=True):
            self._change(**self._progress(), updated_at=timezone.now())
            page.save(force_insert=True)
        self._page_count += 1
        self._names.add(name)

    # The files that are derived from them

    def _finished_archive(self) -> ResultFile:
        return self._archive.finish().row(FileKind.ARCHIVE, 0, self._archive_name, None)

    def _list_and_csv(self) -> list[ResultFile]:
        assert self._list is not None
        with (
            self._lease.checked_if_files_vanish(),
            results().open(self._list.key) as stored,
            self._lease.new_file("list.csv") as file,
        ):
            convert_category_list(stored, cast(BinaryIO, file))
        return [self._list, file.row(FileKind.CATEGORY_CSV, 0, names.CATEGORY_CSV, self._list.records)]

    def _check_records(self) -> None:
        if self._is_category:
            written = self._list.records if self._list else 0
        else:
            pages = self.run.files.filter(kind=FileKind.PAGE)
            written = pages.aggregate(records=Sum("records"))["records"]
        if written != self._extracted:
            raise RecordsLost(
                f"{self._extracted} records were added to run {self.run.number}; its files contain {written}."
            )

    def _replace_all_but_pages(self, files: list[ResultFile]) -> None:
        self.run.files.exclude(kind=FileKind.PAGE).delete()
        for file in files:
            file.pk, file.run = None, self.run
        ResultFile.objects.bulk_create(files)


def _check_page_size(page_size: int) -> None:
    if page_size < 1:
        raise ValueError(f"A page contains at least one record, not {page_size}.")


def _check_is_local(collection: Collection) -> None:
    if collection.is_remote:
        raise WrongUse(
            f"The runs of {names.printable(collection.name)} come from an account, so none can be added here."
        )


def _serialized(record: Mapping[str, Any]) -> bytes:
    try:
        return styled_json(dict(record), SPACED).encode()
    except UnicodeEncodeError:
        # Half a surrogate pair: JSON can contain it as an escape, UTF-8 can't.
        return styled_json(dict(record), SPACED_ASCII).encode()
