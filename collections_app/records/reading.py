"""Read the files that contain the records of a run, from our storage or an account."""

import sys
from typing import BinaryIO, Self

from collections_app.models import ResultFile
from collections_app.sources import SourceUnavailable, deliverable
from collections_app.system.database import release_connections


class FileStream:
    """The first `most` bytes of a file, which is read from its beginning."""

    def __init__(self, file: ResultFile, stream: BinaryIO, most: int) -> None:
        self._file = file
        self._stream = stream
        self._left = most

    def read(self, size: int, /) -> bytes:
        """Return at most `size` bytes, or nothing at the end. Raises SourceUnavailable."""
        try:
            data = self._stream.read(min(size, self._left))
        except OSError:
            sender = "results storage" if self._file.is_stored else "account"
            raise SourceUnavailable(
                f"The {sender} stopped in the middle of “{self._file.name}”. Try again."
            ) from None
        self._left -= len(data)
        return data

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()


def open_file(file: ResultFile, most: int = sys.maxsize) -> tuple[FileStream, int]:
    """Open a file to read at most `most` bytes. Return the stream and the size of the file.

    Raises ResultNotFound, SourceUnavailable, SourceTimeout.
    """
    found = deliverable(file)
    if not file.is_stored:
        release_connections()  # an account may be slow
    most = min(most, found.size)
    return FileStream(file, found.body.open(0, most), most), found.size
