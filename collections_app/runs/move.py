"""Copies result files from one results storage to another, while the site reads and writes the first.

Files never change and have names of their own, so what is at its new place is there for good: a copy appears
once it is whole and is the file that the row says. Nothing is removed and no row changes; which storage is
used, the settings say.
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
# Rows are asked for in parts: a query that stays open for hours would keep SQLite from tidying up.
_ROWS = 1000

Progress = Callable[[int], object]  # told how many bytes of the files are done, each time that some are


@dataclass
class MoveReport:
    """What was done."""

    copied: int = 0
    copied_bytes: int = 0
    were_there: int = 0
    problems: list[str] = field(default_factory=list)  # a sentence for each file that couldn't be copied


class _NotTheFile(Exception):
    """What the storage holds isn't the file that the row says; the message says why."""


def total_size() -> int:
    """Return how many bytes all stored files have."""
    return ResultFile.objects.exclude(key="").aggregate(total=Sum("size"))["total"] or 0


def copy_all(source: ResultsStorage, target: ResultsStorage, progress: Progress) -> MoveReport:
    """Copy every stored file that the target doesn't have. Raises OSError where a storage can't be used.

    A file that is damaged or missing in the source is named in the report, and the others are copied.
    """
    report = MoveReport()
    for collection_id, files in _by_collection():
        there = target.contents(str(collection_id))
        for file in files:
            folder, _, name = file.key.rpartition("/")
            if there.get(folder.partition("/")[2], {}).get(name) == file.size:
                report.were_there += 1
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
            return  # its run was deleted meanwhile
        reason = str(error) if isinstance(error, _NotTheFile) else "it is missing"
        report.problems.append(f"{printable(file.name)} ({file.key}): {reason}.")
        return
    report.copied += 1
    report.copied_bytes += file.size or 0


def _copy(file: ResultFile, source: ResultsStorage, target: ResultsStorage, progress: Progress) -> None:
    digest, size = hashlib.sha256(), 0
    with source.open(file.key) as stored, target.open(file.key, "wb") as new:
        # nginx makes its ETag of the file's own time.
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
        raise OSError(errno.EIO, f"The copy of {file.key} reads differently from what was written")
