"""A run's records as a table shows them, and where their bytes are."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from collections_app.models import ResultFile, Run

# A record that is no object is shown as one with this key.
VALUE = "value"


@dataclass(frozen=True)
class Record:
    """A record and its place in the run, from 1 on."""

    number: int
    fields: Mapping[str, Any]
    is_too_large: bool = False  # to be shown: there are no fields then


def fields_of(value: object) -> dict[str, Any]:
    """Return what a record's columns hold; a value that is no object is the only one.

    Their names can be sent: JSON can hold half a surrogate pair also in a key.
    """
    if not isinstance(value, dict):
        return {VALUE: value}
    try:
        "".join(value).encode()
    except UnicodeEncodeError:
        return {sendable(key): each for key, each in value.items()}
    return value


def sendable(text: str) -> str:
    """Return a text without half surrogate pairs, which JSON can hold and UTF-8 can't: "?" in their place."""
    return text.encode("utf-8", "replace").decode()


def columns_of(records: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return every key, in the order of first appearance."""
    columns: dict[str, None] = {}
    for record in records:
        columns.update(dict.fromkeys(record))
    return list(columns)


def files_of_records(run: Run) -> list[ResultFile]:
    """Return the files of a ready run that hold its records, in order. Needs with_files()."""
    files = run.record_files()
    if files and not all(file.is_stored for file in files):
        # Needed in the background, where an open transaction's rows can't be seen.
        _ = run.collection.account
    return files


def identity(*files: ResultFile) -> str:
    """Return a name for what these files hold: no other files, of anybody's, have the same."""
    parts = [(file.run.collection_id, file.run.number, file.pk, file.modified.isoformat()) for file in files]
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:32]
