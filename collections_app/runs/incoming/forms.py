"""The format of a file to import, recognized by its beginning."""

import enum
from typing import IO

_BLANKS = b" \t\r\n"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_PIECE = 64 * 1024


class Form(enum.Enum):
    """The format of a file."""

    LIST = "a list of records"
    OBJECT = "one object"
    LINES = "JSON Lines"


def form_of(file: IO[bytes]) -> Form:
    """Return the form of an open file."""
    if file.read(len(_BYTE_ORDER_MARK)) != _BYTE_ORDER_MARK:
        file.seek(0)
    last = b""  # the last character so far that isn't whitespace
    is_new_line = False
    # Lines are read in pieces, because the first one may be an entire category.
    while piece := file.readline(_PIECE):
        text = piece.strip(_BLANKS)
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
