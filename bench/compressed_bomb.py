"""Compares how soon an import stops at a small gzip file with endless content, and how long `gzip -t` takes.

Nothing is written to the results storage: the file is read before the run is created.
"""

import gzip
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from bench.measure import MEBIBYTE, Options, Row, at_most, in_turn, program, ratio_row, run, seconds_of
from bench.servers import bench_folder, grown_while
from collections_app.runs.incoming.files import Unusable
from collections_app.runs.incoming.lookup import incoming_files
from collections_app.runs.incoming.paths import files_at


def measure(options: Options) -> Iterator[Row]:
    """Read the file until it is rejected, and test all of it."""
    peer = program("gzip", "gzip")
    size = options.either(1024, 64)
    with bench_folder() as folder:
        bomb = write_bomb(folder / "bomb.jsonl.gz", size)
        ours = partial(seconds_of, partial(reject, bomb))
        theirs = partial(seconds_of, partial(subprocess.run, [peer, "-t", bomb], check=True))
        _, grown = grown_while(partial(reject, bomb))
        results = in_turn(ours, theirs, options.pairs)
        packed = bomb.stat().st_size / 1e6
    what = f"import of {packed:.1f} MB of gzip with {size} MiB in it, seconds until it is rejected"
    yield ratio_row(what, results, at_most(0.2), form="{:.3f}", memory=f"{grown:.1f} MiB")


def write_bomb(path: Path, size: int) -> Path:
    """Write a file with this many MiB of blanks."""
    with gzip.open(path, "wb") as file:
        for _ in range(size):
            file.write(b" " * MEBIBYTE)
    return path


def reject(bomb: Path) -> None:
    """Read the file as an import does. Raise AssertionError unless it is rejected."""
    with ExitStack() as stack:
        try:
            incoming_files(files_at([bomb]), stack)
        except Unusable:
            return
    raise AssertionError("The file was accepted.")


if __name__ == "__main__":
    run(measure, __doc__)
