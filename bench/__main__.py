"""Run the benchmarks and print one table: `python -m bench`, or `make bench`."""

import argparse
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.measure import HEAD, Options, Row, add_options, machine, options_of
from tests.support.tools import ROOT

BENCHMARKS = (
    "stored_file",
    "small_files",
    "pull_pages",
    "proxied_stream",
    "slow_readers",
    "depth",
    "overview",
    "download_page",
    "run_list",
    "archive_of_pages",
    "joined_zip",
    "category_list_to_csv",
    "exports",
    "preview",
    "searches",
    "compressed_bomb",
    "changes",
    "tracking_pages",
)
BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"


def main() -> int:
    """Run the selected benchmarks. Return 1 if one failed."""
    parser = argparse.ArgumentParser(
        prog="python -m bench", description="Compare this site with other tools."
    )
    parser.add_argument(
        "benchmarks",
        nargs="*",
        metavar="BENCHMARK",
        help=f"the benchmarks to run (default: all): {', '.join(BENCHMARKS)}",
    )
    add_options(parser)
    parser.add_argument(
        "--write", type=Path, metavar="FILE", help="write the table between the file's markers"
    )
    arguments = parser.parse_args()
    if unknown := set(arguments.benchmarks) - set(BENCHMARKS):
        parser.error(f"unknown benchmark {', '.join(sorted(unknown))}; choose from {', '.join(BENCHMARKS)}")
    if arguments.write and not has_markers(arguments.write):
        parser.error(f"{arguments.write} has no lines {BEGIN} and {END} for the table")
    options, before = options_of(arguments), machine()
    rows = [row for name in arguments.benchmarks or BENCHMARKS for row in run_benchmark(name, options)]
    table = f"{before}. {method_of(options)}\n\n{HEAD}\n" + "\n".join(map(str, rows))
    print(f"\n{table}")
    if arguments.write:
        write(arguments.write, table)
    return int(any(row.met.startswith("failed") for row in rows))


def method_of(options: Options) -> str:
    """Describe how much was measured."""
    pairs = f"Medians of {options.pairs} pairs; ± is the spread of the peer against itself."
    return (
        f"{pairs} Quick, with less data: it shows that everything runs, not that targets are met."
        if options.is_quick
        else pairs
    )


def run_benchmark(name: str, options: Options) -> list[Row]:
    """Run a benchmark in a new process, which prints its rows. Return the rows."""
    print(f"\n{name}", flush=True)
    with tempfile.TemporaryDirectory(prefix="bench-rows-") as folder:
        written = Path(folder, "rows.json")
        command = [
            sys.executable,
            "-m",
            f"bench.{name}",
            "--rows",
            str(written),
            "--pairs",
            str(options.pairs),
        ]
        command += ["--quick"] if options.is_quick else []
        done = subprocess.run(command, cwd=ROOT, check=False)  # noqa: S603
        if done.returncode:
            return [Row(name, "", met=f"failed with exit code {done.returncode}, see above")]
        return [Row(*row) for row in json.loads(written.read_text())]


def has_markers(path: Path) -> bool:
    """Return whether the file has the markers of the table."""
    return path.is_file() and re.search(f"{BEGIN}.*{END}", path.read_text(), re.DOTALL) is not None


def write(path: Path, table: str) -> None:
    """Replace the table between the markers."""
    head, _, rest = path.read_text().partition(BEGIN)
    path.write_text(f"{head}{BEGIN}\n{table}\n{END}{rest.partition(END)[2]}")


if __name__ == "__main__":
    sys.exit(main())
