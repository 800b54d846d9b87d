"""ZIPs of a run, and of whatever somebody selected."""

import zlib
from collections.abc import Iterable

from collections_app.files.bundles.pieces import Part
from collections_app.files.bundles.selection import Selection, files_of
from collections_app.files.bundles.zips import Member, zip_of
from collections_app.files.names import fitted, safe
from collections_app.models import Collection, FileKind, NotDownloadable, ResultFile, Run
from collections_app.sources import Deliverable, deliverable
from collections_app.sources.base import Body
from collections_app.system import disk

ALL = "all.zip"
SELECTION = "selection.zip"

_BLOCK = 1024 * 1024


def run_archive(run: Run) -> Deliverable:
    """Return the ZIP of all original files of a ready run: the run's own, or one that is put together.

    Raises NotDownloadable if the files are at an account that has no ZIP, and what all_files() and
    deliverable() raise.
    """
    own = run.files.filter(kind=FileKind.ARCHIVE).first()
    if own is not None:
        return deliverable(own)
    name = fitted(safe(run.collection.name), f"_{run.number}_Results_All_Files.zip")
    return _zip(name, run.all_files(), {})


def selection_archive(collection: Collection, selection: Selection) -> Deliverable:
    """Return one ZIP of what is selected. Raises as files_of() and archive_of() do."""
    return archive_of(collection, files_of(collection, selection))


def archive_of(collection: Collection, files: list[ResultFile]) -> Deliverable:
    """Return one ZIP of these files, with a folder for each run where there are several.

    Raises NotDownloadable where one is at an account alone.
    """
    numbers = {file.run.number for file in files}
    folders = {number: f"Run {number}/" for number in numbers} if len(numbers) > 1 else {}
    return _zip(name_of(collection, files, "zip"), files, folders)


def name_of(collection: Collection, files: list[ResultFile], ending: str) -> str:
    """Return what a file that is made of these is called."""
    numbers = sorted({file.run.number for file in files})
    which = f"Run_{numbers[0]}" if len(numbers) == 1 else f"{len(numbers)}_Runs_{numbers[0]}_to_{numbers[-1]}"
    return fitted(safe(collection.name), f"_{which}_Selection.{ending}")


def _zip(name: str, files: list[ResultFile], folders: dict[int, str]) -> Deliverable:
    for file in files:
        if not file.is_stored:
            raise NotDownloadable(
                f"Run {file.run.number} is at the account alone. A ZIP is put together from files that are "
                "kept here: choose “Keep results here” on the download page first, or download its files."
            )
    archives = _archives_of(files)
    made = zip_of(
        _member(f"{folders.get(file.run.number, '')}{file.name}", file, archives.get(file.run_id))
        for file in files
    )
    return Deliverable(
        name=name,
        size=made.body.size,
        etag=f'"{made.digest[:32]}"',
        modified=max(file.modified for file in files),
        body=made.body,
    )


def _archives_of(files: Iterable[ResultFile]) -> dict[int, Body]:
    """Return the stored ZIP of each run of which deflated pages are wanted."""
    runs = {file.run_id: file.run for file in files if file.archive_offset is not None}
    found = list(ResultFile.objects.filter(run__in=runs, kind=FileKind.ARCHIVE).exclude(key=""))
    for archive in found:
        archive.run = runs[archive.run_id]
    return {archive.run_id: deliverable(archive).body for archive in found}


def _member(name: str, file: ResultFile, archive: Body | None) -> Member:
    assert file.size is not None
    body = deliverable(file).body
    if archive is not None and file.archive_offset is not None and file.archive_size is not None:
        content, is_deflated = Part(archive, file.archive_offset, file.archive_size), True
    else:
        content, is_deflated = Part(body, 0, file.size), False
    return Member(name, file.run.created_at, file.size, _crc32_of(file), content, is_deflated)


def _crc32_of(file: ResultFile) -> int:
    """Return a stored file's CRC, reading it once where it was written before that was noted."""
    if file.crc32 is None:
        stored = deliverable(file)
        crc32 = 0
        with stored.body.open(0, stored.size) as stream:
            while data := stream.read(_BLOCK):
                crc32 = zlib.crc32(data, crc32)
        with disk.best_effort(f"the CRC of file {file.pk}"):
            ResultFile.objects.filter(pk=file.pk).update(crc32=crc32)
        file.crc32 = crc32
    return file.crc32
