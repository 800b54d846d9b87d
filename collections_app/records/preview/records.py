"""The records of a run as the preview shows them, and the files that contain them."""

import hashlib
from dataclasses import dataclass
from typing import Any

from collections_app.models import ResultFile, Run
from collections_app.records.formats.flatten import utf8

# A record that isn't an object is shown as an object with this key.
VALUE = "value"


@dataclass(frozen=True)
class Record:
    """A record and its number in the run, from 1."""

    number: int
    fields: dict[str, Any]
    is_too_large: bool = False  # then `fields` is empty


def fields_of(value: object) -> dict[str, Any]:
    """Return the fields of a record by their names, in which lone surrogates are replaced."""
    if not isinstance(value, dict):
        return {VALUE: value}
    try:
        "".join(value).encode()
    except UnicodeEncodeError:
        return {utf8(key): each for key, each in value.items()}
    return value


def files_of_records(run: Run) -> list[ResultFile]:
    """Return the files that contain the records of a ready run, in order, ready for use in a thread."""
    files = run.record_files()
    if files and not all(file.is_stored for file in files):
        # A background thread can't see the rows of an open transaction.
        _ = run.collection.account
    return files


def cache_key(*files: ResultFile) -> str:
    """Return a key for the content of these files, which is unique across all teams."""
    parts = [(file.run.collection_id, file.run.number, file.pk, file.modified.isoformat()) for file in files]
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:32]
