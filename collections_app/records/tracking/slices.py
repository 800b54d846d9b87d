"""Slices: the values of a run's records in a file that is fast to compare.

A slice is a Parquet file with each record's number n, and a column c0, c1, ... for each of their columns. A
value is compact JSON: "null", and NULL if the record lacks the column, stay apart. The items of lists are
sorted, because their order means nothing. Long values are cut, and end with their MD5 hash. The names of the
columns are in the metadata of the file. A slice depends on nothing but its run.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from collections_app.records.formats.json_records import Record
from collections_app.records.formats.json_text import encoded
from collections_app.records.preview.columns import ColumnCollector, ColumnList, flat
from collections_app.records.preview.engine import BUILDS, Database, open_database
from collections_app.records.preview.json_paths import NOTHING, json_path
from collections_app.records.preview.records import fields_of

# Increase it when the content of slices changes. Older slices are created again.
VERSION = 1
# The longest value that isn't cut, in characters.
LONGEST_VALUE = 1000
# The values of a larger record, in bytes, are cut before DuckDB reads them.
_LARGEST_LINE = 1024**2
_BATCH = 500
_SECONDS = 600.0

_BUILD = """
COPY (
    SELECT row_number() OVER () AS n {columns}
    FROM (
        SELECT json_extract(record, $paths) AS cells
        FROM read_csv(
            $lines, columns = {{record: 'VARCHAR'}}, auto_detect = false, header = false, delim = '\x1f',
            quote = '', escape = '', max_line_size = $most, buffer_size = 2 * $most
        )
    )
) TO {slice} (FORMAT parquet, COMPRESSION zstd, KV_METADATA {{columns: $columns}})
"""
_SORTED = "'[' || array_to_string(list_sort(json_extract({cell}, '$[*]')::VARCHAR[]), ',') || ']'"
_VALUE = f"CASE WHEN starts_with({{cell}}::VARCHAR, '[') THEN {_SORTED} ELSE {{cell}}::VARCHAR END"
_CUT = "left({value}, {most}) || md5({value})"
_COLUMN = f"CASE WHEN length({{value}}) > {{most}} THEN {_CUT} ELSE {{value}} END AS c{{index}}"
_COLUMNS = "SELECT decode(value) FROM parquet_kv_metadata($slice) WHERE decode(key) = 'columns'"


@dataclass(frozen=True)
class SliceFile:
    """The slice of a run on this machine."""

    path: Path
    columns: tuple[str, ...]  # the names of c0, c1, ...

    def sql_name(self, column: str | None, table: str = "") -> str:
        """Return the name of a column in SQL, in this table if it is named, or "NULL" if no record has it."""
        if column is None or column not in self.columns:
            return "NULL"
        return f"{table}{'.' if table else ''}c{self.columns.index(column)}"


def described(path: Path) -> SliceFile:
    """Return the slice in a file."""
    with open_database(path, seconds=5) as database:
        ((columns,),) = database.query(_COLUMNS, {"slice": str(path)})
    return SliceFile(path, tuple(json.loads(columns)))


def write_slice(values: Iterable[Any], lines: Path, parquet: Path) -> None:
    """Write the slice of the records, by way of a file with one record per line."""
    columns, shapes = ColumnCollector(), set[_Shape]()
    remaining = iter(values)
    with lines.open("wb") as out:
        while batch := [fields_of(value) for value in islice(remaining, _BATCH)]:
            columns.add(flat(record) for record in batch if _is_new(_shape(record), shapes))
            out.writelines(map(_line, batch))
    with open_database(lines, parquet, seconds=_SECONDS, threads=1, semaphore=BUILDS) as database:
        _convert(database, columns.columns(), lines, parquet)


# The keys of a record, and the shapes of the objects in it.
_Shape = tuple[Any, ...]
_MOST_SHAPES = 10_000


def _shape(record: Record) -> _Shape:
    nested = [(key, _shape(value)) for key, value in record.items() if type(value) is dict and value]
    return (*record, *nested)


def _is_new(shape: _Shape, shapes: set[_Shape]) -> bool:
    """Return whether records of this shape may have new columns, and remember it."""
    if shape in shapes:
        return False
    if len(shapes) < _MOST_SHAPES:
        shapes.add(shape)
    return True


def _convert(database: Database, columns: ColumnList, lines: Path, parquet: Path) -> None:
    values = [_VALUE.format(cell=f"cells[{index}]") for index in range(1, len(columns.names) + 1)]
    cells = [
        _COLUMN.format(value=value, most=LONGEST_VALUE, index=index) for index, value in enumerate(values)
    ]
    database.query(
        _BUILD.format(columns="".join(f", {cell}" for cell in cells), slice=f"'{parquet}'"),
        {
            "paths": list(map(json_path, columns.paths)) or [NOTHING],
            "lines": str(lines),
            "most": 4 * _LARGEST_LINE,
            "columns": json.dumps(columns.names),
        },
    )


def _line(record: Record) -> bytes:
    line = encoded(record)
    if len(line) > _LARGEST_LINE:
        line = encoded({key: _cut(value) for key, value in islice(record.items(), 1000)})
    return line + b"\n"


def _cut(value: object) -> object:
    text = encoded(value)
    return value if len(text) <= LONGEST_VALUE else text[:LONGEST_VALUE].decode(errors="ignore")
