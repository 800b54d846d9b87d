"""The protocol of a results storage, and what all storages share."""

import errno
from abc import ABC, abstractmethod
from datetime import datetime
from types import TracebackType
from typing import Any, BinaryIO, Protocol, Self, cast

from django.core.files.storage import storages

from collections_app.system.disk import RESERVE, free_space

# A file that is being written is listed with this ending until it is whole. Deleting it under that name
# ends the writing.
PART_SUFFIX = ".part"


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


def check_free_space(size: int) -> None:
    """Raise OSError where a file has no room in the results storage, or would leave too little of it."""
    free = free_space()
    if free is not None and size + RESERVE > free:
        raise OSError(errno.ENOSPC, "The disk is nearly full")
