"""Values of a record as a table and a page show them: short, and never as anything but text."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from collections_app.records.preview.records import sendable

# What doesn't fit into a cell anyway is not sent.
_LONGEST = 160
_LONGEST_ADDRESS = 2000
# A record's JSON on a page; there are records of megabytes.
LONGEST_JSON = 200_000

_ADDRESS = re.compile(r"https?://[^\s\"<>\\^`{|}]+", re.IGNORECASE)


@dataclass(frozen=True)
class Cell:
    """A value: its text, what kind it is, and where it leads to where it is an address."""

    text: str
    kind: str
    address: str = ""


def cells(fields: Mapping[str, Any], columns: Sequence[str]) -> list[Cell]:
    """Return the cells of a record's row."""
    return [_cell(fields.get(column)) for column in columns]


def _cell(value: object) -> Cell:
    match value:
        case None | "":
            return Cell("", "nothing")
        case bool():
            return Cell("true" if value else "false", "word")
        case int() | float():
            return Cell(_short(json.dumps(value)), "number")
        case str():
            fits = len(value) <= _LONGEST_ADDRESS and _ADDRESS.fullmatch(value)
            return Cell(_short(value), "text", value if fits else "")
    return Cell(_short(json.dumps(value, ensure_ascii=False)), "nested")


def _short(text: str) -> str:
    text = sendable(text)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def pretty(fields: Mapping[str, Any]) -> tuple[str, bool]:
    """Return a record's indented JSON, and whether its end is cut off."""
    pieces: list[str] = []
    left = LONGEST_JSON
    # Nested lists indent every line, so the text can be a thousand times as long as the record.
    for piece in _INDENTED.iterencode(fields):
        pieces.append(piece)
        left -= len(piece)
        if left < 0:
            break
    return sendable("".join(pieces)[:LONGEST_JSON]), left < 0


_INDENTED = json.JSONEncoder(ensure_ascii=False, indent=2)
