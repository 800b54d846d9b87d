"""The changes between two runs, in a Parquet file."""

import json
import math
from collections.abc import Iterable, Iterator
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any

from collections_app.records.formats.flatten import utf8
from collections_app.records.formats.json_text import encoded
from collections_app.records.preview.search import searched_text
from collections_app.records.tracking.compare import Entry
from collections_app.records.tracking.databases import open_files
from collections_app.records.tracking.keys import texts_of
from collections_app.records.tracking.values import text_of

# The columns of the file after `n`, the number of a change. `text` is what is searched.
_TYPES = {
    "key": "VARCHAR",
    "title": "VARCHAR",
    "kind": "VARCHAR",
    "col": "VARCHAR",
    "was": "VARCHAR",
    "now": "VARCHAR",
    "percent": "DOUBLE",
    "amount": "DOUBLE",
    "number_before": "BIGINT",
    "number": "BIGINT",
    "currency_before": "VARCHAR",
    "currency": "VARCHAR",
    "is_volatile": "BOOLEAN",
    "text": "VARCHAR",
}
_BUILD = """
COPY (
    SELECT row_number() OVER () AS n, {columns}
    FROM (
        SELECT json_extract_string(change, $paths) AS cells
        FROM read_csv(
            $lines, columns = {{change: 'VARCHAR'}}, auto_detect = false, header = false, delim = '\x1f',
            quote = '', escape = '', max_line_size = $most, buffer_size = 2 * $most
        )
    )
) TO {file} (FORMAT parquet, COMPRESSION zstd)
"""
_LONGEST_LINE = 1024**2
_LONGEST_TEXT = 10_000
_LARGEST = 1e15
_BATCH = 500
_SECONDS = 600.0

# For each kind and column: the number of changes, and the median percentage.
_FACTS = """
SELECT kind, col, count(*), median(percent) FROM read_parquet($file) WHERE NOT is_volatile GROUP BY kind, col
"""


def write_lines(changes: Iterable[Entry], lines: Path) -> int:
    """Write a file with one change per line. Return their number."""
    count, remaining = 0, iter(changes)
    with lines.open("wb") as out:
        while some := list(islice(remaining, _BATCH)):
            out.writelines(map(_line, some))
            count += len(some)
    return count


def write_changes(lines: Path, changes: Path) -> dict[str, Any]:
    """Convert the file that write_lines() wrote to Parquet. Return facts for Comparison.summary."""
    columns = (f"cells[{index}]::{kind} AS {name}" for index, (name, kind) in enumerate(_TYPES.items(), 1))
    values = {"paths": [f"$.{name}" for name in _TYPES], "lines": str(lines), "most": _LONGEST_LINE}
    with open_files(lines, changes, seconds=_SECONDS, threads=1) as database:
        database.query(_BUILD.format(columns=", ".join(columns), file=f"'{changes}'"), values)
        return _facts(database.query(_FACTS, {"file": str(changes)}))


def _facts(rows: Iterable[tuple[str, str | None, int, float | None]]) -> dict[str, Any]:
    columns: dict[str, int] = {}
    medians: dict[str, float] = {}
    for kind, column, count, median in rows:
        if column is not None:
            columns[column] = columns.get(column, 0) + count
        if median is not None:
            medians[kind] = round(median, 1)
    return {"columns": columns, "median_percent": medians}


def _line(change: Entry) -> bytes:
    return encoded(dict(zip(_TYPES, _cells(change), strict=True))) + b"\n"


def _cells(change: Entry) -> Iterator[object]:
    yield from (change.key, utf8(change.title), change.kind.value, change.column, change.was, change.now)
    yield from (_double(change.percent), _double(change.amount), change.number_before, change.number)
    yield from (change.currency_before, change.currency, change.is_volatile)
    values = (shown_value(change.was), shown_value(change.now))
    yield searched_text([*texts_of(change.key), change.title, *filter(None, values)])[:_LONGEST_TEXT]


def _double(number: Decimal | None) -> float | None:
    """Return a number, or None if it is too large to mean anything."""
    double = None if number is None else float(number)
    return double if double is not None and math.isfinite(double) and abs(double) < _LARGEST else None


def shown_value(cell: str | None) -> str | None:
    """Return the value of a cell as text, or None if it is missing. Lists and objects are their JSON."""
    if cell is None or cell == "null":
        return None
    return text_of(cell) if cell.startswith('"') else cell


def json_value(cell: str | None) -> bytes:
    """Return the value of a cell as JSON. A value that was cut is a text."""
    if cell is None:
        return b"null"
    try:
        json.loads(cell, parse_constant=_refuse)
    except ValueError:
        return encoded(cell)
    return cell.encode()


def _refuse(constant: str) -> None:
    raise ValueError(constant)
