"""Measures the CSV of a long category list beside DuckDB, which does the same in its own process, in turn."""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

TARGET, MEMORY_TARGET_MIB = 1.5, 64

# Each prints its seconds and by how many KiB its process grew at most.
HEAD = """
import sys, time
source, target = sys.argv[1:]
def memory(what):
    return int(open("/proc/self/status").read().split(f"{what}:")[1].split()[0])
"""
OURS = f"""{HEAD}
from collections_app.formats.category_csv import convert_category_list
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
    """What one conversion took."""

    seconds: float
    kib_grown: float


def main() -> None:
    """Measure and print one table."""
    parser = argparse.ArgumentParser(description="Compare a category list's CSV with DuckDB's.")
    parser.add_argument("--records", type=int, default=1_000_000, help="how many records (%(default)s)")
    parser.add_argument("--pairs", type=int, default=11, help="how often each converts (%(default)s)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        write_list(folder / "list.json", options.records)
        pairs = [(convert(OURS, folder), convert(THEIRS, folder)) for _ in range(options.pairs)]
        size = (folder / "list.json").stat().st_size
    mine, theirs = (statistics.median(each[side].seconds for each in pairs) for side in (0, 1))
    ratio = statistics.median(one.seconds / other.seconds for one, other in pairs)
    grown = [max(each[side].kib_grown for each in pairs) / 1024 for side in (0, 1)]
    print(
        f"| CSV of {options.records:,} records, {size / 1e6:.0f} MB | this site | DuckDB | ratio | target |"
    )
    print("|---|---|---|---|---|")
    print(
        f"| seconds, median of {options.pairs} pairs | {mine:.2f} | {theirs:.2f} | {ratio:.2f} | {TARGET} |"
    )
    print(f"| memory, most over before, MiB | {grown[0]:.1f} | {grown[1]:.1f} | | {MEMORY_TARGET_MIB} |")


def write_list(path: Path, count: int) -> None:
    """Write a list of the contract's form."""
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
    command = [sys.executable, "-c", program, folder / "list.json", folder / "list.csv"]
    seconds, grown = subprocess.check_output(command, text=True).split()  # noqa: S603
    return Conversion(float(seconds), float(grown))


if __name__ == "__main__":
    main()
