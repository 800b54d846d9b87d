"""Parse the Range header (RFC 9110, section 14)."""

import re
from dataclasses import dataclass

# A request for several ranges gets the entire file, which the RFC allows and every client understands.
_ONE_RANGE = re.compile(r"bytes=[ \t]*([0-9]*)-([0-9]*)", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True)
class ByteRange:
    """`length` bytes from byte `start` on."""

    start: int
    length: int

    @property
    def header(self) -> str:
        """The Range header that requests this range."""
        return f"bytes={self.start}-{self.start + self.length - 1}"

    def content_range(self, size: int) -> str:
        """Return the Content-Range header for this range of a file of `size` bytes."""
        return f"bytes {self.start}-{self.start + self.length - 1}/{size}"


class Unsatisfiable(Exception):
    """The range is outside the file."""


def parse_range(header: str, size: int) -> ByteRange | None:
    """Return the range that a Range header requests from a file of `size` bytes. Raises Unsatisfiable.

    Return None to send the entire file: there is no header, or it has several ranges or another unit, or it
    is malformed, which the RFC says to ignore.
    """
    match = _ONE_RANGE.fullmatch(header.strip(" \t"))
    if match is None:
        return None
    # Avoid computing with numbers of thousands of digits.
    first, last = (text.lstrip("0")[:20] or "0" if text else "" for text in match.groups())
    if not first and not last:
        return None
    if not first:
        start, end = max(size - int(last), 0), size
    elif last and int(last) < int(first):
        return None
    else:
        start, end = int(first), min(int(last) + 1, size) if last else size
    if start >= end:
        raise Unsatisfiable
    return ByteRange(start, end - start)
