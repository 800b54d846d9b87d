"""Measures a file of an account's that is read through this site, beside nginx before the same server.

One reader reads the same file through each in turn; each of the two has one process that serves. Then many
slow readers, for what each of them costs.
"""

import contextlib
import io
import socket
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from bench.measure import (
    MEBIBYTE,
    Options,
    Row,
    at_most,
    in_turn,
    run,
    value_row,
)
from bench.servers import (
    STATIC,
    Server,
    bench_folder,
    make_file,
    make_keys,
    make_member,
    make_site,
    read,
    reading_rows,
    run_code,
    run_nginx,
    run_site,
)
from tests.support.server import free_port

NAME = "large.json"
AT_THE_ACCOUNT = f"/api/v1/results/7001/88/{NAME}"
# A slow reader takes so much in each turn, and there are so many turns a second.
SLOW_BYTES, SLOW_TURNS, SLOW_SECONDS = 16 * 1024, 10, 6
# The buffers that were the fastest of those tried, from nginx's own 8 x 4 KiB up to 16 MiB.
PEER = """
  upstream origin {{ server 127.0.0.1:{origin}; keepalive 16; }}
  server {{
    listen 127.0.0.1:{port} backlog=1024;
    location / {{
      proxy_pass http://origin;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_max_temp_file_size 0;
      proxy_buffer_size 16k;
      proxy_buffers 16 256k;
      proxy_busy_buffers_size 1m;
    }}
  }}
"""
CONNECT = """
from tests.support.upstream import make_account, make_remote_collection, make_remote_run
collection = make_remote_collection(make_account(team, base_url="ORIGIN/api/v1"))
make_remote_run(collection).files.filter(kind="page").update(name="NAME", remote_name="NAME")
print(collection.pk)
"""


def measure(options: Options) -> Iterator[Row]:
    """Read the file from both."""
    size = options.either(1024, 256) * MEBIBYTE
    with bench_folder() as folder, contextlib.ExitStack() as stack:
        data_dir = folder / "data"
        origin = stack.enter_context(run_origin(folder, size // MEBIBYTE))
        make_site(data_dir)
        headers = make_member(data_dir)
        (collection,) = run_code(data_dir, CONNECT.replace("NAME", NAME).replace("ORIGIN", origin.url))
        port = free_port()
        server = PEER.format(origin=urlsplit(origin.url).port, port=port)
        peer = stack.enter_context(run_nginx(folder, "peer", server, port))
        more = {"WEB_CONCURRENCY": "1", "UPSTREAM_ORIGINS": origin.url}
        ours = stack.enter_context(run_site(data_dir, headers, **more))
        path = f"/api/v1/results/{collection}/88/{NAME}"
        yield from compare(ours, path, peer, size, options)
        yield slow_readers(ours, path, make_keys(data_dir, 5), options.either(200, 20))


@contextlib.contextmanager
def run_origin(folder: Path, mebibytes: int) -> Iterator[Server]:
    """Run the account's server, an nginx with one large file. Raises Missing."""
    port = free_port()
    _make_page(folder / "files" / AT_THE_ACCOUNT.lstrip("/"), mebibytes)
    with run_nginx(folder, "origin", STATIC.format(port=port, root=folder / "files"), port) as origin:
        yield origin


def _make_page(path: Path, mebibytes: int) -> None:
    """Write a file that begins and ends like a page; nothing else is checked."""
    make_file(path, mebibytes)
    with path.open("r+b") as file:
        file.write(b"[" + b'{"asin": "B000000001", "title": "Laptop"},' * 2048)
        file.seek(-1, io.SEEK_END)
        file.write(b"]")


def compare(ours: Server, path: str, peer: Server, size: int, options: Options) -> Iterator[Row]:
    """Let both be read in turn."""
    readings = in_turn(
        partial(read, ours, path, size), partial(read, peer, AT_THE_ACCOUNT, size), options.pairs
    )
    what = f"file of an account, {size // MEBIBYTE} MiB, 1 reader"
    yield from reading_rows(what, readings, None)


def slow_readers(server: Server, path: str, keys: list[str], readers: int) -> Row:
    """Return what each of many slow readers costs."""
    address = urlsplit(server.url)
    before = server.memory("VmRSS")
    server.forget_the_most()
    with contextlib.ExitStack() as stack:
        connections = []
        for number in range(readers):
            connection = stack.enter_context(
                socket.create_connection((address.hostname or "", address.port or 0))
            )
            question = (
                f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nx-api-key: {keys[number % len(keys)]}\r\n\r\n"
            )
            connection.sendall(question.encode())
            if not connection.recv(SLOW_BYTES).startswith(b"HTTP/1.1 200"):
                sys.exit(f"Error: slow reader {number} is refused.")
            connections.append(connection)
        read_slowly(connections)
        each = (server.memory("VmHWM") - before) / readers
    speed = SLOW_BYTES * SLOW_TURNS // 1024
    what = f"file of an account, {readers} readers of {speed} KiB/s, memory of each, MiB"
    return value_row(what, each, at_most(0.4))


def read_slowly(connections: list[socket.socket]) -> None:
    """Take a little of each connection, again and again."""
    for turn in range(SLOW_SECONDS * SLOW_TURNS):
        until = time.monotonic() + 1 / SLOW_TURNS
        for connection in connections:
            connection.settimeout(10)
            if not connection.recv(SLOW_BYTES):
                sys.exit(f"Error: a slow reader was left alone in turn {turn}.")
        time.sleep(max(0, until - time.monotonic()))


if __name__ == "__main__":
    run(measure, __doc__)
