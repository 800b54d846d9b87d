"""Read the files of a run again, and check that each has the bytes that were written."""

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
# A run may have lost thousands of pages.
_MOST_NAMED = 50

Progress = Callable[[int], object]  # called with the number of bytes that were read


class VerificationBusy(Exception):
    """The run is already being verified. The message is for users."""


class Verifier:
    """Verify a ready run. Only one verifier at a time can exist for a run."""

    def __init__(self, run: Run) -> None:
        """Claim the run. Raises VerificationBusy."""
        self._run = run
        self._files = files_in_order(run)
        self.total = sum(file.size or 0 for file in self._files if file.is_stored)
        verification = Verification.objects.begin(run, self.total)
        if verification is None:
            raise VerificationBusy(f"Run {run.number} is already being verified.")
        self._verification = verification
        self._done = 0
        self._noted_at = time.monotonic()

    def verify(self, progress: Progress = lambda size: None) -> list[str]:
        """Read all files and save the result. Return the problems, in sentences."""
        try:
            problems = list(self._problems(progress))
            if problems and not Run.objects.filter(pk=self._run.pk).exists():
                problems = []  # The run and its files have been deleted in the meantime.
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
            return self._problem_of_copy(file, progress) if file.is_stored else _check_remote(file)
        except ResultNotFound as problem:
            return str(problem)
        except SourceUnavailable as problem:
            return f"The file can't be read now. {problem}"
        except OSError as problem:
            reason = problem.strerror or type(problem).__name__
            return f"The file can't be read ({reason}). The disk may be damaged."

    def _problem_of_copy(self, file: ResultFile, progress: Progress) -> str:
        """Read a stored file. If the account has another copy, record whether this one is damaged."""
        try:
            problem = self._read(file, progress)
        except ResultNotFound as missing:
            problem = str(missing)
        if not self._run.collection.is_remote:
            return f"{problem} Restore it from a backup." if problem else ""
        if bool(problem) != file.is_damaged:
            # Unless it has been replaced in the meantime.
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
            return "The content has changed since the file was written."
        if not problem and file.crc32 is None:
            # Early releases didn't record it. ZIPs of several runs need it.
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
    """A stored file that is being read to its recorded size, and hashed."""

    def __init__(self, stream: BinaryIO, size: int, progress: Progress) -> None:
        self._stream = stream
        self._progress = progress
        self.left = size
        self.digest = hashlib.sha256()
        self.crc32 = 0
        self.beginning = b""
        self.ending = b""

    def read(self, size: int, /) -> bytes:
        """Return the next bytes, at most `size`, or nothing at the end."""
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
    """Read a file to its end. Return a problem if it isn't the expected kind of file."""
    try:
        if file.remote_name and file.has_records:
            RecordList(wrapped=file.kind == FileKind.CATEGORY_LIST).count(reading)
        reading.read_rest()
        if file.remote_name and file.kind == FileKind.ARCHIVE:
            Zip().check_ends(reading.beginning, reading.ending)
    except NotRecognized as found:
        reading.read_rest()
        return f"The account sent {found} instead of this file."
    return ""


def _check_remote(file: ResultFile) -> str:
    """Request the size and the first bytes of a file at an account, without downloading the rest."""
    if not file.remote_name:
        return ""  # We generate this file for each request.
    remote = deliverable(file)
    remote.body.open(0, min(BEGINNING, remote.size)).close()
    return ""
