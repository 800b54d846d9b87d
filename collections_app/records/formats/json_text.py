"""Write JSON with numbers as their file writes them, which the json module can't do."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from collections_app.records.formats.json_records import Number

_Nested = dict[str, Any] | list[Any]

# Raw raises TypeError for anything but a Number.
ENCODER = msgspec.json.Encoder(enc_hook=msgspec.Raw)


@dataclass(frozen=True)
class Style:
    """A form of JSON, as the parameters of json.dumps() describe it."""

    comma: str = ", "
    colon: str = ": "
    indent: str = ""  # for each level; empty for a single line
    ensure_ascii: bool = False

    def dumps(self, value: Any) -> str:
        """Return a value without a Number as JSON. Raises TypeError if it has one, and RecursionError."""
        return json.dumps(
            value,
            ensure_ascii=self.ensure_ascii,
            allow_nan=False,
            indent=self.indent or None,
            separators=(self.comma, self.colon),
        )

    def new_line(self, depth: int) -> str:
        """Return the beginning of a line at this depth, or nothing if there is a single line."""
        return "\n" + self.indent * depth if self.indent else ""


SPACED = Style()
COMPACT = Style(",", ":")
# UTF-8 can contain any text in these styles, even lone surrogates.
SPACED_ASCII = Style(ensure_ascii=True)
COMPACT_ASCII = Style(",", ":", ensure_ascii=True)
INDENTED = Style(",", indent="  ")


def number_text(number: Number) -> str:
    """Return the text of a number, as in its file."""
    return str(number, "ascii")


def written_numbers(values: list[Any]) -> list[Any]:
    """Return the values of a column, with the text of each Number."""
    kinds = set(map(type, values))
    if kinds == {Number}:  # faster than one by one
        return b"\n".join(values).decode().split("\n")
    if Number in kinds:
        return [number_text(value) if type(value) is Number else value for value in values]
    return values


def json_text(value: Any) -> str:
    """Return a value as compact JSON. The text can contain lone surrogates."""
    try:
        return ENCODER.encode(value).decode()
    except (UnicodeEncodeError, OverflowError):
        return styled_json(value, COMPACT)


def encoded(value: object) -> bytes:
    """Return a value as compact JSON in UTF-8, even if it has lone surrogates or very long numbers."""
    try:
        return ENCODER.encode(value)
    except (ValueError, OverflowError, RecursionError):
        return styled_json(value, SPACED).encode("utf-8", "replace")


def styled_json(value: Any, style: Style) -> str:
    """Return a value as JSON. This is slower than json_text(), but works for any value and style."""
    try:
        return style.dumps(value)
    except (TypeError, RecursionError):  # there is a Number in it
        return "".join(json_pieces(value, style))


def json_pieces(value: Any, style: Style) -> Iterator[str]:
    """Yield the pieces of a value's JSON. Values can be nested to any depth."""
    levels = [_pieces(value, style, 0)]
    while levels:
        piece = next(levels[-1], None)
        if piece is None:
            levels.pop()
        elif isinstance(piece, str):
            yield piece
        else:
            levels.append(_pieces(piece, style, len(levels)))


def _pieces(value: Any, style: Style, depth: int) -> Iterator[str | _Nested]:
    """Yield the pieces of a value's JSON. Nested values are yielded unchanged."""
    if not value or not isinstance(value, dict | list):
        yield _scalar(value, style)
        return
    yield "{" if isinstance(value, dict) else "["
    before = style.new_line(depth + 1)
    for key, each in _items(value, style):
        yield f"{before}{key}"
        yield each if isinstance(each, dict | list) else _scalar(each, style)
        before = style.comma + style.new_line(depth + 1)
    yield style.new_line(depth) + ("}" if isinstance(value, dict) else "]")


def _items(value: _Nested, style: Style) -> Iterable[tuple[str, Any]]:
    if isinstance(value, dict):
        return ((f"{_scalar(key, style)}{style.colon}", each) for key, each in value.items())
    return (("", each) for each in value)


def _scalar(value: Any, style: Style) -> str:
    if isinstance(value, Number):
        return number_text(value)
    return style.dumps(value)
