"""Servers that receive notifications."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Received:
    """A request."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Receiver:
    """An HTTP server on this machine. It responds with `status`, `headers` and `body`."""

    url: str = ""
    status: int = 204
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    received: list[Received] = field(default_factory=list)
    before_response: Callable[[], object] = lambda: None


@contextmanager
def receiving() -> Iterator[Receiver]:
    """Run a receiver."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            receiver.received.append(Received(self.path, headers, body))
            receiver.before_response()
            self.send_response(receiver.status)
            for name, value in receiver.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(receiver.body)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        receiver.url = f"http://127.0.0.1:{server.server_port}/hook"
        threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
        try:
            yield receiver
        finally:
            server.shutdown()


@contextmanager
def raw_server(talk: Callable[[socket.socket], object]) -> Iterator[str]:
    """Run a server that calls `talk` with each connection, once the request has begun to arrive."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        is_stopped = threading.Event()

        def serve() -> None:
            while not is_stopped.is_set():
                connected, _ = server.accept()
                with connected:
                    try:
                        connected.recv(65536)
                        talk(connected)
                    except OSError:
                        pass

        threading.Thread(target=serve, daemon=True).start()
        port = server.getsockname()[1]
        try:
            yield f"http://127.0.0.1:{port}/hook"
        finally:
            is_stopped.set()
            socket.create_connection(("127.0.0.1", port)).close()
