"""Requests to other people's servers, which may be slow or hostile.

There are no redirects, proxies, cookies or connections that stay open. Time and memory are bounded,
whatever the server sends.
"""

import http.client
import io
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from email.utils import parsedate_to_datetime
from functools import cache
from typing import Any, cast

from django.utils import timezone

from collections_app.outgoing.guard import Endpoint, Target, Unreachable, parse, resolve

SECONDS = 15.0  # for everything but resolving the host name
LONGEST_ANSWER = 1024  # bytes of the body
_MOST_BYTES = 64 * 1024  # of the response, with its headers
_CONNECT_SECONDS = 5.0  # for one of several addresses
_LONGEST_PAUSE = timedelta(days=1)
_USER_AGENT = "scrape-results-dashboard"
_GONE = 410


@dataclass(frozen=True)
class Request:
    """What is sent to a URL."""

    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """A response. `body` is its first KB, and `pause` is what its Retry-After asks for."""

    status: int
    body: str = ""
    pause: timedelta | None = None

    @property
    def is_success(self) -> bool:
        """Whether the message was accepted."""
        return self.status // 100 == 2  # noqa: PLR2004  # the statuses 200 to 299

    @property
    def is_gone(self) -> bool:
        """Whether the server says that the URL won't work again."""
        return self.status == _GONE


def post(url: str, request: Request) -> Answer:
    """Send the request and return the response, whatever its status. Raises Refused, Unreachable."""
    target = parse(url)
    endpoints = resolve(target)
    with _errors_translated():
        deadline = time.monotonic() + SECONDS
        with closing(_connect(target, endpoints, deadline)) as connected:
            return _exchange(target, request, _Socket(connected, deadline))


def _exchange(target: Target, request: Request, connected: "_Socket") -> Answer:
    connection = http.client.HTTPConnection(target.host, target.port)
    connection.default_port = 443 if target.scheme == "https" else 80  # for the Host header
    connection.sock = cast(Any, connected)
    headers = {"User-Agent": _USER_AGENT, "Connection": "close", **request.headers}
    connection.request("POST", target.path, request.body, headers)
    response = connection.getresponse()
    return Answer(response.status, _body(response), _pause(response.headers.get("Retry-After", "")))


def _connect(target: Target, endpoints: list[Endpoint], deadline: float) -> socket.socket:
    """Return a connection to the first address that accepts one. Raises OSError."""
    problem = OSError("no address")
    for endpoint in endpoints:
        connected = socket.socket(endpoint.family, socket.SOCK_STREAM)
        try:
            connected.settimeout(min(_left(deadline), _CONNECT_SECONDS))
            connected.connect(endpoint.address)
            connected.settimeout(_left(deadline))
            return connected if target.scheme == "http" else _with_tls(connected, target)
        except OSError as error:
            connected.close()
            problem = error
    raise problem


def _with_tls(connected: socket.socket, target: Target) -> socket.socket:
    return _tls().wrap_socket(connected, server_hostname=target.host)


@cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


class _Socket:
    """What http.client uses of a socket, with a deadline and a limit for what is read."""

    def __init__(self, connected: socket.socket, deadline: float) -> None:
        self._connected = connected
        self._deadline = deadline

    def sendall(self, data: bytes) -> None:
        self._connected.settimeout(_left(self._deadline))
        self._connected.sendall(data)

    def makefile(self, *_: object, **__: object) -> io.BufferedReader:
        return io.BufferedReader(_Reader(self._connected, self._deadline))

    def close(self) -> None:
        """Do nothing: http.client closes it before the body is read."""


class _Reader(io.RawIOBase):
    def __init__(self, connected: socket.socket, deadline: float) -> None:
        self._connected = connected
        self._deadline = deadline
        self._size = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._connected.settimeout(_left(self._deadline))
        size = self._connected.recv_into(buffer)
        self._size += size
        if self._size > _MOST_BYTES:
            raise http.client.HTTPException("too long")
        return size


def _left(deadline: float) -> float:
    """Return the seconds until the deadline. Raises TimeoutError."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _body(response: http.client.HTTPResponse) -> str:
    """Return the start of the body. The status counts, even if the body is incomplete."""
    body = b""
    try:
        while len(body) < LONGEST_ANSWER and (more := response.read1(LONGEST_ANSWER - len(body))):
            body += more
    except (OSError, ValueError, http.client.HTTPException):
        pass
    return body.decode(errors="replace").replace("\0", "\ufffd")


def _pause(retry_after: str) -> timedelta | None:
    """Return the pause of a Retry-After header, in seconds or as a date, at most a day."""
    if retry_after.isascii() and retry_after.isdecimal():
        return timedelta(seconds=min(int(retry_after[:9]), _LONGEST_PAUSE.total_seconds()))
    try:
        pause = parsedate_to_datetime(retry_after) - timezone.now()
    except (ValueError, TypeError, OverflowError):
        return None
    return max(timedelta(), min(pause, _LONGEST_PAUSE))


@contextmanager
def _errors_translated() -> Iterator[None]:
    try:
        yield
    except TimeoutError:
        raise Unreachable(f"No response within {SECONDS:.0f} seconds.") from None
    except ssl.SSLCertVerificationError as error:
        raise Unreachable(f"The certificate isn't valid: {error.verify_message}.") from None
    except ssl.SSLError:
        raise Unreachable("The TLS connection failed.") from None
    except OSError as error:
        raise Unreachable(f"{error.strerror or 'The connection was closed'}.") from None
    except (http.client.HTTPException, ValueError):
        raise Unreachable("The response isn't valid HTTP.") from None
