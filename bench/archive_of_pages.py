"""Measures the ZIP of a run's pages beside `zip -6`: what is left to do after the last page, and all of it.

The pages are the demo's products. Both read and write files of the same folder, in turn, A B A B.
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import django
from django.conf import settings

MEBIBYTE = 2**20
TIME_TARGET, SIZE_TARGET = 0.15, 1.15


def main() -> None:
    """Measure and print one table."""
    parser = argparse.ArgumentParser(description="Compare the ZIP of a run's pages with zip -6.")
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
        rounds = [(*ours(folder, pages), *theirs(peer, folder, pages)) for _ in range(options.pairs)]
    print_table(rounds, options)


def start_django(folder: Path) -> None:
    """Let Django know of nothing but a results storage in the folder."""
    storage = "collections_app.result_sets.storage.DurableFileSystemStorage"
    settings.configure(
        INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "collections_app"],
        AUTH_USER_MODEL="collections_app.User",
        STORAGES={"results": {"BACKEND": storage, "OPTIONS": {"location": folder}}},
        USE_TZ=True,
    )
    django.setup()


def make_pages(folder: Path, count: int, size: int) -> list[Path]:
    """Write pages of the demo's products."""
    from collections_app.demo.products import product_records  # noqa: PLC0415  # once Django is there
    from collections_app.demo.shelves import LAPTOPS  # noqa: PLC0415

    records = product_records("amazon", LAPTOPS, 1, count * size, datetime(2026, 6, 1, tzinfo=UTC))
    paths = [folder / f"page-{number}.json" for number in range(1, count + 1)]
    for path in paths:
        lines, length = [], 0
        while length < size:
            lines.append(json.dumps(next(records), ensure_ascii=False))
            length += len(lines[-1].encode()) + 2
        path.write_text("[\n" + ",\n".join(lines) + "\n]\n")
    return paths


def ours(folder: Path, pages: list[Path]) -> tuple[float, float, int]:
    """Return the seconds that are left after the last page, the seconds of all of it, and the size."""
    from collections_app.models import ResultFile  # noqa: PLC0415
    from collections_app.result_sets.archive import Archive  # noqa: PLC0415
    from collections_app.result_sets.new_file import NewFile  # noqa: PLC0415

    began = time.perf_counter()
    archive = Archive(NewFile("ours.zip", lambda: None), datetime.now(UTC))
    for page in pages:
        archive.add_stored(ResultFile(name=page.name, key=page.name))
    left = seconds_of(archive.close)
    return left, time.perf_counter() - began, (folder / "ours.zip").stat().st_size


def theirs(peer: str, folder: Path, pages: list[Path]) -> tuple[float, int]:
    """Return the seconds that zip takes, and the size."""
    made = folder / "theirs.zip"
    made.unlink(missing_ok=True)
    command = [peer, "-6", "-q", "-j", made, *pages]
    seconds = seconds_of(lambda: subprocess.run(command, check=True))  # noqa: S603
    return seconds, made.stat().st_size


def seconds_of(do: Callable[[], object]) -> float:
    """Return how long it takes."""
    began = time.perf_counter()
    do()
    return time.perf_counter() - began


def print_table(rounds: list[tuple[float, float, int, float, int]], options: argparse.Namespace) -> None:
    """Print medians."""
    left, whole, size, peer, peer_size = (statistics.median(column) for column in zip(*rounds, strict=True))
    left_ratio = statistics.median(each[0] / each[3] for each in rounds)
    whole_ratio = statistics.median(each[1] / each[3] for each in rounds)
    print(f"| ZIP of {options.pages} x {options.mebibytes} MiB | this site | zip -6 | ratio | target |")
    print("|---|---|---|---|---|")
    print(f"| seconds after the last page | {left:.3f} | {peer:.2f} | {left_ratio:.3f} | {TIME_TARGET} |")
    print(f"| seconds from stored pages (a paused run) | {whole:.2f} | {peer:.2f} | {whole_ratio:.2f} | |")
    ratio = size / peer_size
    print(f"| size, MB | {size / 1e6:.1f} | {peer_size / 1e6:.1f} | {ratio:.2f} | {SIZE_TARGET} |")


if __name__ == "__main__":
    main()
