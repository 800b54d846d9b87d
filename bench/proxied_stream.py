"""Compares downloads of an account's file through this site with nginx as a proxy for the same server.

One client downloads the file through each of them alternately, with one server process. Then many slow
clients download it, to measure the memory for each.
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
    download,
    download_rows,
    make_file,
    make_keys,
    make_member,
    make_site,
    run_code,
    run_nginx,
    run_site,
)
from tests.support.server import free_port

NAME = "large.json"
REMOTE_PATH = f"/api/v1/results/7001/88/{NAME}"
# How much a slow client reads at a time, how often per second, and for how long.
SLOW_BYTES, SLOW_TURNS, SLOW_SECONDS = 16 * 1024, 10, 6
# The fastest buffers of those tested, from nginx's default of 8 x 4 KiB up to 16 MiB.
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
    """Download the file from both."""
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
        yield slow_clients(ours, path, make_keys(data_dir, 5), options.either(200, 20))


@contextlib.contextmanager
def run_origin(folder: Path, mebibytes: int) -> Iterator[Server]:
    """Run the account's server: nginx with one large file. Raise Missing if it isn't installed."""
    port = free_port()
    _make_page(folder / "files" / REMOTE_PATH.lstrip("/"), mebibytes)
    with run_nginx(folder, "origin", STATIC.format(port=port, root=folder / "files"), port) as origin:
        yield origin


def _make_page(path: Path, mebibytes: int) -> None:
    """Write a file that starts and ends like a page; the site checks nothing else."""
    make_file(path, mebibytes)
    with path.open("r+b") as file:
        file.write(b"[" + b'{"asin": "B000000001", "title": "Laptop"},' * 2048)
        file.seek(-1, io.SEEK_END)
        file.write(b"]")


def compare(ours: Server, path: str, peer: Server, size: int, options: Options) -> Iterator[Row]:
    """Download from both alternately."""
    downloads = in_turn(
        partial(download, ours, path, size), partial(download, peer, REMOTE_PATH, size), options.pairs
    )
    what = f"file of an account, {size // MEBIBYTE} MiB, 1 client"
    yield from download_rows(what, downloads, None)


def slow_clients(server: Server, path: str, keys: list[str], clients: int) -> Row:
    """Return the memory for each of many slow clients."""
    address = urlsplit(server.url)
    before = server.memory("VmRSS")
    server.reset_peak_memory()
    with contextlib.ExitStack() as stack:
        connections = []
        for number in range(clients):
            connection = stack.enter_context(
                socket.create_connection((address.hostname or "", address.port or 0))
            )
            request = (
                f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nx-api-key: {keys[number % len(keys)]}\r\n\r\n"
            )
            connection.sendall(request.encode())
            if not connection.recv(SLOW_BYTES).startswith(b"HTTP/1.1 200"):
                sys.exit(f"Error: slow client {number} was rejected.")
            connections.append(connection)
        read_slowly(connections)
        each = (server.memory("VmHWM") - before) / clients
    speed = SLOW_BYTES * SLOW_TURNS // 1024
    what = f"file of an account, {clients} clients of {speed} KiB/s, memory per client, MiB"
    return value_row(what, each, at_most(0.4))


def read_slowly(connections: list[socket.socket]) -> None:
    """Read a little from each connection repeatedly."""
    for turn in range(SLOW_SECONDS * SLOW_TURNS):
        until = time.monotonic() + 1 / SLOW_TURNS
        for connection in connections:
            connection.settimeout(10)
            if not connection.recv(SLOW_BYTES):
                sys.exit(f"Error: a slow client was disconnected in turn {turn}.")
        time.sleep(max(0, until - time.monotonic()))


if __name__ == "__main__":
    run(measure, __doc__)
