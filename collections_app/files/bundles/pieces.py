"""A body that is joined from pieces: some in memory, some parts of stored files."""

import io
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import BinaryIO, cast

from collections_app.sources.base import Body, IncompleteBody, ResultNotFound, SourceUnavailable

# What is given to a reader at once, at most.
_BLOCK = 256 * 1024
# What lies between two pieces of one file is read over, rather than the file being asked for again.
_NEAR = 64 * 1024


@dataclass(frozen=True)
class Part:
    """`length` bytes of a body from byte `start` on. Bodies of the same file are equal."""

    body: Body
    start: int
    length: int


Piece = bytes | Part


def length_of(piece: Piece) -> int:
    """Return how many bytes a piece has."""
    return len(piece) if isinstance(piece, bytes) else piece.length


class JoinedBody:
    """The pieces one after the other; stored files are opened when their turn comes, one at a time."""

    def __init__(self, pieces: Sequence[Piece]) -> None:
        """Take the pieces, of which none is empty."""
        self._pieces = pieces
        self._ends = list(accumulate(map(length_of, pieces)))

    @property
    def size(self) -> int:
        """How many bytes all pieces have."""
        return self._ends[-1] if self._ends else 0

    def open(self, start: int, length: int) -> BinaryIO:
        """Return a stream of `length` bytes from `start` on; see Body.

        What the first stored file that is read has to say against it is raised here; of a later one, the
        stream breaks off.
        """
        index = bisect_right(self._ends, start)
        within = start - (self._ends[index - 1] if index else 0)
        stream = _JoinedStream(self._pieces, index, within, length)
        stream.open_first()
        return cast(BinaryIO, stream)


class _JoinedStream(io.RawIOBase):
    """Reads from piece to piece."""

    def __init__(self, pieces: Sequence[Piece], index: int, within: int, length: int) -> None:
        self._pieces = pieces
        self._index = index  # of the piece that is read, and how far into it
        self._within = within
        self._left = length
        self._body: Body | None = None  # of the stored file that is open, and at which byte it stands
        self._at = 0
        self._stream: BinaryIO | None = None

    def readable(self) -> bool:
        """Say that the stream can be read."""
        return True

    def open_first(self) -> None:
        """Open the stored file that is read first, if one is."""
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
        """Return at most `size` bytes; nothing once all are read. Raises IncompleteBody."""
        wanted = min(self._left, _BLOCK if size < 0 else min(size, _BLOCK))
        data = bytearray()
        while len(data) < wanted:
            data += self._next(wanted - len(data))
        self._left -= len(data)
        return bytes(data)

    def close(self) -> None:
        """Close the stored file that is open."""
        self._leave()
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
        self._leave()
        start = part.start + within
        self._stream = part.body.open(start, self._reach(part, index, within, left) - start)
        self._body, self._at = part.body, start
        return self._stream

    def _reach(self, part: Part, index: int, within: int, left: int) -> int:
        """Return up to which byte the file is read from a piece on, as pieces that lie near follow it."""
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

    def _leave(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None
