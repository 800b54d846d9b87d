"""Tell whether two values of a slice mean the same."""

import json
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable
from decimal import Decimal, InvalidOperation
from enum import Enum
from typing import Any, cast

import msgspec

from collections_app.records.formats.json_records import Number
from collections_app.records.numeric_text import is_number


class Nothing(Enum):
    """The kinds of missing values, which stay apart."""

    ABSENT = "absent"  # the record lacks the column
    NULL = "null"
    EMPTY = "empty"  # a text without visible characters, or a list or object without items


# The items of a list, whose order means nothing, or of an object.
Items = tuple[type, frozenset[Any]]
Value = Nothing | Decimal | bool | str | Items


def value_of(cell: str | None) -> Value:
    """Return what a cell of a slice means: numbers by their value, and texts without differences in spacing.

    A number in a text is a number: "1299.00" means the same as 1299. So it is in lists and objects. If one of
    them was cut, it is its text.
    """
    if cell is None:
        return Nothing.ABSENT
    if cell.startswith('"'):
        return _of_text(text_of(cell))
    if cell in _LITERALS:
        return _LITERALS[cell]
    return _items(cell) if cell.startswith(("[", "{")) else _number(cell)


def text_of(cell: str) -> str:
    """Return the text of a cell that contains a JSON string, or a part of one."""
    if "\\" not in cell and len(cell) > 1 and cell.endswith('"'):  # faster
        return cell[1:-1]
    try:
        return _decode_text(cell)
    except msgspec.MsgspecError:  # it was cut, or contains a lone surrogate
        return _text_of_unusual(cell)


_decode_text: Callable[[str], str] = msgspec.json.Decoder(str).decode


def _text_of_unusual(cell: str) -> str:
    try:
        return str(json.loads(cell))
    except ValueError:
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


def _items(cell: str) -> Value:
    try:
        return _of_json(json.loads(cell, parse_float=_number, parse_int=_number))
    except (ValueError, RecursionError):  # it was cut
        return cell


def _of_json(value: Any) -> Value:
    if isinstance(value, list):
        return _of_items(list, Counter(map(_distinct, value)).items())
    if isinstance(value, dict):
        return _of_items(dict, ((name, _distinct(each)) for name, each in value.items()))
    if value is None:
        return Nothing.NULL
    return _of_text(value) if isinstance(value, str) else cast(Decimal | bool, value)


def _of_items(kind: type, items: Iterable[Any]) -> Value:
    found = frozenset(items)
    return (kind, found) if found else Nothing.EMPTY


def _distinct(value: Any) -> tuple[type, Value]:
    # In Python, True equals Decimal(1).
    meaning = _of_json(value)
    return type(meaning), meaning


def _number(text: str) -> Decimal | str:
    try:
        return Decimal(text)
    except InvalidOperation:  # it was cut
        return text
