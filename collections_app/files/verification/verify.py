"""Reads a run's files again: whether each of them is there, with the bytes that were written."""

import hashlib
import time
import zlib
from collections.abc import Callable, Iterable
from typing import BinaryIO

from collections_app.files.names import printable
from collections_app.files.verification.manifest import files_in_order
from collections_app.models import FileKind, ResultFile, Run, Verification
from collections_app.records.formats.recognition import BEGINNING, ENDING, NotRecognized, RecordList, Zip
from collections_app.sources import REPLACEMENT_HINT, ResultNotFound, SourceUnavailable, deliverable
from collections_app.sources.local import StoredBody

_BLOCK = 1024 * 1024
_NOTE_AFTER_SECONDS = 1.0
# A run of thousands of pages may have lost them all.
_MOST_NAMED = 50

Progress = Callable[[int], object]  # told how many bytes were read, each time that some were


class BeingVerified(Exception):
    """Somebody verifies this run just now; the message says so, in plain English."""


class Verifier:
    """The one that verifies a ready run, from when it is made."""

    def __init__(self, run: Run) -> None:
        """Take the run. Raises BeingVerified."""
        self._run = run
        self._files = files_in_order(run)
        self.total = sum(file.size or 0 for file in self._files if file.is_stored)
        verification = Verification.objects.begin(run, self.total)
        if verification is None:
            raise BeingVerified(f"Run {run.number} is being verified just now.")
        self._verification = verification
        self._done = 0
        self._noted_at = time.monotonic()

    def verify(self, progress: Progress = lambda size: None) -> list[str]:
        """Read everything, and note the result. Returns what is wrong and what to do, in sentences."""
        try:
            problems = list(self._problems(progress))
            if problems and not Run.objects.filter(pk=self._run.pk).exists():
                problems = []  # It was deleted meanwhile, and its files with it.
        except BaseException:
            self._verification.give_up()
            raise
        self._verification.finish(problems, _MOST_NAMED)
        return problems

    def _problems(self, progress: Progress) -> Iterable[str]:
        for file in self._files:
            problem = self._problem(file, progress)
            if problem:
                yield f"{printable(file.name)}: {problem}"

    def _problem(self, file: ResultFile, progress: Progress) -> str:
        try:
            return self._problem_of_copy(file, progress) if file.is_stored else _look(file)
        except ResultNotFound as problem:
            return str(problem)
        except SourceUnavailable as problem:
            return f"It can't be read now. {problem}"
        except OSError as problem:
            return f"It can't be read ({problem.strerror or type(problem).__name__}). Is the disk damaged?"

    def _problem_of_copy(self, file: ResultFile, progress: Progress) -> str:
        """Read a stored file. Mark it as damaged or not if the account has another copy."""
        try:
            problem = self._read(file, progress)
        except ResultNotFound as missing:
            problem = str(missing)
        if not self._run.collection.is_remote:
            return f"{problem} Restore it from a backup." if problem else ""
        if bool(problem) != file.is_damaged:
            # Unless it has been replaced meanwhile.
            same = ResultFile.objects.filter(pk=file.pk, key=file.key)
            if same.update(is_damaged=bool(problem)):
                Run.objects.filter(pk=self._run.pk).update(is_kept=False)
        return f"{problem} {REPLACEMENT_HINT}" if problem else ""

    def _read(self, file: ResultFile, progress: Progress) -> str:
        size = file.size or 0
        with StoredBody(file.key, size).open(0, size) as stream:
            reading = _Reading(stream, size, lambda more: self._read_so_far(more, progress))
            problem = _problem_of_content(file, reading)
        if reading.left or (file.sha256 and reading.digest.hexdigest() != file.sha256):
            return "Its bytes are not those that were written."
        if not problem and file.crc32 is None:
            # It was written before this was noted; ZIPs of several runs need it.
            ResultFile.objects.filter(pk=file.pk, crc32=None).update(crc32=reading.crc32)
        return problem

    def _read_so_far(self, size: int, progress: Progress) -> None:
        progress(size)
        self._note(size)

    def _note(self, size: int) -> None:
        self._done += size
        if time.monotonic() - self._noted_at > _NOTE_AFTER_SECONDS:
            self._verification.note_progress(self._done)
            self._noted_at = time.monotonic()


class _Reading:
    """A stored file while it is read. It stops at the file's size and digests the bytes."""

    def __init__(self, stream: BinaryIO, size: int, progress: Progress) -> None:
        self._stream = stream
        self._progress = progress
        self.left = size
        self.digest = hashlib.sha256()
        self.crc32 = 0
        self.beginning = b""
        self.ending = b""

    def read(self, size: int, /) -> bytes:
        """Return the next bytes, at most `size`; nothing at the end."""
        data = self._stream.read(min(size, self.left))
        self.left -= len(data)
        self.digest.update(data)
        self.crc32 = zlib.crc32(data, self.crc32)
        self.beginning = self.beginning or data[:BEGINNING]
        self.ending = (self.ending + data[-ENDING:])[-ENDING:]
        self._progress(len(data))
        return data

    def read_rest(self) -> None:
        """Read to the end."""
        while self.read(_BLOCK):
            pass


def _problem_of_content(file: ResultFile, reading: _Reading) -> str:
    """Read a file to its end. Return a problem if its content isn't the expected kind of file."""
    try:
        if file.remote_name and file.has_records:
            RecordList(wrapped=file.kind == FileKind.CATEGORY_LIST).count(reading)
        reading.read_rest()
        if file.remote_name and file.kind == FileKind.ARCHIVE:
            Zip().check_ends(reading.beginning, reading.ending)
    except NotRecognized as found:
        reading.read_rest()
        return f"The account sent {found} in place of this file."
    return ""


def _look(file: ResultFile) -> str:
    """Ask the account for the first bytes of a file, and for its size, without fetching the rest."""
    if not file.remote_name:
        return ""  # It is made here whenever it is asked for.
    there = deliverable(file)
    there.body.open(0, min(BEGINNING, there.size)).close()
    return ""
