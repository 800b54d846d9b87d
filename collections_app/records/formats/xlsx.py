"""Write a table as XLSX, within the limits of Excel."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import xlsxwriter
from xlsxwriter.worksheet import Worksheet

from collections_app.records.formats.flatten import cells, utf8
from collections_app.records.formats.json_records import Number
from collections_app.records.formats.json_text import number_text
from collections_app.records.formats.tables import Table

# Limits of Excel (support.microsoft.com, "Excel specifications and limits").
MOST_ROWS = 1_048_576
LONGEST_CELL = 32_767
# Excel keeps 15 digits of a number, so a longer ID would change.
_LARGEST_NUMBER = 10**15

_OPTIONS = {
    "constant_memory": True,
    "strings_to_formulas": False,
    "strings_to_numbers": False,
    "strings_to_urls": False,
    "use_zip64": True,
}


def write(table: Table, path: Path, *, folder: Path) -> None:
    """Write a workbook with as many sheets as the rows need. Each has a header row. Raises OSError.

    A sheet can have 16,384 columns, more than a table can.
    """
    workbook = xlsxwriter.Workbook(str(path), _OPTIONS | {"tmpdir": str(folder)})
    try:
        _write_rows(workbook, table)
        workbook.close()
    except BaseException:
        # The caller deletes the temporary files. XlsxWriter 3.3.1 has no public method that closes them.
        for sheet in workbook.worksheets():
            sheet._opt_close()
        raise


def _write_rows(workbook: xlsxwriter.Workbook, table: Table) -> None:
    bold = workbook.add_format({"bold": True})
    sheet, row = _new_sheet(workbook, table, bold), 1
    for values in _rows(table):
        if row == MOST_ROWS:
            sheet, row = _new_sheet(workbook, table, bold), 1
        for column, value in enumerate(values):
            if value is not None:
                _write_cell(sheet, row, column, value)
        row += 1


def _new_sheet(workbook: xlsxwriter.Workbook, table: Table, bold: Any) -> Worksheet:
    number = len(workbook.worksheets()) + 1
    sheet = workbook.add_worksheet("Records" if number == 1 else f"Records {number}")
    sheet.freeze_panes(1, 0)
    for column, name in enumerate(table.names):
        sheet.write_string(0, column, _text(name), bold)
    return sheet


def _rows(table: Table) -> Iterator[tuple[Any, ...]]:
    for columns in table.batches():
        yield from zip(*map(_cells, columns), strict=True)


def _cells(values: list[Any]) -> list[Any]:
    # Excel has booleans.
    if bool in map(type, values):
        return [value if type(value) is bool else cells([value])[0] for value in values]
    return cells(values)


def _write_cell(sheet: Worksheet, row: int, column: int, value: Any) -> None:
    kind = type(value)
    if kind is str:
        if value:  # Excel has no empty text
            sheet.write_string(row, column, _text(value))
    elif kind is bool:
        sheet.write_boolean(row, column, value)
    elif kind is int and abs(value) >= _LARGEST_NUMBER:
        sheet.write_string(row, column, str(value))
    else:
        sheet.write_number(row, column, float(number_text(value)) if kind is Number else value)


def _text(value: str) -> str:
    text = value if value.isascii() else utf8(value)
    # Excel counts UTF-16 code units.
    length = len(text) if text.isascii() else len(text.encode("utf-16-le")) // 2
    if length > LONGEST_CELL:
        note = f"… (cut; {length:,} characters)"
        kept = LONGEST_CELL - len(note)
        text = text.encode("utf-16-le")[: 2 * kept].decode("utf-16-le", "ignore") + note
    # Without the space XlsxWriter would treat the text as its own markup.
    return f" {text}" if text.startswith("<r>") and text.endswith("</r>") else text
