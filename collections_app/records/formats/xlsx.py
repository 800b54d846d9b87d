"""Write a table as XLSX, within the limits of Excel."""

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import xlsxwriter
from xlsxwriter.format import Format
from xlsxwriter.worksheet import Worksheet

from collections_app.records.formats.flatten import cells, utf8
from collections_app.records.formats.json_records import Number
from collections_app.records.formats.json_text import number_text
from collections_app.records.formats.numbers import DIGITS, fits_double, is_short
from collections_app.records.formats.sheet_names import SheetNames
from collections_app.records.formats.tables import Table

# Limits of Excel (support.microsoft.com, "Excel specifications and limits").
MOST_ROWS = 1_048_576
LONGEST_CELL = 32_767
# Excel shows 15 digits of a number, so a longer ID would change.
_LARGEST_NUMBER = 10**DIGITS
# Excel's default format, "General", shows larger integers as 1.2E+11, and smaller ones in a narrow column.
_LARGEST_GENERAL = 10**11
_LARGEST_NARROW = 10**8
_NARROW = 8  # characters
_MOST_DECIMALS = 30

_LINE_ENDS = re.compile("\r\n?")
# In XLSX, _x0041_ is an escape for "A". A text like that could be escaped too, but few readers know escapes.
# They all join the runs of a text, so it is split into runs that don't look like an escape.
_ESCAPE = re.compile("_x[0-9A-Fa-f]{4}_")
_RUNS = re.compile("(?<=_)(?=x[0-9A-Fa-f]{4}_)|(?<=^<)(?=r>)")
# XML can't contain these characters, so they are escaped. XlsxWriter would escape those in runs twice.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\ufffe\uffff]")

_EVERY_CELL = "A1:XFD1048576"
_OPTIONS = {
    "constant_memory": True,
    "strings_to_formulas": False,
    "strings_to_numbers": False,
    "strings_to_urls": False,
    "use_zip64": True,
}


def write(tables: Iterable[tuple[str, Table]], path: Path, *, folder: Path) -> None:
    """Write a workbook with named tables. Each gets as many sheets as its rows need. Raises OSError.

    Each sheet has a header row. A sheet can have 16,384 columns, more than a table can.
    """
    workbook = xlsxwriter.Workbook(str(path), _OPTIONS | {"tmpdir": str(folder)})
    try:
        formats, names = _Formats(workbook), SheetNames()
        for name, table in tables:
            _write_rows(workbook, table, formats, lambda name=name: names.add(name))  # type: ignore[misc]
        workbook.close()
    except BaseException:
        # The caller deletes the temporary files. XlsxWriter 3.3.1 has no public method that closes them.
        for sheet in workbook.worksheets():
            sheet._opt_close()
        raise


def _write_rows(
    workbook: xlsxwriter.Workbook, table: Table, formats: "_Formats", next_name: Callable[[], str]
) -> None:
    sheet, row = _Sheet(workbook.add_worksheet(next_name()), table, formats), 1
    for values in _rows(table):
        if row == MOST_ROWS:
            sheet.finish()
            sheet, row = _Sheet(workbook.add_worksheet(next_name()), table, formats), 1
        for column, value in enumerate(values):
            if value is not None:
                sheet.write(row, column, value)
        row += 1
    sheet.finish()


def _rows(table: Table) -> Iterator[tuple[Any, ...]]:
    for columns in table.batches():
        yield from zip(*map(_cells, columns), strict=True)


def _cells(values: list[Any]) -> list[Any]:
    # Excel has booleans.
    if bool in map(type, values):
        return [value if type(value) is bool else cells([value])[0] for value in values]
    return cells(values)


class _Formats:
    """The cell formats of a workbook."""

    def __init__(self, workbook: xlsxwriter.Workbook) -> None:
        self.bold = workbook.add_format({"bold": True})
        self.plain = workbook.add_format()
        self._workbook = workbook
        self._decimals: dict[int, Format] = {}

    def decimals(self, count: int) -> Format:
        """Return the format of numbers with this many decimals."""
        if count not in self._decimals:
            pattern = "0." + "0" * count if count else "0"
            self._decimals[count] = self._workbook.add_format({"num_format": pattern})
        return self._decimals[count]


class _Sheet:
    """A sheet with a header row."""

    def __init__(self, sheet: Worksheet, table: Table, formats: _Formats) -> None:
        self._sheet = sheet
        self._sheet.freeze_panes(1, 0)
        self._sheet.ignore_errors({"number_stored_as_text": _EVERY_CELL})
        self._formats = formats
        self._widths: dict[int, int] = {}
        for column, name in enumerate(table.names):
            self._write_text(0, column, name, formats.bold)

    def write(self, row: int, column: int, value: Any) -> None:
        """Write a cell that isn't empty."""
        kind = type(value)
        if kind is str:
            self._write_text(row, column, value)
        elif kind is bool:
            self._sheet.write_boolean(row, column, value)
        elif kind is int:
            self._write_integer(row, column, value)
        elif kind is Number:
            self._write_number(row, column, number_text(value))
        else:
            self._sheet.write_number(row, column, value)

    def finish(self) -> None:
        """Make columns wide enough for their numbers, which Excel would otherwise show as ####."""
        for column, width in self._widths.items():
            self._sheet.set_column(column, column, width + 1)
        # Many sheets would need as many open files. XlsxWriter opens each again when it needs it.
        self._sheet._opt_close()

    def _write_text(self, row: int, column: int, value: str, cell_format: Format | None = None) -> None:
        text = _text(value)
        if not text:  # Excel has no empty text
            return
        if (_ESCAPE.search(text) or _is_markup(text)) and not _CONTROL.search(text):
            *runs, last = _RUNS.split(text)
            self._sheet.write_rich_string(row, column, *runs, self._formats.plain, last)
        else:
            self._sheet.write_string(row, column, f" {text}" if _is_markup(text) else text, cell_format)

    def _write_integer(self, row: int, column: int, value: int) -> None:
        size = abs(value)
        if size >= _LARGEST_NUMBER:
            self._sheet.write_string(row, column, str(value))
            return
        if size >= _LARGEST_NARROW:
            self._widen(column, str(value))
        is_general = size < _LARGEST_GENERAL
        self._sheet.write_number(row, column, value, None if is_general else self._formats.decimals(0))

    def _write_number(self, row: int, column: int, text: str) -> None:
        """Write a number that looks as in its file, or text if Excel would change it."""
        is_exact = is_short(text)
        decimals = _decimals(text)
        if not is_exact and (not fits_double(text) or (decimals or 0) < 0):
            self._sheet.write_string(row, column, text)
            return
        if len(text) > _NARROW:
            self._widen(column, text)
        cell_format = None if decimals is None else self._formats.decimals(decimals)
        self._sheet.write_number(row, column, float(text) if is_exact else _Exact(text), cell_format)

    def _widen(self, column: int, text: str) -> None:
        if len(text) > self._widths.get(column, _NARROW):
            self._widths[column] = len(text)


def _is_markup(text: str) -> bool:
    """Whether XlsxWriter would take the text for the XML of several runs."""
    return text.startswith("<r>") and text.endswith("</r>")


class _Exact(float):
    """A number that XlsxWriter writes with all of its digits, instead of rounding it to 16."""

    def __format__(self, _: str) -> str:
        return repr(self)


def _decimals(text: str) -> int | None:
    """Return how many decimals of a number Excel can show, or None if it has too many, or an exponent.

    The result is negative if Excel would replace digits before the decimal point by zeros.
    """
    if "e" in text or "E" in text:
        return None
    whole, _, fraction = text.lstrip("-").partition(".")
    digits = len(f"{whole}{fraction}".lstrip("0"))
    decimals = len(fraction) - max(0, digits - DIGITS)
    return decimals if decimals <= _MOST_DECIMALS else None


def _text(value: str) -> str:
    text = value if value.isascii() else utf8(value)
    if "\r" in text:
        text = _LINE_ENDS.sub("\n", text)
    # Excel counts UTF-16 code units.
    length = len(text) if text.isascii() else len(text.encode("utf-16-le")) // 2
    if length > LONGEST_CELL:
        note = f"… (cut; {length:,} characters)"
        kept = LONGEST_CELL - len(note)
        text = text.encode("utf-16-le")[: 2 * kept].decode("utf-16-le", "ignore") + note
    return text
