"""Reads a run's files again: whether each of them is there, with the bytes that were written."""

import hashlib
import time
import zlib
from collections.abc import Callable, Iterable

from collections_app.formats.file_names import printable
from collections_app.models import ResultFile, Run, Verification
from collections_app.proof.manifest import files_in_order
from collections_app.sources import ResultNotFound, SourceUnavailable, deliverable

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
        for file in self._files:
            file.run = run
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
            return self._read(file, progress) if file.is_stored else _look(file)
        except ResultNotFound as problem:
            hint = " Restore it from a backup." if file.is_stored else ""
            return f"{problem}{hint}"
        except SourceUnavailable as problem:
            return f"It can't be read now. {problem}"
        except OSError as problem:
            return f"It can't be read ({problem.strerror or type(problem).__name__}). Is the disk damaged?"

    def _read(self, file: ResultFile, progress: Progress) -> str:
        stored = deliverable(file)
        digest, crc32, left = hashlib.sha256(), 0, stored.size
        with stored.body.open(0, stored.size) as stream:
            while left and (data := stream.read(min(_BLOCK, left))):
                digest.update(data)
                crc32 = zlib.crc32(data, crc32)
                left -= len(data)
                progress(len(data))
                self._note(len(data))
        if left or (file.sha256 and digest.hexdigest() != file.sha256):
            return "Its bytes are not those that were written. Restore it from a backup."
        if file.crc32 is None:
            # It was written before this was noted; ZIPs of several runs need it.
            ResultFile.objects.filter(pk=file.pk, crc32=None).update(crc32=crc32)
        return ""

    def _note(self, size: int) -> None:
        self._done += size
        if time.monotonic() - self._noted_at > _NOTE_AFTER_SECONDS:
            self._verification.note_progress(self._done)
            self._noted_at = time.monotonic()


def _look(file: ResultFile) -> str:
    """Ask the account for a file's first byte, which tells its size too; the whole isn't fetched."""
    if not file.remote_name:
        return ""  # It is made here whenever it is asked for.
    there = deliverable(file)
    there.body.open(0, min(1, there.size)).close()
    return ""
