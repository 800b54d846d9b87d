"""Uploaded files, in one unnamed temporary file, which the kernel deletes when the process ends."""

import io
import os
import tempfile
from collections import Counter
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from django.conf import settings

from collections_app.files.names import printable
from collections_app.runs.incoming.files import Incoming
from collections_app.system.disk import free

UPLOADS_FOLDER = "uploads"


def uploads_folder() -> Path:
    """Return the folder for uploads on this machine. Create it on first use."""
    folder = Path(settings.DATA_DIR) / UPLOADS_FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def free_for_uploads() -> int:
    """Return the free bytes on the disk of the folder for uploads."""
    return free()["data"]


@dataclass(frozen=True)
class _Part:
    name: str
    start: int
    size: int = 0


class UploadedFiles:
    """The files of an upload, one after the other. Use it in a `with` block, which deletes them."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(dir=uploads_folder(), buffering=0)  # noqa: SIM115  # closed by __exit__
        self._end = 0
        self._parts: list[_Part] = []

    def add(self, name: str) -> None:
        """Start the next file. Raises OSError."""
        self._parts.append(_Part(name, self._end))

    def write(self, data: bytes) -> None:
        """Append bytes to the newest file. Raises OSError."""
        rest = memoryview(data)
        while rest:
            rest = rest[self._file.write(rest) :]
        self._end += len(data)
        part = self._parts[-1]
        self._parts[-1] = replace(part, size=self._end - part.start)

    def files(self) -> list[Incoming]:
        """Return the files to import. Labels tell files with the same name apart."""
        names = [printable(part.name) for part in self._parts]
        counts = Counter(names)
        labels = [
            f"{name} (file {number} of {len(names)})" if counts[name] > 1 else name
            for number, name in enumerate(names, 1)
        ]
        return [
            Incoming(label, "", part.name, part.size, partial(self._open, part))
            for label, part in zip(labels, self._parts, strict=True)
        ]

    def _open(self, part: _Part) -> IO[bytes]:
        return io.BufferedReader(_PartReader(self._file.fileno(), part))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Delete the files."""
        self._file.close()


class _PartReader(io.RawIOBase):
    """Reads a part of a file. Several readers can share a file, because each has its own position."""

    def __init__(self, fileno: int, part: _Part) -> None:
        self._fileno = fileno
        self._part = part
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._part.size}[whence]
        if base + offset < 0:
            raise ValueError("This position is before the start of the file.")
        self._position = base + offset
        return self._position

    def readinto(self, buffer: "bytearray | memoryview", /) -> int:  # type: ignore[override]
        left = max(0, self._part.size - self._position)
        view = memoryview(buffer)[:left]
        size = os.preadv(self._fileno, [view], self._part.start + self._position) if left else 0
        self._position += size
        return size
