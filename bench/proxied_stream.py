"""Measures a file of an account's that is read through this site, beside nginx before the same server.

One reader reads the same file through each in turn, A B A B, so that what else the machine does meets both.
Each of the two has one process that serves. docs/performance.md says what is to be reached and what was
measured.
"""

import argparse
import contextlib
import fcntl
import json
import os
import platform
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from tests.server import ROOT, environment, free_port, manage, wait_until_it_answers

TARGET = 0.95
SLOW_TARGET_MIB = 0.4
MEBIBYTE = 2**20
NAME = "large.json"
AT_THE_ACCOUNT = f"/api/v1/results/7001/88/{NAME}"
# A slow reader takes so much in each turn, and there are so many turns a second.
SLOW_BYTES, SLOW_TURNS, SLOW_SECONDS = 16 * 1024, 10, 6

NGINX = """
worker_processes 1;
daemon off;
pid {folder}/{name}.pid;
error_log {folder}/{name}.log;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  sendfile on;
  tcp_nopush on;
  keepalive_requests 1000000;
  client_body_temp_path {folder}/{name}-body;
  proxy_temp_path {folder}/{name}-proxy;
  fastcgi_temp_path {folder}/{name}-fastcgi;
  uwsgi_temp_path {folder}/{name}-uwsgi;
  scgi_temp_path {folder}/{name}-scgi;
  {server}
}}
"""
ORIGIN = """
  server {{
    listen 127.0.0.1:{port} backlog=1024;
    root {folder}/files;
    default_type application/octet-stream;
  }}
"""
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
      proxy_buffers {buffers};
      proxy_busy_buffers_size {busy};
    }}
  }}
"""
CONNECT = """
from collections_app.models import ApiKey, Membership, Role, Team, User
from tests.upstream import make_account, make_remote_collection, make_remote_run
team = Team.objects.create(name="Bench")
user = User.objects.create_user("bench@example.com")
member = Membership.objects.create(user=user, team=team, role=Role.OWNER)
collection = make_remote_collection(make_account(team, base_url=BASE_URL))
make_remote_run(collection).files.filter(kind="page").update(name=NAME, remote_name=NAME)
print(collection.pk, ApiKey.objects.issue(member, "bench")[1])
"""


@dataclass(frozen=True)
class Proxy:
    """Something before the origin that serves its file, and the process whose children serve."""

    name: str
    url: str
    key: str
    pid: int

    @property
    def processes(self) -> list[Path]:
        """The process and its children, in /proc."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return [Path(f"/proc/{pid}") for pid in (self.pid, *children)]

    @property
    def cpu_seconds(self) -> float:
        """What they have used of the processors."""
        ticks = 0
        for process in self.processes:
            fields = (process / "stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def memory(self, what: str) -> float:
        """Return their VmRSS or VmHWM (the most so far), in MiB."""
        lines = [(process / "status").read_text() for process in self.processes]
        return sum(int(text.split(f"{what}:")[1].split()[0]) for text in lines) / 1024

    def forget_the_most(self) -> None:
        """Let VmHWM begin anew."""
        for process in self.processes:
            (process / "clear_refs").write_text("5")


class Reading(NamedTuple):
    """What one reading of the file took."""

    seconds: float
    cpu_seconds: float
    mib_grown: float


def main() -> None:
    """Measure and print one table."""
    options = parse()
    nginx = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if nginx is None:
        sys.exit(
            "Error: nginx is not installed (Debian: nginx-light); it is what this site is compared with."
        )
    with tempfile.TemporaryDirectory(prefix="bench-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        file = folder / "files" / AT_THE_ACCOUNT.lstrip("/")
        file.parent.mkdir(parents=True)
        with file.open("wb") as large:
            large.truncate(options.mebibytes * MEBIBYTE)
        for part in (folder, *folder.rglob("*")):
            part.chmod(0o755 if part.is_dir() else 0o644)  # nginx reads as another user
        origin = free_port()
        stack.enter_context(
            run_nginx(nginx, folder, "origin", ORIGIN.format(port=origin, folder=folder), origin)
        )
        peer = stack.enter_context(peer_before(origin, nginx, folder, options))
        ours = stack.enter_context(site_before(origin, folder))
        compare(ours, peer, options)
        print_slow_readers(ours, options.slow)


def parse() -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description="Compare a proxied download with nginx's proxy_pass.")
    parser.add_argument("--mebibytes", type=int, default=1024, help="the size of the file (%(default)s)")
    parser.add_argument("--pairs", type=int, default=11, help="how often each reads it (%(default)s)")
    parser.add_argument("--slow", type=int, default=200, help="how many slow readers (%(default)s)")
    parser.add_argument("--buffers", default="16 256k", help="nginx's proxy_buffers (%(default)s)")
    parser.add_argument("--busy", default="1m", help="nginx's proxy_busy_buffers_size (%(default)s)")
    return parser.parse_args()


# --- the servers --------------------------------------------------------------------------------------------


@contextlib.contextmanager
def run_nginx(nginx: str, folder: Path, name: str, server: str, port: int) -> Iterator[int]:
    """Run an nginx and give its process id."""
    config = folder / f"{name}.conf"
    config.write_text(NGINX.format(folder=folder, name=name, server=server))
    with subprocess.Popen([nginx, "-c", config, "-e", folder / f"{name}.log"]) as process:  # noqa: S603
        try:
            wait_for(port)
            yield process.pid
        finally:
            process.terminate()


def wait_for(port: int) -> None:
    """Return once somebody listens on a port of this machine's."""
    deadline = time.monotonic() + 10
    while True:
        with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
            return
        if time.monotonic() > deadline:
            sys.exit("Error: nginx doesn't start.")
        time.sleep(0.05)


@contextlib.contextmanager
def peer_before(origin: int, nginx: str, folder: Path, options: argparse.Namespace) -> Iterator[Proxy]:
    """Run nginx as a proxy before the origin."""
    port = free_port()
    server = PEER.format(origin=origin, port=port, buffers=options.buffers, busy=options.busy)
    with run_nginx(nginx, folder, "peer", server, port) as pid:
        yield Proxy("nginx", f"http://127.0.0.1:{port}{AT_THE_ACCOUNT}", "", pid)


@contextlib.contextmanager
def site_before(origin: int, folder: Path) -> Iterator[Proxy]:
    """Run this site, connected with the origin as an account."""
    data_dir, log, port = folder / "data", folder / "site.log", free_port()
    data_dir.mkdir()
    address = f"http://127.0.0.1:{origin}"
    for command in (["migrate", "--verbosity=0"], ["createcachetable"]):
        manage(data_dir, *command)
    connect = CONNECT.replace("BASE_URL", repr(f"{address}/api/v1")).replace("NAME)", f"{NAME!r})")
    connect = connect.replace("name=NAME", f"name={NAME!r}")
    collection, key = manage(data_dir, "shell", "--no-imports", "--command", connect).split()[-2:]
    (data_dir / "static").mkdir()
    more = {"PORT": str(port), "WEB_CONCURRENCY": "1", "UPSTREAM_ORIGINS": address}
    # With this lock taken, nothing is listed in the background.
    with (data_dir / "work.lock").open("w") as lock, log.open("wb") as output:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "--config", "dashboard/gunicorn_conf.py", "dashboard.wsgi"],
            cwd=ROOT,
            env=environment(data_dir, **more),
            stdout=output,
            stderr=subprocess.STDOUT,
        ) as process:
            try:
                url = f"http://127.0.0.1:{port}"
                wait_until_it_answers(url, process, log)
                yield Proxy("this site", f"{url}/api/v1/results/{collection}/88/{NAME}", key, process.pid)
            finally:
                process.terminate()


# --- one quick reader ---------------------------------------------------------------------------------------


def compare(ours: Proxy, peer: Proxy, options: argparse.Namespace) -> None:
    """Let both be read in turn, and print what it took."""
    for proxy in (ours, peer):
        read(proxy, options.mebibytes)  # warms up
    pairs = [(read(ours, options.mebibytes), read(peer, options.mebibytes)) for _ in range(options.pairs)]
    gigabytes = options.mebibytes * MEBIBYTE / 1e9
    ratio = statistics.median(theirs.seconds / mine.seconds for mine, theirs in pairs)
    spread = spread_of([theirs.seconds for _, theirs in pairs])
    print_machine(options)
    print(f"| one reader, {options.mebibytes} MiB | this site | nginx | ratio | target |")
    print("|---|---|---|---|---|")
    speeds = [statistics.median(gigabytes / each[side].seconds for each in pairs) for side in (0, 1)]
    print(
        f"| GB/s, median of {options.pairs} pairs | {speeds[0]:.2f} | {speeds[1]:.2f} "
        f"| {ratio:.2f} (nginx against itself ± {spread:.2f}) | {TARGET} |"
    )
    cpu = [statistics.median(each[side].cpu_seconds / gigabytes for each in pairs) for side in (0, 1)]
    print(f"| CPU seconds per GB | {cpu[0]:.2f} | {cpu[1]:.2f} | {cpu[0] / cpu[1]:.2f} | |")
    grown = [max(each[side].mib_grown for each in pairs) for side in (0, 1)]
    print(f"| memory, most over before, MiB | {grown[0]:.1f} | {grown[1]:.1f} | | |")


def read(proxy: Proxy, mebibytes: int) -> Reading:
    """Read the whole file with curl."""
    before, cpu_before = proxy.memory("VmRSS"), proxy.cpu_seconds
    proxy.forget_the_most()
    printed = subprocess.check_output(  # noqa: S603
        [
            *("curl", "--silent", "--show-error", "--output", "/dev/null"),
            *("--header", f"x-api-key: {proxy.key}"),
            *("--write-out", '{"seconds": %{time_total}, "size": %{size_download}}', proxy.url),
        ]
    )
    answer = json.loads(printed)
    if answer["size"] != mebibytes * MEBIBYTE:
        sys.exit(f"Error: {proxy.name} gave {answer['size']} bytes.")
    return Reading(answer["seconds"], proxy.cpu_seconds - cpu_before, proxy.memory("VmHWM") - before)


def spread_of(seconds: list[float]) -> float:
    """Return half of what lies between the quarters of each reading's ratio to the one before."""
    ratios = [before / after for before, after in pairwise(seconds)]
    if len(ratios) < 2:  # noqa: PLR2004
        return 0
    first, _, third = statistics.quantiles(ratios, n=4)
    return (third - first) / 2


def print_machine(options: argparse.Namespace) -> None:
    """Print the day and what was measured on."""
    release = platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    print(
        f"{datetime.now(UTC):%Y-%m-%d}: {os.cpu_count()} cores, {release}, "
        f"Python {platform.python_version()}, nginx with proxy_buffers {options.buffers}\n"
    )


# --- many slow readers --------------------------------------------------------------------------------------


def print_slow_readers(proxy: Proxy, readers: int) -> None:
    """Print what each of many slow readers costs."""
    parts = urlsplit(proxy.url)
    question = f"GET {parts.path} HTTP/1.1\r\nHost: 127.0.0.1\r\nx-api-key: {proxy.key}\r\n\r\n".encode()
    before = proxy.memory("VmRSS")
    proxy.forget_the_most()
    with contextlib.ExitStack() as stack:
        connections = []
        for _ in range(readers):
            connection = stack.enter_context(
                socket.create_connection((parts.hostname or "", parts.port or 0))
            )
            connection.sendall(question)
            connections.append(connection)
        read_slowly(connections)
        each = (proxy.memory("VmHWM") - before) / readers
    speed = SLOW_BYTES * SLOW_TURNS // 1024
    print(f"\n| {readers} readers of {speed} KiB/s | this site | target |\n|---|---|---|")
    print(f"| memory of each, MiB | {each:.2f} | {SLOW_TARGET_MIB} |")


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
    main()
