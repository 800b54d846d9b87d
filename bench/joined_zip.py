"""Compares a ZIP file assembled from compressed pages with `zip -6`.

The pages are those of bench/archive_of_pages.py, in a run's ZIP file. Both tools write to the same folder.
"""

import time
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from bench.archive_of_pages import CREATED_AT, Result, describe, prepare, write_archive, zip_6
from bench.measure import Options, Row, at_most, in_turn, program, ratio_row, run
from bench.servers import bench_folder, grown_while

BLOCK = 256 * 1024


def measure(options: Options) -> Iterator[Row]:
    """Build the ZIP file with both tools."""
    peer = program("zip", "zip")
    with bench_folder() as folder:
        pages = prepare(folder, options)
        rows, _ = write_archive(pages)
        _, grown = grown_while(lambda: joined(folder, rows))
        results = in_turn(partial(joined, folder, rows), partial(zip_6, peer, folder, pages), options.pairs)
        with zipfile.ZipFile(folder / "joined.zip") as archive:
            assert archive.testzip() is None
            assert len(archive.namelist()) == len(pages)
    what = f"further ZIP of the same {describe(options)}"
    first = [(mine.seconds - mine.left, other.seconds) for mine, other in results]
    yield ratio_row(f"{what}, seconds to its exact length and first bytes", first, None, form="{:.4f}")
    total = [(mine.seconds, other.seconds) for mine, other in results]
    yield ratio_row(f"{what}, seconds", total, at_most(0.15), form="{:.3f}", memory=f"{grown:.1f} MiB")


def joined(folder: Path, rows: list[Any]) -> Result:
    """Assemble the ZIP file. Measure the time to the first bytes, and the time for the rest."""
    from collections_app.files.bundles.pieces import Part  # noqa: PLC0415
    from collections_app.files.bundles.zip_body import Member, zip_of  # noqa: PLC0415
    from collections_app.sources.local import StoredBody  # noqa: PLC0415

    began = time.perf_counter()
    run_zip = StoredBody("run.zip", (folder / "run.zip").stat().st_size)
    deliverable = zip_of(
        Member(
            name=row.name,
            at=CREATED_AT,
            size=row.size,
            crc32=row.crc32,
            content=Part(run_zip, row.archive_offset, row.archive_size),
            is_deflated=True,
        )
        for row in rows
    )
    with deliverable.body.open(0, deliverable.body.size) as stream, (folder / "joined.zip").open("wb") as out:
        data = stream.read(BLOCK)
        first = time.perf_counter() - began
        while data:
            out.write(data)
            data = stream.read(BLOCK)
    seconds = time.perf_counter() - began
    return Result(seconds, seconds - first, deliverable.body.size)


if __name__ == "__main__":
    run(measure, __doc__)
