"""Build a table of a run's records, for searching, sorting and facts.

It is a cached Parquet file with each record's number, its JSON, the text that is searched, and a column c0,
c1, ... for each key. The names of the keys, which come from the records, are only in the metadata of the
file.
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
from collections_app.records.preview.concurrency import current_user_id
from collections_app.records.preview.engine import BUILDS, QueryTimeout, UnreadableFile, open_database
from collections_app.records.preview.records import cache_key, columns_of, fields_of
from collections_app.records.reading import open_file
from collections_app.sources import ResultNotFound, SourceUnavailable
from collections_app.system.background import Background

logger = logging.getLogger(__name__)

# How many bytes of records are read. The page says so if a run has more.
MOST_BYTES = 512 * 1024**2
# The tables of larger runs are built only for requests that need them.
LARGEST_AUTOMATIC = 64 * 1024**2
# The number of columns that can be chosen, sorted by and counted. All values are searched.
MOST_COLUMNS = 200

# A larger record is of no use in a table, and would need several times its size in memory. Its row is empty.
LARGEST_RECORD = 4 * 1024**2
_TOO_LARGE = b"null\n"
_BATCH = 500
_ROW_GROUP_BYTES = 8 * 1024**2
_ROW_GROUP_CELLS = 2_000_000
_SECONDS = 600.0

_BUILD = """
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


class TableUnavailable(Exception):
    """The table can't be built. The message is for users."""


@dataclass(frozen=True)
class Table:
    """A table of a run's records."""

    path: Path
    columns: tuple[str, ...]
    has_more_columns: bool  # which can be searched, and are in the JSON
    records: int
    too_large: int  # how many of them have an empty row
    is_complete: bool  # it contains all records of the run
    problems: tuple[str, ...]  # which files can't be read to the end


@dataclass(frozen=True)
class TableProgress:
    """The progress of building a table, in bytes."""

    done: int
    total: int


_background = Background("preview-table", most=4)


def size_of(files: Iterable[ResultFile]) -> int | None:
    """Return the total size of a run's records, or None if it isn't known."""
    sizes = [file.size for file in files]
    return None if None in sizes else sum(size or 0 for size in sizes)


def is_built_automatically(files: Sequence[ResultFile]) -> bool:
    """Whether the table is built as soon as a user opens the run."""
    return is_small(size_of(files))


def is_small(size: int | None) -> bool:
    """Whether a table for this many bytes of records is built automatically."""
    return size is not None and size <= LARGEST_AUTOMATIC


def is_built(files: Sequence[ResultFile]) -> bool:
    """Whether the table exists."""
    entry = existing(name_of_table(files))
    if entry is not None:
        entry.close()
    return entry is not None


def table_of(files: Sequence[ResultFile], *, seconds: float) -> Table:
    """Return the table of a run's records. If it doesn't exist, build it in the background.

    Raises StillWorking if that takes longer than `seconds`, and TableUnavailable.
    """
    name = name_of_table(files)
    entry = existing(name)
    if entry is not None:
        return _described(entry)
    return _background.done_within(seconds, name, lambda: _build(name, files), owner=current_user_id())


def progress_of(files: Sequence[ResultFile]) -> TableProgress:
    """Return the progress of the table, whichever process builds it."""
    total = min(size_of(files) or MOST_BYTES, MOST_BYTES)
    if is_built(files):
        return TableProgress(total, total)
    lines = scratch_path(name_of_table(files), "lines")
    with suppress(FileNotFoundError):  # it hasn't started, or has just finished
        return TableProgress(min(lines.stat().st_size, total), total)
    return TableProgress(0, total)


def _build(name: str, files: Sequence[ResultFile]) -> Table:
    try:
        return _described(cached(name, lambda out: _write(name, files, out)))
    except BuildFailed:
        raise TableUnavailable("The records could not be read. Try again.") from None
    except QueryTimeout:
        raise TableUnavailable("Reading these records takes too long. Try again later.") from None
    except UnreadableFile as error:
        logger.warning("preview failed: table=%s problem=%s", name, error)
        raise TableUnavailable("These records can't be searched or sorted.") from None
    except (ResultNotFound, SourceUnavailable) as problem:
        raise TableUnavailable(str(problem)) from None
    except OSError as error:
        logger.warning("preview failed: table=%s problem=%s", name, error.strerror)
        raise TableUnavailable("The records can't be cached. The disk may be full.") from None


def _described(entry: BinaryIO) -> Table:
    with entry:
        path = Path(entry.name)
        with open_database(path, seconds=5) as database:
            ((description,),) = database.query(_DESCRIPTION, {"table": str(path)})
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
    """Return the name of the table of these files in the cache."""
    return f"{cache_key(*files)}.table"


# --- building ---------------------------------------------------------------------------------------


def _write(name: str, files: Sequence[ResultFile], out: IO[bytes]) -> None:
    lines, parquet = scratch_path(name, "lines"), scratch_path(name, "parquet")
    is_wanted = partial(_background.is_wanted, name)
    try:
        written = _Lines(is_wanted)
        with lines.open("wb") as line_file:
            written.write(files, line_file)
        _convert(written, lines, parquet, is_wanted)
        with parquet.open("rb") as file:
            copyfileobj(file, out, 1024 * 1024)
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
        "is_whole": written.is_complete,
        "problems": written.problems,
    }
    statement = _BUILD.format(
        values="json_extract_string(record, '$.*')" if has_more_columns else "cells",
        columns="".join(f", cells[{index + 1}] AS c{index}" for index in range(len(columns))),
        table=_quoted(str(parquet)),
        rows=_rows_in_a_group(written, len(columns)),
    )
    # With one thread, DuckDB doesn't keep rows in memory to restore their order.
    with open_database(
        lines, parquet, seconds=_SECONDS, threads=1, semaphore=BUILDS, is_wanted=is_wanted
    ) as database:
        database.query(
            statement,
            {
                "pointers": [_pointer(column) for column in columns] or [_pointer("")],
                "lines": str(lines),
                "most": LARGEST_RECORD,
                "description": json.dumps(description),
            },
        )


def _quoted(text: str) -> str:
    """Return a text as an SQL literal, for a path, because COPY doesn't accept a parameter."""
    return "'" + text.replace("'", "''") + "'"


def _pointer(key: str) -> str:
    """Return a key as a JSON pointer (RFC 6901)."""
    return "/" + key.replace("~", "~0").replace("/", "~1")


def _rows_in_a_group(written: "_Lines", columns: int) -> int:
    """Return how many rows DuckDB keeps in memory, limited by their bytes and cells."""
    each = written.bytes // max(written.records, 1)
    return min(max(_ROW_GROUP_BYTES // max(each, 1), 2048), _ROW_GROUP_CELLS // max(columns, 20))


class _Lines:
    """Write the records as JSON Lines, at most MOST_BYTES of them."""

    def __init__(self, is_wanted: Callable[[], bool]) -> None:
        self._is_wanted = is_wanted
        self.columns: dict[str, None] = {}  # all of them, or more than MOST_COLUMNS
        self.records = 0
        self.too_large = 0
        self.bytes = 0
        self.is_complete = True
        self.problems: list[str] = []

    def write(self, files: Iterable[ResultFile], out: BinaryIO) -> None:
        """Write the records of the files. Skip the rest of a file that can't be read.

        Raises QueryTimeout if the records are no longer wanted.
        """
        for file in files:
            stream, _ = open_file(file)
            with stream:
                try:
                    for some in _batches(read_values(stream)):
                        if self.bytes >= MOST_BYTES:
                            self.is_complete = False
                            return
                        if not self._is_wanted():
                            raise QueryTimeout
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
    """Yield the values in lists, including those before an error."""
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
    """Return a record as a line, even if it has lone surrogates or very long numbers."""
    try:
        return _ENCODER.encode(record) + b"\n"
    except (ValueError, OverflowError, RecursionError):
        return json.dumps(record, ensure_ascii=False).encode("utf-8", "replace") + b"\n"


_ENCODER = msgspec.json.Encoder()
