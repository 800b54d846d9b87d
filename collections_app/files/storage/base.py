"""The protocol of a results storage, and what all storages share."""

import errno
from abc import ABC, abstractmethod
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Protocol, Self, cast

from django.core.files.storage import storages

from collections_app.system.disk import RESERVE, free_space

# A file is listed with this suffix until it is complete. Deleting that name cancels the write.
PART_SUFFIX = ".part"


class WritableFile(Protocol):
    """A file that appears in the storage when it is closed.

    If a `with` block raises an exception, or after discard(), nothing is stored. A storage that can set a
    file's modification time sets it to `modified`.
    """

    modified: datetime | None

    @property
    def closed(self) -> bool:
        """Whether the file was closed or discarded."""
        ...

    def write(self, data: bytes, /) -> Any:
        """Write all the bytes. Raises OSError."""
        ...

    def close(self) -> None:
        """Store the file. A second call does nothing. Raises OSError, and then nothing is stored."""
        ...

    def discard(self) -> None:
        """Delete what was written."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class ResultsStorage(Protocol):
    """Storage for the files of runs, by keys such as `101/88/4f2a...-page-0001.json`.

    All methods raise OSError: FileNotFoundError if the file doesn't exist, TimeoutError, or another one with
    the reason in `strerror`.
    """

    def open(self, key: str, mode: str = "rb", /) -> Any:
        """Return a file to read and seek in ("rb"), or a WritableFile ("wb")."""
        ...

    def open_part(self, key: str, start: int, length: int) -> BinaryIO:
        """Return a file at byte `start`, to read `length` bytes. Its `size` is that of the entire file."""
        ...

    def delete(self, key: str, /) -> None:
        """Delete a file if it exists."""
        ...

    def listdir(self, folder: str, /) -> tuple[list[str], list[str]]:
        """Return the names of the folders and files in a folder, including files being written."""
        ...

    def contents(self, folder: str) -> dict[str, dict[str, int]]:
        """Return the names and sizes of the files in each subfolder of a folder."""
        ...

    def remove_folder(self, folder: str) -> bool:
        """Remove a folder if it is empty. Return whether it was removed."""
        ...

    def get_modified_time(self, key: str, /) -> datetime:
        """Return when a file was written."""
        ...

    def local_path(self, key: str) -> Path | None:
        """Return where a file is on this machine, even if it doesn't exist, or None for an object store."""
        ...

    def check(self) -> None:
        """Raise OSError if the storage can't be used."""
        ...

    def signed_request(self, key: str) -> tuple[str, dict[str, str]] | None:
        """Return the path and headers of a signed request to an object store, or None for a folder."""
        ...


def results() -> ResultsStorage:
    """Return the storage in use."""
    return cast(ResultsStorage, storages["results"])


def describe_error(error: OSError) -> str:
    """Return the reason for a storage's error and the file, as part of a sentence."""
    return f"{error.strerror or error}{f' ({error.filename})' if error.filename else ''}"


class DiscardedOnError(ABC):
    """A WritableFile that is stored at the end of its `with` block, or discarded after an exception."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Store the file, or discard it after an exception."""
        if kind is None:
            self.close()
        else:
            self.discard()

    @abstractmethod
    def close(self) -> None:
        """Store the file. See WritableFile."""

    @abstractmethod
    def discard(self) -> None:
        """Delete what was written. See WritableFile."""


def check_free_space(size: int) -> None:
    """Raise OSError if a file of this size would leave too little free space in the results storage."""
    free = free_space()
    if free is not None and size + RESERVE > free:
        raise OSError(errno.ENOSPC, "The disk is nearly full")
