"""Where results come from: one protocol (base), one implementation per place."""

from collections_app.models import Collection, ResultFile
from collections_app.sources.base import (
    Deliverable,
    ResultNotFound,
    ResultSource,
    SourceTimeout,
    SourceUnavailable,
)
from collections_app.sources.local import LocalSource

__all__ = [
    "Deliverable",
    "ResultNotFound",
    "ResultSource",
    "SourceTimeout",
    "SourceUnavailable",
    "deliverable",
    "source_of",
]


def source_of(collection: Collection) -> ResultSource:
    """Return the source that a collection's results come from."""
    return LocalSource()


def deliverable(file: ResultFile) -> Deliverable:
    """Return a ready run's file as something that can be delivered."""
    return Deliverable(
        name=file.name,
        size=file.size,
        etag=file.etag,
        modified=file.modified,
        body=source_of(file.run.collection).body(file),
    )
