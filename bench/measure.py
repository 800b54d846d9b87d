"""What all measurements share: their options, pairs, spread, and the rows of the one table.

A measurement is a function that yields rows. Ours and a peer are measured in turn, A B A B, so that what else
the machine does meets both; what counts is the median of the pairs' ratios.
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
    """A program that this is compared with isn't installed; the text names it and its Debian package."""


class Options(NamedTuple):
    """How much is measured."""

    pairs: int
    is_quick: bool

    def either(self, usual: int, quick: int) -> int:
        """Return one size or the other."""
        return quick if self.is_quick else usual


class Row(NamedTuple):
    """A line of the table, each part as it is printed."""

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
    """What is to be reached."""

    limit: float
    is_least: bool = False  # larger is better
    unit: str = ""

    def __str__(self) -> str:
        return f"{'>=' if self.is_least else '<='} {self.limit:g}{self.unit}"

    def met(self, value: float, spread: float = 0) -> str:
        """Say whether it is reached: also by the value less the spread, by the value, or not.

        Where the target lies inside the spread the run can't tell.
        """
        over = value - self.limit if self.is_least else self.limit - value
        if over >= spread:
            return "yes"
        return "within the spread" if over >= -spread else "no"


def at_most(limit: float, unit: str = "") -> Target:
    """Return the target of what should be small."""
    return Target(limit, unit=unit)


def at_least(limit: float) -> Target:
    """Return the target of what should be large."""
    return Target(limit, is_least=True)


Measurement = Callable[[Options], Iterator[Row]]


def run(measurement: Measurement, description: str | None) -> None:
    """Be the program of one measurement: print its rows as they come, and write them where that is asked."""
    parser = argparse.ArgumentParser(description=(description or "").split("\n\n")[0])
    add_options(parser)
    parser.add_argument("--rows", type=Path, help="also write the rows there, as JSON")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # ends what it started
    print(f"{machine()}\n\n{HEAD}", flush=True)
    rows = []
    try:
        for row in measurement(options_of(asked)):
            rows.append(row)
            print(row, flush=True)
    except Missing as missing:
        rows.append(Row((description or "").split(".")[0], "", met=f"not measured: {missing}"))
        print(rows[-1])
    if asked.rows:
        asked.rows.write_text(json.dumps(rows))


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say how much is measured."""
    parser.add_argument("--pairs", type=int, help="how often both are measured (11, or 3 with --quick)")
    parser.add_argument("--quick", action="store_true", help="smaller data, fewer pairs: does it run?")


def options_of(asked: argparse.Namespace) -> Options:
    """Return how much the command line asks for."""
    return Options(asked.pairs or (3 if asked.quick else 11), asked.quick)


def program(name: str, package: str) -> str:
    """Return where a program is. Raises Missing."""
    path = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")
    if path is None:
        raise Missing(f"{name} is not installed (Debian: {package})")
    return path


def in_turn(ours: Callable[[], T], peer: Callable[[], T], pairs: int) -> list[tuple[T, T]]:
    """Measure both in turn, after one of each that only warms up."""
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
    """Return the row of pairs of ours and the peer's, which are both small, or both large, where good."""
    mine, theirs = (statistics.median(side) for side in zip(*pairs, strict=True))
    ratio = statistics.median(ours / peer for ours, peer in pairs)
    spread = ratio * spread_of([peer for _, peer in pairs])
    told = (str(target), target.met(ratio, spread)) if target else ("", "")
    return Row(what, form.format(mine), form.format(theirs), compared(ratio, spread), *told, memory)


def compared(ratio: float, spread: float) -> str:
    """Return a ratio as it is printed, with what the spread makes of it."""
    form = "{:.4f} ± {:.4f}" if ratio < 0.1 else "{:.2f} ± {:.2f}"  # noqa: PLR2004
    return form.format(ratio, spread)


def value_row(
    what: str, value: float, target: Target | None = None, *, form: str = "{:.2f}", memory: str = ""
) -> Row:
    """Return the row of a figure that stands alone."""
    told = (str(target), target.met(value)) if target else ("", "")
    return Row(what, form.format(value), "", "", *told, memory)


def spread_of(values: list[float]) -> float:
    """Return half of what lies between the quarters of each value's ratio to the one before."""
    ratios = [before / after for before, after in pairwise(values)]
    if len(ratios) < 2:  # noqa: PLR2004
        return 0
    first, _, third = statistics.quantiles(ratios, n=4)
    return (third - first) / 2


def seconds_of(work: Callable[[], object]) -> float:
    """Return how long it takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def machine() -> str:
    """Return the day, what is measured on, and what else it does."""
    release = platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{datetime.now(UTC):%Y-%m-%d}: {os.cpu_count()} cores ({_processor()}), {memory:.0f} GiB, "
        f"{release}, Python {platform.python_version()}; load before it began {os.getloadavg()[0]:.1f}"
    )


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if sys.platform == "linux" else []
    names = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
