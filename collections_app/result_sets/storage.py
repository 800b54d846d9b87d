"""The results storage on a local disk: what it holds is whole, and still there after a power cut."""

import contextlib
import errno
import os
import secrets
import shutil
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from django.core.files import File
from django.core.files.storage import FileSystemStorage, storages

if TYPE_CHECKING:
    _BytesFile = File[bytes]
else:
    _BytesFile = File  # generic for the type checker alone

# A file that is being written carries this ending until it is whole.
ASIDE = ".part"

# What is copied by itself leaves so much room, in bytes: with none at all nobody could sign in any more.
RESERVE = 256 * 1024 * 1024


class DurableFile(_BytesFile):
    """A file that appears under its name only once it is whole and on the disk.

    Written aside; close() syncs it and renames it. Leaving a `with` block by an exception, or
    discard(), leaves nothing behind.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._aside = path.with_name(f"{path.name}.{secrets.token_hex(4)}{ASIDE}")
        super().__init__(self._aside.open("xb"), name=str(path))

    def close(self) -> None:
        """Sync the bytes, give the file its name, sync the name. A second call does nothing.

        Raises OSError, on a full disk for one; then nothing is left behind.
        """
        if self.file is None or self.file.closed:
            return
        try:
            self.file.flush()
            os.fsync(self.file.fileno())
            self.file.close()
            self._aside.replace(self._path)
        except BaseException:
            self.discard()
            raise
        sync_folder(self._path.parent)

    def discard(self) -> None:
        """Forget what was written."""
        if self.file is not None:
            with contextlib.suppress(OSError):  # the rest of what was written, on a full disk
                self.file.close()
            self._aside.unlink(missing_ok=True)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Keep the file, or discard it where the block was left by an exception."""
        if kind is None:
            self.close()
        else:
            self.discard()


class DurableFileSystemStorage(FileSystemStorage):
    """Django's storage in a folder, whose files opened for writing are DurableFiles."""

    def _open(self, name: str, mode: str = "rb") -> "File[Any]":
        if mode == "rb":
            return File(Path(self.path(name)).open("rb"))
        if mode != "wb":
            raise ValueError(f"Results are opened with 'rb' or 'wb', not {mode!r}.")
        path = Path(self.path(name))
        _make_folder(path.parent)
        return DurableFile(path)


def _make_folder(folder: Path) -> None:
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)


def free_space() -> int | None:
    """Return how many bytes the results storage has room for; None where it is no disk."""
    try:
        folder = Path(storages["results"].path(""))
    except NotImplementedError:
        return None
    # It is made for the first run.
    return shutil.disk_usage(next(path for path in (folder, *folder.parents) if path.exists())).free


def check_room(size: int) -> None:
    """Raise OSError where a file has no room in the results storage, or would leave too little of it."""
    free = free_space()
    if free is not None and size + RESERVE > free:
        raise OSError(errno.ENOSPC, "The disk is nearly full")


def sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a power cut."""
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
