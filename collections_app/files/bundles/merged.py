"""All records of a selection as one JSON list, joined from what is inside the brackets of each file."""

import hashlib
from collections.abc import Iterator

from collections_app.files.bundles.pieces import JoinedBody, Part, Piece
from collections_app.files.bundles.selection import InvalidSelection, Selection, files_of
from collections_app.files.bundles.zip_downloads import name_of
from collections_app.models import Collection, NotDownloadable, ResultFile
from collections_app.sources import Deliverable, deliverable
from collections_app.sources.base import Body
from collections_app.system import disk

# The positions of each file's brackets are read once and then stored, which takes a moment for each file.
MOST_MERGED = 2000

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_BLANKS = b" \t\r\n"
_MARGIN = 4096  # how many bytes are searched for brackets at both ends of a file


def merged_selection(collection: Collection, selection: Selection) -> Deliverable:
    """Return one JSON list of all selected records, in the order of files_of().

    Raises NotDownloadable, InvalidSelection, ResultNotFound, SourceUnavailable, SourceTimeout.
    """
    files = [file for file in files_of(collection, selection) if file.has_records]
    if len(files) > MOST_MERGED:
        raise InvalidSelection(f"At most {MOST_MERGED:,} files can be merged. Select fewer.")
    body = JoinedBody(list(_pieces(files)))
    identity = [(file.key, file.size, file.list_start, file.list_end) for file in files]
    return Deliverable(
        name=name_of(collection, files, "json"),
        size=body.size,
        etag=f'"{hashlib.sha256(repr(identity).encode()).hexdigest()[:32]}"',
        modified=max(file.modified for file in files),
        body=body,
    )


def _pieces(files: list[ResultFile]) -> Iterator[Piece]:
    between = b"[\n"
    for file in files:
        records = _records_of(file)
        if records.length:
            yield between
            yield records
            between = b",\n"
    yield b"[]\n" if between == b"[\n" else b"\n]\n"


def _records_of(file: ResultFile) -> Part:
    """Return the part of a file between the brackets of its list. Raises NotDownloadable."""
    if not file.is_stored:
        raise NotDownloadable(
            f"Run {file.run.number} is only at the account, so it can't be merged. Choose “Copy results "
            "here” on the download page first, or download its files one by one."
        )
    stored = deliverable(file)
    if file.list_start is None or file.list_end is None:
        file.list_start, file.list_end = _range_of_records(file, stored.body, stored.size)
        found = {"list_start": file.list_start, "list_end": file.list_end}
        with disk.best_effort(f"where the records of file {file.pk} are"):
            ResultFile.objects.filter(pk=file.pk).update(**found)
    return Part(stored.body, file.list_start, file.list_end - file.list_start)


def _range_of_records(file: ResultFile, body: Body, size: int) -> tuple[int, int]:
    length = min(size, _MARGIN)
    head, tail = _read(body, 0, length), _read(body, size - length, length)
    before = len(_BYTE_ORDER_MARK) if head.startswith(_BYTE_ORDER_MARK) else 0
    after = len(head) - len(head[before:].lstrip(_BLANKS))
    ending = tail.rstrip(_BLANKS)
    # A file whose records weren't counted may not be a list.
    if file.records is None or head[after : after + 1] != b"[" or not ending.endswith(b"]"):
        raise NotDownloadable(
            f"{file.name} of run {file.run.number} isn't a plain list, so it can't be merged."
        )
    if not file.records:
        return 0, 0
    begin = len(head) - len(head[after + 1 :].lstrip(_BLANKS))
    return begin, size - length + len(ending[:-1].rstrip(_BLANKS))


def _read(body: Body, start: int, length: int) -> bytes:
    data = b""
    with body.open(start, length) as stream:
        while len(data) < length and (piece := stream.read(length - len(data))):
            data += piece
    return data
