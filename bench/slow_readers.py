"""Measures how quick the dashboard stays while hundreds of slow readers download.

One site as it is served by default: a person's pages are asked for with nobody else there, then while the
readers take a stored file, then a file of an account's. Each is compared with the idle state of the same run.
docs/performance.md says what is to be reached.
"""

import argparse
import asyncio
import contextlib
import fcntl
import json
import os
import platform
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import requests

from bench.proxied_stream import MEBIBYTE, ORIGIN, Proxy, run_nginx
from tests.server import ROOT, environment, free_port, manage, wait_until_it_answers

TARGET = 1.5
MEMORY_TARGETS = {"stored": 0.1, "proxied": 0.4}
NAME = "large.json"
AT_THE_ACCOUNT = f"api/v1/results/7001/88/{NAME}"
FILE_MIB = 1024
# A slow reader takes so much, so often; its buffer is small, so that the server has to wait for it.
SLOW_BYTES, SLOW_SECONDS, SLOW_BUFFER = 16 * 1024, 1.0, 64 * 1024
PEOPLE = 10  # whose keys the readers use, as one person may not have so many files at once

PREPARE = """
from django.utils import timezone
from collections_app.models import ApiKey, Membership, Role, Run, Team, User
from tests.upstream import make_account, make_remote_collection, make_remote_run
team = Team.objects.get(collections=101)
Run.objects.get(collection=101, number=88).files.create(
    kind="page", position=1000, name="NAME", key="NAME", size=SIZE, modified=timezone.now()
)
collection = make_remote_collection(make_account(team, base_url="ORIGIN/api/v1"))
make_remote_run(collection, size=SIZE).files.filter(kind="page").update(name="NAME", remote_name="NAME")
print(collection.pk)
for number in range(PEOPLE):
    user = User.objects.create_user(f"bench{number}@example.com")
    member = Membership.objects.create(user=user, team=team, role=Role.MEMBER)
    print(ApiKey.objects.issue(member, "bench")[1])
"""


@dataclass
class Answered:
    """How long pages took, in seconds, and how many failed."""

    seconds: list[float]
    failed: int

    @property
    def p95(self) -> float:
        """What 95 of 100 pages took at most."""
        return statistics.quantiles(self.seconds, n=20)[-1]


def main() -> None:
    """Measure and print one table."""
    options = parse()
    nginx = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if nginx is None:
        sys.exit("Error: nginx is not installed (Debian: nginx-light); it serves the account's file.")
    with tempfile.TemporaryDirectory(prefix="bench-") as name, contextlib.ExitStack() as stack:
        folder, origin = Path(name), free_port()
        file = folder / "files" / AT_THE_ACCOUNT
        file.parent.mkdir(parents=True)
        with file.open("wb") as large:
            large.truncate(FILE_MIB * MEBIBYTE)
        for part in (folder, *folder.rglob("*")):
            part.chmod(0o755 if part.is_dir() else 0o644)  # nginx reads as another user
        stack.enter_context(
            run_nginx(nginx, folder, "origin", ORIGIN.format(port=origin, folder=folder), origin)
        )
        site, collection, keys = stack.enter_context(served(f"http://127.0.0.1:{origin}", folder, options))
        compare(site, {"stored": 101, "proxied": int(collection)}, keys, signed_in(site, folder), options)


def parse() -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description="Compare the dashboard under slow readers with it idle.")
    parser.add_argument("--readers", type=int, default=500, help="how many slow readers (%(default)s)")
    parser.add_argument("--pages", type=int, default=300, help="how many pages are asked for (%(default)s)")
    parser.add_argument("--workers", default="", help="WEB_CONCURRENCY, where not by default")
    parser.add_argument("--threads", default="", help="WEB_THREADS, where not by default")
    return parser.parse_args()


@contextlib.contextmanager
def served(origin: str, folder: Path, options: argparse.Namespace) -> Iterator[tuple[Proxy, str, list[str]]]:
    """Serve the demo with two large files; yield the site, the account's collection and the readers' keys."""
    data_dir, log, port = folder / "data", folder / "site.log", free_port()
    data_dir.mkdir()
    for command in (["migrate", "--verbosity=0"], ["createcachetable"], ["demo"]):
        manage(data_dir, *command)
    manage(data_dir, "collectstatic", "--noinput", "--verbosity=0")
    with (data_dir / "results" / NAME).open("wb") as large:
        large.truncate(FILE_MIB * MEBIBYTE)
    prepare = PREPARE.replace("NAME", NAME).replace("ORIGIN", origin).replace("PEOPLE", str(PEOPLE))
    prepare = prepare.replace("SIZE", str(FILE_MIB * MEBIBYTE))
    collection, *keys = manage(data_dir, "shell", "--no-imports", "--command", prepare).split()
    knobs = {"WEB_CONCURRENCY": options.workers, "WEB_THREADS": options.threads, "UPSTREAM_ORIGINS": origin}
    # With this lock taken, nothing is listed in the background.
    with (data_dir / "work.lock").open("w") as lock, log.open("wb") as output:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with subprocess.Popen(
            [sys.executable, "manage.py", "serve"],
            cwd=ROOT,
            env=environment(data_dir, PORT=str(port), **knobs),
            stdout=output,
            stderr=subprocess.STDOUT,
        ) as process:
            try:
                url = f"http://127.0.0.1:{port}"
                wait_until_it_answers(url, process, log)
                yield Proxy("this site", url, "", process.pid), collection, keys
            finally:
                process.send_signal(signal.SIGINT)  # doesn't wait for downloads
                process.wait(timeout=30)


def signed_in(site: Proxy, folder: Path) -> requests.Session:
    """Return a person of the demo who has signed in."""
    account = json.loads((folder / "data" / "demo.json").read_text())
    session = requests.Session()
    page = session.get(f"{site.url}/accounts/login/")
    form = {"login": account["email"], "password": account["password"]}
    form["csrfmiddlewaretoken"] = session.cookies["csrftoken"]
    assert page.ok
    assert session.post(f"{site.url}/accounts/login/", form).ok
    return session


def compare(
    site: Proxy,
    collections: dict[str, int],
    keys: list[str],
    person: requests.Session,
    options: argparse.Namespace,
) -> None:
    """Ask for pages with nobody there, then beside each kind of readers, and print what it took."""
    ask_for_pages(site, person, options.pages)  # warms up
    print_machine(options)
    print(f"| {options.readers} slow readers of | page, p95 | failed | ratio | target | MiB each | target |")
    print("|---|---|---|---|---|---|---|")
    idle = ask_for_pages(site, person, options.pages)
    print(f"| nothing | {idle.p95 * 1000:.1f} ms | {idle.failed} | 1 | | | |", flush=True)
    for kind, collection in collections.items():
        path = f"/api/v1/results/{collection}/88/{NAME}"
        found = asyncio.run(beside_readers(site, path, keys, person, options))
        again = ask_for_pages(site, person, options.pages)
        beside, each, refused = found
        ratio = beside.p95 / statistics.mean([idle.p95, again.p95])
        print(
            f"| a {kind} file ({refused} refused) "
            f"| {beside.p95 * 1000:.1f} ms | {beside.failed} | {ratio:.2f} "
            f"| {TARGET} | {each:.3f} | {MEMORY_TARGETS[kind]} |"
        )
        print(f"| nothing again | {again.p95 * 1000:.1f} ms | {again.failed} | | | | |", flush=True)


def ask_for_pages(site: Proxy, person: requests.Session, count: int) -> Answered:
    """Ask for the page of a collection's runs again and again, half of the times on a new connection."""
    answered = Answered([], 0)
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


async def beside_readers(
    site: Proxy, path: str, keys: list[str], person: requests.Session, options: argparse.Namespace
) -> tuple[Answered, float, int]:
    """Ask for pages while readers read; return how they went, the MiB of a reader, how many were refused."""
    before, stop = site.memory("VmRSS"), asyncio.Event()
    begun: list[int] = []
    readers = [
        asyncio.create_task(read_slowly(site, path, keys[number % len(keys)], begun, stop))
        for number in range(options.readers)
    ]
    deadline = time.monotonic() + 60
    while len(begun) < options.readers and time.monotonic() < deadline:
        await asyncio.sleep(0.1)
    await asyncio.sleep(3 * SLOW_SECONDS)
    answered = await asyncio.to_thread(ask_for_pages, site, person, options.pages)
    grown = site.memory("VmRSS") - before
    sent = begun.count(requests.codes.ok)
    stop.set()
    await asyncio.gather(*readers)
    await asyncio.sleep(5)  # what was theirs is given back
    return answered, grown / max(1, sent), options.readers - sent


async def read_slowly(site: Proxy, path: str, key: str, begun: list[int], stop: asyncio.Event) -> None:
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


def print_machine(options: argparse.Namespace) -> None:
    """Print the day and what was measured on."""
    release = platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    print(
        f"{datetime.now(UTC):%Y-%m-%d}: {os.cpu_count()} cores, {release}, "
        f"Python {platform.python_version()}, workers {options.workers or 'by default'}, "
        f"threads {options.threads or 'by default'}\n"
    )


if __name__ == "__main__":
    main()
