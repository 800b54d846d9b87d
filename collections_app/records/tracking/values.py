"""Tell whether two values of a slice mean the same."""

import json
import unicodedata
from decimal import Decimal, InvalidOperation
from enum import Enum
from typing import Any

from collections_app.records.formats.json_records import Number
from collections_app.records.numeric_text import is_number


class Nothing(Enum):
    """The kinds of missing values, which stay apart."""

    ABSENT = "absent"  # the record lacks the column
    NULL = "null"
    EMPTY = "empty"  # a text without visible characters


Value = Nothing | Decimal | bool | str


def value_of(cell: str | None) -> Value:
    """Return what a cell of a slice means: numbers by their value, and texts without differences in spacing.

    A number in a text is a number: "1299.00" means the same as 1299. Lists and objects are their JSON.
    """
    if cell is None:
        return Nothing.ABSENT
    if cell.startswith('"'):
        return _of_text(text_of(cell))
    if cell in _LITERALS:
        return _LITERALS[cell]
    return cell if cell.startswith(("[", "{")) else _number(cell)


def text_of(cell: str) -> str:
    """Return the text of a cell that contains a JSON string, or a part of one."""
    if "\\" not in cell and len(cell) > 1 and cell.endswith('"'):  # faster
        return cell[1:-1]
    try:
        return str(json.loads(cell))
    except ValueError:  # it was cut
        return cell


def scraped_value(cell: str | None) -> Any:
    """Return the value of a cell as NotationFinder reads it."""
    if cell is None or cell == "null":
        return None
    if cell.startswith('"'):
        return text_of(cell)
    if cell in {"true", "false"} or cell.startswith(("[", "{")):
        return cell == "true"
    return int(cell) if cell.lstrip("-").isdigit() else Number(cell.encode())


def shown_text(cell: str | None) -> str:
    """Return a cell as text: the text of a JSON string, the JSON of other values, or "" without a value."""
    return text_of(cell) if cell and cell.startswith('"') else cell or ""


_LITERALS: dict[str, Value] = {"null": Nothing.NULL, "true": True, "false": False}


def _of_text(text: str) -> Value:
    plain = " ".join(unicodedata.normalize("NFC", text).split())
    if not plain:
        return Nothing.EMPTY
    return _number(plain) if is_number(plain) else plain


def _number(text: str) -> Decimal | str:
    try:
        return Decimal(text)
    except InvalidOperation:  # it was cut
        return text
