"""Measures a ZIP that is put together from pages that are deflated already, beside `zip -6` of the same.

The pages are the demo's products, in a run's own ZIP. Both write a file of the same folder, in turn, A B A B.
"""

import argparse
import shutil
import statistics
import sys
import tempfile
import time
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.archive_of_pages import MEBIBYTE, make_pages, start_django, theirs

TARGET = 0.15
BLOCK = 256 * 1024
MADE_AT = datetime(2026, 6, 20, 12, 0, tzinfo=UTC)


def main() -> None:
    """Measure and print one table."""
    parser = argparse.ArgumentParser(description="Compare joining deflated pages with zip -6.")
    parser.add_argument("--pages", type=int, default=20, help="how many pages (%(default)s)")
    parser.add_argument("--mebibytes", type=int, default=5, help="the size of each (%(default)s)")
    parser.add_argument("--pairs", type=int, default=11, help="how often each makes the ZIP (%(default)s)")
    options = parser.parse_args()
    peer = shutil.which("zip")
    if peer is None:
        sys.exit("Error: zip is not installed; it is what the ZIP is compared with.")
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        start_django(folder)
        pages = make_pages(folder, options.pages, options.mebibytes * MEBIBYTE)
        rows = pack(pages)
        rounds = [(*joined(folder, rows), *theirs(peer, folder, pages)) for _ in range(options.pairs)]
        with zipfile.ZipFile(folder / "joined.zip") as archive:
            assert archive.testzip() is None
            assert len(archive.namelist()) == len(pages)
    print_table(rounds, options)


def pack(pages: list[Path]) -> list[Any]:
    """Write the run's own ZIP and return the pages' rows, which say where in it they are."""
    from collections_app.models import ResultFile  # noqa: PLC0415  # once Django is there
    from collections_app.result_sets.archive import Archive  # noqa: PLC0415
    from collections_app.result_sets.new_file import NewFile  # noqa: PLC0415

    archive = Archive(NewFile("run.zip", lambda: None), MADE_AT)
    rows: list[Any] = []
    for page in pages:
        row = ResultFile(name=page.name, key=page.name, size=page.stat().st_size)
        archive.add_stored(row)
        rows.append(row)
    archive.close()
    return rows


def joined(folder: Path, rows: list[Any]) -> tuple[float, float]:
    """Return the seconds until the length and the first bytes are there, and until all is written."""
    from collections_app.bundles.pieces import Part  # noqa: PLC0415
    from collections_app.bundles.zips import Member, zip_of  # noqa: PLC0415
    from collections_app.sources.local import StoredBody  # noqa: PLC0415

    began = time.perf_counter()
    run_zip = StoredBody("run.zip", (folder / "run.zip").stat().st_size)
    made = zip_of(
        Member(
            name=row.name,
            at=MADE_AT,
            size=row.size,
            crc32=row.crc32,
            packed=Part(run_zip, row.archive_offset, row.archive_size),
            is_deflated=True,
        )
        for row in rows
    )
    with made.body.open(0, made.body.size) as stream, (folder / "joined.zip").open("wb") as out:
        data = stream.read(BLOCK)
        first = time.perf_counter() - began
        while data:
            out.write(data)
            data = stream.read(BLOCK)
    return first, time.perf_counter() - began


def print_table(rounds: list[tuple[float, float, float, int]], options: argparse.Namespace) -> None:
    """Print medians."""
    first, whole, peer, _ = (statistics.median(column) for column in zip(*rounds, strict=True))
    ratio = statistics.median(each[1] / each[2] for each in rounds)
    print(f"| ZIP of {options.pages} x {options.mebibytes} MiB | this site | zip -6 | ratio | target |")
    print("|---|---|---|---|---|")
    print(f"| seconds | {whole:.3f} | {peer:.2f} | {ratio:.3f} | {TARGET} |")
    print(f"| seconds to its length and first bytes | {first:.4f} | | | |")


if __name__ == "__main__":
    main()
