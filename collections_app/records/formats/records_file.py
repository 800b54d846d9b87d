"""Every record of a run as one file, in the format that is asked for."""

import csv
import enum
import hashlib
import io
import json
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import msgspec

from collections_app.records.formats import parquet, xlsx
from collections_app.records.formats.flatten import Columns, Flat, Place, cells, columns_of, flat
from collections_app.records.formats.json_records import Record
from collections_app.records.formats.tables import Table, TooWide, UnknownColumn, check_cells

# How many columns an error names.
_NAMED = 50
_NAME_SHOWN = 100

# Gives the records from the first one on, many at once, each time that it is called.
Read = Callable[[], Iterable[list[Record]]]


class Format(enum.StrEnum):
    """What the records can be turned into. The values end the names of the files."""

    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"
    XLSX = "xlsx"
    PARQUET = "parquet"


@dataclass(frozen=True)
class ExportSpec:
    """What an export contains, and its format."""

    format: Format
    columns: tuple[str, ...] = ()  # the chosen ones, in this order; none: all
    excel: bool = False  # a CSV that spreadsheets open without harm

    @property
    def digest(self) -> str:
        """A digest of all fields, under which an export is stored."""
        # Release 0.1 stored the digest of this text, so it must not change.
        text = f"Wish(format={self.format!r}, columns={self.columns!r}, excel={self.excel!r})"
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()

    @property
    def passes(self) -> int:
        """How often the records are read."""
        return 1 if self.columns or self.format in {Format.JSON, Format.JSONL} else 2


def write_records(read: Read, spec: ExportSpec, out: IO[bytes], *, folder: Path) -> None:
    """Write the records; `out` stays open. What is made on the way lies in `folder`, an empty one of ours.

    Memory is bounded by the largest records, not by how many there are. Raises NotPossible where the records
    can't be had in this form, what `read` raises, and OSError.
    """
    _WRITERS[spec.format](read, spec, out, folder)


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
            out.write(_encoder.encode_lines(some))
        except (UnicodeEncodeError, OverflowError):
            out.write(b"".join(map(_json_line, some)))


_encoder = msgspec.json.Encoder()


def _json_list(records: list[Record]) -> bytes:
    try:
        return _encoder.encode(records)
    except (UnicodeEncodeError, OverflowError):
        # Half a surrogate pair, or a number of more than 64 bits.
        return b"[%b]" % b",".join(_json_line(record).rstrip() for record in records)


def _json_line(record: Record) -> bytes:
    return json.dumps(record, separators=(",", ":")).encode() + b"\n"


def _chosen(read: Read, spec: ExportSpec) -> Iterator[list[Record]]:
    """Yield the records: as they are, or with the chosen columns alone, whose lists stay lists."""
    if not spec.columns:
        yield from read()
        return
    for records, places in _placed(read, spec.columns):
        pairs = [(name, place) for name, place in zip(spec.columns, places, strict=True) if place is not None]
        yield [{name: each[place] for name, place in pairs if place in each} for each in records]


# --- tables -----------------------------------------------------------------------------------------


def _placed(read: Read, names: Sequence[str]) -> Iterator[tuple[list[Flat], list[Place | None]]]:
    """Yield the flat records, and where the columns of these names stand in them.

    Raises NotPossible at the end, where no record has a column of one of the names.
    """
    columns = Columns(names)
    for some in read():
        records = [flat(record) for record in some]
        columns.look_at(records)
        yield records, [columns.place_of(name) for name in names]
    missing = next((name for name in names if columns.place_of(name) is None), None)
    if missing is not None:
        _check_empty(read, missing)


def _check_empty(read: Read, missing: str) -> None:
    """Raise UnknownColumn unless the run has no columns at all, which makes a table without rows."""
    columns = Columns()
    with suppress(TooWide):
        for some in read():
            columns.look_at(map(flat, some))
            if len(columns) > _NAMED:
                break
    if known := columns.names:
        named = ", ".join(map(_shown, known[:_NAMED])) + (", …" if len(known) > _NAMED else "")
        raise UnknownColumn(f"No record has a column “{_shown(missing)}”. The columns are: {named}.")


def _shown(name: str) -> str:
    return name if len(name) <= _NAME_SHOWN else f"{name[:_NAME_SHOWN]}…"


def _table(read: Read, spec: ExportSpec) -> Table:
    """Return the records as a table; reads them once where the columns have to be found out."""
    if spec.columns:
        return Table(spec.columns, lambda: _chosen_cells(read, spec.columns))
    columns, rows = Columns(), 0
    for some in read():
        columns.look_at(map(flat, some))
        rows += len(some)
        check_cells(len(columns), rows)
    names, places = columns.names, [*columns.places]
    return Table(
        tuple(names), lambda: (columns_of([flat(record) for record in some], places) for some in read())
    )


def _chosen_cells(read: Read, names: Sequence[str]) -> Iterator[list[list[Any]]]:
    rows = 0
    for records, places in _placed(read, names):
        rows += len(records)
        check_cells(len(names), rows)
        yield columns_of(records, places)


def _write_csv(read: Read, spec: ExportSpec, out: IO[bytes], folder: Path) -> None:
    table = _table(read, spec)
    # Half a surrogate pair, which JSON can hold and UTF-8 can't, becomes a question mark.
    text = io.TextIOWrapper(out, encoding="utf-8", errors="replace", newline="")
    try:
        writer = csv.writer(text)
        if spec.excel:
            text.write("\ufeff")
        prepare: Callable[[list[Any]], list[Any]] = _harmless if spec.excel else cells
        if table.names:
            writer.writerow(prepare(list(table.names)))
        for columns in table.batches():
            writer.writerows(zip(*map(prepare, columns), strict=True))
    finally:
        text.detach()


# What makes a spreadsheet take a text for a formula (owasp.org, "CSV Injection"), also as East Asian
# keyboards have it.
_FORMULA = re.compile("[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")


def _harmless(values: list[Any]) -> list[Any]:
    """Return the cells of a column, none of which a spreadsheet takes for a formula."""
    return [f"'{value}" if type(value) is str and _FORMULA.match(value) else value for value in cells(values)]


def _write_xlsx(read: Read, spec: ExportSpec, out: IO[bytes], folder: Path) -> None:
    path = folder / "records.xlsx"
    xlsx.write(_table(read, spec), path, folder=folder)
    _copy(path, out)


def _write_parquet(read: Read, spec: ExportSpec, out: IO[bytes], folder: Path) -> None:
    path = folder / "records.parquet"
    table = _table(read, spec)
    if not table.names:
        # Parquet needs a column, and as many rows as there are records.
        table = Table((_NO_COLUMNS,), lambda: ([[None] * len(some)] for some in read()))
    parquet.write(table, path, folder=folder)
    _copy(path, out)


_NO_COLUMNS = "(no columns)"


def _copy(path: Path, out: IO[bytes]) -> None:
    with path.open("rb") as made:
        shutil.copyfileobj(made, out, 1024 * 1024)


_WRITERS: dict[Format, Callable[[Read, ExportSpec, IO[bytes], Path], None]] = {
    Format.JSON: _write_json,
    Format.JSONL: _write_json_lines,
    Format.CSV: _write_csv,
    Format.XLSX: _write_xlsx,
    Format.PARQUET: _write_parquet,
}
