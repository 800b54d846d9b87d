"""Where results come from: one protocol (base), one implementation per place."""

from structlog.contextvars import bind_contextvars

from collections_app.models import Collection, ResultFile, Run
from collections_app.sources.account import AccountSource
from collections_app.sources.base import (
    LISTING_DEADLINE,
    Deliverable,
    FileUnavailable,
    Freshness,
    NotTheFile,
    ResultNotFound,
    ResultSource,
    SourceBusy,
    SourceTimeout,
    SourceUnavailable,
)
from collections_app.sources.local import REPLACEMENT_HINT, LocalSource

__all__ = [
    "LISTING_DEADLINE",
    "REPLACEMENT_HINT",
    "Deliverable",
    "FileUnavailable",
    "Freshness",
    "NotTheFile",
    "ResultNotFound",
    "ResultSource",
    "SourceBusy",
    "SourceTimeout",
    "SourceUnavailable",
    "deliverable",
    "latest_run",
    "source_of",
]


def source_of(collection: Collection) -> ResultSource:
    """Return the source that tells which runs a collection has."""
    return AccountSource() if collection.is_remote else LocalSource()


def _holder_of(file: ResultFile) -> ResultSource:
    # A run of an account's that was copied into our storage is served from there.
    return LocalSource() if file.is_stored else source_of(file.run.collection)


def deliverable(file: ResultFile) -> Deliverable:
    """Return a ready run's file as something that can be delivered.

    Raises ResultNotFound, SourceUnavailable, SourceTimeout if its size isn't known yet, and NotTheFile if a
    copy is known to be damaged.
    """
    bind_contextvars(run=file.run.number, file=file.pk)
    source = _holder_of(file)
    size = source.size(file)
    return Deliverable(
        name=file.name,
        size=size,
        etag=file.etag,
        modified=file.modified,
        body=source.body(file),
        sha256=file.sha256,
    )


def latest_run(collection: Collection) -> Run:
    """Return the newest completed run, asking the source first whether there is a newer one.

    Raises NotDownloadable where there is none, SourceUnavailable and SourceTimeout where nobody knows.
    """
    freshness = source_of(collection).refresh(collection, deadline=LISTING_DEADLINE)
    if freshness.error:
        raise freshness.error
    return collection.runs.latest_ready()
