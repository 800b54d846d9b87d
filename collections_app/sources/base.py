"""The interface between sources of results and everything that shows them."""

import errno
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import BinaryIO, Protocol, runtime_checkable

from collections_app.models import Collection, ResultFile

# How long a request for a list waits for its source.
LISTING_DEADLINE = timedelta(seconds=1.5)


class FileUnavailable(Exception):
    """The source doesn't have this file. It may have others."""


class ResultNotFound(FileUnavailable):
    """The bytes don't exist. The response is a 404."""


class SourceUnavailable(Exception):
    """The source isn't responding, or its response isn't valid. Our response is a 502."""


class NotTheFile(FileUnavailable, SourceUnavailable):
    """The source sent something else, or a file that is too large. Our response is a 502."""


class SourceTimeout(SourceUnavailable):
    """The source took too long. Our response is a 504."""


class SourceBusy(SourceUnavailable):
    """The source asks us to wait. Our response is a 503 with Retry-After."""

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class IncompleteBody(ConnectionResetError):
    """A body ended early. As a ConnectionResetError, it is logged by the server without a traceback."""

    def __init__(self, reason: str) -> None:
        super().__init__(errno.ECONNRESET, reason)


class Body(Protocol):
    """The bytes of a file."""

    def open(self, start: int, length: int) -> BinaryIO:
        """Return a stream at byte `start`, from which the caller reads `length` bytes.

        It is a real file if possible, which the server can send with sendfile(), and may be longer than
        `length`. The caller closes it. Raises ResultNotFound, SourceUnavailable, SourceTimeout.
        """
        ...


@dataclass(frozen=True)
class BytesBody:
    """A small body in memory."""

    content: bytes

    def open(self, start: int, length: int) -> BinaryIO:
        """Return a stream at byte `start`. See Body."""
        stream = io.BytesIO(self.content)
        stream.seek(start)
        return stream


@dataclass(frozen=True)
class FileLocation:
    """Where a server in front of us finds the bytes."""

    path: str  # in the folder of results, or in the object storage
    headers: Mapping[str, str] | None = None  # of a signed request; None for the folder


@runtime_checkable
class Located(Protocol):
    """A body that a server in front of us can send."""

    def location(self) -> FileLocation:
        """Return where the bytes are. Raises SourceUnavailable."""
        ...


@dataclass(frozen=True)
class Deliverable:
    """A file that can be delivered: the values for the headers, and the body."""

    name: str
    size: int
    etag: str
    modified: datetime
    body: Body
    sha256: str = ""  # of the entire file, in hexadecimal; empty if unknown


@dataclass(frozen=True)
class Freshness:
    """How current a collection's rows are, and whether they are complete."""

    as_of: datetime | None  # None: never refreshed
    problem: str = ""  # why they aren't newer, in a sentence for users
    has_older: bool = False  # the source has runs that are older than the rows
    is_late: bool = False  # the source took too long
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
    """The source of a collection's results."""

    def refresh(self, collection: Collection, *, deadline: timedelta) -> Freshness:
        """Refresh the collection's Run and ResultFile rows. Waits no longer than the deadline."""
        ...

    def load_older(self, collection: Collection, *, deadline: timedelta) -> Freshness:
        """Load the next runs that are older than the rows. Waits no longer than the deadline."""
        ...

    def size(self, file: ResultFile) -> int:
        """Return the size of a ready run's file in bytes. It is requested from the source if unknown.

        Raises ResultNotFound, SourceUnavailable, SourceTimeout.
        """
        ...

    def body(self, file: ResultFile) -> Body:
        """Return the body of a ready run's file, without opening it."""
        ...
