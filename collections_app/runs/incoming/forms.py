"""The format of a file to import, recognized by its name and its beginning."""

import codecs
import enum
from pathlib import PurePath

from collections_app.records.formats.json_records import ReadableLines

# Scrapy writes .jl and .jsonlines.
LINES_ENDINGS = (".jsonl", ".jsonlines", ".jl", ".ndjson")
# The endings of all files that can be imported.
ENDINGS = {"json": (".json",), "lines": LINES_ENDINGS, "zip": (".zip",), "gzip": (".gz",)}
_BLANKS = b" \t\r\n"
# Most files can be recognized by their first characters.
_FIRST_PIECE = 64
_LARGEST_PIECE = 64 * 1024


class Form(enum.Enum):
    """The format of a file."""

    LIST = "a list of records"
    OBJECT = "one object"
    LINES = "JSON Lines"


def endings(kind: str) -> str:
    """Return the endings of a kind of files, for people: ".jsonl, .jl"."""
    return ", ".join(ENDINGS[kind])


def form_of(name: str, file: ReadableLines) -> Form:
    """Return the form of an open file."""
    return Form.LINES if has_lines_ending(name) else _form_of(file)


def has_lines_ending(name: str) -> bool:
    """Whether the name says that the file is JSON Lines."""
    return PurePath(name).suffix.lower() in LINES_ENDINGS


def _form_of(file: ReadableLines) -> Form:
    last = b""  # the last character so far that isn't whitespace
    is_new_line = False
    size = _FIRST_PIECE
    # Lines are read in pieces, because the first one may be an entire category.
    while piece := file.readline(size):
        size = min(2 * size, _LARGEST_PIECE)
        text = piece.removeprefix(codecs.BOM_UTF8).strip(_BLANKS)
        if text and not last and not text.startswith(b"{"):
            # Anything that isn't JSON is treated as a list, because reading it reports what is wrong, and
            # where.
            return Form.LIST
        if text and last and is_new_line:
            # Within JSON, nothing that ends with } is followed by {.
            return Form.LINES if last + text[:1] == b"}{" else Form.OBJECT
        last = text[-1:] or last
        is_new_line = piece.endswith(b"\n")
    return Form.OBJECT if last else Form.LIST
