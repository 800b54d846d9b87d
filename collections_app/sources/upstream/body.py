"""The body of an account's response, as a file."""

import http.client
import io
import logging
import time
from typing import Any, BinaryIO, NoReturn

import requests
from urllib3.exceptions import HTTPError

from collections_app.records.formats.recognition import ENDING, NotRecognized, Recognizer
from collections_app.sources.base import IncompleteBody, SourceUnavailable
from collections_app.system.observability import metrics
from collections_app.system.serving import ClientDisconnected

logger = logging.getLogger(__name__)

_SMALLEST_CHUNK = 64 * 1024
_LARGEST_CHUNK = 1024 * 1024
# A client that asks for more within _QUICK_SECONDS gets larger chunks; after _SLOW_SECONDS, the smallest.
_QUICK_SECONDS = 0.05
_SLOW_SECONDS = 0.25
# A chunk grows only once this many times its size was read. The connection's buffers hold a few MiB, so
# every client looks quick at first, and 500 slow clients must not use 1 MiB each.
_CHUNKS_BEFORE_GROWTH = 16


class BodyStream(io.RawIOBase):
    """The next `length` bytes of a response's body, in chunks that grow with the client's speed.

    Ends after exactly that many bytes. Otherwise, raises IncompleteBody and logs a line.
    """

    def __init__(
        self, response: requests.Response, *, skip: int, length: int, is_the_end: bool, log_context: str
    ) -> None:
        """Take over a response. If `is_the_end`, nothing may follow the bytes."""
        self._response = response
        self._skip = skip
        self._remaining = length
        self._is_the_end = is_the_end
        self._log_context = log_context
        self._chunk = _SMALLEST_CHUNK
        self._ahead = b""
        self._returned = 0  # bytes
        self._returned_at = time.monotonic()

    def peek(self, size: int) -> bytes:
        """Return the first `size` bytes of the body, or fewer if it is shorter, without consuming them.

        Raises HTTP errors unchanged: no bytes have been returned yet, so the caller can still report them.
        """
        while len(self._ahead) < size and (
            data := self._response.raw.read1(size - len(self._ahead), decode_content=False)
        ):
            self._ahead += data
        return self._ahead

    def readable(self) -> bool:
        """Return True."""
        return True

    def read(self, size: int | None = -1) -> bytes:
        """Return at most `size` bytes that have arrived or, without a size, all remaining bytes."""
        if size is None or size < 0:
            return b"".join(iter(lambda: self.read(_LARGEST_CHUNK), b""))
        self._adapt_chunk()
        while self._skip:
            self._skip -= len(self._next(min(self._skip, _LARGEST_CHUNK)))
        wanted = min(size, self._chunk, self._remaining)
        if not wanted:
            return b""
        data = self._next(wanted)
        self._remaining -= len(data)
        if not self._remaining and self._is_the_end:
            self._expect_the_end()
        self._returned += len(data)
        self._returned_at = time.monotonic()
        return data

    def readinto(self, buffer: Any) -> int:
        """Read into a buffer."""
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """Release the connection. It is closed unless the body was read to its end."""
        if not self.closed:
            self._response.close()
            super().close()

    def _adapt_chunk(self) -> None:
        taken = time.monotonic() - self._returned_at
        if taken > _SLOW_SECONDS:
            self._chunk = _SMALLEST_CHUNK
        elif taken < _QUICK_SECONDS and self._returned >= _CHUNKS_BEFORE_GROWTH * self._chunk:
            self._chunk = min(2 * self._chunk, _LARGEST_CHUNK)

    def _next(self, size: int) -> bytes:
        data = self._take(size)
        if not data:
            self._fail("it ended early")
        return data

    def _take(self, size: int) -> bytes:
        if not self._ahead:
            return self._read(size)
        data, self._ahead = self._ahead[:size], self._ahead[size:]
        return data

    def _expect_the_end(self) -> None:
        # A declared length has already been compared. Without one, look for more bytes before returning the
        # last ones: a longer file isn't the requested one.
        if self._response.raw.length_remaining is None and self._take(1):
            self._fail("it is too long")

    def _read(self, size: int) -> bytes:
        try:
            return bytes(self._response.raw.read1(size, decode_content=False))
        except ClientDisconnected:
            raise IncompleteBody("The client disconnected.") from None
        except (SourceUnavailable, HTTPError, http.client.HTTPException, OSError) as error:
            self._fail(type(error).__name__)

    def _fail(self, problem: str) -> NoReturn:
        metrics.UPSTREAM_ERRORS.labels("file", "broken off").inc()
        logger.warning("upstream body incomplete: %s problem=%s", self._log_context, problem)
        raise IncompleteBody(f"The file is incomplete: {problem}.") from None


class CheckedStream(BodyStream):
    """Part of a file. Returns the file's last bytes only after checking that they end it."""

    def __init__(self, *args: Any, recognizer: Recognizer | None, **options: Any) -> None:
        """Take over a response. There is no recognizer if the part doesn't reach the file's end."""
        super().__init__(*args, **options)
        self._recognizer = recognizer
        self._end: BinaryIO | None = None

    def read(self, size: int | None = -1) -> bytes:
        """Return at most `size` bytes that have arrived or, without a size, all remaining bytes."""
        if size is None or size < 0 or self._recognizer is None:
            return super().read(size)
        before_the_end = self._remaining - ENDING
        if before_the_end > 0:
            return super().read(min(size, before_the_end))
        if self._end is None:
            self._end = io.BytesIO(self._checked_end(self._recognizer))
        return self._end.read(size)

    def _checked_end(self, recognizer: Recognizer) -> bytes:
        read = super().read
        end = b"".join(iter(lambda: read(ENDING), b""))
        try:
            recognizer.check_end(end)
        except NotRecognized as problem:
            self._fail(f"the account sent {problem}")
        return end
