"""Measures the ZIP of a run's pages beside `zip -6`: what is left to do after the last page, and all of it.

The pages are made up as bench/records.py says, so that deflate makes of them what it makes of real ones.
Both read and write files of the same folder. What a run's ZIP costs while its pages are written is about
what all of it costs from stored pages.
"""

import subprocess
import time
from collections.abc import Iterator
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

MADE_AT = datetime(2026, 6, 20, 12, tzinfo=UTC)


class Made(NamedTuple):
    """What it took to make a ZIP."""

    seconds: float
    left: float  # seconds after the last page
    size: int


def measure(options: Options) -> Iterator[Row]:
    """Make the ZIP by both."""
    peer = program("zip", "zip")
    with bench_folder() as folder:
        pages = prepare(folder, options)
        ours, theirs = partial(archive, folder, pages), partial(zip_6, peer, folder, pages)
        _, grown = grown_while(lambda: archive(folder, pages))
        made = in_turn(ours, theirs, options.pairs)
    what = f"ZIP of {described(options)}"
    left = [(mine.left, other.seconds) for mine, other in made]
    yield ratio_row(f"{what}, seconds after the last page", left, at_most(0.15), form="{:.3f}")
    whole = [(mine.seconds, other.seconds) for mine, other in made]
    memory = f"{grown:.1f} MiB"
    yield ratio_row(f"{what}, seconds of all of it", whole, at_most(0.15), memory=memory)
    sizes = [(mine.size / 1e6, other.size / 1e6) for mine, other in made]
    yield ratio_row(f"{what}, MB", sizes, at_most(1.15), form="{:.1f}")


def prepare(folder: Path, options: Options) -> list[Path]:
    """Let Django know of nothing but a results storage in the folder, and make the pages there."""
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


def described(options: Options) -> str:
    """Say how many pages there are, and how large."""
    count, size = _sizes(options)
    return f"{count} x {size} MiB"


def _sizes(options: Options) -> tuple[int, int]:
    return options.either(20, 4), options.either(5, 1)


def archive(folder: Path, pages: list[Path]) -> Made:
    """Make the run's own ZIP from stored pages."""
    began = time.perf_counter()
    _, left = pack(pages)
    return Made(time.perf_counter() - began, left, (folder / "run.zip").stat().st_size)


def pack(pages: list[Path]) -> tuple[list[Any], float]:
    """Write the run's own ZIP; return the pages' rows, which say where they are in it, and its last seconds.

    Those are what is left to do after the last page.
    """
    from collections_app.models import ResultFile  # noqa: PLC0415  # once Django is there
    from collections_app.runs.archive import Archive  # noqa: PLC0415
    from collections_app.runs.new_file import NewFile  # noqa: PLC0415

    packed = Archive(NewFile("run.zip", lambda: None), MADE_AT)
    rows = [ResultFile(name=page.name, key=page.name, size=page.stat().st_size) for page in pages]
    for row in rows:
        packed.add_stored(row)
    return rows, seconds_of(packed.close)


def zip_6(peer: str, folder: Path, pages: list[Path]) -> Made:
    """Let zip make it."""
    made = folder / "theirs.zip"
    made.unlink(missing_ok=True)
    command = [peer, "-6", "-q", "-j", *map(str, (made, *pages))]
    seconds = seconds_of(lambda: subprocess.run(command, check=True))  # noqa: S603
    return Made(seconds, seconds, made.stat().st_size)


if __name__ == "__main__":
    run(measure, __doc__)
