"""Write a table as Parquet. DuckDB converts it from temporary CSV files.

A column is DOUBLE if all its values are numbers that a double keeps, and NULL if it has no values. Otherwise
it is text, with the same values as in a CSV.

So the files of several runs can be read together: a NULL column takes any type, and no program silently
converts text to another type. Integers and booleans have no types of their own. Otherwise, a program that
reads all files with the types of the first would turn 12.5 into 12, or 5 into true.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import duckdb

from collections_app.records.formats.flatten import cells
from collections_app.records.formats.interruption import interrupted_if
from collections_app.records.formats.json_records import Number
from collections_app.records.formats.json_text import number_text, written_numbers
from collections_app.records.formats.numbers import fit_doubles
from collections_app.records.formats.tables import Table

_TEXT, _NUMBER = "VARCHAR", "DOUBLE"

_NUMBERS = frozenset({int, float, Number})

# How many bytes and rows DuckDB keeps in memory. Its default is 122,880 rows.
_GROUP_BYTES = 2 * 1024 * 1024
_LEAST_ROWS, _MOST_ROWS = 2048, 122_880
# DuckDB keeps a CSV file in memory while it reads it, so the rows are split into files of this size.
_PART_BYTES = 4 * 1024 * 1024
_BUFFER = 1024 * 1024
_MEMORY = "4GB"  # enough for records of 64 MiB


class Interrupted(Exception):
    """The file was not written, because `is_over` returned true."""


def write(table: Table, path: Path, *, folder: Path, is_over: Callable[[], bool]) -> None:
    """Write a Parquet file. The table needs at least one column.

    Raises Interrupted once `is_over` returns true, OSError, KeyboardInterrupt.
    """
    types = [_Type() for _ in table.names]
    rows = _write_rows(table, types, folder)
    group = _GROUP_BYTES // max(1, rows.size // max(1, rows.count))
    buffer = max(_BUFFER, 2 * rows.longest)
    with duckdb.connect(":memory:") as database, _interruptible(), interrupted_if(is_over, database):
        _lock_down(database, folder)
        # Only the column names come from records, and they are quoted.
        database.execute(
            f"COPY (SELECT {_names(table, types)} FROM read_csv({_list(rows.parts)}, "  # noqa: S608
            f"columns={_columns(types)}, "
            "auto_detect=false, header=false, parallel=false, new_line='\\n', delim=',', "
            "quote='\"', escape='\"', nullstr='', allow_quoted_nulls=false, "
            f"max_line_size={buffer}, buffer_size={buffer})) TO {_quoted(path)} "
            f"(FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {min(max(group, _LEAST_ROWS), _MOST_ROWS)})"
        )
    for part in rows.parts:
        part.unlink()


@contextmanager
def _interruptible() -> Iterator[None]:
    try:
        yield
    except duckdb.InterruptException:
        raise Interrupted from None


def _lock_down(database: duckdb.DuckDBPyConnection, folder: Path) -> None:
    # One thread keeps the order of the rows. Without this setting DuckDB would need more memory for it.
    database.execute("SET threads = 1")
    database.execute("SET preserve_insertion_order = false")
    database.execute("SET enable_progress_bar = false")
    database.execute(f"SET memory_limit = '{_MEMORY}'")
    database.execute(f"SET temp_directory = {_quoted(folder)}")
    database.execute(f"SET allowed_directories = [{_quoted(folder)}]")
    database.execute("SET enable_external_access = false")
    database.execute("SET lock_configuration = true")


def _list(paths: list[Path]) -> str:
    return "[" + ", ".join(map(_quoted, paths)) + "]"


def _quoted(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"


def _names(table: Table, types: list["_Type"]) -> str:
    names = ('"' + name.replace('"', '""') + '"' for name in table.names)
    cells = (f"c{number}" if each.has_values else "NULL" for number, each in enumerate(types))
    return ", ".join(map(" AS ".join, zip(cells, names, strict=True)))


def _columns(types: list["_Type"]) -> str:
    return "{" + ", ".join(f"c{number}: '{each.name}'" for number, each in enumerate(types)) + "}"


@dataclass
class _Rows:
    """The rows in temporary CSV files."""

    parts: list[Path]
    count: int = 0
    size: int = 0
    longest: int = 0  # the longest row, in bytes


def _write_rows(table: Table, types: list["_Type"], folder: Path) -> _Rows:
    """Write the rows to CSV files, and determine the types of the columns."""
    rows = _Rows([])
    with ExitStack() as files:
        out, left = _next_part(rows, folder, files), _PART_BYTES
        for columns in table.batches():
            for column_type, values in zip(types, columns, strict=True):
                column_type.add(values)
            lines = [
                ",".join(row).encode("utf-8", "replace") + b"\n"
                for row in zip(*map(_quoted_cells, columns), strict=True)
            ]
            rows.count += len(lines)
            rows.longest = max(rows.longest, max(map(len, lines), default=0))
            if left < 0:
                out, left = _next_part(rows, folder, files), _PART_BYTES
            written = out.write(b"".join(lines))
            rows.size += written
            left -= written
    return rows


def _next_part(rows: _Rows, folder: Path, files: ExitStack) -> IO[bytes]:
    files.close()
    rows.parts.append(folder / f"rows-{len(rows.parts):06}.csv")
    return files.enter_context(rows.parts[-1].open("wb"))


def _quoted_cells(values: list[Any]) -> list[str]:
    """Return the cells for a CSV file, in which an empty cell is NULL and "" is an empty text."""
    if set(map(type, values)) == {Number}:
        return written_numbers(values)
    return ["" if value is None else _quoted_cell(value) for value in cells(values)]


def _quoted_cell(value: Any) -> str:
    if type(value) is str:
        return '"' + value.replace('"', '""') + '"'
    return number_text(value) if type(value) is Number else repr(value)


class _Type:
    """The type of a column, which depends on the values that were added."""

    def __init__(self) -> None:
        self._kinds: set[type] = set()
        self._is_exact = True  # a double keeps every number

    def add(self, values: list[Any]) -> None:
        """Add values of the column."""
        kinds = set(map(type, values))
        self._kinds |= kinds
        if self._is_exact and not kinds.isdisjoint(_NUMBERS):
            self._is_exact = fit_doubles(values)

    @property
    def has_values(self) -> bool:
        """Whether any value isn't None."""
        return not self._kinds <= {type(None)}

    @property
    def name(self) -> str:
        """The name of the type in DuckDB, if the column has values."""
        return _NUMBER if self._kinds - {type(None)} <= _NUMBERS and self._is_exact else _TEXT
