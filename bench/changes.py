"""Compares finding the changes between two runs with DuckDB, and creating a slice with reading the records.

DuckDB has the records of both runs as Parquet, knows which columns change in every record, and may use all
memory. Both print the time without starting Python, and the growth of their process.
"""

import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from bench.measure import Options, Row, at_most, in_turn, ratio_row, run, value_row
from bench.servers import bench_folder
from tests.support.server import environment
from tests.support.tools import ROOT

# Each run lacks 1% of the products of the other, and differs from it in 7% of the others.
RECORDS = """
SELECT
    'B' || lpad(i::VARCHAR, 9, '0') AS asin,
    'Laptop ' || i || ', 14" screen, ' || (i % 7 + 1) || ' TB drive' AS title,
    100 + hash(i + 1) % 300000 + CASE WHEN is_changed(i, 2, 3) THEN 50 ELSE 0 END AS price_cents,
    CASE WHEN is_changed(i, 3, 1) THEN 'USD' ELSE 'AUD' END AS currency,
    (hash(i + 4) % 13 <> 0) <> is_changed(i, 5, 1) AS in_stock,
    'Shop ' || (i + is_changed(i, 6, 1)::INT) % 40 AS seller_name,
    hash(i + 7) % 2000 + is_changed(i, 8, 1)::INT AS reviews_count
    {more}
FROM range({run} * {count} // 100, {count} + {run} * {count} // 100) AS numbers(i)
"""
MORE = """,
    'Brand ' || i % 150 AS brand, (10 + hash(i + 9) % 40)::DOUBLE / 10 AS rating,
    'https://img.shop.example.com/g/p/' || md5(i::VARCHAR) || '.jpg' AS main_image,
    'https://www.shop.example.com/products/i' || i || '.html' AS url, 'Category ' || i % 60 AS category,
    'www.shop.example.com' AS domain, 'AU' AS country_code, NULL AS color, i % 3 = 0 AS is_variant,
    'Warranty of ' || i % 5 || ' years' AS warranty, hash(i + 1000 * {run}) % 100000 AS position,
    hash(i + 77 * {run}) % 5000 AS views, '2026-06-2{run}T0' || i % 10 || ':00:00Z' AS scraped_at
"""
MAKE = """
import sys, duckdb
records, is_changed, json, parquet = sys.argv[1:]
duckdb.sql(is_changed)
duckdb.sql(f"COPY ({records}) TO '{json}' (FORMAT json, ARRAY true)")
duckdb.sql(f"COPY ({records}) TO '{parquet}' (COMPRESSION zstd)")
"""
IS_CHANGED = "CREATE MACRO is_changed(i, seed, percent) AS {run} = 1 AND hash(i * 31 + seed) % 100 < percent"

HEAD = """
import sys, time
from pathlib import Path
def memory(what):
    return int(open("/proc/self/status").read().split(f"{what}:")[1].split()[0])
def begin():
    global size, began
    size, began = memory("VmRSS"), time.perf_counter()
def end(found=0):
    print(time.perf_counter() - began, memory("VmHWM") - size, found)
"""
SITE = f"""{HEAD}
import django; django.setup()
from collections_app.records.formats.json_records import read_texts, read_values
from collections_app.records.preview.engine import open_database
from collections_app.records.tracking.compare import Comparer
from collections_app.records.tracking.slices import described, write_slice
"""
SLICE = f"""{SITE}
json, path = map(Path, sys.argv[1:])
path.unlink(missing_ok=True)
begin()
with json.open("rb") as stream:
    write_slice(read_texts(stream), path.with_suffix(".lines"), path)
end()
path.with_suffix(".lines").unlink()
"""
READ = f"""{SITE}
begin()
with open(sys.argv[1], "rb") as stream:
    count = sum(1 for _ in read_values(stream))
end(count)
"""
COMPARE = f"""{SITE}
before, after = (described(Path(path)) for path in sys.argv[1:])
begin()
with open_database(before.path, after.path, seconds=3600) as database:
    changes = sum(not entry.is_volatile for entry in Comparer(database, before, after, ("asin",)).entries())
end(changes)
"""
PEER = (
    HEAD
    + """
import duckdb
first, second = sys.argv[1:]
duckdb.execute("SET enable_progress_bar = false; SET threads = 2")
names = [name for name, *_ in duckdb.sql(f"DESCRIBE FROM '{first}'").fetchall()]
names = [name for name in names if name not in {"asin", "position", "views", "scraped_at"}]
cells = ", ".join(f"{{col: '{name}', was: a.{name}::VARCHAR, now: b.{name}::VARCHAR}}" for name in names)
differ = " OR ".join(f"a.{name} IS DISTINCT FROM b.{name}" for name in names)
changed = f"unnest(list_filter([{cells}], lambda cell: cell.was IS DISTINCT FROM cell.now))"
matched = f"'{first}' a JOIN '{second}' b USING (asin)"
unmatched = "FROM '{}' ANTI JOIN '{}' USING (asin) SELECT asin, title"
begin()
count = len(duckdb.sql(f"FROM {matched} SELECT asin, b.title, {changed} WHERE {differ}").fetchall())
for one, other in ((first, second), (second, first)):
    count += len(duckdb.sql(unmatched.format(one, other)).fetchall())
end(count)
"""
)


class Cost(NamedTuple):
    """The cost of a program, and how much it found."""

    seconds: float
    mib_grown: float
    found: int


def measure(options: Options) -> Iterator[Row]:
    """Create slices and compare them, each in a new process."""
    with bench_folder() as folder:
        count = options.either(1_000_000, 20_000)
        make_runs(folder, count, MORE)
        yield from slices(folder, count, options)
        yield from comparisons(folder, count, options)
    with bench_folder() as folder:
        count = options.either(5_000_000, 50_000)
        make_runs(folder, count, "")
        make_slices(folder)
        yield compared(f"changes between 2 runs of {count:,} records, 7 columns", folder)


def slices(folder: Path, count: int, options: Options) -> Iterator[Row]:
    """Compare the creation of a slice with reading the records once."""
    make_slices(folder)
    source, path = f"{folder}/0.json", f"{folder}/0.slice"
    pairs = in_turn(
        partial(program, folder, SLICE, source, path), partial(program, folder, READ, source), options.pairs
    )
    seconds = [(ours.seconds, peer.seconds) for ours, peer in pairs]
    memory = f"{max(ours.mib_grown for ours, _ in pairs):.1f} MiB"
    yield ratio_row(f"slice of {count:,} records, 20 columns, seconds", seconds, at_most(1.5), memory=memory)


def comparisons(folder: Path, count: int, options: Options) -> Iterator[Row]:
    """Compare the changes of two runs with DuckDB's."""
    runs, slices = (f"{folder}/0.parquet", f"{folder}/1.parquet"), (f"{folder}/0.slice", f"{folder}/1.slice")
    pairs = in_turn(
        partial(program, folder, COMPARE, *slices), partial(program, folder, PEER, *runs), options.pairs
    )
    seconds = [(ours.seconds, peer.seconds) for ours, peer in pairs]
    what = f"{pairs[0][0].found:,} changes between 2 runs of {count:,} records, 20 columns"
    yield ratio_row(f"{what}, seconds", seconds, at_most(3))
    mine, theirs = (max(each.mib_grown for each in side) for side in zip(*pairs, strict=True))
    row = value_row(f"{what}, maximum memory, MiB", mine, at_most(256), form="{:.1f}")
    yield row._replace(peer=f"{theirs:.1f}")


def compared(what: str, folder: Path) -> Row:
    """Compare the slices of two runs once."""
    cost = program(folder, COMPARE, f"{folder}/0.slice", f"{folder}/1.slice")
    memory = f"{cost.mib_grown:.1f} MiB"
    return value_row(f"{cost.found:,} {what}, seconds", cost.seconds, memory=memory)


def make_runs(folder: Path, count: int, more: str) -> None:
    """Write the records of two runs as JSON and as Parquet."""
    for number in (0, 1):
        records = RECORDS.replace("{more}", more).format(run=number, count=count)
        files = (f"{folder}/{number}.json", f"{folder}/{number}.parquet")
        program_output(folder, MAKE, records, IS_CHANGED.format(run=number), *files)


def make_slices(folder: Path) -> None:
    """Create the slices of both runs."""
    for number in (0, 1):
        program(folder, SLICE, f"{folder}/{number}.json", f"{folder}/{number}.slice")


def program(folder: Path, code: str, *arguments: str) -> Cost:
    """Run one of the programs."""
    # DuckDB may print its progress first.
    seconds, grown, found = program_output(folder, code, *arguments).split()[-3:]
    return Cost(float(seconds), float(grown) / 1024, int(found))


def program_output(folder: Path, code: str, *arguments: str) -> str:
    """Run code in a new process, and return what it prints."""
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.check_output(command, text=True, cwd=ROOT, env=environment(folder))  # noqa: S603


if __name__ == "__main__":
    run(measure, __doc__)
