"""The results storage in a folder. Its files are always complete, and survive a power failure."""

import contextlib
import errno
import io
import os
import secrets
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from django.core.files import File
from django.core.files.storage import FileSystemStorage

from collections_app.files.storage.base import PART_SUFFIX, DiscardedOnError

if TYPE_CHECKING:
    _BytesFile = File[bytes]
else:
    _BytesFile = File  # generic only for the type checker


class DurableFile(DiscardedOnError, _BytesFile):
    """A file that gets its name only when it is complete and on the disk. See WritableFile."""

    modified: datetime | None = None

    def __init__(self, path: Path) -> None:
        self._path = path
        self._temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}{PART_SUFFIX}")
        super().__init__(self._temporary.open("xb"), name=str(path))

    def close(self) -> None:
        """Sync the bytes, rename the file, and sync the name. A second call does nothing.

        Raises OSError, for example on a full disk, and then nothing is stored.
        """
        if self.file is None or self.file.closed:
            return
        try:
            self.file.flush()
            if self.modified is not None:
                os.utime(self.file.fileno(), (self.modified.timestamp(),) * 2)
            os.fsync(self.file.fileno())
            self.file.close()
            self._temporary.replace(self._path)
        except BaseException:
            self.discard()
            raise
        sync_folder(self._path.parent)

    def discard(self) -> None:
        """Delete what was written."""
        if self.file is not None:
            with contextlib.suppress(OSError):  # flushing fails on a full disk
                self.file.close()
            self._temporary.unlink(missing_ok=True)


class StoredFile(io.BufferedReader):
    """A file to read. Faster than Django's File, which asks the folder for the size."""

    def __init__(self, path: str) -> None:
        super().__init__(io.FileIO(path))
        self.size = os.fstat(self.fileno()).st_size


class FolderStorage(FileSystemStorage):
    """Django's storage in a folder, with DurableFiles for writing. See ResultsStorage."""

    def _open(self, name: str, mode: str = "rb") -> "File[Any]":
        if mode == "rb":
            return File(Path(self.path(name)).open("rb"))
        if mode != "wb":
            raise ValueError(f"Results are opened with 'rb' or 'wb', not {mode!r}.")
        path = Path(self.path(name))
        _make_folder(path.parent)
        return DurableFile(path)

    def open_part(self, key: str, start: int, length: int) -> BinaryIO:
        """Return the file itself, for sendfile(). See ResultsStorage."""
        file = StoredFile(self.path(key))
        file.seek(start)
        return file

    def contents(self, folder: str) -> dict[str, dict[str, int]]:
        """Return the files in each subfolder. See ResultsStorage."""
        inner: list[Path] = []
        with contextlib.suppress(FileNotFoundError):
            inner = [path for path in Path(self.path(folder)).iterdir() if path.is_dir()]
        return {path.name: _sizes_in(path) for path in inner}

    def local_path(self, key: str) -> Path:
        """Return the path of a file. See ResultsStorage."""
        return Path(self.path(key))

    def check(self) -> None:
        """Raise OSError if the folder can't be created or isn't writable."""
        folder = Path(self.path(""))
        _make_folder(folder)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))

    def signed_request(self, key: str) -> None:
        """Return None: files are read from the folder. See ResultsStorage."""

    def remove_folder(self, folder: str) -> bool:
        """Remove an empty folder. See ResultsStorage."""
        try:
            Path(self.path(folder)).rmdir()
        except OSError:
            # It contains files of someone else, or of a writer that is about to delete them.
            return False
        return True


def _sizes_in(folder: Path) -> dict[str, int]:
    sizes = {}
    with contextlib.suppress(FileNotFoundError):
        for path in folder.iterdir():
            with contextlib.suppress(FileNotFoundError):  # it was renamed or deleted in the meantime
                if path.is_file():
                    sizes[path.name] = path.stat().st_size
    return sizes


def _make_folder(folder: Path) -> None:
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a power failure."""
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
