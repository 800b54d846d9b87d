"""A range of a file as a response body."""

import io
from collections.abc import Callable
from typing import BinaryIO


class IncompleteBody(OSError):
    """The source ended before the promised length: the connection must break, not end cleanly."""


class BoundedStream(io.RawIOBase):
    """`length` bytes of a stream, whose position is byte `start` of the file.

    It has the file descriptor of a real file, so that gunicorn sends it by sendfile. gunicorn takes the
    length from Content-Length and the start from the position of the file. `when_closed` is called once.
    """

    def __init__(
        self, stream: BinaryIO, start: int, length: int, when_closed: Callable[[], None] = lambda: None
    ) -> None:
        self._stream = stream
        self._when_closed = when_closed
        self._end = start + length
        self._first = b""
        self.remaining = length

    def begin(self, size: int) -> None:
        """Read the first bytes, at most `size`, unless this is a real file. Raises OSError.

        Before the response starts, an error can still be reported.
        """
        if self.remaining and not self.is_file():
            self._first = self._stream.read(min(size, self.remaining))

    def is_file(self) -> bool:
        """Whether the stream is a real file."""
        try:
            self.fileno()
        except io.UnsupportedOperation:
            return False
        return True

    def readable(self) -> bool:
        """Return true: the stream can be read."""
        return True

    def fileno(self) -> int:
        """Return the file descriptor of a real file. Raises UnsupportedOperation for other streams."""
        return self._stream.fileno()

    def seek(self, position: int, whence: int = io.SEEK_SET) -> int:
        """Move to a position in the file, with which socket.sendfile() reports how much it has sent."""
        self.remaining = self._end - self._stream.seek(position, whence)
        return position

    def read(self, size: int = -1) -> bytes:
        """Return at most `size` bytes, or nothing at the end. Raises IncompleteBody."""
        wanted = self.remaining if size < 0 else min(size, self.remaining)
        if not wanted:
            return b""
        data, self._first = self._first[:wanted], self._first[wanted:]
        data = data or self._stream.read(wanted)
        if not data:
            raise IncompleteBody(f"The file ended {self.remaining} bytes too early.")
        self.remaining -= len(data)
        return data

    def close(self) -> None:
        """Close the stream too."""
        if not self.closed:
            super().close()
            try:
                self._stream.close()
            finally:
                self._when_closed()
