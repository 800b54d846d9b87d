"""A body that is joined from pieces: bytes in memory, and parts of stored files."""

import io
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import BinaryIO, cast

from collections_app.sources.base import Body, IncompleteBody, ResultNotFound, SourceUnavailable

# The maximum number of bytes to return at once.
_BLOCK = 256 * 1024
# A gap of at most this size between two parts of a file is read rather than opening the file again.
_NEAR = 64 * 1024


@dataclass(frozen=True)
class Part:
    """`length` bytes of a body, starting at byte `start`. Bodies of the same file are equal."""

    body: Body
    start: int
    length: int


Piece = bytes | Part


def length_of(piece: Piece) -> int:
    """Return the size of a piece."""
    return len(piece) if isinstance(piece, bytes) else piece.length


class JoinedBody:
    """Pieces that are read one after the other, with one stored file open at a time."""

    def __init__(self, pieces: Sequence[Piece]) -> None:
        """Join the pieces. None may be empty."""
        self._pieces = pieces
        self._ends = list(accumulate(map(length_of, pieces)))

    @property
    def size(self) -> int:
        """The size of all pieces."""
        return self._ends[-1] if self._ends else 0

    def open(self, start: int, length: int) -> BinaryIO:
        """Return a stream of `length` bytes, starting at byte `start`; see Body.

        Errors of the first stored file are raised here. Errors of later ones end the stream with BrokenOff.
        """
        index = bisect_right(self._ends, start)
        within = start - (self._ends[index - 1] if index else 0)
        stream = _JoinedStream(self._pieces, index, within, length)
        stream.open_first()
        return cast(BinaryIO, stream)


class _JoinedStream(io.RawIOBase):
    """The stream of a JoinedBody."""

    def __init__(self, pieces: Sequence[Piece], index: int, within: int, length: int) -> None:
        self._pieces = pieces
        self._index = index  # of the current piece
        self._within = within  # the position in it
        self._left = length
        self._body: Body | None = None  # of the open file
        self._at = 0  # the position in it
        self._stream: BinaryIO | None = None

    def readable(self) -> bool:
        """Return True."""
        return True

    def open_first(self) -> None:
        """Open the first stored file, if there is one."""
        left, within = self._left, self._within
        for index in range(self._index, len(self._pieces)):
            piece = self._pieces[index]
            if left <= 0:
                return
            if isinstance(piece, Part):
                self._open(piece, index, within, left)
                return
            left, within = left - (len(piece) - within), 0

    def read(self, size: int = -1) -> bytes:
        """Return at most `size` bytes, or nothing at the end. Raises IncompleteBody."""
        wanted = min(self._left, _BLOCK if size < 0 else min(size, _BLOCK))
        data = bytearray()
        while len(data) < wanted:
            data += self._next(wanted - len(data))
        self._left -= len(data)
        return bytes(data)

    def close(self) -> None:
        """Close the open file."""
        self._close_file()
        super().close()

    def _next(self, size: int) -> bytes:
        piece = self._pieces[self._index]
        size = min(size, length_of(piece) - self._within)
        if isinstance(piece, bytes):
            data = piece[self._within : self._within + size]
        else:
            data = self._read_part(piece, size)
        self._within += len(data)
        if self._within == length_of(piece):
            self._index, self._within = self._index + 1, 0
        return data

    def _read_part(self, part: Part, size: int) -> bytes:
        try:
            stream = self._stream_at(part, part.start + self._within)
        except (ResultNotFound, SourceUnavailable) as problem:
            raise IncompleteBody(str(problem)) from None
        data = stream.read(size)
        if not data:
            raise IncompleteBody("A stored file ended early.")
        self._at += len(data)
        return data

    def _stream_at(self, part: Part, position: int) -> BinaryIO:
        gap = position - self._at
        if self._stream is None or self._body != part.body or not 0 <= gap <= _NEAR:
            return self._open(part, self._index, self._within, self._left)
        while self._at < position:
            skipped = self._stream.read(position - self._at)
            if not skipped:
                raise IncompleteBody("A stored file ended early.")
            self._at += len(skipped)
        return self._stream

    def _open(self, part: Part, index: int, within: int, left: int) -> BinaryIO:
        self._close_file()
        start = part.start + within
        self._stream = part.body.open(start, self._end_of_read(part, index, within, left) - start)
        self._body, self._at = part.body, start
        return self._stream

    def _end_of_read(self, part: Part, index: int, within: int, left: int) -> int:
        """Return where to stop reading the file, which may be after later pieces that are near."""
        end = part.start + min(part.length, within + left)
        left -= part.length - within
        for following in range(index + 1, len(self._pieces)):
            piece = self._pieces[following]
            if left <= 0:
                break
            if isinstance(piece, Part):
                if piece.body != part.body or not 0 <= piece.start - end <= _NEAR:
                    break
                end = piece.start + min(piece.length, left)
            left -= length_of(piece)
        return end

    def _close_file(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None
