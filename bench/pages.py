"""What the measurements of pages share: a site of one process over rows of its own, and how fast it is."""

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


class Load(NamedTuple):
    """What a page takes while it is asked for again and again."""

    milliseconds: float  # from one answer to the next
    cpu_milliseconds: float  # of the server, for an answer; what else the machine does hardly matters
    mib: float  # what the server holds by then


class Site:
    """A running site of one process, and somebody who is signed in there."""

    def __init__(self, server: Server, data_dir: Path, options: Options) -> None:
        self.server, self.data_dir, self.url = server, data_dir, server.url
        self._wrk, self._seconds = program("wrk", "wrk"), options.either(2, 1)

    def make(self, code: str) -> None:
        """Make rows by code that knows the models, and `team`."""
        run_code(self.data_dir, code)

    def load(self, path: str, *, script: Path | None = None, connections: int = 4) -> Load:
        """Have wrk ask for a page for a while. Each answer must be a 200."""
        headers = [
            option for name, value in self.server.headers.items() for option in ("-H", f"{name}: {value}")
        ]
        load = ["-t1", f"-c{connections}", f"-d{self._seconds}s", *(["-s", str(script)] if script else [])]
        cpu_before = self.server.cpu_seconds
        printed = subprocess.check_output([self._wrk, *load, *headers, self.url + path], text=True)  # noqa: S603
        cpu = 1000 * (self.server.cpu_seconds - cpu_before)
        if "Non-2xx" in printed or "Socket errors" in printed:
            sys.exit(f"Error: {path} fails.\n{printed}")
        (answers,) = re.findall(r"(\d+) requests in", printed)
        (per_second,) = re.findall(r"Requests/sec:\s+([\d.]+)", printed)
        return Load(1000 / float(per_second), cpu / int(answers), self.server.memory("VmRSS"))


@contextlib.contextmanager
def running_site(options: Options) -> Iterator[Site]:
    """Run this site with one process, over an empty team of one member. Raises Missing."""
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
    target: Target,
    options: Options,
) -> Iterator[Row]:
    """Yield two rows: by the clock, and by the processor's time alone.

    They are times, or where the target is a least the answers a second.
    """
    loads = in_turn(ours, peer, options.pairs)
    units = ("requests/s", "requests per CPU second") if target.is_least else ("ms", "CPU ms")
    memory = f"{max(mine.mib for mine, _ in loads):.0f} MiB in all"
    for place, unit in enumerate(units):
        pairs = [(mine[place], other[place]) for mine, other in loads]
        if target.is_least:
            pairs = [(1000 / mine, 1000 / other) for mine, other in pairs]
        yield ratio_row(f"{what}, {unit}", pairs, target, form="{:.1f}", memory="" if place else memory)
