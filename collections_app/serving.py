"""Who is waiting for this thread's answer, so that work for a client that has left can end."""

import select
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

# The other side has closed its connection. poll() reports errors and POLLHUP in any case.
_HAS_CLOSED = getattr(select, "POLLRDHUP", 0)  # Linux only


class ClientLeft(Exception):
    """The client has closed its connection. Nobody reads the answer."""


@dataclass(frozen=True)
class _Request:
    client: socket.socket
    is_stopping: Callable[[], bool]


_request: ContextVar[_Request | None] = ContextVar("request", default=None)


@contextmanager
def serving(client: socket.socket, is_stopping: Callable[[], bool]) -> Iterator[None]:
    """Note whom this thread serves, and how to tell that its server is stopping."""
    token = _request.set(_Request(client, is_stopping))
    try:
        yield
    finally:
        _request.reset(token)


def has_client() -> bool:
    """Whether this thread serves a client; those in the background don't."""
    return _request.get() is not None


def client_has_left() -> bool:
    """Whether this thread serves a client that has closed its connection."""
    request = _request.get()
    if request is None:
        return False
    connection = select.poll()
    connection.register(request.client, _HAS_CLOSED)
    return bool(connection.poll(0))


def check_client() -> None:
    """Raise ClientLeft if this thread serves a client that has closed its connection."""
    if client_has_left():
        raise ClientLeft


def is_stopping() -> bool:
    """Whether this thread belongs to a server that is stopping."""
    request = _request.get()
    return request is not None and request.is_stopping()
