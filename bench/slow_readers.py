"""Measures how fast the dashboard is during hundreds of slow downloads.

The site runs with its default settings (or WEB_CONCURRENCY and WEB_THREADS). A user's pages are loaded on the
idle site, during slow downloads of a stored file, and during those of an account's file. Each measurement is
compared with the idle site just before and after it.
"""

import asyncio
import contextlib
import socket
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import urlsplit

import requests

from bench.measure import MEBIBYTE, Options, Row, at_most, compared, run, value_row
from bench.proxied_stream import NAME, run_origin
from bench.servers import (
    Server,
    bench_folder,
    make_file,
    make_keys,
    make_member,
    make_site,
    run_code,
    run_site,
)

FILE_MIB = 1024  # no client reaches its end
# How much a slow client reads, and how often. Its buffer is small, so that the server has to wait for it.
SLOW_BYTES, SLOW_SECONDS, SLOW_BUFFER = 16 * 1024, 1.0, 64 * 1024
MEMORY_TARGETS = {"stored file": at_most(0.1), "file of an account": at_most(0.4)}

PREPARE = """
from tests.support.results import make_many_pages
from tests.support.upstream import make_account, make_remote_collection, make_remote_run
shown = Collection.objects.create(pk=101, team=team, name="AU Laptops")
make_many_pages(shown, 50, 20)
run = Run.objects.create(collection=shown, number=88, state="ready", file_count=1)
run.files.create(
    kind="page", position=1, name="NAME", key="NAME", size=SIZE, modified="2026-06-20T12:00:00Z"
)
collection = make_remote_collection(make_account(team, base_url="ORIGIN/api/v1"))
make_remote_run(collection, size=SIZE).files.filter(kind="page").update(name="NAME", remote_name="NAME")
print(collection.pk)
"""


@dataclass
class PageLoads:
    """The load times of pages, and the number of failures."""

    seconds: list[float]
    failed: int

    @property
    def p95(self) -> float:
        """The 95th percentile in milliseconds."""
        return 1000 * statistics.quantiles(self.seconds, n=20)[-1]


class UnderLoad(NamedTuple):
    """The pages during slow downloads."""

    pages: PageLoads
    mib_each: float
    rejected: int


def measure(options: Options) -> Iterator[Row]:
    """Load pages on the idle site, during each kind of slow downloads, and on the idle site again."""
    clients, pages = options.either(500, 40), options.either(300, 60)
    with bench_folder() as folder, contextlib.ExitStack() as stack:
        data_dir = folder / "data"
        origin = stack.enter_context(run_origin(folder, FILE_MIB))
        make_site(data_dir)
        headers = make_member(data_dir)
        make_file(data_dir / "results" / NAME, FILE_MIB)
        code = PREPARE.replace("NAME", NAME).replace("SIZE", str(FILE_MIB * MEBIBYTE))
        (collection,) = run_code(data_dir, code.replace("ORIGIN", origin.url))
        keys = make_keys(data_dir, 10)
        site = stack.enter_context(run_site(data_dir, headers, UPSTREAM_ORIGINS=origin.url))
        load_pages(site, pages)  # warm-up
        for what, number in zip(MEMORY_TARGETS, (101, collection), strict=True):
            path = f"/api/v1/results/{number}/88/{NAME}"
            before = load_pages(site, pages)
            loaded = asyncio.run(load_pages_with_clients(site, path, keys, clients, pages))
            after = load_pages(site, pages)
            yield from rows(f"{clients} slow clients of a {what}", before, loaded, after)


def rows(what: str, before: PageLoads, loaded: UnderLoad, after: PageLoads) -> Iterator[Row]:
    """Yield the effect on pages, and the memory for each client."""
    target, idle = at_most(1.5), statistics.mean([before.p95, after.p95])
    ratio = loaded.pages.p95 / idle
    spread = ratio * abs(before.p95 - after.p95) / idle / 2
    yield Row(
        f"{what}: p95 of the dashboard compared with idle, ms",
        f"{loaded.pages.p95:.1f}",
        f"{idle:.1f}",
        compared(ratio, spread),
        str(target),
        target.met(ratio, spread),
    )
    failed = loaded.pages.failed + before.failed + after.failed + loaded.rejected
    yield value_row(f"{what}: failed pages and clients", failed, at_most(0), form="{:.0f}")
    yield value_row(
        f"{what}: memory per client, MiB",
        loaded.mib_each,
        MEMORY_TARGETS[what.partition(" of a ")[2]],
        form="{:.3f}",
    )


def load_pages(site: Server, count: int) -> PageLoads:
    """Load the download page repeatedly, half of the time on a new connection."""
    answered = PageLoads([], 0)
    with requests.Session() as person:
        person.headers["Cookie"] = site.headers["Cookie"]
        for number in range(count):
            headers = {"Connection": "close"} if number % 2 else {}
            begun = time.perf_counter()
            try:
                answer = person.get(f"{site.url}/collections/101/download", headers=headers, timeout=10)
                answered.failed += answer.status_code != requests.codes.ok
            except requests.RequestException:
                answered.failed += 1
            answered.seconds.append(time.perf_counter() - begun)
            time.sleep(0.02)
    return answered


async def load_pages_with_clients(
    site: Server, path: str, keys: list[str], clients: int, pages: int
) -> UnderLoad:
    """Load pages while clients download slowly."""
    before, stop = site.memory("VmRSS"), asyncio.Event()
    begun: list[int] = []
    reading = [
        asyncio.create_task(read_slowly(site, path, keys[number % len(keys)], begun, stop))
        for number in range(clients)
    ]
    deadline = time.monotonic() + 60
    while len(begun) < clients and time.monotonic() < deadline:
        await asyncio.sleep(0.1)
    await asyncio.sleep(3 * SLOW_SECONDS)
    grown = site.memory("VmRSS") - before  # before the pages, which use another 10 MiB
    answered = await asyncio.to_thread(load_pages, site, pages)
    sent = begun.count(requests.codes.ok)
    stop.set()
    await asyncio.gather(*reading)
    await asyncio.sleep(5)  # until their memory is free
    return UnderLoad(answered, grown / max(1, sent), clients - sent)


async def read_slowly(site: Server, path: str, key: str, begun: list[int], stop: asyncio.Event) -> None:
    """Read a little of a file each second until stopped. Append the status of the response."""
    parts = urlsplit(site.url)
    loop = asyncio.get_running_loop()
    with contextlib.closing(socket.socket()) as connection:
        connection.setblocking(False)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SLOW_BUFFER)
        await loop.sock_connect(connection, (parts.hostname, parts.port))
        request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nx-api-key: {key}\r\n\r\n"
        await loop.sock_sendall(connection, request.encode())
        received = await loop.sock_recv(connection, SLOW_BYTES)
        begun.append(int(received.split()[1]) if received else 0)
        while received and not stop.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), SLOW_SECONDS)
            received = await loop.sock_recv(connection, SLOW_BYTES)


if __name__ == "__main__":
    run(measure, __doc__)
