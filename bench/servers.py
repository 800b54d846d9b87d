"""The servers: this site with gunicorn, and nginx; their CPU time and memory."""

import contextlib
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import NamedTuple, TypeVar

from bench.measure import MEBIBYTE, Row, Target, at_least, program, ratio_row
from tests.support.server import environment, free_port, manage, wait_until_it_answers
from tests.support.tools import ROOT

GUNICORN = [sys.executable, "-m", "gunicorn", "--config", "dashboard/gunicorn_conf.py", "dashboard.wsgi"]
# A user with an API key. Prints the session and the key at the end.
MEMBER = """
from django.test import Client
from django.utils import timezone
from collections_app.models import *
team = Team.objects.create(name="Bench")
user = User.objects.create_user("bench@example.com")
member = Membership.objects.create(user=user, team=team, role=Role.OWNER)
client = Client()
client.force_login(user)
print(client.cookies["sessionid"].value, ApiKey.objects.issue(member, "bench")[1])
"""
# More users, each with an API key.
PEOPLE = """
for number in range(PEOPLE):
    user = User.objects.create_user(f"bench{number}@example.com")
    member = Membership.objects.create(user=user, team=team, role=Role.MEMBER)
    print(ApiKey.objects.issue(member, "bench")[1])
"""
NGINX = """
worker_processes {workers};
daemon off;
{user}
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
# Serves the files of a folder.
STATIC = """
  server {{
    listen 127.0.0.1:{port} backlog=1024;
    root {root};
    default_type application/octet-stream;
  }}
"""
IS_ROOT = os.geteuid() == 0

T = TypeVar("T")


@dataclass(frozen=True)
class Server:
    """A server: its URL and its processes."""

    name: str
    url: str
    pids: tuple[int, ...]
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def processes(self) -> list[Path]:
        """The folders of the processes and their children in /proc."""
        children = [Path(f"/proc/{pid}/task/{pid}/children").read_text().split() for pid in self.pids]
        return [Path(f"/proc/{pid}") for pid in (*self.pids, *chain.from_iterable(children))]

    @property
    def cpu_seconds(self) -> float:
        """The CPU time of their threads, none of which exits."""
        threads = [thread for process in self.processes for thread in process.glob("task/*/schedstat")]
        return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9

    def memory(self, what: str) -> float:
        """Return their VmRSS or VmHWM (peak) in MiB."""
        return sum(memory_of(process, what) for process in self.processes)

    def reset_peak_memory(self) -> None:
        """Reset VmHWM."""
        for process in self.processes:
            (process / "clear_refs").write_text("5")


class Download(NamedTuple):
    """The cost of downloading a file with one or more clients."""

    bytes_per_second: float
    cpu_seconds: float  # per GB
    mib_grown: float


def memory_of(process: Path, what: str) -> float:
    """Return the VmRSS or VmHWM in MiB of a process, given its folder in /proc."""
    return int((process / "status").read_text().split(f"{what}:")[1].split()[0]) / 1024


def grown_while(work: Callable[[], T]) -> tuple[T, float]:
    """Return the result of the work, and the growth of this process in MiB."""
    myself = Path("/proc/self")
    (myself / "clear_refs").write_text("5")
    before = memory_of(myself, "VmRSS")
    done = work()
    return done, memory_of(myself, "VmHWM") - before


@contextlib.contextmanager
def bench_folder(where: str | None = None) -> Iterator[Path]:
    """Create a temporary folder that nginx's workers can read."""
    with tempfile.TemporaryDirectory(prefix="bench-", dir=where) as name:
        Path(name).chmod(0o755)
        yield Path(name)


def make_site(data_dir: Path, *more: str) -> None:
    """Create a site's data folder and database, and run more commands."""
    (data_dir / "static").mkdir(parents=True)
    (data_dir / "results").mkdir()
    for command in ("migrate -v0", "createcachetable", "collectstatic -v0 --noinput", *more):
        manage(data_dir, *command.split())


def make_member(data_dir: Path) -> dict[str, str]:
    """Create a team with one owner. Return the headers that authenticate the owner."""
    session, key = manage(data_dir, "shell", "--no-imports", "--command", MEMBER).split()[-2:]
    return {"Cookie": f"sessionid={session}", "x-api-key": key}


def run_code(data_dir: Path, code: str) -> list[str]:
    """Run code with the models and `team`, the newest one. Return the words that it prints."""
    names = "from collections_app.models import *\nteam = Team.objects.last()\n"
    return manage(data_dir, "shell", "--no-imports", "--command", names + code).split()


def make_keys(data_dir: Path, people: int) -> list[str]:
    """Create members and return their API keys. One user can't run hundreds of downloads."""
    return run_code(data_dir, PEOPLE.replace("PEOPLE", str(people)))


@contextlib.contextmanager
def run_site(data_dir: Path, headers: dict[str, str], **more: str) -> Iterator[Server]:
    """Serve a data folder with gunicorn; `more` are environment variables."""
    log, port = data_dir.with_suffix(".log"), free_port()
    url = f"http://127.0.0.1:{port}"
    # Take this lock, so that no background work starts.
    with (data_dir / "work.lock").open("w") as lock, log.open("wb") as output:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with subprocess.Popen(  # noqa: S603
            GUNICORN,
            cwd=ROOT,
            env=environment(data_dir, PORT=str(port), **more),
            stdout=output,
            stderr=subprocess.STDOUT,
        ) as process:
            try:
                wait_until_it_answers(url, process, log)
                yield Server("this site", url, (process.pid,), headers)
            finally:
                process.send_signal(signal.SIGINT)  # doesn't wait for downloads
                process.wait(timeout=30)


@contextlib.contextmanager
def run_nginx(folder: Path, name: str, server: str, port: int, workers: int = 1) -> Iterator[Server]:
    """Run nginx with a `server` block that listens on the port. Raise Missing if it isn't installed."""
    config = folder / f"{name}.conf"
    user = "user root;" if IS_ROOT else ""  # its workers must read our files
    config.write_text(NGINX.format(folder=folder, name=name, server=server, workers=workers, user=user))
    with start_nginx(folder, name, port, {}, "-c", str(config)) as running:
        yield running


@contextlib.contextmanager
def start_nginx(
    folder: Path, name: str, port: int, headers: dict[str, str], *options: str
) -> Iterator[Server]:
    """Run nginx with these options. `headers` are for its clients. Raise Missing if it isn't installed."""
    nginx = program("nginx", "nginx-light")
    with (
        (folder / f"{name}.out").open("wb") as output,
        subprocess.Popen(  # noqa: S603
            [nginx, "-e", folder / f"{name}.log", *options], stdout=output, stderr=subprocess.STDOUT
        ) as process,
    ):
        try:
            wait_for(port)
            yield Server("nginx", f"http://127.0.0.1:{port}", (process.pid,), headers)
        finally:
            process.terminate()


def wait_for(port: int) -> None:
    """Wait until a server listens on the port."""
    deadline = time.monotonic() + 10
    while True:
        with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
            return
        if time.monotonic() > deadline:
            sys.exit("Error: nginx doesn't start.")
        time.sleep(0.05)


def make_file(path: Path, mebibytes: int) -> None:
    """Create a sparse file of this size, which uses no disk and no cache."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.truncate(mebibytes * MEBIBYTE)
    path.chmod(0o644)


def download(server: Server, path: str, size: int, clients: int = 1, range_: str = "") -> Download:
    """Download a file, or a range of it, with curl and this many clients. Check its size."""
    before, cpu_before = server.memory("VmRSS"), server.cpu_seconds
    server.reset_peak_memory()
    command = ["curl", "--silent", "--show-error", "--fail", "--output", "/dev/null"]
    for name, value in server.headers.items():
        command += ["--header", f"{name}: {value}"]
    command += ["--range", range_] if range_ else []
    command += ["--write-out", '{"seconds": %{time_total}, "size": %{size_download}}', server.url + path]
    began = time.perf_counter()
    running = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(clients)]  # noqa: S603
    responses = [json.loads(each.communicate()[0] or "{}") for each in running]
    seconds = responses[0]["seconds"] if clients == 1 else time.perf_counter() - began
    if any(response["size"] != size for response in responses):
        sys.exit(f"Error: {server.name} sent {responses} instead of {size} bytes.")
    total = size * clients
    cpu = (server.cpu_seconds - cpu_before) / (total / 1e9)
    return Download(total / seconds, cpu, server.memory("VmHWM") - before)


def download_rows(
    what: str, downloads: list[tuple[Download, Download]], cpu_target: Target | None
) -> Iterator[Row]:
    """Yield the rows of downloads from this site and from a peer."""
    speeds = [(mine.bytes_per_second / 1e9, other.bytes_per_second / 1e9) for mine, other in downloads]
    cpu = [(mine.cpu_seconds, other.cpu_seconds) for mine, other in downloads]
    grown = max(mine.mib_grown for mine, _ in downloads)
    yield ratio_row(f"{what}, GB/s", speeds, at_least(0.95), memory=f"{grown:.1f} MiB")
    yield ratio_row(f"{what}, CPU seconds per GB", cpu, cpu_target, form="{:.3f}")
