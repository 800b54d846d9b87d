"""Compares pull.py with `aria2c -i` on a run of 5,000 pages of 20 KB, with 8 connections each.

Both download from this site with its default settings. pull.py also requests the list, checks the ends of
each file, syncs it to the disk, and records it.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from urllib.parse import quote

from bench.measure import Options, Row, Target, at_least, in_turn, program, ratio_row, run, seconds_of
from bench.records import Shop, write_page
from bench.servers import Server, bench_folder, make_member, make_site, run_code, run_site
from tests.support.tools import ROOT

SIZE = 20_000
CONNECTIONS = 8
NAME = "AU Laptops_88_Results_Page_{}.json"
# All rows have the same bytes.
ADD_RUN = """
collection = Collection.objects.create(pk=101, team=team, name="AU Laptops")
run = Run.objects.create(collection=collection, number=88, state="ready", file_count=COUNT)
run.files.bulk_create(
    ResultFile(
        run=run, kind="page", position=number, name=f"AU Laptops_88_Results_Page_{number}.json",
        key="page.json", size=SIZE, modified="2026-06-20T12:00:00Z",
    )
    for number in range(1, COUNT + 1)
)
"""


def measure(options: Options) -> Iterator[Row]:
    """Download all pages with both."""
    count, pairs = options.either(5000, 200), min(options.pairs, 5)
    program("aria2c", "aria2")
    with bench_folder() as folder:
        data_dir = folder / "data"
        make_site(data_dir)
        headers = make_member(data_dir)
        page = data_dir / "results" / "page.json"
        write_page(page, Shop().records(), SIZE)
        run_code(data_dir, ADD_RUN.replace("COUNT", str(count)).replace("SIZE", str(page.stat().st_size)))
        with run_site(data_dir, headers) as site:
            ours, peer = partial(pull, site, folder, count), partial(aria2c, site, folder, count)
            yield row(count, in_turn(ours, peer, pairs), at_least(0.8))


def row(count: int, pairs: list[tuple[float, float]], target: Target) -> Row:
    """Return the row of pairs of seconds."""
    per_second = [(count / mine, count / theirs) for mine, theirs in pairs]
    what = f"pull.py compared with aria2c, {count:,} pages of 20 KB, {CONNECTIONS} connections, files/s"
    return ratio_row(what, per_second, target, form="{:.0f}")


def pull(site: Server, folder: Path, count: int) -> float:
    """Download all pages with pull.py. Return the seconds."""
    output = folder / "pulled"
    script = ROOT / "collections_app" / "client" / "pull.py"
    command = [sys.executable, str(script), "101", "--quiet", "--parallel", str(CONNECTIONS)]
    command += ["--output", str(output), "--base-url", f"{site.url}/api/v1"]
    env = os.environ | {"MULTICART_API_KEY": site.headers["x-api-key"]}
    return _timed(partial(subprocess.check_call, command, env=env), output, count)


def aria2c(site: Server, folder: Path, count: int) -> float:
    """Download all pages with aria2c. Return the seconds."""
    output, addresses = folder / "fetched", folder / "addresses.txt"
    names = (quote(NAME.format(number)) for number in range(1, count + 1))
    addresses.write_text("\n".join(f"{site.url}/api/v1/results/101/88/{name}" for name in names))
    key = site.headers["x-api-key"]
    command = ["aria2c", "--quiet", "--no-conf", f"--max-concurrent-downloads={CONNECTIONS}"]
    command += [f"--input-file={addresses}", f"--dir={output}", f"--header=x-api-key: {key}"]
    return _timed(partial(subprocess.check_call, command), output, count)


def _timed(download: "partial[int]", output: Path, count: int) -> float:
    shutil.rmtree(output, ignore_errors=True)
    os.sync()  # what others have written isn't measured
    seconds = seconds_of(download)
    if len(list(output.rglob(NAME.format("*")))) != count:
        sys.exit(f"Error: {output} doesn't have {count} pages.")
    return seconds


if __name__ == "__main__":
    run(measure, __doc__)
