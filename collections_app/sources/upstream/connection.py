"""Limits for the responses of accounts' servers, enforced each time that a socket is read."""

import errno
import http.client
import io
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection

from collections_app.sources.base import NotTheFile
from collections_app.system.serving import check_client, is_stopping

# Limits for a body: time without a byte, time below the minimum speed, and size.
MAX_IDLE_SECONDS = 60.0
MAX_IDLE_SECONDS_WHILE_STOPPING = 20.0
MAX_SLOW_SECONDS = 600.0
MIN_SPEED = 1024  # bytes per second
MAX_FILE_BYTES = 64 * 1024**3
CLIENT_CHECK_SECONDS = 2.0  # between two checks whether the client is still connected
TOO_LARGE = "This file exceeds the 64 GiB limit. Download it directly from the account."

# When the headers of a response, or all of a short response, must have arrived.
_deadline: ContextVar[float] = ContextVar("deadline", default=float("inf"))


@contextmanager
def read_deadline(deadline: float) -> Iterator[None]:
    """Stop this thread's reading from servers at a deadline, or at an earlier one if one is set."""
    token = _deadline.set(min(deadline, _deadline.get()))
    try:
        yield
    finally:
        _deadline.reset(token)


class ReadLimits:
    """The time limits for one response. Only time spent waiting for the server counts."""

    def __init__(self) -> None:
        self._size = 0
        self._waited = 0.0  # seconds
        self._idle = 0.0  # seconds since the last byte
        self._fast_enough = (0.0, 0)  # the wait in seconds and the size when MIN_SPEED was last reached
        self._check_client_at = 0.0

    def seconds(self) -> float:
        """Return how long to wait for more bytes. Raises TimeoutError, ClientDisconnected."""
        now = time.monotonic()
        if now >= self._check_client_at:
            self._check_client_at = now + CLIENT_CHECK_SECONDS
            check_client()
        max_idle = MAX_IDLE_SECONDS_WHILE_STOPPING if is_stopping() else MAX_IDLE_SECONDS
        left = min(_deadline.get() - now, max_idle - self._idle)
        if left <= 0:
            raise TimeoutError
        return min(left, CLIENT_CHECK_SECONDS)

    def note(self, size: int, seconds: float) -> None:
        """Record that `size` bytes arrived after `seconds`. Raises TimeoutError, SourceUnavailable."""
        self._size += size
        self._waited += seconds
        self._idle = 0.0 if size else self._idle + seconds
        if self._size > MAX_FILE_BYTES:
            raise NotTheFile(TOO_LARGE)
        waited, so_far = self._fast_enough
        if self._size - so_far >= MIN_SPEED * (self._waited - waited):
            self._fast_enough = self._waited, self._size
        elif self._waited - waited > MAX_SLOW_SECONDS:
            raise TimeoutError


class _LimitedFile(io.RawIOBase):
    """The data from a connection, read within ReadLimits."""

    def __init__(self, connection: socket.socket, file: io.RawIOBase) -> None:
        self._connection = connection
        self._file = file  # keeps the connection open
        self._limits = ReadLimits()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Read the next bytes. Raises TimeoutError, ClientDisconnected, SourceUnavailable, OSError."""
        # A socket's file object can't be read after a timeout, so read from the socket itself.
        while True:
            self._connection.settimeout(self._limits.seconds())
            started_at = time.monotonic()
            try:
                size = self._connection.recv_into(buffer)
            except TimeoutError:
                self._limits.note(0, time.monotonic() - started_at)
            else:
                self._limits.note(size, time.monotonic() - started_at)
                return size

    def close(self) -> None:
        self._file.close()
        super().close()


class _CompleteLines(io.BufferedReader):
    """Raises an error for an incomplete line: http.client would accept a length of 200 truncated to 20."""

    def readline(self, size: int | None = -1) -> bytes:
        line = super().readline(size)
        if not line.endswith(b"\n") and (size is None or size < 0 or len(line) < size):
            raise ConnectionResetError(errno.ECONNRESET, "The headers of the response are incomplete.")
        return line


# The code below replaces private parts of Python (http.client of 3.11.7 and 3.13.0 was read) and urllib3
# (2.8.0 was read), because the read timeout of requests starts again with each byte. A test checks that the
# libraries still use these parts.


class _Response(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp = _CompleteLines(_LimitedFile(sock, self.fp.detach()))

    def begin(self) -> None:
        super().begin()
        # urllib3 rejects this as well, but leaves the connection open.
        lengths = {length.strip() for length in self.headers.get("Content-Length", "").split(",")}
        if len(lengths) > 1:
            raise http.client.HTTPException("The response has several Content-Length headers.")


class _Connection(HTTPConnection):
    response_class = _Response


class _TlsConnection(HTTPSConnection):
    response_class = _Response


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


class LimitedAdapter(HTTPAdapter):
    """An adapter for requests whose responses are read within ReadLimits."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Use our own connections."""
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}
