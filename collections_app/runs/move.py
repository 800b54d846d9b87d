"""Copy result files from one results storage to another, while the site uses the first one.

Files never change and their keys are unique, so a file that was copied never needs to be copied again.
Nothing is removed and no row changes. The settings decide which storage the site uses.
"""

import errno
import hashlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from django.db.models import Sum

from collections_app.files.names import printable
from collections_app.files.storage.base import ResultsStorage
from collections_app.models import ResultFile

logger = logging.getLogger(__name__)

_BLOCK = 1024 * 1024
# Rows are read in batches, because a query that stays open for hours would block SQLite's checkpoints.
_ROWS = 1000

Progress = Callable[[int], object]  # called with the number of bytes that were just copied or skipped


@dataclass
class MoveReport:
    """The result of copying."""

    copied: int = 0
    copied_bytes: int = 0
    skipped: int = 0  # files that the target already has
    problems: list[str] = field(default_factory=list)  # a sentence for each file that couldn't be copied


class _NotTheFile(Exception):
    """The stored bytes differ from the file's row. The message says how."""


def total_size() -> int:
    """Return the total size of all stored files."""
    return ResultFile.objects.exclude(key="").aggregate(total=Sum("size"))["total"] or 0


def copy_all(source: ResultsStorage, target: ResultsStorage, progress: Progress) -> MoveReport:
    """Copy every stored file that the target doesn't have. Raises OSError if a storage can't be used.

    The report names the files that are damaged or missing in the source. The other files are copied.
    """
    report = MoveReport()
    for collection_id, files in _by_collection():
        existing = target.contents(str(collection_id))
        for file in files:
            folder, _, name = file.key.rpartition("/")
            if existing.get(folder.partition("/")[2], {}).get(name) == file.size:
                report.skipped += 1
                progress(file.size or 0)
            else:
                _copy_one(file, source, target, report, progress)
    return report


def _by_collection() -> Iterator[tuple[int, Iterator[ResultFile]]]:
    runs = ResultFile.objects.exclude(key="").values_list("run__collection", flat=True)
    for collection_id in list(runs.distinct().order_by("run__collection")):
        yield collection_id, _stored(collection_id)


def _stored(collection_id: int) -> Iterator[ResultFile]:
    last = 0
    while True:
        files = ResultFile.objects.exclude(key="").filter(run__collection=collection_id, pk__gt=last)
        found = list(files.only("key", "size", "sha256", "modified", "name").order_by("pk")[:_ROWS])
        if not found:
            return
        yield from found
        last = found[-1].pk


def _copy_one(
    file: ResultFile, source: ResultsStorage, target: ResultsStorage, report: MoveReport, progress: Progress
) -> None:
    try:
        _copy(file, source, target, progress)
        _read_back(file, target)
    except (FileNotFoundError, _NotTheFile) as error:
        if not ResultFile.objects.filter(pk=file.pk, key=file.key).exists():
            return  # the run was deleted in the meantime
        reason = str(error) if isinstance(error, _NotTheFile) else "it is missing"
        report.problems.append(f"{printable(file.name)} ({file.key}): {reason}.")
        return
    report.copied += 1
    report.copied_bytes += file.size or 0


def _copy(file: ResultFile, source: ResultsStorage, target: ResultsStorage, progress: Progress) -> None:
    digest, size = hashlib.sha256(), 0
    with source.open(file.key) as stored, target.open(file.key, "wb") as new:
        # nginx creates the ETag from the file's time.
        new.modified = file.modified
        while data := stored.read(_BLOCK):
            digest.update(data)
            size += len(data)
            new.write(data)
            progress(len(data))
        if (size, digest.hexdigest()) != (file.size, file.sha256 or digest.hexdigest()):
            raise _NotTheFile("it is damaged; restore it from a backup")


def _read_back(file: ResultFile, target: ResultsStorage) -> None:
    digest = hashlib.sha256()
    with target.open(file.key) as stored:
        while data := stored.read(_BLOCK):
            digest.update(data)
    if file.sha256 and digest.hexdigest() != file.sha256:
        target.delete(file.key)
        raise OSError(errno.EIO, f"The stored copy of {file.key} differs from what was written")
