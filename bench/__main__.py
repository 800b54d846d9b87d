"""Runs the measurements one after the other and prints one table: `python -m bench`, or `make bench`."""

import argparse
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.measure import HEAD, Options, Row, add_options, machine, options_of
from tests.support.server import ROOT

QUESTIONS = (
    "stored_file",
    "proxied_stream",
    "slow_readers",
    "depth",
    "download_page",
    "run_list",
    "archive_of_pages",
    "joined_zip",
    "category_list_to_csv",
    "preview",
)
BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"


def main() -> int:
    """Measure what the command line asks for; return 1 where a measurement broke off."""
    parser = argparse.ArgumentParser(
        prog="python -m bench", description="Measure this site beside its peers."
    )
    parser.add_argument(
        "questions",
        nargs="*",
        metavar="QUESTION",
        help=f"what to measure, all by default: {', '.join(QUESTIONS)}",
    )
    add_options(parser)
    parser.add_argument("--write", type=Path, metavar="FILE", help="put the table between the file's markers")
    asked = parser.parse_args()
    if unknown := set(asked.questions) - set(QUESTIONS):
        parser.error(f"there is no question {', '.join(sorted(unknown))}; there are {', '.join(QUESTIONS)}")
    if asked.write and not has_markers(asked.write):
        parser.error(f"{asked.write} has no lines {BEGIN} and {END} to put the table between")
    options, before = options_of(asked), machine()
    rows = [row for name in asked.questions or QUESTIONS for row in answered(name, options)]
    table = f"{before}. {form_of(options)}\n\n{HEAD}\n" + "\n".join(map(str, rows))
    print(f"\n{table}")
    if asked.write:
        write(asked.write, table)
    return int(any(row.met.startswith("failed") for row in rows))


def form_of(options: Options) -> str:
    """Say how much was measured."""
    pairs = f"Medians of {options.pairs} pairs; ± is the spread of the peer against itself."
    return (
        f"{pairs} Short form, with less data: it shows that all runs, not what is met."
        if options.is_quick
        else pairs
    )


def answered(name: str, options: Options) -> list[Row]:
    """Run a measurement in a process of its own, which prints its rows as they come; return them."""
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
    """Whether there is a place for the table."""
    return path.is_file() and re.search(f"{BEGIN}.*{END}", path.read_text(), re.DOTALL) is not None


def write(path: Path, table: str) -> None:
    """Put the table into the place of the last one."""
    head, _, rest = path.read_text().partition(BEGIN)
    path.write_text(f"{head}{BEGIN}\n{table}\n{END}{rest.partition(END)[2]}")


if __name__ == "__main__":
    sys.exit(main())
