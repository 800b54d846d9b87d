"""Compares the ZIP file of a run's pages with `zip -6`: the time after the last page, and in total.

bench/records.py generates pages that compress like real ones. Both tools use files in the same folder.
Building a run's ZIP file while its pages are written takes about as long as building it from stored pages.
"""

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import django
from django.conf import settings

from bench.measure import (
    MEBIBYTE,
    Options,
    Row,
    at_most,
    in_turn,
    program,
    ratio_row,
    run,
    seconds_of,
)
from bench.records import Shop, write_page
from bench.servers import bench_folder, grown_while

CREATED_AT = datetime(2026, 6, 20, 12, tzinfo=UTC)


class Result(NamedTuple):
    """The cost of building a ZIP file."""

    seconds: float
    left: float  # seconds after the last page
    size: int


def measure(options: Options) -> Iterator[Row]:
    """Build the ZIP file with both tools."""
    peer = program("zip", "zip")
    with bench_folder() as folder:
        pages = prepare(folder, options)
        ours, theirs = partial(archive, folder, pages), partial(zip_6, peer, folder, pages)
        _, grown = grown_while(lambda: archive(folder, pages))
        results = in_turn(ours, theirs, options.pairs)
    what = f"ZIP of {describe(options)}"
    left = [(mine.left, other.seconds) for mine, other in results]
    yield ratio_row(f"{what}, seconds after the last page", left, at_most(0.15), form="{:.3f}")
    total = [(mine.seconds, other.seconds) for mine, other in results]
    memory = f"{grown:.1f} MiB"
    yield ratio_row(f"{what}, seconds in total", total, at_most(0.15), memory=memory)
    sizes = [(mine.size / 1e6, other.size / 1e6) for mine, other in results]
    yield ratio_row(f"{what}, MB", sizes, at_most(1.15), form="{:.1f}")


def prepare(folder: Path, options: Options) -> list[Path]:
    """Configure Django with a results storage in the folder, and create the pages there."""
    storage = "collections_app.files.storage.folder.FolderStorage"
    settings.configure(
        INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "collections_app"],
        AUTH_USER_MODEL="collections_app.User",
        STORAGES={"results": {"BACKEND": storage, "OPTIONS": {"location": folder}}},
        USE_TZ=True,
    )
    django.setup()
    records = Shop().records()
    count, size = _sizes(options)
    pages = [folder / f"page-{number}.json" for number in range(1, count + 1)]
    for page in pages:
        write_page(page, records, size * MEBIBYTE)
    return pages


def describe(options: Options) -> str:
    """Describe the number and size of the pages."""
    count, size = _sizes(options)
    return f"{count} x {size} MiB"


def _sizes(options: Options) -> tuple[int, int]:
    return options.either(20, 4), options.either(5, 1)


def archive(folder: Path, pages: list[Path]) -> Result:
    """Build the run's ZIP file from stored pages."""
    began = time.perf_counter()
    _, left = write_archive(pages)
    return Result(time.perf_counter() - began, left, (folder / "run.zip").stat().st_size)


def write_archive(pages: list[Path]) -> tuple[list[Any], float]:
    """Write the run's ZIP file. Return the rows of the pages, and the seconds after the last page."""
    from collections_app.files.zip import Deflated, GrowingZip  # noqa: PLC0415  # needs django.setup()
    from collections_app.models import ResultFile  # noqa: PLC0415
    from collections_app.runs.new_file import NewFile  # noqa: PLC0415

    file = NewFile("run.zip", lambda: None)
    growing = GrowingZip(file, CREATED_AT)
    rows = [ResultFile(name=page.name, key=page.name, size=page.stat().st_size) for page in pages]
    for row, page in zip(rows, pages, strict=True):
        with page.open("rb") as stored, closing(Deflated()) as content:
            shutil.copyfileobj(stored, content, 256 * 1024)
            row.archive_offset, row.archive_size, row.crc32 = growing.add(row.name, content)

    def finish() -> None:
        growing.finish()
        file.close()

    return rows, seconds_of(finish)


def zip_6(peer: str, folder: Path, pages: list[Path]) -> Result:
    """Build the ZIP file with zip."""
    target = folder / "theirs.zip"
    target.unlink(missing_ok=True)
    command = [peer, "-6", "-q", "-j", *map(str, (target, *pages))]
    seconds = seconds_of(lambda: subprocess.run(command, check=True))  # noqa: S603
    return Result(seconds, seconds, target.stat().st_size)


if __name__ == "__main__":
    run(measure, __doc__)
