"""A part of a file as a response body."""

import io
from collections.abc import Callable
from typing import BinaryIO


class IncompleteBody(OSError):
    """The source ended before the promised length: the connection must break, not end cleanly."""


class BoundedStream(io.RawIOBase):
    """The `length` bytes of a stream from byte `start` on, where it stands.

    Passes the file number on, so that gunicorn sends a real file by sendfile: it takes the length
    from Content-Length and the start from the file's position. `when_closed` is called once.
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
        """Read at most `size` bytes ahead, except from a real file. Raises OSError.

        Before an answer has begun, what goes wrong can still be said.
        """
        if self.remaining and not self.is_file():
            self._first = self._stream.read(min(size, self.remaining))

    def is_file(self) -> bool:
        """Whether a real file is underneath."""
        try:
            self.fileno()
        except io.UnsupportedOperation:
            return False
        return True

    def readable(self) -> bool:
        """Say that the stream can be read."""
        return True

    def fileno(self) -> int:
        """Return the number of the file underneath. Raises UnsupportedOperation where there is none."""
        return self._stream.fileno()

    def seek(self, position: int, whence: int = io.SEEK_SET) -> int:
        """Go to a byte of the whole file; socket.sendfile() says in this way how far it came."""
        self.remaining = self._end - self._stream.seek(position, whence)
        return position

    def read(self, size: int = -1) -> bytes:
        """Return at most `size` bytes; nothing once all are read. Raises IncompleteBody."""
        wanted = self.remaining if size < 0 else min(size, self.remaining)
        if not wanted:
            return b""
        data, self._first = self._first[:wanted], self._first[wanted:]
        data = data or self._stream.read(wanted)
        if not data:
            raise IncompleteBody(f"The file ended {self.remaining} bytes early.")
        self.remaining -= len(data)
        return data

    def close(self) -> None:
        """Close the stream underneath as well."""
        if not self.closed:
            super().close()
            try:
                self._stream.close()
            finally:
                self._when_closed()
