"""A part of a file as a response body."""

import io
from typing import BinaryIO


class IncompleteBody(OSError):
    """The source ended before the promised length: the connection must break, not end cleanly."""


class BoundedStream(io.RawIOBase):
    """Exactly `length` bytes of a stream, from where it stands.

    Passes the file number on, so that gunicorn sends a real file by sendfile: it takes the length
    from Content-Length and the start from the file's position.
    """

    def __init__(self, stream: BinaryIO, length: int) -> None:
        self._stream = stream
        self._remaining = length

    def readable(self) -> bool:
        """Say that the stream can be read."""
        return True

    def fileno(self) -> int:
        """Return the number of the file underneath. Raises UnsupportedOperation where there is none."""
        return self._stream.fileno()

    def read(self, size: int = -1) -> bytes:
        """Return at most `size` bytes; nothing once all are read. Raises IncompleteBody."""
        wanted = self._remaining if size < 0 else min(size, self._remaining)
        if not wanted:
            return b""
        data = self._stream.read(wanted)
        if not data:
            raise IncompleteBody(f"The file ended {self._remaining} bytes early.")
        self._remaining -= len(data)
        return data

    def close(self) -> None:
        """Close the stream underneath as well."""
        if not self.closed:
            self._stream.close()
            super().close()
