"""Slices: the values of a run's records in a file that is fast to compare.

A slice is a Parquet file with each record's number n, and a column c0, c1, ... for each of their columns. A
value is compact JSON: "null", and NULL if the record lacks the column, stay apart. The items of lists are
sorted, because their order means nothing. Long values are cut, and end with their MD5 hash. The names of the
columns are in the metadata of the file. A slice depends on nothing but its run.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from collections_app.records.formats.json_records import Record, RecordsWithTexts
from collections_app.records.preview.columns import ColumnCollector, ColumnList, flat
from collections_app.records.preview.engine import Database
from collections_app.records.preview.json_paths import NOTHING, json_path
from collections_app.records.preview.records import fields_of
from collections_app.records.tracking.databases import open_files
from collections_app.records.tracking.slice_lines import LARGEST_LINE, LONGEST_VALUE, lines_of

# Increase it when the content of slices changes. Older slices are created again.
VERSION = 1
# The bytes of the records in a row group, which DuckDB keeps in memory, and the number of records in it.
_GROUP_BYTES = 24 * 1024**2
_MOST_ROWS = 122_880
# What DuckDB needs for a cell, even if it is empty.
_BYTES_OF_A_CELL = 16
_SECONDS = 600.0

_BUILD = """
COPY (
    SELECT row_number() OVER () AS n {columns}
    FROM (
        SELECT {values}
        FROM (
            SELECT json_extract(record, $paths) AS cells
            FROM read_csv(
                $lines, columns = {{record: 'VARCHAR'}}, auto_detect = false, header = false, delim = '\x1f',
                quote = '', escape = '', max_line_size = $most, buffer_size = 2 * $most
            )
        )
    )
) TO {slice} (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {rows}, KV_METADATA {{columns: $columns}})
"""
_SORTED = "'[' || array_to_string(list_sort(json_extract({cell}, '$[*]')::VARCHAR[]), ',') || ']'"
_VALUE = (
    f"CASE WHEN starts_with({{cell}}::VARCHAR, '[') THEN {_SORTED} ELSE {{cell}}::VARCHAR END AS v{{index}}"
)
# strlen() counts bytes, which is faster.
_COLUMN = """,
    CASE
        WHEN strlen(v{index}) > {most} AND length(v{index}) > {most}
        THEN left(v{index}, {most}) || md5(v{index}) ELSE v{index}
    END AS c{index}"""
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
    with open_files(path, seconds=5) as database:
        ((columns,),) = database.query(_COLUMNS, {"slice": str(path)})
    return SliceFile(path, tuple(json.loads(columns)))


def write_slice(batches: Iterable[list[Any]], lines: Path, parquet: Path) -> tuple[str, ...]:
    """Write the slice of values from read_texts(), by way of a file with one per line. Return its columns."""
    columns, shapes, sizes = ColumnCollector(), set[_Shape](), list[tuple[int, int]]()
    with lines.open("wb") as out:
        for batch in batches:
            fields = batch if isinstance(batch, RecordsWithTexts) else list(map(fields_of, batch))
            columns.add(flat(record) for shape, record in _by_shape(fields) if _is_new(shape, shapes))
            before = out.tell()
            out.writelines(lines_of(batch))
            sizes.append((len(batch), out.tell() - before))
    found = columns.columns()
    with open_files(lines, parquet, seconds=_SECONDS, threads=1) as database:
        _convert(database, found, lines, parquet, _rows_in_a_group(sizes, len(found.names)))
    return found.names


# The keys of a record, and the shapes of the objects in it.
_Shape = tuple[Any, ...]
_MOST_SHAPES = 10_000


def _by_shape(records: list[Record]) -> Iterable[tuple[_Shape, Record]]:
    """Return a record of each shape."""
    if dict in set(map(type, chain.from_iterable(map(dict.values, records)))):
        return dict(zip(map(_shape, records), records, strict=True)).items()
    return dict(zip(map(tuple, records), records, strict=True)).items()  # faster


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


def _convert(database: Database, columns: ColumnList, lines: Path, parquet: Path, rows: int) -> None:
    indexes = range(len(columns.names))
    values = ", ".join(_VALUE.format(cell=f"cells[{index + 1}]", index=index) for index in indexes)
    cells = "".join(_COLUMN.format(most=LONGEST_VALUE, index=index) for index in indexes)
    database.query(
        _BUILD.format(columns=cells, values=values or "1", slice=f"'{parquet}'", rows=rows),
        {
            "paths": list(map(json_path, columns.paths)) or [NOTHING],
            "lines": str(lines),
            "most": 4 * LARGEST_LINE,
            "columns": json.dumps(columns.names),
        },
    )


def _rows_in_a_group(sizes: Sequence[tuple[int, int]], columns: int) -> int:
    """Return how many records to read at once, so that any of them that follow each other fit into memory.

    `sizes` are the numbers of records in batches, and their bytes.
    """
    rows = min(_MOST_ROWS, _GROUP_BYTES // (max(columns, 1) * _BYTES_OF_A_CELL))
    while rows > 1 and _most_bytes(sizes, rows) > _GROUP_BYTES:
        rows //= 2
    return rows


def _most_bytes(sizes: Sequence[tuple[int, int]], rows: int) -> int:
    """Return about the most bytes of this many records that follow each other."""
    most = total = records = start = 0
    for count, size in sizes:
        total, records = total + size, records + count
        while records > rows and sizes[start][0] <= records - rows:
            records, total, start = records - sizes[start][0], total - sizes[start][1], start + 1
        most = max(most, total * min(rows, records) // max(records, 1))
    return most
