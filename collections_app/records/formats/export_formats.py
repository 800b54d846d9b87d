"""Write records to one file, in any format."""

import csv
import enum
import hashlib
import io
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from collections_app.records.formats import parquet, xlsx
from collections_app.records.formats.flatten import Columns, FlatRecord, KeyPath, cells, columns_of, flatten
from collections_app.records.formats.json_records import Record
from collections_app.records.formats.json_text import COMPACT_ASCII, ENCODER, styled_json, written_numbers
from collections_app.records.formats.tables import Table, TooWide, UnknownColumn, check_cells

# How many columns an error lists, and how many characters of each name.
_NAMED = 50
_NAME_SHOWN = 100

COMMA, SEMICOLON = ",", ";"

# Increase it when the same records would produce a different file, so that stored exports are no longer used.
_VERSION = 3

# Each call yields all records, in batches.
Read = Callable[[], Iterable[list[Record]]]


class Format(enum.StrEnum):
    """The formats for exports. The values are the file extensions."""

    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"
    XLSX = "xlsx"
    PARQUET = "parquet"


@dataclass(frozen=True)
class ExportSpec:
    """The content and the format of an export."""

    format: Format
    columns: tuple[str, ...] = ()  # in this order; empty for all columns
    excel: bool = False  # a CSV that is safe to open in a spreadsheet
    separator: str = COMMA  # between the columns of a CSV
    search: str = ""  # only the records that match it; see records/exports/matching.py
    filters: tuple[str, ...] = ()  # only the records that match them; see records/preview/filters.py
    allows_missing: bool = False  # chosen columns that no record has are empty

    @property
    def digest(self) -> str:
        """A digest of all fields, under which an export is stored."""
        others: tuple[object, ...] = (self.search,) if self.search else ()
        if self.filters or self.allows_missing:
            others = (self.search, self.filters, self.allows_missing)
        text = repr((_VERSION, self.format.value, self.columns, self.excel, self.separator, *others))
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()

    @property
    def is_narrowed(self) -> bool:
        """Whether it may leave out records."""
        return bool(self.search or self.filters)

    @property
    def passes(self) -> int:
        """The number of times that the records are read."""
        return 1 if self.columns or self.format in {Format.JSON, Format.JSONL} else 2


def _never() -> bool:
    return False


def write_records(
    read: Read, spec: ExportSpec, out: IO[bytes], *, folder: Path, is_over: Callable[[], bool] = _never
) -> None:
    """Write the records to `out`, which stays open. Temporary files are written to `folder`.

    The amount of memory depends on the largest records, not on their number. Raises ConversionError, OSError
    and what `read` raises. DuckDB writes Parquet files without reading records or writing to `out`. If
    `is_over`, which another thread calls, returns true meanwhile, raises Interrupted.
    """
    if spec.format == Format.PARQUET:
        _write_parquet(read, spec, out, folder, is_over)
    else:
        _WRITERS[spec.format](read, spec, out, folder)


def write_workbook(sheets: Iterable[tuple[str, Read]], out: IO[bytes], *, folder: Path) -> None:
    """Write a workbook with a sheet for each name. See write_records()."""
    path = folder / "records.xlsx"
    spec = ExportSpec(Format.XLSX)
    xlsx.write(((name, _table(read, spec)) for name, read in sheets), path, folder=folder)
    _copy(path, out)


# --- JSON -------------------------------------------------------------------------------------------


def _write_json(read: Read, spec: ExportSpec, out: IO[bytes], folder: Path) -> None:
    before = b"["
    for some in _chosen(read, spec):
        out.write(before + _json_list(some)[1:-1])
        before = b",\n"
    out.write(b"]\n" if before != b"[" else b"[]\n")


def _write_json_lines(read: Read, spec: ExportSpec, out: IO[bytes], folder: Path) -> None:
    for some in _chosen(read, spec):
        try:
            out.write(ENCODER.encode_lines(some))
        except (UnicodeEncodeError, OverflowError):
            out.write(b"".join(map(_json_line, some)))


def _json_list(records: list[Record]) -> bytes:
    try:
        return ENCODER.encode(records)
    except (UnicodeEncodeError, OverflowError):
        # A lone surrogate, or an integer of more than 64 bits.
        return b"[%b]" % b",".join(_json_line(record).rstrip() for record in records)


def _json_line(record: Record) -> bytes:
    return styled_json(record, COMPACT_ASCII).encode() + b"\n"


def _chosen(read: Read, spec: ExportSpec) -> Iterator[list[Record]]:
    """Yield the records, with only the chosen columns if there are any."""
    if not spec.columns:
        yield from read()
        return
    for records, paths in _flattened(read, spec):
        pairs = [(name, path) for name, path in zip(spec.columns, paths, strict=True) if path is not None]
        yield [{name: each[path] for name, path in pairs if path in each} for each in records]


# --- tables -----------------------------------------------------------------------------------------


def _flattened(read: Read, spec: ExportSpec) -> Iterator[tuple[list[FlatRecord], list[KeyPath | None]]]:
    """Yield flat records, and the paths of the chosen columns.

    Raises UnknownColumn at the end if no record has one of the columns, unless the spec allows that.
    """
    names = spec.columns
    columns = Columns(names)
    for some in read():
        records = [flatten(record) for record in some]
        columns.add(records)
        yield records, [columns.path_of(name) for name in names]
    missing = next((name for name in names if columns.path_of(name) is None), None)
    if missing is not None and not spec.allows_missing:
        _check_empty(read, missing)


def _check_empty(read: Read, missing: str) -> None:
    """Raise UnknownColumn unless the records have no columns at all."""
    columns = Columns()
    with suppress(TooWide):
        for some in read():
            columns.add(map(flatten, some))
            if len(columns) > _NAMED:
                break
    if known := columns.names:
        named = ", ".join(map(_shown, known[:_NAMED])) + (", …" if len(known) > _NAMED else "")
        raise UnknownColumn(f"No record has a column “{_shown(missing)}”. The columns are: {named}.")


def _shown(name: str) -> str:
    return name if len(name) <= _NAME_SHOWN else f"{name[:_NAME_SHOWN]}…"


def _table(read: Read, spec: ExportSpec) -> Table:
    """Return the records as a table. Read them once to find the columns, unless they are given."""
    if spec.columns:
        return Table(spec.columns, lambda: _chosen_cells(read, spec))
    columns, rows = Columns(), 0
    for some in read():
        columns.add(map(flatten, some))
        rows += len(some)
        check_cells(len(columns), rows)
    names, paths = columns.names, [*columns.paths]
    return Table(
        tuple(names), lambda: (columns_of([flatten(record) for record in some], paths) for some in read())
    )


def _chosen_cells(read: Read, spec: ExportSpec) -> Iterator[list[list[Any]]]:
    rows = 0
    for records, paths in _flattened(read, spec):
        rows += len(records)
        check_cells(len(spec.columns), rows)
        yield columns_of(records, paths)


def _write_csv(read: Read, spec: ExportSpec, out: IO[bytes], folder: Path) -> None:
    table = _table(read, spec)
    # A lone surrogate, which JSON allows and UTF-8 doesn't, becomes a question mark.
    text = io.TextIOWrapper(out, encoding="utf-8", errors="replace", newline="")
    try:
        writer = csv.writer(text, delimiter=spec.separator)
        if spec.excel:
            text.write("\ufeff")
        prepare: Callable[[list[Any]], list[Any]] = _without_formulas if spec.excel else _written_cells
        if table.names:
            writer.writerow(prepare(list(table.names)))
        for columns in table.batches():
            writer.writerows(zip(*map(prepare, columns), strict=True))
    finally:
        text.detach()


# A spreadsheet treats text that starts with one of these as a formula (owasp.org, "CSV Injection"). The last
# four are the full-width forms. A number or a percentage alone does no harm: -5.20, +3, -26%.
_FORMULA = re.compile(
    "(?![+-](?=[.,]?[0-9])[0-9]*+(?:[.,][0-9]++)*+(?:[eE][+-]?[0-9]++)?+[ \u00a0\u202f]?%?\\Z)"
    "[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]"
)


def _written_cells(values: list[Any]) -> list[Any]:
    """Return the cells of a column, with numbers as their file writes them."""
    return cells(written_numbers(values))


def _without_formulas(values: list[Any]) -> list[Any]:
    """Return the cells of a column. Text that looks like a formula gets a leading quote."""
    if str in set(map(type, values)):
        values = [f"'{value}" if type(value) is str and _FORMULA.match(value) else value for value in values]
    return _written_cells(values)


def _write_xlsx(read: Read, spec: ExportSpec, out: IO[bytes], folder: Path) -> None:
    path = folder / "records.xlsx"
    xlsx.write([("Records", _table(read, spec))], path, folder=folder)
    _copy(path, out)


def _write_parquet(
    read: Read, spec: ExportSpec, out: IO[bytes], folder: Path, is_over: Callable[[], bool]
) -> None:
    path = folder / "records.parquet"
    table = _table(read, spec)
    if not table.names:
        # A Parquet file needs at least one column.
        table = Table((_NO_COLUMNS,), lambda: ([[None] * len(some)] for some in read()))
    parquet.write(table, path, folder=folder, is_over=is_over)
    _copy(path, out)


_NO_COLUMNS = "(no columns)"


def _copy(path: Path, out: IO[bytes]) -> None:
    with path.open("rb") as file:
        shutil.copyfileobj(file, out, 1024 * 1024)


_WRITERS: dict[Format, Callable[[Read, ExportSpec, IO[bytes], Path], None]] = {
    Format.JSON: _write_json,
    Format.JSONL: _write_json_lines,
    Format.CSV: _write_csv,
    Format.XLSX: _write_xlsx,
}
