"""Writes the files of a run: pages and their ZIP as the scrape goes, and then, at once, ready.

The only writer of Run and ResultFile rows and of the results storage. Whatever happens at whatever
moment, a reader sees a ready run with all of its files whole, or a run that is not ready:

- A file is written aside, synced and renamed; only then does its row come.
- The run holds the token of its one writer (`attempt`) and until when that promised to be alive
  (the lease). Every change says "if the run is still mine", so that a writer that was taken for dead
  can't do harm when it goes on.
- What a killed writer leaves behind is removed by `repair`.

A writer commits as it goes, so it can't be used inside a transaction.
"""

import enum
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from types import TracebackType
from typing import Any, BinaryIO, Self, cast

from django.db import transaction
from django.db.models import Q, Sum
from django.utils import timezone

from collections_app.files import names
from collections_app.files.storage.base import results
from collections_app.models import Collection, FileKind, ResultFile, Run, State
from collections_app.models.runs import RunQuerySet
from collections_app.records.formats.category_csv import convert_category_list
from collections_app.records.formats.json_records import Readable, count_records, read_records
from collections_app.runs import folder
from collections_app.runs.archive import Archive, Packed
from collections_app.runs.lease import (
    Pulse,
    RunIsBeingWritten,
    WriterLost,
    abandoned,
    new_attempt,
    new_expiry,
)
from collections_app.runs.new_file import NewFile

DEFAULT_PAGE_SIZE = 250

_LONGEST_REASON = 500
_PAGES_AT_ONCE = 100


class WrongUse(Exception):
    """A result set can't be written that way; the message says why, in plain English."""


class RecordsLost(Exception):
    """The files don't hold the records that were added: the run must not turn ready."""


class _Way(enum.Enum):
    """How a writer gets its files: made from records, or ready pages as they are."""

    RECORDS = "records"
    PAGES = "pages"


class ResultSetWriter:
    """The one writer of a run.

    Used in a `with` block: leaving it finishes the run. Leaving it by an exception discards a run
    that was started, and gives back one that was resumed, with the pages it has.
    """

    @classmethod
    def start(
        cls,
        collection: Collection,
        *,
        total: int = 0,
        page_size: int = DEFAULT_PAGE_SIZE,
        created_at: datetime | None = None,
    ) -> Self:
        """Make the collection's next run, Processing. `total`: how many records were asked for.

        Raises WrongUse for a collection whose runs are those of an account.
        """
        _check(page_size)
        _must_be_ours(collection)
        started_at = created_at or timezone.now()
        with transaction.atomic(durable=True):
            run = Run.objects.create_next(
                collection,
                total=total,
                created_at=started_at,
                updated_at=started_at,
                attempt=new_attempt(),
                lease_expires_at=new_expiry(),
            )
        return cls(run, page_size=page_size)

    @classmethod
    def resume(cls, run: Run, *, page_size: int = DEFAULT_PAGE_SIZE) -> Self:
        """Go on with a Processing run that nobody writes. Raises RunIsBeingWritten, WrongUse."""
        _check(page_size)
        _must_be_ours(run.collection)
        taken = {"attempt": new_attempt(), "lease_expires_at": new_expiry()}
        nobodys = abandoned() | Q(lease_expires_at=None)
        if not Run.objects.filter(nobodys, pk=run.pk, state=State.PROCESSING).update(**taken):
            if Run.objects.filter(pk=run.pk, state=State.PROCESSING).exists():
                raise RunIsBeingWritten(f"Run {run.number} is being written by somebody else.")
            raise WrongUse(f"Run {run.number} is over or deleted; only a run that is processing can go on.")
        return cls(Run.objects.select_related("collection").get(pk=run.pk), page_size=page_size, resumed=True)

    def __init__(self, run: Run, *, page_size: int, resumed: bool = False) -> None:
        """Take a run whose attempt and lease are this writer's; see start() and resume()."""
        self.run = run
        self._page_size = page_size
        self._resumed = resumed
        self._is_category = run.collection.is_category
        page_names = set(run.files.filter(kind=FileKind.PAGE).values_list("name", flat=True))
        self._page_count = len(page_names)
        self._list = run.files.filter(kind=FileKind.CATEGORY_LIST).first()
        self._archive_name = names.archive_name(run.collection.name, run.number)
        self._names = {self._archive_name} | page_names
        self._extracted = run.extracted or 0
        self._way: _Way | None = None
        self._file: NewFile | None = None  # the page or list in progress
        self._file_name = ""
        self._file_records = 0
        self._packed: Packed | None = None  # the page in progress, deflated for the ZIP
        self._archive: Archive | None = None  # with all pages so far in it; otherwise it is made last
        self._pulse = Pulse()
        self._is_over = False

    def add_record(self, record: Mapping[str, Any]) -> None:
        """Add one record. Raises ValueError or TypeError for what JSON can't hold, WrongUse, WriterLost."""
        self._choose(_Way.RECORDS)
        data = _serialised(record)
        self._append(data)
        self._extracted += 1
        if not self._is_category and self._file_records == self._page_size:
            self._end_file()

    def add_page(self, name: str, stream: Readable) -> None:
        """Keep the bytes of a page file (of a category: of the whole list) as they are.

        The page keeps its name as well, made safe; a category's list has a name of its own. Raises
        InvalidRecords for what is no list of records, WrongUse, WriterLost.
        """
        self._choose(_Way.PAGES)
        name = self._free_name(names.CATEGORY_LIST if self._is_category else names.kept_name(name))
        try:
            with self._noticing_loss(), self._new_file() as file:
                copying = _Copying(stream, file, self._begin_packing())
                records = count_records(copying, wrapped=self._is_category)
        except BaseException:
            self._drop_packed()
            raise
        self._extracted += records
        self._keep(file, name, records)

    def finish(self, *, at: datetime | None = None) -> Run:
        """Write what is missing (last page, ZIP or CSV) and turn the run ready.

        `at` is the time that the run says it was completed at, by default now. Raises WriterLost,
        RecordsLost.
        """
        self._must_not_be_over()
        if self._file is not None or not self._has_files:
            self._end_file()
        others = self._list_and_csv() if self._is_category else [self._finished_archive()]
        with transaction.atomic(durable=True):
            self._change(
                state=State.READY,
                lease_expires_at=None,
                updated_at=at or timezone.now(),
                extracted=self._extracted,
                total=self.run.total or self._extracted,
                file_count=self._page_count + len(others),
                is_kept=True,
            )
            self._check_records()
            self._save_all_but_pages(others)
        self._is_over = True
        if self._resumed:
            folder.remove_strays(self.run)
        return self.run

    def pause(self) -> None:
        """Give the run back: Processing, with all that was added. Raises WriterLost."""
        self._must_not_be_over()
        if self._file is not None:
            self._end_file()
        self._drop_archive()
        with transaction.atomic(durable=True):
            self._change(lease_expires_at=None, extracted=self._extracted, updated_at=timezone.now())
            self._save_all_but_pages([self._list] if self._list else [])
        self._is_over = True

    def fail(self, reason: str, *, at: datetime | None = None) -> Run:
        """End the run as Failed, for a reason that a person understands, without files. Raises WriterLost."""
        self._must_not_be_over()
        self._drop_files()
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
        """Remove the run and its files, as though it had never been; its number stays used."""
        self._drop_files()
        with transaction.atomic(durable=True):
            run = self._mine().select_for_update().first()
            if run is not None:
                run.delete()
        self._is_over = True
        if run is not None:
            folder.remove(self.run)
        else:
            folder.remove_strays(self.run, self.run.attempt)

    def renew(self) -> None:
        """Renew the lease, as every page does; for whoever waits long for a record. Raises WriterLost."""
        self._change()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Finish the run; or undo it, where the block was left by an exception or finishing fails."""
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
        self._drop_files()
        self._mine().update(lease_expires_at=None)
        self._is_over = True
        folder.remove_strays(self.run, self.run.attempt)

    # The run

    def _mine(self) -> RunQuerySet:
        return Run.objects.filter(pk=self.run.pk, attempt=self.run.attempt, state=State.PROCESSING)

    def _change(self, **fields: Any) -> None:
        """Change the run's row if it is still this writer's, and renew the lease."""
        fields = {"lease_expires_at": new_expiry()} | fields
        if not self._mine().update(**fields):
            self._is_over = True
            self._drop_files()
            folder.remove_strays(self.run, self.run.attempt)
            raise WriterLost(f"Run {self.run.number} was taken from its writer, failed or deleted.")
        self._pulse.renewed()
        for name, value in fields.items():
            setattr(self.run, name, value)

    def _alive(self) -> None:
        if self._pulse.is_due():
            self.renew()

    @contextmanager
    def _noticing_loss(self) -> Iterator[None]:
        # When a run is failed or deleted, the files of a writer that was taken for dead go as well.
        try:
            yield
        except FileNotFoundError:
            self.renew()
            raise

    def _must_not_be_over(self) -> None:
        if self._is_over:
            raise WrongUse(f"Run {self.run.number} is over for this writer; nothing can be added.")

    def _choose(self, way: _Way) -> None:
        self._must_not_be_over()
        if self._way not in {None, way}:
            raise WrongUse("A run is written from records or from ready pages, not from both.")
        self._way = way

    # Its files

    @property
    def _has_files(self) -> bool:
        return bool(self._page_count or self._list)

    def _key(self, what: str) -> str:
        return f"{folder.folder_of(self.run)}/{self.run.attempt}-{what}"

    def _new_file(self) -> NewFile:
        what = "list.json" if self._is_category else f"page-{self._page_count + 1:04}.json"
        return NewFile(self._key(what), self._alive)

    def _free_name(self, name: str) -> str:
        if name in self._names or (self._way is _Way.PAGES and self._list):
            raise WrongUse(f"The run has a file {name} already.")
        return name

    def _append(self, data: bytes) -> None:
        if self._file is None:
            self._begin_file()
        self._write((b",\n" if self._file_records else b"[\n") + data)
        self._file_records += 1

    def _write(self, data: bytes) -> None:
        assert self._file is not None
        self._file.write(data)
        if self._packed is not None:
            self._packed.write(data)

    def _begin_file(self) -> None:
        if self._is_category:
            self._file_name = names.CATEGORY_LIST
        else:
            name = names.page_name(self.run.collection.name, self.run.number, self._page_count + 1)
            self._file_name = self._free_name(name)
        with self._noticing_loss():
            self._file = self._new_file()
        self._begin_packing()
        self._file_records = 0
        if self._list is not None:
            # A category's run was paused: its list is one file, so it begins anew with what it had.
            earlier, self._list = self._list, None
            with results().open(earlier.key) as stored:
                for record in read_records(stored):
                    self._append(_serialised(record))

    def _end_file(self) -> None:
        if self._file is None:
            self._begin_file()  # no record at all: one file that says so
        assert self._file is not None
        with self._noticing_loss(), self._file as file:
            self._write(b"\n]\n" if self._file_records else b"[]\n")
        self._file = None
        self._keep(file, self._file_name, self._file_records)

    def _drop_files(self) -> None:
        if self._file is not None:
            self._file.discard()
            self._file = None
        self._drop_archive()

    def _keep(self, file: NewFile, name: str, records: int) -> None:
        """Give a page its row. A category's list gets its own when the run is finished or paused."""
        if self._is_category:
            self._list = file.row(FileKind.CATEGORY_LIST, 0, name, records)
            return
        page = file.row(FileKind.PAGE, self._page_count + 1, name, records)
        page.run = self.run
        with self._packing_or_none():
            self._pack(page)
            with transaction.atomic(durable=True):
                self._change(extracted=self._extracted, updated_at=timezone.now())
                page.save(force_insert=True)
        self._page_count += 1
        self._names.add(name)

    # Its ZIP

    def _begin_packing(self) -> Packed | None:
        """Deflate the page that begins, if the ZIP holds all pages before it."""
        if not self._is_category and (self._archive is not None or not self._page_count):
            self._packed = Packed()
        return self._packed

    def _pack(self, page: ResultFile) -> None:
        if self._packed is None:
            return
        if self._archive is None:
            self._archive = self._new_archive()
        self._archive.add(page, self._packed)
        self._drop_packed()

    @contextmanager
    def _packing_or_none(self) -> Iterator[None]:
        # A ZIP that may lack a page, or hold one that has no row, is of no use.
        try:
            yield
        except BaseException:
            self._drop_archive()
            raise

    def _drop_packed(self) -> None:
        if self._packed is not None:
            self._packed.close()
            self._packed = None

    def _drop_archive(self) -> None:
        self._drop_packed()
        if self._archive is not None:
            self._archive.discard()
            self._archive = None

    def _new_archive(self) -> Archive:
        return Archive(NewFile(self._key("archive.zip"), self._alive), self.run.created_at)

    def _finished_archive(self) -> ResultFile:
        """Return the row of the ZIP, which is made from the stored pages where it did not grow with them."""
        with self._noticing_loss(), self._packing_or_none():
            if self._archive is None:
                self._archive = self._new_archive()
                self._pack_stored(self._archive)
            self._archive.close()
        return self._archive.file.row(FileKind.ARCHIVE, 0, self._archive_name, None)

    def _pack_stored(self, archive: Archive) -> None:
        pages = self.run.files.filter(kind=FileKind.PAGE).order_by("position")
        last = 0
        while some := list(pages.filter(position__gt=last)[:_PAGES_AT_ONCE]):
            for page in some:
                archive.add_stored(page)
            with transaction.atomic(durable=True):
                self._change()
                ResultFile.objects.bulk_update(some, ["archive_offset", "archive_size", "crc32"])
            last = some[-1].position

    def _list_and_csv(self) -> list[ResultFile]:
        assert self._list is not None
        with (
            self._noticing_loss(),
            results().open(self._list.key) as stored,
            NewFile(self._key("list.csv"), self._alive) as file,
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
                f"{self._extracted} records were added to run {self.run.number}; its files hold {written}."
            )

    def _save_all_but_pages(self, files: list[ResultFile]) -> None:
        self.run.files.exclude(kind=FileKind.PAGE).delete()
        for file in files:
            file.pk, file.run = None, self.run
        ResultFile.objects.bulk_create(files)


def _check(page_size: int) -> None:
    if page_size < 1:
        raise ValueError(f"A page holds at least one record, not {page_size}.")


def _must_be_ours(collection: Collection) -> None:
    if collection.is_remote:
        raise WrongUse(
            f"The runs of {names.printable(collection.name)} come from an account; none can be added here."
        )


class _Copying:
    """A stream whose bytes are copied into a file, and deflated, as they are read."""

    def __init__(self, stream: Readable, copy: NewFile, packed: Packed | None) -> None:
        self._stream = stream
        self._copy = copy
        self._packed = packed

    def read(self, size: int, /) -> bytes:
        data = self._stream.read(size)
        if data:
            self._copy.write(data)
            if self._packed is not None:
                self._packed.write(data)
        return data


def _serialised(record: Mapping[str, Any]) -> bytes:
    try:
        return json.dumps(dict(record), ensure_ascii=False, allow_nan=False).encode()
    except UnicodeEncodeError:
        # Half a surrogate pair: JSON can hold it as an escape, UTF-8 can't.
        return json.dumps(dict(record), allow_nan=False).encode()
