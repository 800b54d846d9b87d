"""The client that a thread serves, so that its work can stop when the client disconnects."""

import select
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

# The peer has closed its connection. poll() always reports errors and POLLHUP.
_HAS_CLOSED = getattr(select, "POLLRDHUP", 0)  # Linux only


class ClientDisconnected(Exception):
    """The client has closed its connection, so no one will read the response."""


@dataclass(frozen=True)
class _Request:
    client: socket.socket
    is_stopping: Callable[[], bool]
    set_patience: Callable[[float], None]


_request: ContextVar[_Request | None] = ContextVar("request", default=None)


@contextmanager
def serving(
    client: socket.socket,
    is_stopping: Callable[[], bool],
    set_patience: Callable[[float], None] = lambda seconds: None,
) -> Iterator[None]:
    """Note the client that this thread serves, and how to tell whether the server is stopping.

    `set_patience` is called with the seconds that the rest of the request may take to arrive.
    """
    token = _request.set(_Request(client, is_stopping, set_patience))
    try:
        yield
    finally:
        _request.reset(token)


def has_client() -> bool:
    """Return whether this thread serves a client. Background threads don't."""
    return _request.get() is not None


def client_has_disconnected() -> bool:
    """Return whether this thread serves a client that has closed its connection."""
    request = _request.get()
    if request is None:
        return False
    connection = select.poll()
    connection.register(request.client, _HAS_CLOSED)
    return bool(connection.poll(0))


def check_client() -> None:
    """Raise ClientDisconnected if this thread serves a client that has closed its connection."""
    if client_has_disconnected():
        raise ClientDisconnected


def allow_seconds(seconds: float) -> None:
    """Allow the client this many seconds for the rest of its request. Replace an earlier limit."""
    request = _request.get()
    if request is not None:
        request.set_patience(seconds)


def is_stopping() -> bool:
    """Return whether this thread belongs to a server that is stopping."""
    request = _request.get()
    return request is not None and request.is_stopping()
