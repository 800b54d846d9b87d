"""Compares exports of a run's records with DuckDB, which reads the same page."""

import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from bench.measure import MEBIBYTE, Options, Row, Target, at_most, in_turn, ratio_row, run, value_row
from bench.records import Shop, write_page
from bench.servers import bench_folder

# Both print the seconds of CPU time.
OURS = """
import sys, time
from pathlib import Path
from collections_app.records.formats.export_formats import ExportSpec, Format, write_records
from collections_app.records.formats.json_records import read_batches
source, target, form = sys.argv[1:]
def read():
    with open(source, "rb") as stream:
        yield from read_batches(stream)
began = time.process_time()
with open(target, "wb") as out:
    write_records(read, ExportSpec(Format(form)), out, folder=Path(target).parent)
print(time.process_time() - began)
"""
THEIRS = """
import sys, time
import duckdb
source, target, form = sys.argv[1:]
duckdb.execute("SET enable_progress_bar = false")
began = time.process_time()
duckdb.execute(f"COPY (FROM read_json('{source}')) TO '{target}' (FORMAT {form.removesuffix('l')})")
print(time.process_time() - began)
"""
TARGETS = {"jsonl": at_most(1), "csv": at_most(2.5), "parquet": at_most(3)}


def measure(options: Options) -> Iterator[Row]:
    """Convert one page with both, each in a new process."""
    size = options.either(32, 2) * MEBIBYTE
    with bench_folder() as folder:
        write_page(folder / "page.json", Shop().records(), size)
        for form, target in TARGETS.items():
            yield _compared(form, target, folder, options)
        seconds = convert(OURS, folder, "xlsx")
    yield value_row(f"{_what('xlsx', size)}, without a peer", seconds)


def _compared(form: str, target: Target, folder: Path, options: Options) -> Row:
    pairs = in_turn(
        partial(convert, OURS, folder, form), partial(convert, THEIRS, folder, form), options.pairs
    )
    return ratio_row(_what(form, (folder / "page.json").stat().st_size), pairs, target)


def _what(form: str, size: int) -> str:
    return f"records.{form} of {size / 1e6:.0f} MB, CPU seconds"


def convert(program: str, folder: Path, form: str) -> float:
    """Run one of the programs."""
    command = [
        sys.executable,
        "-c",
        program,
        str(folder / "page.json"),
        str(folder / f"records.{form}"),
        form,
    ]
    return float(subprocess.check_output(command, text=True))  # noqa: S603


if __name__ == "__main__":
    run(measure, __doc__)
