"""Measures how quick the dashboard stays while hundreds of slow readers download.

One site as it is served by default (WEB_CONCURRENCY and WEB_THREADS, where they are set): a person's pages
are asked for with nobody else there, and while the readers take a stored file, then a file of an account's.
Each is compared with the idle state just before and after.
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

FILE_MIB = 1024  # no reader gets to its end
# A slow reader takes so much, so often; its buffer is small, so that the server has to wait for it.
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
class Answered:
    """How long pages took, in seconds, and how many failed."""

    seconds: list[float]
    failed: int

    @property
    def p95(self) -> float:
        """What 95 of 100 pages took at most, in milliseconds."""
        return 1000 * statistics.quantiles(self.seconds, n=20)[-1]


class Beside(NamedTuple):
    """How pages went while readers read."""

    pages: Answered
    mib_each: float
    refused: int


def measure(options: Options) -> Iterator[Row]:
    """Ask for pages with nobody there, then beside each kind of readers, then with nobody there."""
    readers, pages = options.either(500, 40), options.either(300, 60)
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
        ask_for_pages(site, pages)  # warms up
        for what, number in zip(MEMORY_TARGETS, (101, collection), strict=True):
            path = f"/api/v1/results/{number}/88/{NAME}"
            before = ask_for_pages(site, pages)
            beside = asyncio.run(beside_readers(site, path, keys, readers, pages))
            after = ask_for_pages(site, pages)
            yield from rows(f"{readers} slow readers of a {what}", before, beside, after)


def rows(what: str, before: Answered, beside: Beside, after: Answered) -> Iterator[Row]:
    """Yield what the readers did to the pages, and what each of them costs."""
    target, idle = at_most(1.5), statistics.mean([before.p95, after.p95])
    ratio = beside.pages.p95 / idle
    spread = ratio * abs(before.p95 - after.p95) / idle / 2
    yield Row(
        f"{what}: the dashboard's p95 beside it idle, ms",
        f"{beside.pages.p95:.1f}",
        f"{idle:.1f}",
        compared(ratio, spread),
        str(target),
        target.met(ratio, spread),
    )
    failed = beside.pages.failed + before.failed + after.failed + beside.refused
    yield value_row(f"{what}: pages and readers that failed", failed, at_most(0), form="{:.0f}")
    yield value_row(
        f"{what}: memory of each, MiB",
        beside.mib_each,
        MEMORY_TARGETS[what.partition(" of a ")[2]],
        form="{:.3f}",
    )


def ask_for_pages(site: Server, count: int) -> Answered:
    """Ask for the page of a collection's runs again and again, half of the times on a new connection."""
    answered = Answered([], 0)
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


async def beside_readers(site: Server, path: str, keys: list[str], readers: int, pages: int) -> Beside:
    """Ask for pages while readers read."""
    before, stop = site.memory("VmRSS"), asyncio.Event()
    begun: list[int] = []
    reading = [
        asyncio.create_task(read_slowly(site, path, keys[number % len(keys)], begun, stop))
        for number in range(readers)
    ]
    deadline = time.monotonic() + 60
    while len(begun) < readers and time.monotonic() < deadline:
        await asyncio.sleep(0.1)
    await asyncio.sleep(3 * SLOW_SECONDS)
    grown = site.memory("VmRSS") - before  # what pages leave behind, another 10 MiB, isn't the readers'
    answered = await asyncio.to_thread(ask_for_pages, site, pages)
    sent = begun.count(requests.codes.ok)
    stop.set()
    await asyncio.gather(*reading)
    await asyncio.sleep(5)  # what was theirs is given back
    return Beside(answered, grown / max(1, sent), readers - sent)


async def read_slowly(site: Server, path: str, key: str, begun: list[int], stop: asyncio.Event) -> None:
    """Take a little of a file each second, until told to stop; note the status of the answer."""
    parts = urlsplit(site.url)
    loop = asyncio.get_running_loop()
    with contextlib.closing(socket.socket()) as connection:
        connection.setblocking(False)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SLOW_BUFFER)
        await loop.sock_connect(connection, (parts.hostname, parts.port))
        question = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nx-api-key: {key}\r\n\r\n"
        await loop.sock_sendall(connection, question.encode())
        received = await loop.sock_recv(connection, SLOW_BYTES)
        begun.append(int(received.split()[1]) if received else 0)
        while received and not stop.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), SLOW_SECONDS)
            received = await loop.sock_recv(connection, SLOW_BYTES)


if __name__ == "__main__":
    run(measure, __doc__)
