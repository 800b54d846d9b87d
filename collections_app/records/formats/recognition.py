"""Check that bytes from an account are the expected file: a list of records, or a ZIP.

An account may send an error, a web page or nothing at all instead of a file. The first BEGINNING bytes and
the last ENDING bytes are enough to recognize a file of any size.
"""

import io
import json
from typing import Protocol

from collections_app.files.zip import DIRECTORY_END, LONGEST_ENDING, MEMBER, is_ending
from collections_app.records.formats.json_records import (
    ENVELOPE_KEYS,
    InvalidRecords,
    Readable,
    check_beginning,
    count_records,
)

BEGINNING = 64 * 1024
ENDING = LONGEST_ENDING

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_BLANKS = b" \t\r\n"
_HTML = (b"<!doctype html", b"<html", b"<head", b"<body")
_NO_LIST = "something that is not a list of records ({})"


class NotRecognized(Exception):
    """The bytes are not the expected file. The message is a noun phrase that describes them."""


class EnvelopeFound(NotRecognized):
    """The bytes are the object that the API wraps its responses and errors in."""

    def __init__(self, code: object) -> None:
        super().__init__("an error")
        self.code = code


class Recognizer(Protocol):
    """Recognize one file, first by its beginning and then by its end."""

    def check_beginning(self, data: bytes, *, is_all: bool) -> None:
        """Check the first bytes of the file, or all of them if `is_all`. Raises NotRecognized."""
        ...

    def check_end(self, data: bytes) -> None:
        """Check the last bytes of the file. Raises NotRecognized if they can't be its end."""
        ...


class RecordList:
    """Recognize a JSON list of records and, with `wrapped`, also `{"asins": [...]}`."""

    def __init__(self, *, wrapped: bool) -> None:
        self._wrapped = wrapped
        self._closing = b"]}" if wrapped else b"]"

    def count(self, stream: Readable) -> int:
        """Read an entire file and return the number of records. Raises NotRecognized."""
        try:
            return count_records(stream, wrapped=self._wrapped)
        except InvalidRecords as error:
            raise NotRecognized(_NO_LIST.format(error)) from None

    def check_beginning(self, data: bytes, *, is_all: bool) -> None:
        """Read all records within the bytes. Raises NotRecognized."""
        try:
            if is_all:
                count_records(io.BytesIO(data), wrapped=self._wrapped)
            else:
                check_beginning(data, wrapped=self._wrapped)
        except InvalidRecords as error:
            raise _found(data, _NO_LIST.format(error)) from None
        if self._wrapped:
            self._closing = b"}" if _content(data).startswith(b"{") else b"]"

    def check_end(self, data: bytes) -> None:
        """Check that the last bytes close the list. Raises NotRecognized."""
        last = data.rstrip(_BLANKS)[-1:]
        if last and last not in self._closing:
            raise NotRecognized("a damaged list of records")


class Zip:
    """Recognize a ZIP."""

    def check_ends(self, beginning: bytes, ending: bytes) -> None:
        """Check the first and last bytes of a complete file. Raises NotRecognized."""
        self.check_beginning(beginning, is_all=len(beginning) < BEGINNING)
        self.check_end(ending.rjust(ENDING, b"\0"))

    def check_beginning(self, data: bytes, *, is_all: bool) -> None:
        """Check the signature of the first member, or of an empty ZIP. Raises NotRecognized."""
        signature = data[: len(MEMBER)]
        is_empty_zip = is_all and signature == DIRECTORY_END
        is_cut = not is_all and MEMBER.startswith(signature)
        if signature != MEMBER and not is_empty_zip and not is_cut:
            raise _found(data, "something that is not a ZIP")
        if is_all:
            self.check_end(data.rjust(ENDING, b"\0"))

    def check_end(self, data: bytes) -> None:
        """Check for the directory's end, which fewer than ENDING bytes may lack. Raises NotRecognized."""
        if len(data) >= ENDING and not is_ending(data):
            raise NotRecognized("a damaged ZIP")


def _content(data: bytes) -> bytes:
    return data.removeprefix(_BYTE_ORDER_MARK).lstrip(_BLANKS)


def _found(data: bytes, otherwise: str) -> NotRecognized:
    """Return an error that describes the bytes that an account sent instead of a file."""
    content = _content(data)
    if not content:
        return NotRecognized("nothing")
    if content[:16].lower().startswith(_HTML):
        return NotRecognized("a web page")
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        value = None
    if isinstance(value, dict) and value.keys() >= ENVELOPE_KEYS:
        return EnvelopeFound(value["code"])
    return NotRecognized(otherwise)
