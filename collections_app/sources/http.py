"""HTTP to the servers of accounts: whom this site may call, how long it waits, what it says went wrong."""

import errno
import http.client
import io
import logging
import math
import os
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NoReturn, TypeVar

import requests
import urllib3
from django.conf import settings
from django.utils.http import parse_http_date_safe
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError, ReadTimeoutError
from urllib3.exceptions import SSLError as TlsError

from collections_app.models import Account
from collections_app.sources.base import NotTheFile, SourceTimeout, SourceUnavailable
from collections_app.system.observability import metrics
from collections_app.system.serving import ClientDisconnected, check_client, is_stopping

CONNECT_SECONDS = 5
READ_SECONDS = 30  # for the headers of a response
# Limits for a body: time without a byte, time below the least speed, and size.
MAX_IDLE_SECONDS = 60.0
MAX_IDLE_SECONDS_WHILE_STOPPING = 20.0
MAX_SLOW_SECONDS = 600.0
MIN_SPEED = 1024  # bytes per second
MAX_FILE_BYTES = 64 * 1024**3
CLIENT_CHECK_SECONDS = 2.0  # between two checks whether the client is still connected
TOO_LARGE = "This file exceeds the 64 GiB limit. Download it directly from the account."
USER_AGENT = "scrape-results-dashboard"
MAX_JSON_BYTES = 8 * 1024 * 1024

_PASSING_STATUSES = {502, 503, 504}
_PAUSES = (0.1, 0.3)  # before the second and the third try, in seconds
_PIECE = 64 * 1024
_NO_DEADLINE = float("inf")

# What reads a chunk within this time gets larger ones; what needs so long gets the smallest again.
_QUICK_SECONDS = 0.05
_SLOW_SECONDS = 0.25
_LARGEST_CHUNK = 1024 * 1024
# A chunk grows to this part of what was read already. What lies in the buffers of the connection, some
# mebibytes, makes every reader look quick at first; 500 slow ones should not hold 1 MiB each.
_PART_OF_WHAT_WAS_READ = 16

# Its warnings are about what servers send, with a traceback; what matters of them is an error here.
logging.getLogger("urllib3").setLevel(logging.ERROR)
logger = logging.getLogger(__name__)

_ADDRESS = re.compile(r"(https?)://([\w.-]+)(?::([0-9]{1,5}))?(/[^?#\\]*)?", re.ASCII | re.IGNORECASE)
_SECONDS = re.compile("[0-9]{1,18}", re.ASCII)
_USUAL_PORTS = {"http": 80, "https": 443}

# How the figures call what goes wrong.
_KINDS: dict[type[Exception], str] = {SourceTimeout: "timeout", SourceUnavailable: "unavailable"}

T = TypeVar("T")


@dataclass(frozen=True)
class Endpoint:
    """Where an address leads: a server, and a path on it, as it is written."""

    origin: str
    path: str


def endpoint_of(url: str) -> Endpoint | None:
    """Return where an address leads; None where it is none, or more: a user, a query, a fragment."""
    match = _ADDRESS.fullmatch(url)
    if match is None:
        return None
    scheme, host, port, path = match.groups()
    scheme = scheme.lower()
    return Endpoint(f"{scheme}://{host.lower()}:{int(port or _USUAL_PORTS[scheme])}", path or "/")


@dataclass(frozen=True)
class Reply:
    """A whole answer."""

    status_code: int
    headers: Mapping[str, str]
    body: bytes


def retry_after_of(headers: Mapping[str, str]) -> int | None:
    """Return how many seconds a server asks us to wait, or None if it doesn't say."""
    value = headers.get("Retry-After", "").strip()
    if _SECONDS.fullmatch(value):
        seconds = int(value)
    elif (moment := parse_http_date_safe(value)) is not None:
        seconds = math.ceil(moment - time.time())
    else:
        return None
    return min(max(seconds, 1), Account.LONGEST_RETRY_AFTER)


Answer = TypeVar("Answer", Reply, requests.Response)


class IncompleteBody(ConnectionResetError):
    """A body ended before its end. The server takes it for a reader who left, which needs no traceback."""

    def __init__(self, reason: str) -> None:
        super().__init__(errno.ECONNRESET, reason)


@dataclass(frozen=True)
class Server:
    """A server that is called with a key. Nothing is sent to any other place than below its base address."""

    name: str  # as sentences begin, such as "The account “Main”"
    base_url: str
    headers: Mapping[str, str] = field(repr=False)

    def post_json(self, path: str, payload: object, *, seconds: float) -> Reply:
        """Post an object and return the answer, which is there within `seconds` whatever the server does.

        Raises SourceUnavailable, SourceTimeout.
        """
        request = self._request("POST", path, {"Accept-Encoding": "gzip"}, payload)
        deadline = time.monotonic() + seconds

        def post() -> Reply:
            with read_deadline(deadline):
                return self._tried(lambda: self._whole_answer(request), deadline)

        with metrics.upstream_call("list", _KINDS):
            return self._within(seconds, post)

    def stream(self, method: str, path: str, headers: Mapping[str, str]) -> requests.Response:
        """Return an answer whose body was not read yet; the caller closes it.

        Raises SourceUnavailable, SourceTimeout.
        """
        request = self._request(method, path, {"Accept-Encoding": "identity", **headers})
        deadline = time.monotonic() + READ_SECONDS
        with metrics.upstream_call("file", _KINDS), self.troubles(), read_deadline(deadline):
            return self._tried(lambda: _send(request), deadline)

    @contextmanager
    def troubles(self) -> Iterator[None]:
        """Turn what HTTP raises into our own errors, and keep nothing of theirs: they hold the key."""
        try:
            yield
        except (requests.Timeout, ReadTimeoutError, TimeoutError):
            raise SourceTimeout(f"{self.name} took too long to answer. Try again later.") from None
        except (requests.exceptions.SSLError, TlsError):
            raise SourceUnavailable(
                f"{self.name} can't be reached safely: its server has no valid certificate."
            ) from None
        except (requests.RequestException, HTTPError, http.client.HTTPException, OSError):
            raise SourceUnavailable(f"{self.name} does not answer. Try again later.") from None

    def _request(
        self, method: str, path: str, headers: Mapping[str, str], payload: object = None
    ) -> requests.PreparedRequest:
        base, url = endpoint_of(self.base_url), self.base_url.rstrip("/") + path
        allowed = {endpoint_of(origin) for origin in settings.UPSTREAM_ORIGINS}
        if base is None or Endpoint(base.origin, "/") not in allowed:
            raise SourceUnavailable(
                f"{self.name} is at a server that this site may not call. "
                "The operator can allow it by UPSTREAM_ORIGINS."
            )
        with self.troubles():
            request = requests.Request(
                method,
                url,
                headers={"User-Agent": USER_AGENT, **headers, **self.headers},
                json=payload,
            ).prepare()
        # What the library made of it, dots and all, is what counts.
        if endpoint_of(request.url or "") != Endpoint(base.origin, base.path.rstrip("/") + path):
            raise SourceUnavailable(f"{self.name} has an address that can't be called.")
        return request

    def _tried(self, call: Callable[[], Answer], deadline: float) -> Answer:
        # Whatever is asked here changes nothing, so asking twice does no harm.
        for pause in _PAUSES:
            if time.monotonic() + pause >= deadline:
                break
            try:
                answer = call()
            except requests.ConnectionError as error:
                if isinstance(error, requests.Timeout | requests.exceptions.SSLError):
                    raise
            else:
                if not _is_passing(answer):
                    return answer
                if isinstance(answer, requests.Response):
                    answer.close()
            time.sleep(pause)
        return call()

    def _whole_answer(self, request: requests.PreparedRequest) -> Reply:
        with _send(request) as answer:
            pieces, size = [], 0
            try:
                while piece := answer.raw.read1(_PIECE, decode_content=True):
                    pieces.append(piece)
                    size += len(piece)
                    if size > MAX_JSON_BYTES:
                        raise SourceUnavailable(f"{self.name} answered with too much.")
            except urllib3.exceptions.ProtocolError as error:
                raise requests.ConnectionError(error) from None
            return Reply(answer.status_code, answer.headers, b"".join(pieces))

    def _within(self, seconds: float, call: Callable[[], T]) -> T:
        # Looking up a host's name and trying its addresses one by one know no deadline: hence a thread,
        # which ends a little later by itself.
        future: Future[T] = Future()

        def run() -> None:
            try:
                future.set_result(call())
            except Exception as error:  # noqa: BLE001  # raised again by whoever waits for it
                future.set_exception(error)

        threading.Thread(target=run, name="ask an account", daemon=True).start()
        with self.troubles():
            return future.result(timeout=seconds)


def _is_passing(answer: Reply | requests.Response) -> bool:
    # If a server says when to try again, don't retry before then.
    return answer.status_code in _PASSING_STATUSES and retry_after_of(answer.headers) is None


class BodyStream(io.RawIOBase):
    """The next `length` bytes of an answer's body, in chunks that grow with the reader's speed.

    Ends after exactly that many bytes or raises IncompleteBody, with a line for the operator.
    """

    def __init__(
        self, answer: requests.Response, *, skip: int, length: int, is_the_end: bool, place: str
    ) -> None:
        """Take over an answer. `is_the_end`: nothing may follow; `place`: what the operator is told."""
        self._answer = answer
        self._skip = skip
        self._remaining = length
        self._is_the_end = is_the_end
        self._place = place
        self._chunk = _PIECE
        self._ahead = b""
        self._given = 0
        self._given_at = time.monotonic()

    def peek(self, size: int) -> bytes:
        """Return the first `size` bytes of the body, or fewer if it is shorter, without consuming them.

        Raises HTTP errors unchanged: no bytes have been returned yet, so the caller can still report them.
        """
        while len(self._ahead) < size and (
            data := self._answer.raw.read1(size - len(self._ahead), decode_content=False)
        ):
            self._ahead += data
        return self._ahead

    def readable(self) -> bool:
        """Say that the stream can be read."""
        return True

    def read(self, size: int | None = -1) -> bytes:
        """Return at most `size` bytes, those that have come; without a size, all the rest."""
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
        self._given += len(data)
        self._given_at = time.monotonic()
        return data

    def readinto(self, buffer: Any) -> int:
        """Read into a buffer."""
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """Leave the connection: closed, unless the body was read to its end."""
        if not self.closed:
            self._answer.close()
            super().close()

    def _adapt_chunk(self) -> None:
        taken = time.monotonic() - self._given_at
        if taken > _SLOW_SECONDS:
            self._chunk = _PIECE
        elif taken < _QUICK_SECONDS and self._given >= _PART_OF_WHAT_WAS_READ * self._chunk:
            self._chunk = min(2 * self._chunk, _LARGEST_CHUNK)

    def _next(self, size: int) -> bytes:
        data = self._take(size)
        if not data:
            self._break_off("it ended early")
        return data

    def _take(self, size: int) -> bytes:
        if not self._ahead:
            return self._read(size)
        data, self._ahead = self._ahead[:size], self._ahead[size:]
        return data

    def _expect_the_end(self) -> None:
        # Where the length was told it has been compared already. Elsewhere the end has to be seen before
        # the last bytes are handed out: a longer file is not the one that was asked for.
        if self._answer.raw.length_remaining is None and self._take(1):
            self._break_off("it goes on beyond its length")

    def _read(self, size: int) -> bytes:
        try:
            return bytes(self._answer.raw.read1(size, decode_content=False))
        except ClientDisconnected:
            raise IncompleteBody("The client disconnected.") from None
        except (SourceUnavailable, HTTPError, http.client.HTTPException, OSError) as error:
            self._break_off(type(error).__name__)

    def _break_off(self, problem: str) -> NoReturn:
        metrics.UPSTREAM_ERRORS.labels("file", "broken off").inc()
        logger.warning("upstream body broke off: %s problem=%s", self._place, problem)
        raise IncompleteBody(f"The file broke off: {problem}.") from None


def _send(request: requests.PreparedRequest) -> requests.Response:
    # By the adapter itself: a session would add what it finds in the environment, keep cookies, and
    # read the body of a redirect, however long.
    return _adapter(os.getpid()).send(request, stream=True, timeout=(CONNECT_SECONDS, READ_SECONDS))


@cache
def _adapter(_process: int) -> "_Adapter":
    # One for each process: connections must not be shared with a process that was forked off.
    # It keeps the connections of all threads; of their number each uses one at a time.
    return _Adapter(pool_connections=10, pool_maxsize=2 * settings.WEB_THREADS)


# --- how long to wait for a response ------------------------------------------------------------------------

# When the headers of a response, or all of a short response, must have arrived.
_deadline: ContextVar[float] = ContextVar("deadline", default=_NO_DEADLINE)


@contextmanager
def read_deadline(deadline: float) -> Iterator[None]:
    """Let this thread's reading from servers end at a deadline, or at an earlier one that is set."""
    token = _deadline.set(min(deadline, _deadline.get()))
    try:
        yield
    finally:
        _deadline.reset(token)


class ReadLimits:
    """How long to wait for one response. Only time spent waiting for the server counts."""

    def __init__(self) -> None:
        self._size = 0
        self._waited = 0.0  # seconds
        self._silent = 0.0  # seconds since the last byte
        self._fast_enough = (0.0, 0)  # the wait in seconds and the size when MIN_SPEED was last reached
        self._look_at = 0.0

    def seconds(self) -> float:
        """Return how long to wait for more bytes. Raises TimeoutError, ClientDisconnected."""
        now = time.monotonic()
        if now >= self._look_at:
            self._look_at = now + CLIENT_CHECK_SECONDS
            check_client()
        silence = MAX_IDLE_SECONDS_WHILE_STOPPING if is_stopping() else MAX_IDLE_SECONDS
        left = min(_deadline.get() - now, silence - self._silent)
        if left <= 0:
            raise TimeoutError
        return min(left, CLIENT_CHECK_SECONDS)

    def note(self, size: int, seconds: float) -> None:
        """Record that `size` bytes arrived after `seconds`. Raises TimeoutError, SourceUnavailable."""
        self._size += size
        self._waited += seconds
        self._silent = 0.0 if size else self._silent + seconds
        if self._size > MAX_FILE_BYTES:
            raise NotTheFile(TOO_LARGE)
        waited, so_far = self._fast_enough
        if self._size - so_far >= MIN_SPEED * (self._waited - waited):
            self._fast_enough = self._waited, self._size
        elif self._waited - waited > MAX_SLOW_SECONDS:
            raise TimeoutError


class _PatientFile(io.RawIOBase):
    """The data from a connection, read as long as ReadLimits allows."""

    def __init__(self, connection: socket.socket, file: io.RawIOBase) -> None:
        self._connection = connection
        self._file = file  # keeps the connection open
        self._patience = ReadLimits()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Read the next bytes. Raises TimeoutError, ClientDisconnected, SourceUnavailable, OSError."""
        while True:
            self._connection.settimeout(self._patience.seconds())
            begun = time.monotonic()
            try:
                size = self._connection.recv_into(buffer)
            except TimeoutError:
                self._patience.note(0, time.monotonic() - begun)
            else:
                self._patience.note(size, time.monotonic() - begun)
                return size

    def close(self) -> None:
        self._file.close()
        super().close()


class _WholeLines(io.BufferedReader):
    """Raises for a line that is cut: http.client would take "Content-Length: 20", cut from 200, for 20."""

    def readline(self, size: int | None = -1) -> bytes:
        line = super().readline(size)
        if not line.endswith(b"\n") and (size is None or size < 0 or len(line) < size):
            raise ConnectionResetError(errno.ECONNRESET, "The answer was cut in its head.")
        return line


class _Response(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp = _WholeLines(_PatientFile(sock, self.fp.detach()))

    def begin(self) -> None:
        super().begin()
        # urllib3 refuses this as well, but leaves the connection open.
        lengths = {length.strip() for length in self.headers.get("Content-Length", "").split(",")}
        if len(lengths) > 1:
            raise http.client.HTTPException("The answer has several lengths.")


class _Connection(HTTPConnection):
    response_class = _Response


class _TlsConnection(HTTPSConnection):
    response_class = _Response


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


class _Adapter(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}
