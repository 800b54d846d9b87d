"""The benchmarks of pages: a site with one process, and its speed under wrk."""

import contextlib
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from bench.measure import Options, Row, Target, in_turn, program, ratio_row
from bench.servers import Server, bench_folder, make_member, make_site, run_code, run_site

API_LIST = "/api/v1/schedules/collections/results/download/"

# Makes wrk send POST requests.
POST = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.body = '{}'
"""

# A load is repeated for longer until it has had so many responses.
LEAST_RESPONSES = 10


class Load(NamedTuple):
    """The cost of one response under continuous load."""

    milliseconds: float  # from one response to the next
    cpu_milliseconds: float  # of the server, hardly affected by other work on the machine
    mib: float  # memory of the server afterwards


class Site:
    """A running site with one process, and a signed-in user."""

    def __init__(self, server: Server, data_dir: Path, options: Options) -> None:
        self.server, self.data_dir, self.url = server, data_dir, server.url
        self._wrk, self._seconds = program("wrk", "wrk"), options.either(2, 1)

    def run_code(self, code: str) -> None:
        """Run code with the models and `team`."""
        run_code(self.data_dir, code)

    def load(self, path: str, *, body: str = "", connections: int = 4) -> Load:
        """Load a page with wrk for a while, by POST if there is a body. Exit if a response isn't 200."""
        script = self.data_dir / "post.lua"
        script.write_text(POST.format(body))
        headers = [
            option for name, value in self.server.headers.items() for option in ("-H", f"{name}: {value}")
        ]
        options = [
            "-t1",
            "--timeout",
            "60s",
            f"-c{connections}",
            *(["-s", str(script)] if body else []),
            *headers,
        ]
        seconds, responses = self._seconds, 0
        while responses < LEAST_RESPONSES:
            cpu_before = self.server.cpu_seconds
            command = [self._wrk, *options, f"-d{seconds}s", self.url + path]
            printed = subprocess.check_output(command, text=True)  # noqa: S603
            cpu = 1000 * (self.server.cpu_seconds - cpu_before)
            if "Non-2xx" in printed or "Socket errors" in printed:
                sys.exit(f"Error: {path} fails.\n{printed}")
            responses = int(re.findall(r"(\d+) requests in", printed)[0])
            seconds *= 2  # a busy machine may need longer
        (per_second,) = re.findall(r"Requests/sec:\s+([\d.]+)", printed)
        return Load(1000 / float(per_second), cpu / responses, self.server.memory("VmRSS"))


@contextlib.contextmanager
def running_site(options: Options) -> Iterator[Site]:
    """Run this site with one process and an empty team with one member. Raise Missing without wrk."""
    program("wrk", "wrk")
    with bench_folder() as folder:
        data_dir = folder / "data"
        make_site(data_dir)
        more = {"WEB_CONCURRENCY": "1", "DJANGO_SETTINGS_MODULE": "bench.settings"}
        with run_site(data_dir, make_member(data_dir), **more) as server:
            yield Site(server, data_dir, options)


def compare(
    what: str,
    ours: "partial[Load]",
    peer: "partial[Load]",
    target: Target | None,
    options: Options,
) -> Iterator[Row]:
    """Yield two rows: by elapsed time and by CPU time.

    The values are responses per second or, if the target is a maximum, times.
    """
    loads = in_turn(ours, peer, options.pairs)
    are_rates = target is None or target.is_minimum
    units = ("requests/s", "requests per CPU second") if are_rates else ("ms", "CPU ms")
    memory = f"{max(mine.mib for mine, _ in loads):.0f} MiB in total"
    for index, unit in enumerate(units):
        pairs = [(mine[index], other[index]) for mine, other in loads]
        if are_rates:
            pairs = [(1000 / mine, 1000 / other) for mine, other in pairs]
        yield ratio_row(f"{what}, {unit}", pairs, target, form="{:.1f}", memory="" if index else memory)
