"""Read the first records of a run from the first bytes of its first files."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import IO, Any

from collections_app.files.storage.cache import BuildFailed, cached, existing
from collections_app.models import ResultFile
from collections_app.records.formats.json_records import InvalidRecords, read_values
from collections_app.records.preview.concurrency import current_user_id
from collections_app.records.preview.records import Record, cache_key, fields_of
from collections_app.records.reading import FileStream, open_file
from collections_app.sources import ResultNotFound, SourceTimeout, SourceUnavailable
from collections_app.system.background import Background, StillWorking

COUNT = 100
# How many bytes are read of each file, and of how many files. Each file at an account needs a request.
WINDOW = 1024 * 1024
_MOST_FILES = 4
# How long a page waits for an account. After that, the records are cached for the next request.
SECONDS = 1.5

_SLOW = "MultiCartAPI is slow to respond."


@dataclass(frozen=True)
class FirstRecords:
    """The first records, and the reason if there aren't more."""

    records: Sequence[Record]
    is_complete: bool = False  # the run has no other records
    problem: str = ""  # why some can't be read, for users
    is_late: bool = False  # a retry may succeed
    is_too_large: bool = False  # the first record is larger than what is read


_background = Background("preview-first", most=16)


def first_records(files: Sequence[ResultFile]) -> FirstRecords:
    """Return the first records of a run's files.

    Stored files are read at once. The first bytes of files at an account are downloaded and cached in the
    background, and the caller waits for that for a moment.
    """
    try:
        if all(_is_local(file) for file in files[:1]):
            return _read(files)
        return _background.done_within(
            SECONDS, cache_key(files[0]), lambda: _read(files), owner=current_user_id()
        )
    except StillWorking:
        return FirstRecords([], problem=_SLOW, is_late=True)
    except (ResultNotFound, SourceUnavailable) as problem:
        return FirstRecords([], problem=str(problem), is_late=isinstance(problem, SourceTimeout))


def _is_local(file: ResultFile) -> bool:
    if file.is_stored:
        return True
    entry = existing(_name(file))
    if entry is not None:
        entry.close()
    return entry is not None


def _read(files: Sequence[ResultFile]) -> FirstRecords:
    values: list[Any] = []
    for index, file in enumerate(files[:_MOST_FILES]):
        window, size = _window(file)
        with window:
            problem = _add_values(window, values, is_cut=size > WINDOW)
        if size > WINDOW and not values:
            return FirstRecords([], is_too_large=True)
        is_last = index == len(files) - 1
        if len(values) > COUNT or problem or size > WINDOW:
            is_complete = is_last and not problem and size <= WINDOW and len(values) <= COUNT
            return FirstRecords(
                _numbered(values), is_complete=is_complete, problem=problem and f"{file.name}: {problem}"
            )
    return FirstRecords(_numbered(values), is_complete=len(files) <= _MOST_FILES)


def _numbered(values: Sequence[Any]) -> list[Record]:
    return [Record(number, fields_of(value)) for number, value in enumerate(values[:COUNT], 1)]


def _add_values(window: FileStream, values: list[Any], *, is_cut: bool) -> str:
    """Add the values of a file, and return why some can't be read."""
    try:
        # Read one more than is shown, to know whether there are more.
        values.extend(islice(read_values(window), COUNT + 1 - len(values)))
    except InvalidRecords as error:
        if not is_cut:
            return f"{error}."
    return ""


def _window(file: ResultFile) -> tuple[FileStream, int]:
    """Return the first bytes of a file, and its size, or a larger number than WINDOW if it isn't known."""
    if file.is_stored:
        return open_file(file, WINDOW)

    def fetch(out: IO[bytes]) -> None:
        stream, _ = open_file(file, WINDOW)
        with stream:
            out.writelines(iter(lambda: stream.read(WINDOW), b""))

    try:
        entry = cached(_name(file), fetch)
    except BuildFailed:
        raise SourceUnavailable("The account could not be reached. Try again.") from None
    except OSError:
        raise SourceUnavailable("The records can't be cached. The disk may be full.") from None
    size = os.fstat(entry.fileno()).st_size
    return FileStream(file, entry, WINDOW), size if size < WINDOW else WINDOW + 1


def _name(file: ResultFile) -> str:
    return f"{cache_key(file)}.first"
