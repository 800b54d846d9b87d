"""A file to import, and the errors of files that can't be imported."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from collections_app.files.names import printable
from collections_app.records.formats.json_records import JsonPath
from collections_app.runs.incoming.compressed import BOMB
from collections_app.runs.incoming.forms import Form

_BLOCK = 256 * 1024


class Unusable(Exception):
    """A file can't be imported. The message says why, and what to do."""


@dataclass(frozen=True)
class Incoming:
    """A file, or a member of a ZIP, to import. Messages call it `label`.

    `folder` is where the file is: a folder, a ZIP or both. `size` is in bytes; reading fails after `largest`
    bytes. `damage` says what is wrong if reading fails, unless the operating system reports an error.
    `largest_read` is the number of bytes to read at once. If the file contains an object, `records_at` is the
    path of its list of records.
    """

    label: str
    folder: str
    name: str
    size: int
    opener: Callable[[], IO[bytes]]
    form: Form = Form.LIST
    damage: str = " is damaged."
    largest: int | None = None
    largest_read: int | None = None
    records_at: JsonPath | None = None

    def open(self, progress: Callable[[int], object] = lambda size: None) -> "Reader":
        """Open the file. Each read calls `progress` with the number of bytes. Raises Unusable."""
        return Reader(self, progress)

    def head(self, size: int) -> bytes:
        """Return the first bytes. Raises Unusable."""
        with self.open() as stream:
            return stream.read(size)

    def measured(self) -> Self:
        """Return the file with its actual size. Raises Unusable if it can't be read to its end."""
        size = 0
        with self.open() as stream:
            while piece := stream.read(_BLOCK):
                size += len(piece)
        return replace(self, size=size)


class Reader:
    """The stream of a file to import. Raises Unusable if the file can't be read."""

    def __init__(self, file: Incoming, progress: Callable[[int], object]) -> None:
        self._file = file
        self._progress = progress
        self._taken = 0
        with reading(file.label, file.damage):
            self._stream = file.opener()

    def read(self, size: int, /) -> bytes:
        """Return at most `size` bytes, or nothing at the end."""
        largest = self._file.largest_read or size
        data = piece = self._take(self._stream.read, min(size, largest))
        while piece and len(data) < size:
            piece = self._take(self._stream.read, min(size - len(data), largest))
            data += piece
        return data

    def readline(self, size: int, /) -> bytes:
        """Return at most `size` bytes of the next line, or nothing at the end."""
        return self._take(self._stream.readline, size)

    def _take(self, read: Callable[[int], bytes], size: int) -> bytes:
        with reading(self._file.label, self._file.damage):
            data = read(size)
        self._taken += len(data)
        if self._file.largest is not None and self._taken > self._file.largest:
            raise Unusable(self._file.label + BOMB)
        self._progress(len(data))
        return data

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        self._stream.close()


@contextmanager
def reading(label: str, damage: str) -> Iterator[None]:
    """Raise Unusable if reading a file fails. For malicious bytes, zipfile can raise any exception."""
    try:
        yield
    except Exception as error:  # noqa: BLE001
        reason = getattr(error, "strerror", None)
        raise Unusable(f"{label} can't be read ({reason})." if reason else f"{label}{damage}") from None


def shown(path: Path | str) -> str:
    """Return a printable form of a path."""
    return printable(str(path))
