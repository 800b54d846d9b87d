"""A new file in the results storage."""

import hashlib
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path

from collections_app.files.storage.base import DiscardedOnError, WritableFile, results
from collections_app.models import FileKind, ResultFile

_COPIED_AT_ONCE = 1024 * 1024


def store(path: Path, key: str, on_write: Callable[[], None]) -> "NewFile":
    """Copy a file on this machine to the results storage, and return the stored one. See NewFile."""
    with path.open("rb") as file, NewFile(key, on_write) as new:
        shutil.copyfileobj(file, new, _COPIED_AT_ONCE)
    return new


class NewFile(DiscardedOnError):
    """A file that is measured and hashed while it is written, so that it needn't be read again.

    It can't be rewound, so that it can be uploaded while it is written. It appears in the storage when it is
    closed. If an exception leaves the `with` block, it is discarded.
    """

    def __init__(self, key: str, on_write: Callable[[], None]) -> None:
        """Create the file. Each write calls `on_write`."""
        self.key = key
        self.size = 0
        self.crc32 = 0
        self._on_write = on_write
        self._hash = hashlib.sha256()
        self._file: WritableFile = results().open(key, "wb")

    def writable(self) -> bool:
        """Return True."""
        return True

    def readable(self) -> bool:
        """Return False."""
        return False

    def seekable(self) -> bool:
        """Return False."""
        return False

    @property
    def closed(self) -> bool:
        """Whether the file was closed or discarded."""
        return self._file.closed

    def write(self, data: bytes) -> int:
        """Write all of the bytes."""
        self._on_write()
        self._file.write(data)
        self._hash.update(data)
        self.crc32 = zlib.crc32(data, self.crc32)
        self.size += len(data)
        return len(data)

    def tell(self) -> int:
        """Return how many bytes were written."""
        return self.size

    def flush(self) -> None:
        """Do nothing. The bytes are synced when the file is closed."""

    @property
    def sha256(self) -> str:
        """The SHA-256 of the written bytes, in hexadecimal."""
        return self._hash.hexdigest()

    def close(self) -> None:
        """Let the complete file appear in the storage."""
        self._file.close()

    def discard(self) -> None:
        """Discard the written bytes."""
        self._file.discard()

    def row(self, kind: FileKind, position: int, name: str, records: int | None) -> ResultFile:
        """Return an unsaved row for the closed file, without a run."""
        # Use the storage's time: nginx and this site both derive the ETag from it.
        modified = results().get_modified_time(self.key).replace(microsecond=0)
        return ResultFile(
            kind=kind,
            position=position,
            name=name,
            key=self.key,
            size=self.size,
            sha256=self.sha256,
            crc32=self.crc32,
            records=records,
            modified=modified,
        )
