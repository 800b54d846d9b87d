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

from tests.server import ROOT, environment, free_port, manage, wait_until_it_answers

SECONDS = 2
CONNECTIONS = 4

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


class Site:
    """A running site, somebody who is signed in there, and their API key."""

    def __init__(self, url: str, data_dir: Path, session: str, key: str) -> None:
        self.url, self.data_dir, self.key = url, data_dir, key
        self.headers = {"Cookie": f"sessionid={session}", "x-api-key": key}

    def make(self, code: str) -> None:
        """Make rows by code that knows the models, and `team`."""
        names = "from collections_app.models import *\nteam = Team.objects.get()\n"
        manage(self.data_dir, "shell", "--no-imports", "--command", names + code)

    def per_second(self, path: str, *, script: Path | None = None) -> float:
        """Return how many answers a second wrk gets. Each must be a 200."""
        headers = [option for name, value in self.headers.items() for option in ("-H", f"{name}: {value}")]
        load = ["-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}s", *(["-s", str(script)] if script else [])]
        printed = subprocess.check_output(  # noqa: S603
            ["wrk", *load, *headers, self.url + path],  # noqa: S607
            text=True,
        )
        if "Non-2xx" in printed or "Socket errors" in printed:
            sys.exit(f"Error: {path} fails.\n{printed}")
        return float(re.findall(r"Requests/sec:\s+([\d.]+)", printed)[0])


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
                    yield Site(url, data_dir, session, key)
                finally:
                    process.terminate()


Pairs = list[tuple[float, float]]


def parse_pairs(description: str | None) -> int:
    """Return how many pairs the command line asks for."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--pairs", type=int, default=11, help="how often both are measured (default: 11)")
    pairs: int = parser.parse_args().pairs
    return pairs


def in_turn(ours: Callable[[], float], peer: Callable[[], float], pairs: int) -> Pairs:
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


def print_row(what: str, pairs: Pairs, target: str, unit: Callable[[float], str] = "{:.1f}".format) -> None:
    """Print a line of the table; the spread is that of the peer against itself."""
    mine, theirs = (statistics.median(each[side] for each in pairs) for side in (0, 1))
    ratio = statistics.median(ours / peer for ours, peer in pairs)
    first, _, third = statistics.quantiles([one[1] / other[1] for one, other in pairwise(pairs)], n=4)
    spread = f"± {(third - first) / 2:.2f}"
    print(f"| {what} | {unit(mine)} | {unit(theirs)} | {ratio:.2f} ({spread}) | {target} |", flush=True)
