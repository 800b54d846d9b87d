"""Build a table of a run's records, for searching, sorting and facts.

It is a cached Parquet file with each record's number, its JSON, the text that is searched, and a column c0,
c1, ... for each column of the records. If c3 contains money as text, its amounts are in the column m3. The
names of the columns, which come from the records, are only in the metadata of the file.
"""

import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from itertools import compress, islice, pairwise
from pathlib import Path
from shutil import copyfileobj
from typing import IO, Any, BinaryIO

from collections_app.files.storage.cache import BuildFailed, cached, existing, scratch_path
from collections_app.models import ResultFile
from collections_app.records.column_roles import is_price
from collections_app.records.formats.flatten import FlatRecord, KeyPath
from collections_app.records.formats.json_records import InvalidRecords, Number, Record, read_values
from collections_app.records.formats.json_text import encoded, number_text
from collections_app.records.formats.numbers import fit_doubles
from collections_app.records.money import Notation, NotationFinder
from collections_app.records.numeric_text import Kind
from collections_app.records.preview.columns import ColumnCollector, ColumnList, flat
from collections_app.records.preview.concurrency import current_user_id
from collections_app.records.preview.engine import BUILDS, QueryTimeout, UnreadableFile, open_database
from collections_app.records.preview.json_paths import NOTHING, json_path, keys_of
from collections_app.records.preview.notations import NotationCollector
from collections_app.records.preview.records import cache_key, fields_of
from collections_app.records.preview.search import searched_text
from collections_app.records.preview.shown_prices import shown_prices
from collections_app.records.reading import open_file
from collections_app.sources import ResultNotFound, SourceUnavailable
from collections_app.system.background import Background

logger = logging.getLogger(__name__)

# How many bytes of records are read. The page says so if a run has more.
MOST_BYTES = 512 * 1024**2
# The tables of larger runs are built only for requests that need them.
LARGEST_AUTOMATIC = 64 * 1024**2

# A larger record is of no use in a table, and would need several times its size in memory. Its row is empty.
LARGEST_RECORD = 4 * 1024**2
# A line consists of a record, the text that is searched, and the numbers as text that DuckDB would round when
# it extracts them from JSON. This character separates the parts, which don't contain it.
_BETWEEN = b"\x1f"
_LARGEST_LINE = 4 * LARGEST_RECORD
_BATCH = 500
_ROW_GROUP_BYTES = 8 * 1024**2
_ROW_GROUP_CELLS = 2_000_000
_SECONDS = 600.0

_BUILD = """
COPY (
    SELECT n, coalesce(record, 'null') AS record, text {columns}
    FROM (
        SELECT
            row_number() OVER () AS n, record, text,
            json_extract_string(coalesce(json_merge_patch(record, exact), record), $paths) AS cells,
            json_type(record, $mixed_paths) AS types
        FROM read_csv(
            $lines, columns = {{record: 'VARCHAR', text: 'VARCHAR', exact: 'VARCHAR'}},
            auto_detect = false, header = false, delim = $between, quote = '', escape = '',
            max_line_size = $most, buffer_size = 2 * $most
        )
    )
) TO {table} (FORMAT parquet, ROW_GROUP_SIZE {rows}, KV_METADATA {{description: $description}})
"""
# A value of a column that contains objects in other records. Their values have columns of their own.
_UNLESS_OBJECT = "CASE WHEN types[{type}] <> 'OBJECT' OR {cell} = '{{}}' THEN {cell} END"
_DESCRIPTION = "SELECT value FROM parquet_kv_metadata($table) WHERE key = 'description'"


class TableUnavailable(Exception):
    """The table can't be built. The message is for users."""


@dataclass(frozen=True)
class Table:
    """A table of a run's records."""

    path: Path
    column_list: ColumnList
    records: int
    too_large: int  # how many of them have an empty row
    is_complete: bool  # it contains all records of the run
    problems: tuple[str, ...]  # which files can't be read to the end
    notations: Mapping[str, Notation]  # of the columns that contain money as text
    not_money: Mapping[str, str]  # why other columns with the names of prices don't
    kinds: Mapping[str, Kind]  # of the columns that aren't text
    unclear: Mapping[str, str]  # why columns of amounts are text

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns c0, c1, ..."""
        return self.column_list.names

    def sql_name(self, column: str) -> str:
        """Return the name of a column's values in SQL."""
        return f"c{self.columns.index(column)}"

    def sql_amount(self, column: str) -> str:
        """Return the name in SQL of the amounts of a column that has a notation."""
        return f"m{self.columns.index(column)}"

    def kind(self, column: str) -> Kind:
        """Return what the values of a column are, if it has no notation."""
        return self.kinds.get(column, Kind.TEXT)

    def sorted_as_text(self, column: str) -> str:
        """Return why a column of prices or amounts is sorted as text, or ""."""
        if column in self.notations or self.kind(column) != Kind.TEXT:
            return ""
        return self.unclear.get(column, "") or self.not_money.get(column, "")

    @property
    def has_more_columns(self) -> bool:
        """Whether the records have other columns, which can only be searched."""
        return self.column_list.has_more


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
    done = scratch_path(name_of_table(files), "done")
    with suppress(FileNotFoundError):  # it hasn't started, or has just finished
        return TableProgress(min(done.stat().st_size, total), total)
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
        ColumnList(
            tuple(fields["columns"]),
            tuple(path if isinstance(path, str) else tuple(path) for path in fields["paths"]),
            fields["has_more_columns"],
        ),
        fields["records"],
        fields["too_large"],
        fields["is_whole"],
        tuple(fields["problems"]),
        {name: _notation(values) for name, values in fields["notations"].items()},
        fields["not_money"],
        {name: Kind(kind) for name, kind in fields["kinds"].items()},
        fields["unclear"],
    )


def _notation(fields: dict[str, Any]) -> Notation:
    return Notation(**fields | {"currencies": tuple(fields["currencies"])})


def name_of_table(files: Sequence[ResultFile]) -> str:
    """Return the name of the table of these files in the cache."""
    return names_of_tables(files)[-1]


def names_of_tables(files: Sequence[ResultFile]) -> list[str]:
    """Return the names of the tables that this and earlier versions build, oldest first."""
    key = cache_key(*files)
    return [f"{key}.table", f"{key}-3.table", f"{key}-4.table", f"{key}-5.table", f"{key}-6.table"]


# --- building ---------------------------------------------------------------------------------------


def _write(name: str, files: Sequence[ResultFile], out: IO[bytes]) -> None:
    lines, done, parquet = (scratch_path(name, part) for part in ("lines", "done", "parquet"))
    is_wanted = partial(_background.is_wanted, name)
    try:
        written = _Lines(is_wanted)
        with lines.open("wb") as line_file, done.open("wb") as done_file:
            written.write(files, line_file, done_file)
        _convert(written, lines, parquet, is_wanted)
        with parquet.open("rb") as file:
            copyfileobj(file, out, 1024 * 1024)
    finally:
        for path in (lines, done, parquet):
            path.unlink(missing_ok=True)


def _convert(written: "_Lines", lines: Path, parquet: Path, is_wanted: Callable[[], bool]) -> None:
    columns = written.columns.columns()
    finders = written.notations.finders(columns)
    notations = _notations(finders)
    unclear = {name: finder.disagreement for name, finder in finders.items() if finder.disagreement}
    kinds = {name: finder.kind for name, finder in written.notations.kinds(columns).items()}
    description = {
        "columns": columns.names,
        "paths": columns.paths,
        "has_more_columns": columns.has_more,
        "records": written.records,
        "too_large": written.too_large,
        "is_whole": written.is_complete,
        "problems": written.problems,
        "notations": {name: asdict(notation) for name, notation in notations.items()},
        "not_money": {name: finder.problem for name, finder in finders.items() if is_price(name)},
        "kinds": {name: kind for name, kind in kinds.items() if kind != Kind.TEXT and name not in unclear},
        "unclear": unclear,
    }
    mixed = _mixed(columns.paths)
    statement = _BUILD.format(
        columns="".join(
            f", {_cell(index, path, mixed)} AS c{index}{_amount(index, notations.get(name))}"
            for index, (name, path) in enumerate(zip(columns.names, columns.paths, strict=True))
        ),
        table=_quoted(str(parquet)),
        rows=_rows_in_a_group(written, len(columns.paths)),
    )
    # With one thread, DuckDB doesn't keep rows in memory to restore their order.
    with open_database(
        lines, parquet, seconds=_SECONDS, threads=1, semaphore=BUILDS, is_wanted=is_wanted
    ) as database:
        database.query(
            statement,
            {
                "paths": list(map(json_path, columns.paths)) or [NOTHING],
                "mixed_paths": list(map(json_path, mixed)) or [NOTHING],
                "lines": str(lines),
                "between": _BETWEEN.decode(),
                "most": _LARGEST_LINE,
                "description": json.dumps(description),
            },
        )


def _notations(finders: Mapping[str, NotationFinder]) -> dict[str, Notation]:
    """Return the notations of columns that DuckDB can't read as numbers."""
    found = {name: finder.notation() for name, finder in finders.items()}
    return {name: notation for name, notation in found.items() if notation and not notation.is_plain}


def _amount(index: int, notation: Notation | None) -> str:
    return f", {notation.sql(f'c{index}')} AS m{index}" if notation else ""


def _quoted(text: str) -> str:
    """Return a text as an SQL literal, for a path, because COPY doesn't accept a parameter."""
    return "'" + text.replace("'", "''") + "'"


def _mixed(paths: Iterable[KeyPath]) -> list[tuple[str, ...]]:
    """Return the paths whose values are objects in some records."""
    ordered = sorted(map(keys_of, paths))
    return [path for path, following in pairwise(ordered) if following[: len(path)] == path]


def _cell(index: int, path: KeyPath, mixed: Sequence[KeyPath]) -> str:
    """Return the SQL of a column's value."""
    cell, keys = f"cells[{index + 1}]", keys_of(path)
    return _UNLESS_OBJECT.format(cell=cell, type=mixed.index(keys) + 1) if keys in mixed else cell


def _rows_in_a_group(written: "_Lines", columns: int) -> int:
    """Return how many rows DuckDB keeps in memory, limited by their bytes and cells."""
    each = written.bytes // max(written.records, 1)
    return min(max(_ROW_GROUP_BYTES // max(each, 1), 2048), _ROW_GROUP_CELLS // max(columns, 20))


class _Lines:
    """Write the records as JSON Lines, at most MOST_BYTES of them."""

    def __init__(self, is_wanted: Callable[[], bool]) -> None:
        self._is_wanted = is_wanted
        self.columns = ColumnCollector()
        self.notations = NotationCollector()
        self.records = 0
        self.too_large = 0
        self.bytes = 0
        self.is_complete = True
        self.problems: list[str] = []

    def write(self, files: Iterable[ResultFile], out: BinaryIO, done: BinaryIO) -> None:
        """Write the records of the files. Skip the rest of a file that can't be read.

        The size of `done`, which has no content, is the progress in bytes of records. Raises QueryTimeout if
        the records are no longer needed.
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
                        done.truncate(self.bytes)
                except InvalidRecords as error:
                    self.problems.append(f"{file.name}: {error}.")

    def _add(self, values: Sequence[Any], out: BinaryIO) -> None:
        records = [fields_of(value) for value in values]
        flat_records = list(map(flat, records))
        self.columns.add(flat_records)
        self.notations.add_columns(self.columns.paths)
        written = [self._write(*pair, out) for pair in zip(records, flat_records, strict=True)]
        self.notations.add(list(compress(flat_records, written)))
        self.records += len(records)

    def _write(self, record: Record, values: FlatRecord, out: BinaryIO) -> bool:
        """Write the line of a record, and return whether it has a row that isn't empty."""
        data = encoded(record)
        self.bytes += len(data)
        is_written = len(data) < LARGEST_RECORD
        if is_written:
            shown = shown_prices(values, self.notations.currencies)
            text = searched_text([*values.values(), *shown]).encode("utf-8", "replace")
            out.write(_BETWEEN.join((data, text, _exact_numbers(values))) + b"\n")
        else:
            self.too_large += 1
            out.write(2 * _BETWEEN + b"\n")
        return is_written


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


def _exact_numbers(values: FlatRecord) -> bytes:
    """Return the numbers that a double would change, as texts in a JSON merge patch, or nothing."""
    if Number not in set(map(type, values.values())):
        return b""
    patch: dict[str, Any] = {}
    for path, value in values.items():
        if type(value) is Number and not fit_doubles([value]):
            *outer, key = keys_of(path)
            inside = patch
            for each in outer:
                inside = inside.setdefault(each, {})
            inside[key] = number_text(value)
    return encoded(patch) if patch else b""
