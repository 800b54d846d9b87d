"""Where results come from: our own storage (local), or an account at MultiCartAPI (account, upstream)."""

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
    """Return the source of a collection's runs."""
    return AccountSource() if collection.is_remote else LocalSource()


def _source_of_file(file: ResultFile) -> ResultSource:
    # Copies of an account's files are served from our storage.
    return LocalSource() if file.is_stored else source_of(file.run.collection)


def deliverable(file: ResultFile) -> Deliverable:
    """Return a ready run's file with everything needed to deliver it.

    Raises ResultNotFound, SourceUnavailable and SourceTimeout if its size has to be requested, and NotTheFile
    if it is known to be damaged.
    """
    bind_contextvars(run=file.run.number, file=file.pk)
    source = _source_of_file(file)
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
    """Refresh the collection, and return its newest completed run.

    Raises NotDownloadable if it has no such run, SourceUnavailable and SourceTimeout if that isn't known.
    """
    freshness = source_of(collection).refresh(collection, deadline=LISTING_DEADLINE)
    if freshness.error:
        raise freshness.error
    return collection.runs.latest_ready()
