"""The seam between what is shown and where it comes from: the protocols, what passes through, the errors."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import BinaryIO, Protocol, runtime_checkable

from collections_app.models import Collection, ResultFile

# How long a person or a script that asks for a list waits for its source at most.
LISTING_DEADLINE = timedelta(seconds=1.5)


class FileUnavailable(Exception):
    """The source doesn't have this file. It may have others."""


class ResultNotFound(FileUnavailable):
    """The bytes are not there. Answered with 404."""


class SourceUnavailable(Exception):
    """The source doesn't answer or answers nonsense. Answered with 502."""


class NotTheFile(FileUnavailable, SourceUnavailable):
    """The source sends something else in place of the file, or one that is too large. Answered with 502."""


class SourceTimeout(SourceUnavailable):
    """The source took too long. Answered with 504."""


class SourceBusy(SourceUnavailable):
    """The source asks us to wait before the next request. Answered with 503 and Retry-After."""

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Body(Protocol):
    """The bytes of a file, wherever they are."""

    def open(self, start: int, length: int) -> BinaryIO:
        """Return a stream that stands at byte `start` and will be read for `length` bytes.

        A real file where there is one, so that the server can send it by sendfile; it may go on
        beyond `length`. The caller closes it. Raises ResultNotFound, SourceUnavailable, SourceTimeout.
        """
        ...


@dataclass(frozen=True)
class BytesBody:
    """A body that is made as it is asked for, small enough to be held in memory."""

    content: bytes

    def open(self, start: int, length: int) -> BinaryIO:
        """Return a stream at byte `start`; see Body."""
        stream = io.BytesIO(self.content)
        stream.seek(start)
        return stream


@dataclass(frozen=True)
class FileLocation:
    """Where a server in front of us finds the bytes by itself."""

    path: str  # in the results folder; of an object storage, what it is asked for
    headers: Mapping[str, str] | None = (
        None  # what opens it there, for some minutes; None: it is in the folder
    )


@runtime_checkable
class Located(Protocol):
    """A body whose bytes others can read without us."""

    def location(self) -> FileLocation:
        """Return where they are. Raises SourceUnavailable."""
        ...


@dataclass(frozen=True)
class Deliverable:
    """What can be handed to a reader: everything an answer's headers say, and the body."""

    name: str
    size: int
    etag: str
    modified: datetime
    body: Body
    sha256: str = ""  # of the whole, in hexadecimal; empty where it isn't known


@dataclass(frozen=True)
class Freshness:
    """How old the rows are that a source brought up to date, and whether they are all there are."""

    as_of: datetime | None  # None: never yet
    problem: str = ""  # why they are not newer, in one plain sentence
    has_older: bool = False  # the source has runs that are older than all rows
    is_late: bool = False  # the problem is that the source took too long
    retry_after: int | None = None  # how many seconds the source asks us to wait
    unlisted: Sequence[str] = ()  # sentences about runs that the rows lack

    @property
    def error(self) -> SourceUnavailable | None:
        """The exception to raise if the problem means that no rows are known."""
        if self.as_of is not None or not self.problem:
            return None
        if self.retry_after is not None:
            return SourceBusy(self.problem, self.retry_after)
        return SourceTimeout(self.problem) if self.is_late else SourceUnavailable(self.problem)


class ResultSource(Protocol):
    """Where the results of a collection come from."""

    def refresh(self, collection: Collection, *, deadline: timedelta) -> Freshness:
        """Bring the collection's Run and ResultFile rows up to date, within the deadline."""
        ...

    def load_older(self, collection: Collection, *, deadline: timedelta) -> Freshness:
        """Bring rows of runs that are older than those known, where there are such runs."""
        ...

    def size(self, file: ResultFile) -> int:
        """Return how many bytes a ready run's file has, finding it out where it isn't known yet.

        Raises ResultNotFound, SourceUnavailable, SourceTimeout.
        """
        ...

    def body(self, file: ResultFile) -> Body:
        """Return the body of a ready run's file, without opening it yet."""
        ...
