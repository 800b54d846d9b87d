"""Copy a ready run's files from an account to the results storage, byte for byte.

Copied files are served from here from then on, and stay if the account removes its own. After a mirror is
killed, the next one copies the remaining files:

- A file is written under another name, synced, renamed and read again. Only then is its key saved in its row.
- The run's row contains the token of its only mirror and the mirror's lease, as it does for a writer. Every
  change depends on them, so a mirror that has lost its run changes nothing.
- The next mirror and `repair` remove what a killed mirror leaves behind.

A damaged copy stays until a complete one replaces it.
"""

import hashlib
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from types import TracebackType
from typing import IO, BinaryIO, Self, cast

from django.db import transaction
from django.db.models import Exists, OuterRef, Q
from django.template.defaultfilters import filesizeformat

from collections_app.files.names import printable
from collections_app.files.storage.base import check_free_space, results
from collections_app.files.zip import has_bounded_method, is_encrypted, location_of
from collections_app.models import FileKind, ResultFile, Run, Slice, State
from collections_app.records.formats.category_csv import convert_category_list
from collections_app.records.formats.json_records import InvalidRecords
from collections_app.records.formats.recognition import BEGINNING, ENDING, NotRecognized, RecordList, Zip
from collections_app.runs import folder
from collections_app.runs.lease import Lease, LeaseLost, RunIsBeingWritten, lapsed, new_attempt, new_expiry
from collections_app.runs.new_file import NewFile
from collections_app.sources.base import FileUnavailable, NotTheFile, ResultSource

_BLOCK = 256 * 1024
# The CSV is created from the list, and the ZIP is compared with the pages.
_ORDER = [FileKind.PAGE, FileKind.CATEGORY_LIST, FileKind.CATEGORY_CSV, FileKind.ARCHIVE]
_DERIVED = {FileKind.CATEGORY_CSV, FileKind.ARCHIVE}

# The fields of a file's row that depend on the copy.
_COPY_FIELDS = [
    "key",
    "size",
    "sha256",
    "crc32",
    "records",
    "modified",
    "list_start",
    "list_end",
    "is_damaged",
]

Progress = Callable[[int], object]  # called with the number of bytes that just arrived


def mirror_run(run: Run, source: ResultSource, *, progress: Progress = lambda size: None) -> list[str]:
    """Copy the files of a ready run that are missing or damaged in the results storage.

    Return a sentence for each file that the source doesn't have or sends wrongly. If the disk has no room for
    a file, return that as well, and leave out the remaining files. Raises RunIsBeingWritten, LeaseLost,
    SourceUnavailable, OSError (such as a full disk); the files that were copied before stay. Can't be used
    inside a transaction.
    """
    problems: list[str] = []
    with _Mirror(run, source, progress) as mirror:
        for file in mirror.missing():
            if file.kind in _DERIVED and problems:
                break
            try:
                mirror.copy(file)
            except FileUnavailable as error:
                problems.append(f"{printable(file.name)}: {error}")
                if isinstance(error, _NoRoom):
                    break
    return problems


class _NoRoom(FileUnavailable):
    """The disk has room for other files, but not for this one."""


class _Mirror:
    """Copies a run's files while its `with` block lasts."""

    def __init__(self, run: Run, source: ResultSource, progress: Progress) -> None:
        self._run = run
        self._source = source
        self._progress = progress

    def __enter__(self) -> Self:
        """Take the run's lease. Raises RunIsBeingWritten, LeaseLost (if the run is deleted)."""
        attempt = new_attempt()
        ready = Run.objects.filter(pk=self._run.pk, state=State.READY)
        taken = {"attempt": attempt, "lease_expires_at": new_expiry()}
        if not (ready.filter(lease_expires_at=None) | ready.filter(lapsed())).update(**taken):
            if ready.exists():
                raise RunIsBeingWritten(
                    "Another process is copying it, or was stopped while it did. Try again in a minute."
                )
            raise LeaseLost("It was deleted.")
        self._lease = Lease(self._run, attempt, State.READY)
        folder.remove_strays(self._run)
        self._files = list(self._run.files.order_by("position"))
        self._files.sort(key=lambda file: _ORDER.index(FileKind(file.kind)))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Release the run, and record whether all of its files are stored here."""
        elsewhere = ResultFile.objects.filter(Q(key="") | Q(is_damaged=True), run=OuterRef("pk"))
        has_slice = Slice.objects.ready().filter(run=OuterRef("pk"))
        self._lease.held_run.update(
            lease_expires_at=None, is_kept=~Exists(elsewhere), needs_slice=~Exists(has_slice)
        )

    def missing(self) -> Iterator[ResultFile]:
        """Yield the missing and damaged files. Replacing a page adds the ZIP to them."""
        return (file for file in self._files if not file.is_stored or file.is_damaged)

    def copy(self, file: ResultFile) -> None:
        """Copy a file. Raises FileUnavailable, SourceUnavailable, LeaseLost, OSError."""
        with self._lease.checked_if_files_vanish():
            if file.kind == FileKind.CATEGORY_CSV:
                new, records = self._converted_list()
            else:
                new, records = self._copied(file)
            try:
                self._check_stored(new)
                pages = self._pages_located_in(new) if file.kind == FileKind.ARCHIVE else []
                self._save(file, new, records, pages)
            except BaseException:
                self._remove_unless_saved(new)
                raise

    def _copied(self, file: ResultFile) -> tuple[NewFile, int | None]:
        if file.is_damaged:
            file.size = None  # it was the size of the copy
        size = self._source.size(file)
        check_free_space(0)
        _check_fits(size)
        self._lease.renew_if_due()
        with (
            self._source.body(file).open(0, size) as stream,
            self._lease.new_file(_stored_name(file)) as new,
        ):
            copying = _Copying(stream, size, new, self._progress)
            records = None if file.kind == FileKind.ARCHIVE else self._count(file, copying)
            copying.finish()
        return new, records

    def _count(self, file: ResultFile, copying: "_Copying") -> int:
        """Count the records while they are copied."""
        try:
            return RecordList(wrapped=file.kind == FileKind.CATEGORY_LIST).count(copying)
        except NotRecognized as problem:
            # If the file is too short, finish() reports that instead, because it is the cause.
            copying.finish()
            raise NotTheFile(f"The account sent {problem} instead of this file.") from None

    def _converted_list(self) -> tuple[NewFile, int | None]:
        full_list = next(file for file in self._files if file.kind == FileKind.CATEGORY_LIST)
        try:
            with results().open(full_list.key) as stored, self._lease.new_file("list.csv") as new:
                convert_category_list(stored, cast(BinaryIO, new))
        except InvalidRecords as error:
            raise NotTheFile(f"It can't be created because the list is damaged ({error}).") from None
        return new, full_list.records

    def _check_stored(self, new: NewFile) -> None:
        with results().open(new.key) as stored:
            if self._digest(stored, new.size) != new.sha256:
                raise NotTheFile("The stored copy differs from what was written. Is the disk damaged?")

    def _digest(self, stream: IO[bytes], size: int) -> str:
        """Return the SHA-256 of a stream, or "" if it is longer than `size`."""
        digest = hashlib.sha256()
        while data := stream.read(_BLOCK):
            self._lease.renew_if_due()
            digest.update(data)
            size -= len(data)
            if size < 0:
                return ""
        return digest.hexdigest()

    def _pages_located_in(self, new: NewFile) -> list[ResultFile]:
        """Return the pages with their locations in a ZIP, which must contain them and nothing else."""
        pages = {page.remote_name: page for page in self._files if page.kind == FileKind.PAGE}
        try:
            with results().open(new.key) as stored, zipfile.ZipFile(stored) as archive:
                _check_ends(stored, new.size)
                members = [member for member in archive.infolist() if not member.is_dir()]
                _check_names(members, pages)
                for member in members:
                    self._locate(pages[member.filename], member, archive, stored)
        except (NotTheFile, LeaseLost, OSError):
            raise
        except Exception:  # noqa: BLE001  # zipfile raises any exception for damaged bytes
            raise NotTheFile("The ZIP is damaged.") from None
        return list(pages.values())

    def _locate(
        self, page: ResultFile, member: zipfile.ZipInfo, archive: zipfile.ZipFile, stored: IO[bytes]
    ) -> None:
        if is_encrypted(member) or not has_bounded_method(member):
            raise NotTheFile("The ZIP is encrypted or unsupported.")
        with archive.open(member) as content:
            if self._digest(content, page.size or 0) != page.sha256:
                raise NotTheFile(f"In the ZIP, {printable(page.name)} differs from the copied page.")
        if member.compress_type == zipfile.ZIP_DEFLATED:
            page.archive_offset, page.archive_size, page.crc32 = location_of(member, stored)

    def _save(self, file: ResultFile, new: NewFile, records: int | None, pages: Iterable[ResultFile]) -> None:
        row = new.row(FileKind(file.kind), file.position, file.name, records)
        replaced = file.key
        with transaction.atomic(durable=True):
            self._lease.renew()
            unchanged = ResultFile.objects.filter(pk=file.pk, key=file.key)
            if not unchanged.update(**{name: getattr(row, name) for name in _COPY_FIELDS}):
                raise LeaseLost(f"Another process has saved {printable(file.name)}.")
            ResultFile.objects.bulk_update(pages, ["archive_offset", "archive_size", "crc32"], 100)
            if replaced and file.has_records and file.sha256 != row.sha256:
                self._discard_derived_files()
        for name in _COPY_FIELDS:
            setattr(file, name, getattr(row, name))
        if replaced:
            folder.remove_strays(self._run)

    def _discard_derived_files(self) -> None:
        """Have the ZIP or CSV copied again, because it contains the records of the replaced file."""
        not_stored = {"key": "", "size": None, "sha256": "", "crc32": None, "is_damaged": False}
        self._run.files.update(archive_offset=None, archive_size=None)
        self._run.files.filter(kind__in=_DERIVED).update(**not_stored)
        for file in self._files:
            file.archive_offset = file.archive_size = None
            if file.kind in _DERIVED:
                vars(file).update(not_stored)

    def _remove_unless_saved(self, new: NewFile) -> None:
        # A commit that raised an error may have succeeded. If that's unknown, repair removes the file.
        with suppress(Exception):
            if not ResultFile.objects.filter(key=new.key).exists():
                results().delete(new.key)


def _check_fits(size: int) -> None:
    """Raise _NoRoom if the disk has no room for a file of this size."""
    try:
        check_free_space(size)
    except OSError:
        needed = filesizeformat(size).replace("\xa0", " ")
        raise _NoRoom(f"The disk has no room for its {needed}. Free up space, then try again.") from None


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
        raise NotTheFile("The ZIP doesn't contain exactly the run's pages.")


def _stored_name(file: ResultFile) -> str:
    match file.kind:
        case FileKind.PAGE:
            return f"page-{file.position:04}.json"
        case FileKind.ARCHIVE:
            return "archive.zip"
    return "list.json"


class _Copying:
    """A stream that is copied while it is read. It must have exactly the announced size."""

    def __init__(self, stream: BinaryIO, size: int, copy: NewFile, progress: Progress) -> None:
        self._stream = stream
        self._left = self._size = size
        self._copy = copy
        self._progress = progress

    def read(self, size: int, /) -> bytes:
        """Return at most `size` bytes, or nothing at the end."""
        data = self._take(min(size, self._left)) if self._left else b""
        if data:
            self._copy.write(data)
            self._left -= len(data)
            self._progress(len(data))
        return data

    def finish(self) -> None:
        """Copy the rest. Raises NotTheFile if the stream is shorter or longer than announced."""
        while self.read(_BLOCK):
            pass
        if self._left:
            raise NotTheFile(self._too_short())
        if self._take(1):
            raise NotTheFile(f"More than the announced {self._size:,} bytes arrived.")

    def _take(self, size: int) -> bytes:
        # Here, only the network raises OSError.
        try:
            return self._stream.read(size)
        except OSError:
            raise NotTheFile(self._too_short()) from None

    def _too_short(self) -> str:
        return f"Only {self._size - self._left:,} of {self._size:,} bytes arrived."
