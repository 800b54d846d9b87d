"""The manifest of a run: every file with its size, SHA-256 and number of records.

It is generated from the database for each request, so even the oldest run has one.
"""

import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime

from collections_app.models import FileKind, ResultFile, Run
from collections_app.sources.base import BytesBody, Deliverable

NAME = "manifest.json"

_ORDER = [FileKind.PAGE, FileKind.CATEGORY_LIST, FileKind.CATEGORY_CSV, FileKind.ARCHIVE]

AddressOf = Callable[[ResultFile], str]  # the absolute URL of a file


def manifest(run: Run, address_of: AddressOf) -> Deliverable:
    """Return the manifest of a ready run. Unknown facts about files at an account are null."""
    files = files_in_order(run)
    content = json.dumps(_facts(run, files, address_of), ensure_ascii=False, indent=1).encode() + b"\n"
    sha256 = hashlib.sha256(content).hexdigest()
    return Deliverable(
        name=NAME,
        size=len(content),
        etag=f'"{sha256[:32]}"',
        modified=max([run.updated_at, *(file.modified for file in files)]),
        body=BytesBody(content),
        sha256=sha256,
    )


def files_in_order(run: Run) -> list[ResultFile]:
    """Return the files of a run: the pages or list, then those derived from them.

    Raises what all_files() raises.
    """
    return sorted(run.all_files(), key=lambda file: _ORDER.index(FileKind(file.kind)))


def _facts(run: Run, files: list[ResultFile], address_of: AddressOf) -> dict[str, object]:
    return {
        "collection": run.collection_id,
        "collection_name": run.collection.name,
        "run": run.number,
        "state": run.status.value,
        "created_at": _time(run.created_at),
        "updated_at": _time(run.updated_at),
        "extracted": run.extracted,
        "total": run.total,
        "files": [
            {
                "name": file.name,
                "kind": file.kind,
                "size": file.size,
                "sha256": file.sha256 or None,
                "records": file.records,
                "url": address_of(file),
            }
            for file in files
        ],
    }


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
