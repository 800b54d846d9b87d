"""A table of a run's records, made once into the cache: what searching, sorting and counting works on.

It is a Parquet file of its own form: each record's place and JSON, the text that it is searched by, and a
column c0, c1, ... for each key. The keys' names, which are anybody's, stand in the file's description alone.
"""

import json
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from shutil import copyfileobj
from typing import IO, Any, BinaryIO

import msgspec

from collections_app.files.storage.cache import BuildFailed, cached, existing, scratch_path
from collections_app.models import ResultFile
from collections_app.records.formats.json_records import InvalidRecords, read_values
from collections_app.records.preview.concurrency import asker
from collections_app.records.preview.engine import MAKING, TookTooLong, Unreadable, database
from collections_app.records.preview.records import columns_of, fields_of, identity
from collections_app.records.reading import open_file
from collections_app.sources import ResultNotFound, SourceUnavailable
from collections_app.system.background import Background

logger = logging.getLogger(__name__)

# So many bytes of records are read for it at most; the page says so where a run has more.
MOST_BYTES = 512 * 1024**2
# Of larger runs it is made when somebody asks for it.
MOST_UNASKED = 64 * 1024**2
# The columns that can be chosen, sorted by and counted; all values are searched.
MOST_COLUMNS = 200

# A record that is larger is no use to anybody in a table, and needs as much memory several times: it has its
# place there, and nothing in it.
LARGEST_RECORD = 4 * 1024**2
_TOO_LARGE = b"null\n"
_BATCH = 500
_ROW_GROUP_BYTES = 8 * 1024**2
_ROW_GROUP_CELLS = 2_000_000
_SECONDS = 600.0

_MAKE = """
COPY (
    SELECT n, record, strip_accents(lower(array_to_string({values}, chr(10)))) AS text {columns}
    FROM (
        SELECT
            row_number() OVER () AS n, json::VARCHAR AS record,
            json_extract_string(json, $pointers) AS cells
        FROM read_ndjson_objects($lines, maximum_object_size = $most)
    )
) TO {table} (FORMAT parquet, ROW_GROUP_SIZE {rows}, KV_METADATA {{description: $description}})
"""
_DESCRIPTION = "SELECT value FROM parquet_kv_metadata($table) WHERE key = 'description'"


class NotPrepared(Exception):
    """There is no table, and there can't be one; the message says why in a plain sentence."""


@dataclass(frozen=True)
class Table:
    """A table of a run's records."""

    path: Path
    columns: tuple[str, ...]
    has_more_columns: bool  # whose values can be searched, and are in the records
    records: int
    too_large: int  # how many of them have nothing but their place
    is_whole: bool  # there are no records beyond those in it
    problems: tuple[str, ...]  # which files couldn't be read to their end


@dataclass(frozen=True)
class Progress:
    """How far the making of a table is, in bytes."""

    done: int
    total: int


_background = Background("preview-table", most=4)


def size_of(files: Iterable[ResultFile]) -> int | None:
    """Return how many bytes a run's records have; None where that isn't known."""
    sizes = [file.size for file in files]
    return None if None in sizes else sum(size or 0 for size in sizes)


def is_made_unasked(files: Sequence[ResultFile]) -> bool:
    """Whether a table is made as soon as somebody looks at the run."""
    return is_little(size_of(files))


def is_little(size: int | None) -> bool:
    """Whether of so many bytes of records a table is made unasked."""
    return size is not None and size <= MOST_UNASKED


def is_made(files: Sequence[ResultFile]) -> bool:
    """Whether there is a table already."""
    entry = existing(name_of_table(files))
    if entry is not None:
        entry.close()
    return entry is not None


def table_of(files: Sequence[ResultFile], *, seconds: float) -> Table:
    """Return the table of a run's records; where there is none it is made, which goes on in the background.

    Raises StillWorking where that takes longer, and NotPrepared.
    """
    name = name_of_table(files)
    entry = existing(name)
    if entry is not None:
        return _described(entry)
    return _background.done_within(seconds, name, lambda: _made(name, files), owner=asker())


def progress_of(files: Sequence[ResultFile]) -> Progress:
    """Return how far the table is, whichever process makes it."""
    total = min(size_of(files) or MOST_BYTES, MOST_BYTES)
    if is_made(files):
        return Progress(total, total)
    lines = scratch_path(name_of_table(files), "lines")
    with suppress(FileNotFoundError):  # it hasn't begun, or is done at this moment
        return Progress(min(lines.stat().st_size, total), total)
    return Progress(0, total)


def _made(name: str, files: Sequence[ResultFile]) -> Table:
    try:
        return _described(cached(name, lambda out: _write(name, files, out)))
    except BuildFailed:
        raise NotPrepared("The records could not be read a moment ago. Try again.") from None
    except TookTooLong:
        raise NotPrepared("It takes too long to read these records. Try again later.") from None
    except Unreadable as error:
        logger.warning("preview failed: table=%s problem=%s", name, error)
        raise NotPrepared("These records are in no form that can be searched and sorted.") from None
    except (ResultNotFound, SourceUnavailable) as problem:
        raise NotPrepared(str(problem)) from None
    except OSError as error:
        logger.warning("preview failed: table=%s problem=%s", name, error.strerror)
        raise NotPrepared("The records can't be stored here, perhaps because the disk is full.") from None


def _described(entry: BinaryIO) -> Table:
    with entry:
        path = Path(entry.name)
        with database(path, seconds=5) as found:
            ((description,),) = found.ask(_DESCRIPTION, {"table": str(path)})
    fields = json.loads(description)
    return Table(
        path,
        tuple(fields["columns"]),
        fields["has_more_columns"],
        fields["records"],
        fields["too_large"],
        fields["is_whole"],
        tuple(fields["problems"]),
    )


def name_of_table(files: Sequence[ResultFile]) -> str:
    """Return what the table of these files is called in the cache."""
    return f"{identity(*files)}.table"


# --- making it ----------------------------------------------------------------------------------------------


def _write(name: str, files: Sequence[ResultFile], out: IO[bytes]) -> None:
    lines, parquet = scratch_path(name, "lines"), scratch_path(name, "parquet")
    is_wanted = partial(_background.is_wanted, name)
    try:
        written = _Lines(is_wanted)
        with lines.open("wb") as file:
            written.write(files, file)
        _convert(written, lines, parquet, is_wanted)
        with parquet.open("rb") as made:
            copyfileobj(made, out, 1024 * 1024)
    finally:
        lines.unlink(missing_ok=True)
        parquet.unlink(missing_ok=True)


def _convert(written: "_Lines", lines: Path, parquet: Path, is_wanted: Callable[[], bool]) -> None:
    columns = list(written.columns)[:MOST_COLUMNS]
    has_more_columns = len(written.columns) > MOST_COLUMNS
    description = {
        "columns": columns,
        "has_more_columns": has_more_columns,
        "records": written.records,
        "too_large": written.too_large,
        "is_whole": written.is_whole,
        "problems": written.problems,
    }
    statement = _MAKE.format(
        values="json_extract_string(record, '$.*')" if has_more_columns else "cells",
        columns="".join(f", cells[{place + 1}] AS c{place}" for place in range(len(columns))),
        table=_quoted(str(parquet)),
        rows=_rows_in_a_group(written, len(columns)),
    )
    # With one thread nothing is held back to be put into order: memory stays the same whatever the size.
    with database(lines, parquet, seconds=_SECONDS, threads=1, turns=MAKING, is_wanted=is_wanted) as made:
        made.ask(
            statement,
            {
                "pointers": [_pointer(column) for column in columns] or [_pointer("")],
                "lines": str(lines),
                "most": LARGEST_RECORD,
                "description": json.dumps(description),
            },
        )


def _quoted(text: str) -> str:
    """Return a text as SQL writes it; for a path of ours, which COPY doesn't take as a parameter."""
    return "'" + text.replace("'", "''") + "'"


def _pointer(key: str) -> str:
    """Return a key as a JSON pointer (RFC 6901)."""
    return "/" + key.replace("~", "~0").replace("/", "~1")


def _rows_in_a_group(written: "_Lines", columns: int) -> int:
    """Return how many rows DuckDB holds at once, limited by their bytes and cells."""
    each = written.bytes // max(written.records, 1)
    return min(max(_ROW_GROUP_BYTES // max(each, 1), 2048), _ROW_GROUP_CELLS // max(columns, 20))


class _Lines:
    """The records as JSON Lines, until there are as many bytes as a table may be made of."""

    def __init__(self, is_wanted: Callable[[], bool]) -> None:
        self._is_wanted = is_wanted
        self.columns: dict[str, None] = {}  # all, or more than MOST_COLUMNS
        self.records = 0
        self.too_large = 0
        self.bytes = 0
        self.is_whole = True
        self.problems: list[str] = []

    def write(self, files: Iterable[ResultFile], out: BinaryIO) -> None:
        """Write the records of the files; what comes after a place that can't be read is left out.

        Raises TookTooLong once they are no longer wanted.
        """
        for file in files:
            stream, _ = open_file(file)
            with stream:
                try:
                    for some in _batches(read_values(stream)):
                        if self.bytes >= MOST_BYTES:
                            self.is_whole = False
                            return
                        if not self._is_wanted():
                            raise TookTooLong
                        self._add(some, out)
                except InvalidRecords as error:
                    self.problems.append(f"{file.name}: {error}.")

    def _add(self, values: Sequence[Any], out: BinaryIO) -> None:
        records = [fields_of(value) for value in values]
        if len(self.columns) <= MOST_COLUMNS:
            self.columns.update(dict.fromkeys(columns_of(records)))
        data = _as_lines(records)
        if len(data) >= LARGEST_RECORD:
            data = b"".join(map(self._small, data.splitlines(keepends=True)))
        out.write(data)
        self.records += len(records)
        self.bytes += len(data)

    def _small(self, line: bytes) -> bytes:
        if len(line) < LARGEST_RECORD:
            return line
        self.too_large += 1
        return _TOO_LARGE


def _batches(values: Iterator[Any]) -> Iterator[list[Any]]:
    """Yield the values in lists; those before a place that can't be read are not lost."""
    while True:
        some: list[Any] = []
        try:
            some.extend(islice(values, _BATCH))
        except InvalidRecords:
            yield some
            raise
        if not some:
            return
        yield some


def _as_lines(records: Sequence[dict[str, Any]]) -> bytes:
    try:
        return _ENCODER.encode_lines(records)
    except (ValueError, OverflowError, RecursionError):
        return b"".join(map(_as_line, records))


def _as_line(record: dict[str, Any]) -> bytes:
    """Return a record as a line, also one that has half a surrogate pair, or a very long number."""
    try:
        return _ENCODER.encode(record) + b"\n"
    except (ValueError, OverflowError, RecursionError):
        return json.dumps(record, ensure_ascii=False).encode("utf-8", "replace") + b"\n"


_ENCODER = msgspec.json.Encoder()
