"""What the measurements of pages share: a site of one process over rows of its own, and how fast it is."""

import argparse
import contextlib
import fcntl
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from tests.server import ROOT, environment, free_port, manage, wait_until_it_answers

SECONDS = 2

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


class Load(NamedTuple):
    """What a page takes while it is asked for again and again."""

    milliseconds: float  # from one answer to the next
    cpu_milliseconds: float  # of the server, for an answer; what else the machine does hardly matters


Loads = list[tuple[Load, Load]]


class Site:
    """A running site of one process, and somebody who is signed in there."""

    def __init__(self, url: str, data_dir: Path, headers: dict[str, str], pid: int) -> None:
        self.url, self.data_dir, self.headers, self._pid = url, data_dir, headers, pid

    def make(self, code: str) -> str:
        """Make rows by code that knows the models, and `team`; return the last word that it prints."""
        names = "from collections_app.models import *\nteam = Team.objects.get()\n"
        words = manage(self.data_dir, "shell", "--no-imports", "--command", names + code).split()
        return words[-1] if words else ""

    def load(self, path: str, *, script: Path | None = None, connections: int = 4) -> Load:
        """Have wrk ask for a page for a while. Each answer must be a 200."""
        headers = [option for name, value in self.headers.items() for option in ("-H", f"{name}: {value}")]
        load = ["-t1", f"-c{connections}", f"-d{SECONDS}s", *(["-s", str(script)] if script else [])]
        cpu_before = self._cpu_milliseconds()
        printed = subprocess.check_output(["wrk", *load, *headers, self.url + path], text=True)  # noqa: S603, S607
        cpu = self._cpu_milliseconds() - cpu_before
        if "Non-2xx" in printed or "Socket errors" in printed:
            sys.exit(f"Error: {path} fails.\n{printed}")
        (answers,) = re.findall(r"(\d+) requests in", printed)
        (per_second,) = re.findall(r"Requests/sec:\s+([\d.]+)", printed)
        return Load(1000 / float(per_second), cpu / int(answers))

    def _cpu_milliseconds(self) -> float:
        ticks = 0
        for pid in Path(f"/proc/{self._pid}/task/{self._pid}/children").read_text().split():
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return 1000 * ticks / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def running_site(prefix: str) -> Iterator[Site]:
    """Run this site with one process, over an empty team of one member."""
    with tempfile.TemporaryDirectory(prefix=prefix) as name:
        folder = Path(name)
        data_dir, log, port = folder / "data", folder / "site.log", free_port()
        (data_dir / "static").mkdir(parents=True)
        for command in ("migrate -v0", "createcachetable", "collectstatic -v0 --noinput"):
            manage(data_dir, *command.split())
        session, key = manage(data_dir, "shell", "--no-imports", "--command", MEMBER).split()[-2:]
        more = {"PORT": str(port), "WEB_CONCURRENCY": "1", "DJANGO_SETTINGS_MODULE": "bench.settings"}
        # With this lock taken, nothing is listed in the background.
        with (data_dir / "work.lock").open("w") as lock, log.open("wb") as output:
            fcntl.flock(lock, fcntl.LOCK_EX)
            with subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "gunicorn",
                    "--config",
                    "dashboard/gunicorn_conf.py",
                    "dashboard.wsgi",
                ],
                cwd=ROOT,
                env=environment(data_dir, **more),
                stdout=output,
                stderr=subprocess.STDOUT,
            ) as process:
                try:
                    url = f"http://127.0.0.1:{port}"
                    wait_until_it_answers(url, process, log)
                    headers = {"Cookie": f"sessionid={session}", "x-api-key": key}
                    yield Site(url, data_dir, headers, process.pid)
                finally:
                    process.terminate()


def parse_pairs(description: str | None) -> int:
    """Return how many pairs the command line asks for."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--pairs", type=int, default=11, help="how often both are measured (default: 11)")
    pairs: int = parser.parse_args().pairs
    return pairs


def in_turn(ours: Callable[[], Load], peer: Callable[[], Load], pairs: int) -> Loads:
    """Measure both in turn, so that what else the machine does meets both."""
    ours(), peer()  # warms up
    return [(ours(), peer()) for _ in range(pairs)]


def print_head(peer: str, pairs: int) -> None:
    """Print the day, the machine, and the head of the table."""
    release = platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    version = platform.python_version()
    print(f"{datetime.now(UTC):%Y-%m-%d}: {os.cpu_count()} cores, {release}, Python {version}\n")
    print(f"| median of {pairs} pairs | this site | {peer} | ratio | target |")
    print("|---|---|---|---|---|")


def print_rows(what: str, loads: Loads, target: str, *, as_rates: bool = False) -> None:
    """Print two lines of the table: by the clock, and by the processor's time alone.

    The ratio is that of the times, or with `as_rates` that of the answers a second; beside it stands how
    far the peer is from itself.
    """
    units = ("requests/s", "requests per CPU second") if as_rates else ("ms", "CPU ms")
    for field, unit in enumerate(units):
        pairs = [(ours[field], peer[field]) for ours, peer in loads]
        if as_rates:
            pairs = [(1000 / ours, 1000 / peer) for ours, peer in pairs]
        mine, theirs = (statistics.median(each[side] for each in pairs) for side in (0, 1))
        ratio = statistics.median(ours / peer for ours, peer in pairs)
        itself = [one[1] / other[1] for one, other in pairwise(pairs)]
        first, _, third = statistics.quantiles(itself, n=4)
        spread = f"± {(third - first) / 2:.2f}"
        print(
            f"| {what}, {unit} | {mine:.1f} | {theirs:.1f} | {ratio:.2f} ({spread}) | {target} |", flush=True
        )
