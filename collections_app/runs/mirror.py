"""Copies a ready run's files from an account into the results storage, byte for byte.

What was copied is served from here from then on, and outlives the account's. Killed anywhere, the next
mirror goes on with the files that are missing:

- A file is written aside, synced, renamed and read back; only then does its row say where it is.
- The run holds the token of its one mirror and a lease, as it does for a writer. A file's row is changed only
  while the run is still this mirror's, so that one that was taken for dead does no harm when it goes on.
- What a killed mirror leaves behind is removed by the next one, and by `repair`.

A damaged copy stays until a complete one replaces it.
"""

import hashlib
import struct
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import IO, BinaryIO, Self, cast

from django.db import transaction
from django.db.models import Exists, OuterRef, Q

from collections_app.files.names import printable
from collections_app.files.storage.base import check_free_space, results
from collections_app.models import FileKind, ResultFile, Run, State
from collections_app.models.runs import RunQuerySet
from collections_app.records.formats.category_csv import convert_category_list
from collections_app.records.formats.json_records import InvalidRecords
from collections_app.records.formats.recognition import BEGINNING, ENDING, NotRecognized, RecordList, Zip
from collections_app.runs import folder
from collections_app.runs.lease import Pulse, RunIsBeingWritten, WriterLost, lapsed, new_attempt, new_expiry
from collections_app.runs.new_file import NewFile
from collections_app.sources.base import FileUnavailable, NotTheFile, ResultSource

_BLOCK = 256 * 1024
# The CSV is made from the list, and the ZIP is compared with the pages.
_ORDER = [FileKind.PAGE, FileKind.CATEGORY_LIST, FileKind.CATEGORY_CSV, FileKind.ARCHIVE]
_CANNOT_BE_MADE_ALONE = {FileKind.CATEGORY_CSV, FileKind.ARCHIVE}
# What zipfile unpacks in bounded memory.
_BOUNDED = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
_ENCRYPTED = 0x1
# Where a member's header says how long the name and the extra field are that follow it.
_LENGTHS_AT = 26
_HEADER_SIZE = 30

# The fields of a file's row that change when it is kept.
_KEPT = ["key", "size", "sha256", "crc32", "records", "modified", "list_start", "list_end", "is_damaged"]

Progress = Callable[[int], object]  # told how many bytes have come, each time that some have


def mirror_run(run: Run, source: ResultSource, *, progress: Progress = lambda size: None) -> list[str]:
    """Copy the files of a ready run that are missing or damaged in the results storage.

    Return a sentence for each file that the source doesn't have or sends wrongly. Raises RunIsBeingWritten,
    WriterLost, SourceUnavailable, OSError (such as a full disk); the files that were copied before stay.
    Can't be used inside a transaction.
    """
    problems: list[str] = []
    with _Mirror(run, source, progress) as mirror:
        for file in mirror.missing():
            if file.kind in _CANNOT_BE_MADE_ALONE and problems:
                break
            try:
                mirror.copy(file)
            except FileUnavailable as error:
                problems.append(f"{printable(file.name)}: {error}")
    return problems


class _Mirror:
    """The one that copies a run's files, for as long as the `with` block lasts."""

    def __init__(self, run: Run, source: ResultSource, progress: Progress) -> None:
        self._run = run
        self._source = source
        self._progress = progress
        self._attempt = new_attempt()
        self._pulse = Pulse()

    def __enter__(self) -> Self:
        """Take the run. Raises RunIsBeingWritten, WriterLost (it is deleted)."""
        ready = Run.objects.filter(pk=self._run.pk, state=State.READY)
        taken = {"attempt": self._attempt, "lease_expires_at": new_expiry()}
        if not (ready.filter(lease_expires_at=None) | ready.filter(lapsed())).update(**taken):
            if ready.exists():
                # A mirror that was killed can't be told from one that is busy.
                raise RunIsBeingWritten(
                    "It is being copied by somebody else, or was until a moment ago. Try again in a minute."
                )
            raise WriterLost("It was deleted.")
        folder.remove_strays(self._run)
        self._files = list(self._run.files.order_by("position"))
        self._files.sort(key=lambda file: _ORDER.index(FileKind(file.kind)))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the run back, and note whether all of its files are here."""
        elsewhere = ResultFile.objects.filter(Q(key="") | Q(is_damaged=True), run=OuterRef("pk"))
        self._mine().update(lease_expires_at=None, is_kept=~Exists(elsewhere))

    def missing(self) -> Iterator[ResultFile]:
        """Yield the missing and damaged files. Replacing a page adds the ZIP to them."""
        return (file for file in self._files if not file.is_stored or file.is_damaged)

    def copy(self, file: ResultFile) -> None:
        """Copy a file. Raises WriterLost, OSError, and what its source raises."""
        with self._noticing_loss():
            if file.kind == FileKind.CATEGORY_CSV:
                new, records = self._made_csv()
            else:
                new, records = self._copied(file)
            try:
                self._check_what_is_stored(new)
                pages = self._placed_in_archive(new) if file.kind == FileKind.ARCHIVE else []
                self._keep(file, new, records, pages)
            except BaseException:
                self._remove_unless_kept(new)
                raise

    def _mine(self) -> RunQuerySet:
        return Run.objects.filter(pk=self._run.pk, attempt=self._attempt, state=State.READY)

    def _renew(self) -> None:
        if not self._mine().update(lease_expires_at=new_expiry()):
            raise WriterLost("It was given to somebody else or deleted.")
        self._pulse.renewed()

    def _alive(self) -> None:
        if self._pulse.is_due():
            self._renew()

    @contextmanager
    def _noticing_loss(self) -> Iterator[None]:
        # Who takes a run from a mirror that seems dead removes what that one has written.
        try:
            yield
        except FileNotFoundError:
            self._renew()
            raise

    def _new_file(self, what: str) -> NewFile:
        return NewFile(f"{folder.folder_of(self._run)}/{self._attempt}-{what}", self._alive)

    def _copied(self, file: ResultFile) -> tuple[NewFile, int | None]:
        if file.is_damaged:
            file.size = None  # it was the size of the copy
        size = self._source.size(file)
        check_free_space(size)
        self._alive()
        with self._source.body(file).open(0, size) as stream, self._new_file(_what(file)) as new:
            coming = _Coming(stream, size, new, self._progress)
            records = None if file.kind == FileKind.ARCHIVE else self._count(file, coming)
            coming.finish()
        return new, records

    def _count(self, file: ResultFile, coming: "_Coming") -> int:
        """Count the records as they come."""
        try:
            return RecordList(wrapped=file.kind == FileKind.CATEGORY_LIST).count(coming)
        except NotRecognized as problem:
            # Where it came short, that is what is wrong with it.
            coming.finish()
            raise NotTheFile(f"The account sent {problem} instead of this file.") from None

    def _made_csv(self) -> tuple[NewFile, int | None]:
        full_list = next(file for file in self._files if file.kind == FileKind.CATEGORY_LIST)
        try:
            with results().open(full_list.key) as stored, self._new_file("list.csv") as new:
                convert_category_list(stored, cast(BinaryIO, new))
        except InvalidRecords as error:
            raise NotTheFile(f"It can't be made, as the list is damaged ({error}).") from None
        return new, full_list.records

    def _check_what_is_stored(self, new: NewFile) -> None:
        with results().open(new.key) as stored:
            if self._digest(stored, new.size) != new.sha256:
                raise NotTheFile("What was stored reads differently. Is the disk damaged?")

    def _digest(self, stream: IO[bytes], size: int) -> str:
        """Return the SHA-256 of a stream of that size, or "" for one that is longer."""
        digest = hashlib.sha256()
        while data := stream.read(_BLOCK):
            self._alive()
            digest.update(data)
            size -= len(data)
            if size < 0:
                return ""
        return digest.hexdigest()

    def _placed_in_archive(self, new: NewFile) -> list[ResultFile]:
        """Return the pages, with where their bytes lie in a ZIP that holds them and nothing else."""
        pages = {page.remote_name: page for page in self._files if page.kind == FileKind.PAGE}
        try:
            with results().open(new.key) as stored, zipfile.ZipFile(stored) as archive:
                _check_ends(stored, new.size)
                members = [member for member in archive.infolist() if not member.is_dir()]
                _check_names(members, pages)
                for member in members:
                    self._place(pages[member.filename], member, archive, stored)
        except (NotTheFile, WriterLost, OSError):
            raise
        except Exception as error:  # noqa: BLE001  # zipfile raises anything for bytes that are damaged
            reason = printable(str(error)).rstrip(".") or type(error).__name__
            raise NotTheFile(f"The ZIP is damaged ({reason}).") from None
        return list(pages.values())

    def _place(
        self, page: ResultFile, member: zipfile.ZipInfo, archive: zipfile.ZipFile, stored: IO[bytes]
    ) -> None:
        if member.flag_bits & _ENCRYPTED or member.compress_type not in _BOUNDED:
            raise NotTheFile("The ZIP is of an unknown kind.")
        with archive.open(member) as unpacked:
            if self._digest(unpacked, page.size or 0) != page.sha256:
                raise NotTheFile(
                    f"The ZIP holds another {printable(page.name)} than the page that was copied."
                )
        if member.compress_type == zipfile.ZIP_DEFLATED:
            stored.seek(member.header_offset + _LENGTHS_AT)
            lengths = struct.unpack("<HH", stored.read(4))
            page.archive_offset = member.header_offset + _HEADER_SIZE + sum(lengths)
            page.archive_size, page.crc32 = member.compress_size, member.CRC

    def _keep(self, file: ResultFile, new: NewFile, records: int | None, pages: Iterable[ResultFile]) -> None:
        row = new.row(FileKind(file.kind), file.position, file.name, records)
        replaced = file.key
        with transaction.atomic(durable=True):
            self._renew()
            there = ResultFile.objects.filter(pk=file.pk, key=file.key)
            if not there.update(**{name: getattr(row, name) for name in _KEPT}):
                raise WriterLost(f"{printable(file.name)} was kept by somebody else.")
            ResultFile.objects.bulk_update(pages, ["archive_offset", "archive_size", "crc32"], 100)
            if replaced and file.has_records and file.sha256 != row.sha256:
                self._discard_derived_files()
        for name in _KEPT:
            setattr(file, name, getattr(row, name))
        if replaced:
            folder.remove_strays(self._run)

    def _discard_derived_files(self) -> None:
        """Have the ZIP or CSV made again: it contains the records of the replaced file."""
        nowhere = {"key": "", "size": None, "sha256": "", "crc32": None, "is_damaged": False}
        self._run.files.update(archive_offset=None, archive_size=None)
        self._run.files.filter(kind__in=_CANNOT_BE_MADE_ALONE).update(**nowhere)
        for file in self._files:
            file.archive_offset = file.archive_size = None
            if file.kind in _CANNOT_BE_MADE_ALONE:
                vars(file).update(nowhere)

    def _remove_unless_kept(self, new: NewFile) -> None:
        # Whether a commit that failed came through can't be told: then the file stays until a repair.
        with suppress(Exception):
            if not ResultFile.objects.filter(key=new.key).exists():
                results().delete(new.key)


def _check_ends(stored: IO[bytes], size: int) -> None:
    # zipfile ignores bytes before and after a ZIP.
    stored.seek(0)
    beginning = stored.read(BEGINNING)
    stored.seek(max(0, size - ENDING))
    try:
        Zip().check_ends(beginning, stored.read())
    except NotRecognized as problem:
        raise NotTheFile(f"The account sent {problem} instead of this file.") from None


def _check_names(members: list[zipfile.ZipInfo], pages: Iterable[str]) -> None:
    if sorted(member.filename for member in members) != sorted(pages):
        raise NotTheFile("The ZIP doesn't hold the pages of the run.")


def _what(file: ResultFile) -> str:
    """Return what a file is called in the storage."""
    match file.kind:
        case FileKind.PAGE:
            return f"page-{file.position:04}.json"
        case FileKind.ARCHIVE:
            return "archive.zip"
    return "list.json"


class _Coming:
    """A file's bytes as they come, copied on the way: neither more nor fewer than were announced."""

    def __init__(self, stream: BinaryIO, size: int, copy: NewFile, progress: Progress) -> None:
        self._stream = stream
        self._left = self._size = size
        self._copy = copy
        self._progress = progress

    def read(self, size: int, /) -> bytes:
        """Return the next bytes, at most `size`; nothing at the end."""
        data = self._take(min(size, self._left)) if self._left else b""
        if data:
            self._copy.write(data)
            self._left -= len(data)
            self._progress(len(data))
        return data

    def finish(self) -> None:
        """Take what is left. Raises NotTheFile where the stream ends early or goes on."""
        while self.read(_BLOCK):
            pass
        if self._left:
            raise NotTheFile(self._so_far())
        if self._take(1):
            raise NotTheFile(f"More came than the {self._size:,} bytes that were announced.")

    def _take(self, size: int) -> bytes:
        # Of what can go wrong here, only the network raises this; the disk is written to elsewhere.
        try:
            return self._stream.read(size)
        except OSError:
            raise NotTheFile(self._so_far()) from None

    def _so_far(self) -> str:
        return f"Only {self._size - self._left:,} of {self._size:,} bytes came."
