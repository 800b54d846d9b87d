"""The ZIPs of a run, of a selection, and of several collections."""

import zlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from collections_app.files.bundles.pieces import Part
from collections_app.files.bundles.selection import MOST_FILES, InvalidSelection, Selection, files_of
from collections_app.files.bundles.zip_body import Member, zip_of
from collections_app.files.names import UniqueNames, all_files_name, folder_name, kept_name, selection_name
from collections_app.models import Collection, FileKind, NotDownloadable, ResultFile, Run
from collections_app.sources import Deliverable, deliverable
from collections_app.sources.base import Body, BytesBody
from collections_app.system import disk

ALL = "all.zip"

_BLOCK = 1024 * 1024
_README = "README.txt"


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
    runs = {file.run_id: file.run for file in files}
    folders = {pk: f"Run {run.number}/" for pk, run in runs.items()} if len(runs) > 1 else {}
    return _zip(name_of(collection, files, "zip"), files, folders)


def stored_files_of(runs: Iterable[Run]) -> dict[int, list[ResultFile]]:
    """Return the files of runs by run id, without ZIPs. Runs with a file that can't be sent now are missing.

    Raises InvalidSelection for too many files.
    """
    by_id = {run.pk: run for run in runs}
    found = ResultFile.objects.filter(run__in=by_id).exclude(kind=FileKind.ARCHIVE)
    files = list(found.order_by("run", "position", "name")[: MOST_FILES + 1])
    if len(files) > MOST_FILES:
        raise InvalidSelection(
            f"A ZIP file can contain at most {MOST_FILES:,} files. Download the collections one at a time."
        )
    by_run: defaultdict[int, list[ResultFile]] = defaultdict(list)
    for file in files:
        file.run = by_id[file.run_id]
        by_run[file.run_id].append(file)
    return {
        pk: some
        for pk, some in by_run.items()
        if all(each.is_stored and not each.is_damaged for each in some)
    }


def collections_archive(name: str, files: Mapping[int, list[ResultFile]], readme: str) -> Deliverable:
    """Return a ZIP of runs of different collections, with a folder for each, and a README.txt.

    `files` are what stored_files_of() returns; at least one.
    """
    unique = UniqueNames([_README])
    folders = {pk: f"{unique.add(folder_name(some[0].run.collection.name))}/" for pk, some in files.items()}
    content = readme.encode(errors="replace")
    newest = max(some[0].run.created_at for some in files.values())
    member = Member(
        _README, newest, len(content), zlib.crc32(content), Part(BytesBody(content), 0, len(content)), False
    )
    return _zip(name, [file for some in files.values() for file in some], folders, [member])


def name_of(collection: Collection, files: list[ResultFile], ending: str) -> str:
    """Return the name of a file that contains these files."""
    return selection_name(collection.name, sorted({file.run.number for file in files}), ending)


def _zip(
    name: str, files: list[ResultFile], folders: Mapping[int, str], others: Sequence[Member] = ()
) -> Deliverable:
    """Return a ZIP of files, each in the folder of its run, after other members."""
    for file in files:
        if not file.is_stored:
            raise NotDownloadable(
                f"Run {file.run.number} is only at the account, so it can't be added to a ZIP. Choose “Copy "
                "results here” on the download page first, or download its files one by one."
            )
    archives = _archives_of(files)
    names = _names_in_zip(files)
    members = (
        _member(f"{folders.get(file.run_id, '')}{name}", file, archives.get(file.run_id))
        for name, file in zip(names, files, strict=True)
    )
    archive = zip_of([*others, *members])
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
