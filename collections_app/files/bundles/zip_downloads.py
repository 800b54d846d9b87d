"""The ZIPs of a run and of a selection."""

import zlib
from collections import defaultdict
from collections.abc import Iterable

from collections_app.files.bundles.pieces import Part
from collections_app.files.bundles.selection import Selection, files_of
from collections_app.files.bundles.zip_body import Member, zip_of
from collections_app.files.names import UniqueNames, all_files_name, kept_name, selection_name
from collections_app.models import Collection, FileKind, NotDownloadable, ResultFile, Run
from collections_app.sources import Deliverable, deliverable
from collections_app.sources.base import Body
from collections_app.system import disk

ALL = "all.zip"

_BLOCK = 1024 * 1024


def run_archive(run: Run) -> Deliverable:
    """Return the ZIP of a ready run's pages: the stored one, or one that is joined from the files.

    Raises NotDownloadable for category runs, and if the files are only at an account without a ZIP, and what
    all_files() and deliverable() raise.
    """
    if run.collection.is_category:
        raise NotDownloadable("Category runs have no ZIP. Download the full list as JSON or CSV.")
    archive = run.files.filter(kind=FileKind.ARCHIVE).first()
    if archive is not None:
        return deliverable(archive)
    return _zip(all_files_name(run.collection.name, run.number), run.all_files(), {})


def selection_archive(collection: Collection, selection: Selection) -> Deliverable:
    """Return a ZIP of the selection. Raises what files_of() and archive_of() raise."""
    return archive_of(collection, files_of(collection, selection))


def archive_of(collection: Collection, files: list[ResultFile]) -> Deliverable:
    """Return a ZIP of these files, with a folder for each run if there are several.

    Raises NotDownloadable if a file is only at an account.
    """
    numbers = {file.run.number for file in files}
    folders = {number: f"Run {number}/" for number in numbers} if len(numbers) > 1 else {}
    return _zip(name_of(collection, files, "zip"), files, folders)


def name_of(collection: Collection, files: list[ResultFile], ending: str) -> str:
    """Return the name of a file that contains these files."""
    return selection_name(collection.name, sorted({file.run.number for file in files}), ending)


def _zip(name: str, files: list[ResultFile], folders: dict[int, str]) -> Deliverable:
    for file in files:
        if not file.is_stored:
            raise NotDownloadable(
                f"Run {file.run.number} is only at the account, so it can't be added to a ZIP. Choose “Keep "
                "results here” on the download page first, or download its files one by one."
            )
    archives = _archives_of(files)
    names = _names_in_zip(files)
    archive = zip_of(
        _member(f"{folders.get(file.run.number, '')}{name}", file, archives.get(file.run_id))
        for name, file in zip(names, files, strict=True)
    )
    return Deliverable(
        name=name,
        size=archive.body.size,
        etag=f'"{archive.digest[:32]}"',
        modified=max(file.modified for file in files),
        body=archive.body,
    )


def _names_in_zip(files: list[ResultFile]) -> list[str]:
    """Return names that can be unpacked on any system. Older versions stored names that can't."""
    unique: defaultdict[int, UniqueNames] = defaultdict(UniqueNames)
    return [unique[file.run_id].add(kept_name(file.name)) for file in files]


def _archives_of(files: Iterable[ResultFile]) -> dict[int, Body]:
    """Return the stored ZIPs of runs by id, if the files include pages that are in them."""
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
    """Return a stored file's CRC. Read the file if an older version stored it without one."""
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
