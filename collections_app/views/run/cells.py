"""Format the values of a record for a table or a page: short, and always as text."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from collections_app.records.formats.flatten import FlatRecord, KeyPath, utf8
from collections_app.records.formats.json_records import Number
from collections_app.records.formats.json_text import INDENTED, SPACED, json_pieces, json_text, styled_json

# Longer values wouldn't fit into a cell.
_LONGEST_TEXT = 160
_LONGEST_ADDRESS = 2000
# Records can have megabytes of JSON.
LONGEST_JSON = 200_000

_ADDRESS = re.compile(r"https?://[^\s\"<>\\^`{|}]+", re.IGNORECASE)


@dataclass(frozen=True)
class Cell:
    """A value: its text, its kind, and a link if it is a web address."""

    text: str
    kind: str
    address: str = ""


def cells(values: FlatRecord, paths: Sequence[KeyPath | None]) -> list[Cell]:
    """Return the cells of a record's row."""
    return [cell_of(None if path is None else values.get(path)) for path in paths]


def cell_of(value: object) -> Cell:
    """Return the cell of a value in a record."""
    match value:
        case None | "":
            return Cell("", "nothing")
        case bool():
            return Cell("true" if value else "false", "word")
        case int() | float() | Number():
            return Cell(_short(json_text(value)), "number")
        case str():
            is_address = len(value) <= _LONGEST_ADDRESS and _ADDRESS.fullmatch(value)
            return Cell(_short(value), "text", value if is_address else "")
    return Cell(_short(styled_json(value, SPACED)), "nested")


def _short(text: str) -> str:
    text = utf8(text)
    return text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}…"


def pretty(fields: Mapping[str, Any]) -> tuple[str, bool]:
    """Return a record's indented JSON, and whether it was truncated."""
    pieces: list[str] = []
    left = LONGEST_JSON
    # Encode piecewise: the indentation of nested lists can make the text a thousand times as long.
    for piece in json_pieces(fields, INDENTED):
        pieces.append(piece)
        left -= len(piece)
        if left < 0:
            break
    return utf8("".join(pieces)[:LONGEST_JSON]), left < 0
