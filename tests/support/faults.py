"""A file server, and a proxy that adds network faults to its responses."""

import random
import re
import select
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol, TypeVar
from urllib.parse import unquote

_PIECE = 16 * 1024
_RANGE = re.compile(r"bytes=(\d+)-(\d+)")


@dataclass
class Fault:
    """The faults of the responses on a connection. By default, there are none."""

    delay: float = 0  # seconds before the first byte
    pause: float = 0  # seconds before each further byte: they come one by one
    cut_after: int | None = None  # bytes that come through before the connection is closed
    is_reset: bool = False  # closed as by a crash
    cut_when: threading.Event | None = None  # wait for this before the cut: a reset drops unread bytes
    instead: bytes = b""  # sent instead of the response


@dataclass
class FaultProxy:
    """A proxy for a server on this machine, with a fault for each connection; by default, none."""

    target: int
    fault: Callable[[], Fault] = Fault
    connections: int = 0
    port: int = 0
    _open: set[socket.socket] = field(default_factory=set)
    _is_over: threading.Event = field(default_factory=threading.Event)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/api/v1"

    @contextmanager
    def running(self) -> Iterator["FaultProxy"]:
        """Listen on a local port until the end of the block."""
        with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
            self.port = listener.getsockname()[1]
            acceptor = threading.Thread(target=self._accept, args=[listener])
            acceptor.start()
            try:
                yield self
            finally:
                self._is_over.set()
                listener.shutdown(socket.SHUT_RDWR)
                acceptor.join()

    def _accept(self, listener: socket.socket) -> None:
        threads = []
        with suppress(OSError):  # the end
            while True:
                connection, _ = listener.accept()
                self.connections += 1
                serve = threading.Thread(
                    target=self._serve, args=[connection, self.fault()], name="fault proxy: answers"
                )
                threads.append(serve)
                serve.start()
        self.close_connections()
        for thread in threads:
            thread.join()

    def close_connections(self) -> None:
        """Close open connections. New ones have the current fault."""
        for connection in list(self._open):
            _shut(connection)

    def _serve(self, client: socket.socket, fault: Fault) -> None:
        with client, socket.create_connection(("127.0.0.1", self.target)) as server:
            self._open |= {client, server}
            asking = threading.Thread(
                target=self._pass_questions_on, args=[client, server], name="fault proxy: questions"
            )
            asking.start()
            with suppress(OSError):
                self._pass_answers_on(server, client, fault)
            if fault.cut_when:
                fault.cut_when.wait(20)
            if fault.is_reset:
                # Closing a socket with a linger time of 0 resets the connection.
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                with suppress(OSError):
                    client.shutdown(socket.SHUT_RD)  # which ends the reading of questions
            else:
                _shut(client)
            _shut(server)
            asking.join()
            self._open -= {client, server}

    def _pass_questions_on(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while data := client.recv(_PIECE):
                server.sendall(data)
            server.shutdown(socket.SHUT_WR)

    def _pass_answers_on(self, server: socket.socket, client: socket.socket, fault: Fault) -> None:
        data = server.recv(_PIECE)
        if fault.delay:
            self._is_over.wait(fault.delay)
        data = fault.instead or data
        left = fault.cut_after
        while data := data[:left]:
            if left is not None:
                left -= len(data)
            if fault.pause:
                for number in data:
                    client.sendall(bytes([number]))
                    if self._is_over.wait(fault.pause):
                        return
            else:
                client.sendall(data)
            # Once the limit is reached, the server may send nothing more, so don't wait for it.
            data = b"" if fault.instead or left == 0 else server.recv(_PIECE)


def _shut(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


@dataclass
class FileServer:
    """A server for files by the last part of their URLs, with ranges, like that of an account.

    The server may ignore ranges, send no lengths (in chunks), and refuse HEAD.
    """

    contents: dict[str, bytes]
    has_ranges: bool = True
    has_lengths: bool = True
    has_head: bool = True
    asked: list[tuple[str, str, str | None]] = field(default_factory=list)  # method, path, range
    answered: int = 0  # how many answers reached their end
    connections: int = 0
    port: int = 0

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/api/v1"

    def running(self) -> AbstractContextManager["FileServer"]:
        """Listen on a local port until the end of the block."""
        return running(self, type("Handler", (_FileHandler,), {"files": self}))


class QuietHandler(BaseHTTPRequestHandler):
    """A server that keeps connections open without responding."""

    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Don't respond."""


class _FileHandler(QuietHandler):
    files: "FileServer"

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        files = self.files
        files.asked.append((self.command, self.path, self.headers["Range"]))
        content = files.contents.get(unquote(self.path.rpartition("/")[2]))
        if self.command == "HEAD" and not files.has_head:
            self.send_error(405)
            return
        if content is None:
            self.send_error(404)
            return
        # An empty file has no ranges.
        asked = _RANGE.fullmatch(self.headers["Range"] or "") if files.has_ranges and content else None
        part = content
        if asked:
            first, last = int(asked[1]), int(asked[2])
            part = content[first : last + 1]
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{first + len(part) - 1}/{len(content)}")
        else:
            self.send_response(200)
        self.send_header("Content-Type", "application/octet-stream")
        if files.has_lengths:
            self.send_header("Content-Length", str(len(part)))
        else:
            self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        if self.command == "GET":
            self._send(part)
        files.answered += 1

    def _send(self, part: bytes) -> None:
        if self.files.has_lengths:
            self.wfile.write(part)
            return
        for start in range(0, len(part), _PIECE):
            piece = part[start : start + _PIECE]
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        self.wfile.write(b"0\r\n\r\n")


@dataclass
class EndlessServer:
    """Send an endless body for every request, until the client closes the connection.

    Responses to HEAD have no length. Without `piece`, nothing follows the headers of a response.
    """

    piece: bytes = b""
    pause: float = 0  # seconds before each piece
    first: bytes = b""  # the beginning of the body
    head: dict[str, str] = field(default_factory=lambda: {"Transfer-Encoding": "chunked"})
    asked: list[str] = field(default_factory=list)  # the methods of all requests
    left: threading.Semaphore = field(
        default_factory=lambda: threading.Semaphore(0)
    )  # released once per body
    connections: int = 0
    port: int = 0

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/api/v1"

    def running(self) -> AbstractContextManager["EndlessServer"]:
        """Listen on a local port until the end of the block."""
        return running(self, type("Handler", (_EndlessHandler,), {"endless": self}))


class _EndlessHandler(QuietHandler):
    endless: EndlessServer

    def do_HEAD(self) -> None:
        self._send_head()

    def do_GET(self) -> None:
        self._send_head()
        with suppress(OSError):  # the client disconnected
            self.wfile.write(self.endless.first)
            while not self._is_alone():
                self.wfile.write(self.endless.piece)
        self.endless.left.release()
        self.close_connection = True

    def _send_head(self) -> None:
        self.endless.asked.append(self.command)
        self.send_response(200)
        for name, value in self.endless.head.items():
            self.send_header(name, value)
        self.end_headers()

    def _is_alone(self) -> bool:
        """Pause. Return whether the client has closed the connection."""
        pause = self.endless.pause if self.endless.piece else None
        readable, _, _ = select.select([self.connection], [], [], pause)
        return bool(readable)


@contextmanager
def listening(counter: Any, handler: type[QuietHandler]) -> Iterator[int]:
    """Serve on a port until the end of the block. `counter.connections` counts connections."""
    with _Server(counter, handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.close_connections()
            server.shutdown()
            thread.join()


class _Local(Protocol):
    port: int


Local = TypeVar("Local", bound=_Local)


@contextmanager
def running(server: Local, handler: type[QuietHandler]) -> Iterator[Local]:
    """Run a server on `server.port` until the end of the block."""
    with listening(server, handler) as server.port:
        yield server


class _Server(ThreadingHTTPServer):
    """A server that counts its connections, and can close them."""

    daemon_threads = False
    request_queue_size = 128

    def __init__(self, counter: Any, handler: type[QuietHandler]) -> None:
        self._counter = counter
        self._open: set[socket.socket] = set()
        super().__init__(("127.0.0.1", 0), handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._counter.connections += 1
        self._open.add(request)
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        threading.current_thread().name = "fault server"  # see threads.py
        super().process_request_thread(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def close_connections(self) -> None:
        for connection in list(self._open):
            _shut(connection)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Don't log clients that leave."""


def page_bytes(size: int, seed: int = 1) -> bytes:
    """Return a page of exactly this many bytes, in which all ranges differ."""
    chance = random.Random(seed)
    records = [b'{"asin":"%s"}' % chance.randbytes(500).hex().encode() for _ in range(size // 1015)]
    page = b"[%s]" % b",".join(records)
    return page[:-1].ljust(size - 1) + b"]"


def random_bytes(size: int, seed: int = 1) -> bytes:
    """Return bytes of which no two parts are equal."""
    return random.Random(seed).randbytes(size)
