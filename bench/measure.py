"""The options, statistics and table rows of all benchmarks.

A measurement is a function that yields rows. Ours and a peer are measured alternately, so that other work on
the machine affects both. The result is the median of the pairs' ratios.
"""

import argparse
import json
import os
import platform
import shutil
import signal
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple, TypeVar

MEBIBYTE = 2**20
HEAD = "| what | ours | peer | ratio | target | met? | memory |\n|---|---|---|---|---|---|---|"

T = TypeVar("T")


class Missing(Exception):
    """A program of the comparison isn't installed. The message names it and its Debian package."""


class Options(NamedTuple):
    """The amount of work to measure."""

    pairs: int
    is_quick: bool

    def either(self, normal: int, quick: int) -> int:
        """Return the size for the chosen mode."""
        return quick if self.is_quick else normal


class Row(NamedTuple):
    """A row of the table, formatted."""

    what: str
    ours: str
    peer: str = ""
    ratio: str = ""
    target: str = ""
    met: str = ""
    memory: str = ""

    def __str__(self) -> str:
        return f"| {' | '.join(self)} |"


class Target(NamedTuple):
    """A limit for a result."""

    limit: float
    is_minimum: bool = False  # larger is better
    unit: str = ""

    def __str__(self) -> str:
        return f"{'>=' if self.is_minimum else '<='} {self.limit:g}{self.unit}"

    def met(self, value: float, spread: float = 0) -> str:
        """Return "yes" if the value meets the target by more than the spread, "no" if it misses it by more.

        Within the spread, the result is uncertain.
        """
        over = value - self.limit if self.is_minimum else self.limit - value
        if over >= spread:
            return "yes"
        return "within the spread" if over >= -spread else "no"


def at_most(limit: float, unit: str = "") -> Target:
    """Return a target for a value that should be small."""
    return Target(limit, unit=unit)


def at_least(limit: float) -> Target:
    """Return a target for a value that should be large."""
    return Target(limit, is_minimum=True)


Measurement = Callable[[Options], Iterator[Row]]


def run(measurement: Measurement, description: str | None) -> None:
    """Run one benchmark as a program: print its rows, and write them to a file with --rows."""
    parser = argparse.ArgumentParser(description=(description or "").split("\n\n")[0])
    add_options(parser)
    parser.add_argument("--rows", type=Path, help="also write the rows to this file, as JSON")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # cleans up
    print(f"{machine()}\n\n{HEAD}", flush=True)
    rows = []
    try:
        for row in measurement(options_of(arguments)):
            rows.append(row)
            print(row, flush=True)
    except Missing as missing:
        rows.append(Row((description or "").split(".")[0], "", met=f"not measured: {missing}"))
        print(rows[-1])
    if arguments.rows:
        arguments.rows.write_text(json.dumps(rows))


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that set how much to measure."""
    parser.add_argument(
        "--pairs", type=int, help="the number of pairs to measure (default: 11, or 3 with --quick)"
    )
    parser.add_argument(
        "--quick", action="store_true", help="less data and fewer pairs, to check that everything runs"
    )


def options_of(arguments: argparse.Namespace) -> Options:
    """Return how much the command line asks for."""
    return Options(arguments.pairs or (3 if arguments.quick else 11), arguments.quick)


def program(name: str, package: str) -> str:
    """Return the path of a program. Raise Missing if it isn't installed."""
    path = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")
    if path is None:
        raise Missing(f"{name} is not installed (Debian: {package})")
    return path


def in_turn(ours: Callable[[], T], peer: Callable[[], T], pairs: int) -> list[tuple[T, T]]:
    """Measure both alternately, after a warm-up."""
    ours(), peer()
    return [(ours(), peer()) for _ in range(pairs)]


def ratio_row(
    what: str,
    pairs: list[tuple[float, float]],
    target: Target | None,
    *,
    form: str = "{:.2f}",
    memory: str = "",
) -> Row:
    """Return the row of pairs of our value and the peer's."""
    mine, theirs = (statistics.median(side) for side in zip(*pairs, strict=True))
    ratio = statistics.median(ours / peer for ours, peer in pairs)
    spread = ratio * spread_of([peer for _, peer in pairs])
    result = (str(target), target.met(ratio, spread)) if target else ("", "")
    return Row(what, form.format(mine), form.format(theirs), compared(ratio, spread), *result, memory)


def compared(ratio: float, spread: float) -> str:
    """Format a ratio with its spread."""
    form = "{:.4f} ± {:.4f}" if ratio < 0.1 else "{:.2f} ± {:.2f}"  # noqa: PLR2004
    return form.format(ratio, spread)


def value_row(
    what: str, value: float, target: Target | None = None, *, form: str = "{:.2f}", memory: str = ""
) -> Row:
    """Return the row of a value without a peer."""
    result = (str(target), target.met(value)) if target else ("", "")
    return Row(what, form.format(value), "", "", *result, memory)


def spread_of(values: list[float]) -> float:
    """Return half of the interquartile range of the ratios of consecutive values."""
    ratios = [before / after for before, after in pairwise(values)]
    if len(ratios) < 2:  # noqa: PLR2004
        return 0
    first, _, third = statistics.quantiles(ratios, n=4)
    return (third - first) / 2


def seconds_of(work: Callable[[], object]) -> float:
    """Return how many seconds the work takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def machine() -> str:
    """Return the date, the machine and its load."""
    release = platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{datetime.now(UTC):%Y-%m-%d}: {os.cpu_count()} cores ({_processor()}), {memory:.0f} GiB, "
        f"{release}, Python {platform.python_version()}; load before the start {os.getloadavg()[0]:.1f}"
    )


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if sys.platform == "linux" else []
    names = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
