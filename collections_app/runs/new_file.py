"""A file on its way into the results storage."""

import hashlib
import zlib
from collections.abc import Callable

from collections_app.files.storage.base import DiscardedOnError, WritableFile, results
from collections_app.models import FileKind, ResultFile


class NewFile(DiscardedOnError):
    """A file being written: counted and hashed on the way, so that it is never read again.

    It can't be rewound, which suits `zipfile` as well as a storage that is no disk. It appears in the
    storage when it is closed; leaving a `with` block by an exception discards it.
    """

    def __init__(self, key: str, alive: Callable[[], None]) -> None:
        """Start the file; `alive` is called at each write."""
        self.key = key
        self.size = 0
        self.crc32 = 0
        self._alive = alive
        self._hash = hashlib.sha256()
        self._file: WritableFile = results().open(key, "wb")

    def writable(self) -> bool:
        """Say that the file can be written to."""
        return True

    def readable(self) -> bool:
        """Say that the file can't be read."""
        return False

    def seekable(self) -> bool:
        """Say that the file can't be rewound."""
        return False

    @property
    def closed(self) -> bool:
        """Whether the file was closed or discarded."""
        return self._file.closed

    def write(self, data: bytes) -> int:
        """Write the bytes; all of them, or it raises."""
        self._alive()
        self._file.write(data)
        self._hash.update(data)
        self.crc32 = zlib.crc32(data, self.crc32)
        self.size += len(data)
        return len(data)

    def tell(self) -> int:
        """Return how many bytes were written."""
        return self.size

    def flush(self) -> None:
        """Do nothing: the bytes are synced once, when the file is closed."""

    @property
    def sha256(self) -> str:
        """The SHA-256 of what was written, in hexadecimal."""
        return self._hash.hexdigest()

    def close(self) -> None:
        """Let the file appear in the storage, whole."""
        self._file.close()

    def discard(self) -> None:
        """Forget what was written."""
        self._file.discard()

    def row(self, kind: FileKind, position: int, name: str, records: int | None) -> ResultFile:
        """Return the closed file's row, not saved yet and of no run."""
        # Asked of the storage: nginx makes its ETag from the file's own time, and so do we.
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
