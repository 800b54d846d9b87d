"""Runs for tests, written by the real writer."""

import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from django.core.files.storage import Storage, storages
from django.utils import timezone

from collections_app.files.storage.bucket import BucketStorage
from collections_app.files.storage.folder import DurableFile
from collections_app.models import Collection, FileKind, ResultFile, Run, State
from collections_app.runs.writer import DEFAULT_PAGE_SIZE, ResultSetWriter


def records(count: int, first: int = 1) -> list[dict[str, Any]]:
    """Return records with an ASIN and a title."""
    return [
        {"asin": f"B{number:09}", "title": f"Laptop {number}", "price_cents": 100 * number}
        for number in range(first, first + count)
    ]


def make_ready_run(
    collection: Collection,
    content: Iterable[Mapping[str, Any]] = ({"asin": "B000000001"},),
    *,
    page_size: int = DEFAULT_PAGE_SIZE,
    at: datetime | None = None,
) -> Run:
    """Create a Completed run. `at` is when it was created and completed."""
    writer = ResultSetWriter.start(collection, page_size=page_size, created_at=at)
    with writer:
        for record in content:
            writer.add_record(record)
        writer.finish(at=at)
    return writer.run


def make_processing_run(
    collection: Collection,
    content: Iterable[Mapping[str, Any]] = (),
    *,
    page_size: int = DEFAULT_PAGE_SIZE,
    at: datetime | None = None,
) -> Run:
    """Create a paused Processing run with these records."""
    with ResultSetWriter.start(collection, page_size=page_size, created_at=at) as writer:
        for record in content:
            writer.add_record(record)
        writer.pause()
    return writer.run


def make_failed_run(
    collection: Collection, reason: str = "The shop did not response.", *, at: datetime | None = None
) -> Run:
    """Create a Failed run."""
    with ResultSetWriter.start(collection, created_at=at) as writer:
        writer.fail(reason, at=at)
    return writer.run


def make_run_of_pages(collection: Collection, pages: Mapping[str, bytes]) -> Run:
    """Create a Completed run with these pages by name; of a category, with one list."""
    with ResultSetWriter.start(collection) as writer:
        for name, content in pages.items():
            writer.add_page(name, io.BytesIO(content))
    return writer.run


def make_many_pages(collection: Collection, runs: int, pages: int = 40) -> None:
    """Create the rows of Completed runs with many pages and a ZIP, without their files."""
    created = Run.objects.bulk_create(
        Run(collection=collection, number=number, state=State.READY, file_count=pages + 1)
        for number in range(1, runs + 1)
    )
    ResultFile.objects.bulk_create(
        ResultFile(
            run=run,
            kind=FileKind.PAGE if position else FileKind.ARCHIVE,
            position=position,
            name=f"AU Laptops_{run.number}_{position}",
            key=f"{run.number}/{position}",
            size=1,
            modified=timezone.now(),
        )
        for run in created
        for position in range(pages + 1)
    )


def in_order(value: object) -> object:
    """Return the value with its objects as lists of pairs, to compare the order of keys."""
    match value:
        case dict():
            return [(key, in_order(inner)) for key, inner in value.items()]
        case list():
            return [in_order(inner) for inner in value]
    return value


def stored_keys() -> list[str]:
    """Return the keys of all files in the results storage, including unfinished ones."""
    storage = storages["results"]
    if isinstance(storage, BucketStorage):
        return sorted(_etags(storage))
    return sorted(str(path.relative_to(storage.path(""))) for path in _files(storage))


def stored_digests() -> dict[str, str]:
    """Return the digests of all files in the results storage by key; see stored_keys()."""
    storage = storages["results"]
    if isinstance(storage, BucketStorage):
        return _etags(storage)
    return {
        str(path.relative_to(storage.path(""))): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in _files(storage)
    }


def _etags(storage: BucketStorage) -> dict[str, str]:
    client, bucket = storage.connection.meta.client, storage.bucket_name
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{storage.location}/")
    uploads = client.list_multipart_uploads(Bucket=bucket, Prefix=f"{storage.location}/")
    found = [each for page in pages for each in page.get("Contents", ())] + uploads.get("Uploads", [])
    return {each["Key"].removeprefix(f"{storage.location}/"): each.get("ETag", "") for each in found}


def _files(storage: Storage) -> Iterator[Path]:
    return (path for path in Path(storage.path("")).rglob("*") if path.is_file())


def store_bytes(key: str, content: bytes) -> None:
    """Store bytes in the results storage."""
    with storages["results"].open(key, "wb") as file:
        file.write(content)


def abandon(writer: ResultSetWriter) -> None:
    """Leave a writer with an unfinished page, as a killed process does."""
    assert writer._file is not None
    growing = writer._archive._zip
    for file in (writer._file, growing.out if growing else None):
        if file and isinstance(file._file, DurableFile):
            assert file._file.file is not None
            file._file.file.close()
    writer._archive.discard_page()


def stored_bytes(file: ResultFile) -> bytes:
    """Return the stored bytes of a file."""
    with storages["results"].open(file.key) as stored:
        return bytes(stored.read())


def stored_records(run: Run) -> list[dict[str, Any]]:
    """Return all records of a run's pages, or of its category list, in order."""
    files = run.files.filter(kind__in=["page", "category_list"]).order_by("position")
    return [record for file in files for record in json.loads(stored_bytes(file))]
