"""The first records of a run, from the first bytes of its first file: nothing is prepared for them."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import IO, Any

from collections_app.files.storage.cache import BuildFailed, cached, existing
from collections_app.models import ResultFile
from collections_app.records.formats.json_records import InvalidRecords, read_values
from collections_app.records.preview.concurrency import asker
from collections_app.records.preview.records import Record, fields_of, identity
from collections_app.records.reading import FileStream, open_file
from collections_app.sources import ResultNotFound, SourceTimeout, SourceUnavailable
from collections_app.system.background import Background, StillWorking

COUNT = 100
# So many bytes are read of each file at most, and so many files: an account is asked for each of them.
WINDOW = 1024 * 1024
_MOST_FILES = 4
# How long a page waits for an account. What comes later is there at the next look.
SECONDS = 1.5

_SLOW = "MultiCartAPI is slow to respond."


@dataclass(frozen=True)
class First:
    """The first records, and why there are not more of them."""

    records: Sequence[Record]
    is_all: bool = False  # the run has no others
    problem: str = ""  # why some couldn't be read, in plain sentences
    is_late: bool = False  # they may be there in a moment
    is_beyond: bool = False  # the very first one ends beyond what is read


_background = Background("preview-first", most=16)


def first_records(files: Sequence[ResultFile]) -> First:
    """Return the first records of a run's files.

    What is in our own storage is read at once. An account is asked in the background, for the first bytes
    alone, which are kept in the cache; who asks waits a moment at most.
    """
    try:
        if all(_is_at_hand(file) for file in files[:1]):
            return _read(files)
        return _background.done_within(SECONDS, identity(files[0]), lambda: _read(files), owner=asker())
    except StillWorking:
        return First([], problem=_SLOW, is_late=True)
    except (ResultNotFound, SourceUnavailable) as problem:
        return First([], problem=str(problem), is_late=isinstance(problem, SourceTimeout))


def _is_at_hand(file: ResultFile) -> bool:
    if file.is_stored:
        return True
    entry = existing(_name(file))
    if entry is not None:
        entry.close()
    return entry is not None


def _read(files: Sequence[ResultFile]) -> First:
    values: list[Any] = []
    for place, file in enumerate(files[:_MOST_FILES]):
        window, size = _window(file)
        with window:
            problem = _take(window, values, is_cut=size > WINDOW)
        if size > WINDOW and not values:
            return First([], is_beyond=True)
        is_last = place == len(files) - 1
        if len(values) > COUNT or problem or size > WINDOW:
            is_all = is_last and not problem and size <= WINDOW and len(values) <= COUNT
            return First(_numbered(values), is_all=is_all, problem=problem and f"{file.name}: {problem}")
    return First(_numbered(values), is_all=len(files) <= _MOST_FILES)


def _numbered(values: Sequence[Any]) -> list[Record]:
    return [Record(number, fields_of(value)) for number, value in enumerate(values[:COUNT], 1)]


def _take(window: FileStream, values: list[Any], *, is_cut: bool) -> str:
    """Add a file's values to those before it, and return why there are not more of them."""
    try:
        # One more than is shown: that tells whether there are more.
        values.extend(islice(read_values(window), COUNT + 1 - len(values)))
    except InvalidRecords as error:
        if not is_cut:
            return f"{error}."
    return ""


def _window(file: ResultFile) -> tuple[FileStream, int]:
    """Return a file's first bytes, and how many it has, or at least has where that is more than these."""
    if file.is_stored:
        return open_file(file, WINDOW)

    def fetch(out: IO[bytes]) -> None:
        stream, _ = open_file(file, WINDOW)
        with stream:
            out.writelines(iter(lambda: stream.read(WINDOW), b""))

    try:
        entry = cached(_name(file), fetch)
    except BuildFailed:
        raise SourceUnavailable("The account could not be asked a moment ago. Try again.") from None
    except OSError:
        raise SourceUnavailable(
            "The records can't be stored here, perhaps because the disk is full."
        ) from None
    size = os.fstat(entry.fileno()).st_size
    return FileStream(file, entry, WINDOW), size if size < WINDOW else WINDOW + 1


def _name(file: ResultFile) -> str:
    return f"{identity(file)}.first"
