"""Databases for the files of tracking: slices, comparisons and blocks.

Creating a database takes longer than most statements on small files. So small files share one, which can
access the folders of all such files, but no other files of the site.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from django.core.files.storage import storages

from collections_app.files.storage.base import results
from collections_app.files.storage.scratch import Scratch
from collections_app.records.preview.concurrency import FairSemaphore
from collections_app.records.preview.engine import BUILDS, Database, open_database, open_shared_database

# In the results storage. No collection has a folder with these names.
SLICES, COMPARISONS, BLOCKS = "tracking", "comparisons", "blocks"
# For temporary files.
SLICE_SCRATCH, COMPARISON_SCRATCH, BLOCK_SCRATCH = (
    Scratch("slices"),
    Scratch("comparisons"),
    Scratch("blocks"),
)

# In bytes of all files. With more, a database of its own is worth its time, and uses two processors.
_MOST_SHARED = 4 * 1024**2


@contextmanager
def open_files(
    *files: Path,
    seconds: float,
    threads: int = 2,
    semaphore: FairSemaphore = BUILDS,
    is_wanted: Callable[[], bool] = lambda: True,
) -> Iterator[Database]:
    """Yield a connection that can read and write these files. See open_database()."""
    folders = _folders() if _are_small(files) else []
    opened = (
        open_shared_database(
            files[0], folders=folders, seconds=seconds, semaphore=semaphore, is_wanted=is_wanted
        )
        if all(any(file.is_relative_to(folder) for folder in folders) for file in files)
        else open_database(*files, seconds=seconds, threads=threads, semaphore=semaphore, is_wanted=is_wanted)
    )
    with opened as database:
        yield database


def _are_small(files: tuple[Path, ...]) -> bool:
    return sum(file.stat().st_size for file in files if file.exists()) <= _MOST_SHARED


def _folders() -> list[Path]:
    """Return the folders of the files of tracking on this machine."""
    stored = [results().local_path(folder) for folder in (SLICES, COMPARISONS, BLOCKS)]
    # Copies of objects are in the cache.
    found = [path for path in stored if path is not None] or [Path(storages["converted"].path(""))]
    return [*found, *(scratch.root for scratch in (SLICE_SCRATCH, COMPARISON_SCRATCH, BLOCK_SCRATCH))]
