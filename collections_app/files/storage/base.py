"""What a results storage does, and the one on a local disk.

What it holds is whole, and still there after a power cut. The other one is in s3.py.
"""

import contextlib
import errno
import os
import secrets
from abc import ABC, abstractmethod
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, Self, cast

from django.core.files import File
from django.core.files.storage import FileSystemStorage, storages

from collections_app.system.disk import RESERVE, free_space

if TYPE_CHECKING:
    _BytesFile = File[bytes]
else:
    _BytesFile = File  # generic for the type checker alone

# A file that is being written is listed with this ending until it is whole. Deleting it under that name
# ends the writing.
ASIDE = ".part"


class WritableFile(Protocol):
    """A file that appears in the storage when it is closed, whole.

    Leaving a `with` block by an exception, or discard(), leaves nothing behind. A storage that keeps a
    file's own time takes `modified` for it.
    """

    modified: datetime | None

    @property
    def closed(self) -> bool:
        """Whether the file was closed or discarded."""
        ...

    def write(self, data: bytes, /) -> Any:
        """Write the bytes; all of them, or it raises OSError."""
        ...

    def close(self) -> None:
        """Let the file appear. A second call does nothing. Raises OSError; then nothing is left behind."""
        ...

    def discard(self) -> None:
        """Forget what was written."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class ResultsStorage(Protocol):
    """What the files of runs are kept in, by keys such as `101/88/4f2a...-page-0001.json`.

    Each method raises OSError for what keeps it from its work: FileNotFoundError where there is no such
    file, TimeoutError, or another one whose `strerror` says what is wrong.
    """

    def open(self, key: str, mode: str = "rb", /) -> Any:
        """Return a file to read from and seek in ("rb"), or a WritableFile ("wb")."""
        ...

    def open_part(self, key: str, start: int, length: int) -> BinaryIO:
        """Return a file at byte `start`, to be read for `length` bytes; its `size` is that of the whole."""
        ...

    def delete(self, key: str, /) -> None:
        """Remove a file; one that is gone already is fine."""
        ...

    def listdir(self, folder: str, /) -> tuple[list[str], list[str]]:
        """Return the names of the folders and of the files in a folder, also of those being written."""
        ...

    def contents(self, folder: str) -> dict[str, dict[str, int]]:
        """Return what lies in the folders of a folder: for each of these, its files with their sizes."""
        ...

    def remove_folder(self, folder: str) -> bool:
        """Remove a folder in which nothing lies. Returns whether there was one and it is gone."""
        ...

    def get_modified_time(self, key: str, /) -> datetime:
        """Return when a file was written."""
        ...

    def check(self) -> None:
        """Raise OSError where the storage can't be used."""
        ...

    def signed_request(self, key: str) -> tuple[str, dict[str, str]] | None:
        """Return the path and headers that an object storage answers; None for a folder."""
        ...


def results() -> ResultsStorage:
    """Return the storage in use."""
    return cast(ResultsStorage, storages["results"])


def describe_error(error: OSError) -> str:
    """Return what a results storage says is wrong, and where: no sentence yet."""
    return f"{error.strerror or error}{f' ({error.filename})' if error.filename else ''}"


class DiscardedOnError(ABC):
    """Lets a WritableFile be used in a `with` block, which keeps the file where it was written to the end."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Keep the file, or discard it where the block was left by an exception."""
        if kind is None:
            self.close()
        else:
            self.discard()

    @abstractmethod
    def close(self) -> None:
        """Let the file appear; see WritableFile."""

    @abstractmethod
    def discard(self) -> None:
        """Forget what was written; see WritableFile."""


class DurableFile(DiscardedOnError, _BytesFile):
    """A file that appears under its name only once it is whole and on the disk.

    Written aside; close() syncs it and renames it. Leaving a `with` block by an exception, or
    discard(), leaves nothing behind.
    """

    modified: datetime | None = None

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
            if self.modified is not None:
                os.utime(self.file.fileno(), (self.modified.timestamp(),) * 2)
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


class FolderStorage(FileSystemStorage):
    """Django's storage in a folder, whose files opened for writing are DurableFiles."""

    def _open(self, name: str, mode: str = "rb") -> "File[Any]":
        if mode == "rb":
            return File(Path(self.path(name)).open("rb"))
        if mode != "wb":
            raise ValueError(f"Results are opened with 'rb' or 'wb', not {mode!r}.")
        path = Path(self.path(name))
        _make_folder(path.parent)
        return DurableFile(path)

    def open_part(self, key: str, start: int, length: int) -> BinaryIO:
        """Return the file itself, for sendfile; see ResultsStorage."""
        file = self._open(key)
        file.seek(start)
        return cast(BinaryIO, file)

    def contents(self, folder: str) -> dict[str, dict[str, int]]:
        """Return what lies in the folders of a folder; see ResultsStorage."""
        inner: list[Path] = []
        with contextlib.suppress(FileNotFoundError):
            inner = [path for path in Path(self.path(folder)).iterdir() if path.is_dir()]
        return {path.name: _sizes_in(path) for path in inner}

    def check(self) -> None:
        """Raise OSError where the folder can't be made or written to."""
        folder = Path(self.path(""))
        _make_folder(folder)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))

    def signed_request(self, key: str) -> None:
        """Return None: a file is read from the folder; see ResultsStorage."""

    def remove_folder(self, folder: str) -> bool:
        """Remove an empty folder; see ResultsStorage."""
        try:
            Path(self.path(folder)).rmdir()
        except OSError:
            # Something that isn't ours; or a writer that has lost the run is about to remove its file.
            return False
        return True


def _sizes_in(folder: Path) -> dict[str, int]:
    sizes = {}
    with contextlib.suppress(FileNotFoundError):
        for path in folder.iterdir():
            with contextlib.suppress(FileNotFoundError):  # it has got its name, or is gone
                if path.is_file():
                    sizes[path.name] = path.stat().st_size
    return sizes


def _make_folder(folder: Path) -> None:
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)


def check_free_space(size: int) -> None:
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
