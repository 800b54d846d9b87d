"""Read workbooks (XLSX)."""

import io
import zipfile
from typing import Any
from xml.etree import ElementTree

SHEET = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"


def rows_of_xlsx(content: bytes, sheet: int = 1) -> list[dict[str, Any]]:
    """Return the rows of a sheet: the value of each cell by its column letters."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        tree = ElementTree.fromstring(archive.read(f"xl/worksheets/sheet{sheet}.xml"))
    return [
        {cell.attrib["r"].rstrip("0123456789"): _value(cell) for cell in row}
        for row in tree.iter(f"{SHEET}row")
    ]


def _value(cell: ElementTree.Element) -> Any:
    assert cell.find(f"{SHEET}f") is None, "There is a formula."
    kind = cell.attrib.get("t")
    if kind == "inlineStr":
        return "".join(cell.itertext())
    value = cell.findtext(f"{SHEET}v")
    assert value is not None
    return value == "1" if kind == "b" else float(value)


def sheet_names(content: bytes) -> list[str]:
    """Return the names of a workbook's sheets."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        tree = ElementTree.fromstring(archive.read("xl/workbook.xml"))
    return [sheet.attrib["name"] for sheet in tree.iter(f"{SHEET}sheet")]
