"""Compares the conversion of a long category list to CSV with DuckDB."""

import json
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from bench.measure import Options, Row, at_most, in_turn, ratio_row, run, value_row
from bench.servers import bench_folder

# Both print the elapsed seconds, and the growth of their process in KiB.
HEAD = """
import sys, time
source, target = sys.argv[1:]
def memory(what):
    return int(open("/proc/self/status").read().split(f"{what}:")[1].split()[0])
"""
OURS = f"""{HEAD}
from collections_app.records.formats.category_csv import convert_category_list
before, began = memory("VmRSS"), time.perf_counter()
with open(source, "rb") as stream, open(target, "wb") as out:
    convert_category_list(stream, out)
print(time.perf_counter() - began, memory("VmHWM") - before)
"""
THEIRS = (
    HEAD
    + """
import duckdb
columns = "asin, parent_asin, is_variant, is_brand, is_store, is_prime, seller_name, price_cents, in_stock"
before, began = memory("VmRSS"), time.perf_counter()
duckdb.execute("SET enable_progress_bar = false")
duckdb.sql(f"FROM read_json('{source}') SELECT {columns}").write_csv(target)
print(time.perf_counter() - began, memory("VmHWM") - before)
"""
)


class Conversion(NamedTuple):
    """The cost of a conversion."""

    seconds: float
    mib_grown: float


def measure(options: Options) -> Iterator[Row]:
    """Convert the list with both, each in a new process."""
    count = options.either(1_000_000, 50_000)
    with bench_folder() as folder:
        write_list(folder / "list.json", count)
        size = (folder / "list.json").stat().st_size
        pairs = in_turn(partial(convert, OURS, folder), partial(convert, THEIRS, folder), options.pairs)
    what = f"CSV of {count:,} records, {size / 1e6:.0f} MB"
    seconds = [(mine.seconds, other.seconds) for mine, other in pairs]
    yield ratio_row(f"{what}, seconds", seconds, at_most(1.5))
    mine, theirs = (max(each.mib_grown for each in side) for side in zip(*pairs, strict=True))
    row = value_row(f"{what}, maximum memory, MiB", mine, at_most(64), form="{:.1f}")
    yield row._replace(peer=f"{theirs:.1f}")


def write_list(path: Path, count: int) -> None:
    """Write a category list as MultiCartAPI sends it."""
    with path.open("w") as out:
        for number in range(count):
            record = {
                "asin": f"B{number:09}",
                "parent_asin": f"B{number // 3:09}" if number % 3 else None,
                "title": f'Laptop {number}, 14" screen, {number % 7 + 1} TB drive, ノート {number % 89}',
                "is_variant": bool(number % 3),
                "is_brand": number % 5 == 0,
                "is_store": number % 11 == 0,
                "is_prime": number % 2 == 0,
                "seller_name": ("Müller & Söhne", "Kogan, Outlet", "TechBay Direct", None)[number % 4],
                "price_cents": 100 + number * 7919 % 300_000,
                "in_stock": number % 13 != 0,
            }
            out.write((",\n" if number else "[\n") + json.dumps(record, ensure_ascii=False))
        out.write("\n]\n")


def convert(program: str, folder: Path) -> Conversion:
    """Run one of the programs."""
    command = [sys.executable, "-c", program, str(folder / "list.json"), str(folder / "list.csv")]
    seconds, grown = subprocess.check_output(command, text=True).split()  # noqa: S603
    return Conversion(float(seconds), float(grown) / 1024)


if __name__ == "__main__":
    run(measure, __doc__)
