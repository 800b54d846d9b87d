"""A MultiCartAPI account as a source."""

import logging
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import BinaryIO, Protocol

from django.utils import timezone

from collections_app.models import Collection, FileKind, NotConnected, ResultFile, Run
from collections_app.sources import sync
from collections_app.sources.base import (
    Body,
    Freshness,
    ResultNotFound,
    ResultSource,
    SourceBusy,
    SourceUnavailable,
)
from collections_app.sources.category_csv_body import CategoryCsvBody
from collections_app.sources.local import LocalSource
from collections_app.sources.missing_runs import MissingRuns
from collections_app.sources.upstream.connection import MAX_FILE_BYTES
from collections_app.sources.upstream.files import UpstreamBody, size_of
from collections_app.system import database, disk
from collections_app.system.background import Background, StillWorking

logger = logging.getLogger(__name__)

# How long to read an account's list. It continues in the background when no request waits for it.
_SECONDS = 30.0
# How many lists a process requests at once, in total and from one account: accounts that hang must not fill
# the process with threads, or block the lists of other accounts.
_MAX_AT_ONCE = 32
_MAX_PER_ACCOUNT = 8
# How long not to request a list again, and how long after a problem.
_REST = timedelta(seconds=3)
_REST_AFTER_A_PROBLEM = timedelta(seconds=15)

_SLOW = "MultiCartAPI is slow to respond."
_BROKEN = "The update failed because of an internal error, which was logged. Try again later."


class _Work(Protocol):
    """A function of sync: refresh or load_older."""

    def __call__(self, collection: Collection, *, seconds: float) -> None: ...


class AccountSource:
    """Results at an account. Rows are copies of its list; bytes are requested when they are read."""

    def refresh(self, collection: Collection, *, deadline: timedelta) -> Freshness:
        """Load the newest runs, unless this was done within the last few seconds."""
        known = _known(collection)
        # If neither runs nor a problem are known, another process has just started the first request.
        if (known.as_of or known.problem) and _must_wait(collection):
            return known
        return _done_within(deadline, _refreshes, _refresh, collection)

    def load_older(self, collection: Collection, *, deadline: timedelta) -> Freshness:
        """Load the next older runs, if the account has more."""
        failed = collection.refresh_problem and _must_wait(collection)
        if failed or not collection.has_older_runs:
            return _known(collection)
        return _done_within(deadline, _loads_older, sync.load_older, collection)

    def size(self, file: ResultFile) -> int:
        """Return the file's size. It is requested only once, because a ready file never changes."""
        known = file.size
        if known is None or known > MAX_FILE_BYTES:
            database.release_connections()  # it may take long
            size = self._csv(file).size if _is_converted(file) else size_of(file)
            with disk.best_effort(f"the size of file {file.pk}"):
                ResultFile.objects.filter(pk=file.pk, size=known).update(size=size)
            file.size = known = size
        return known

    def body(self, file: ResultFile) -> Body:
        """Return the file at the account, or the CSV created from it."""
        return self._csv(file) if _is_converted(file) else UpstreamBody(file)

    def _csv(self, file: ResultFile) -> CategoryCsvBody:
        return CategoryCsvBody(file, lambda: self._open_list(file.run))

    def _open_list(self, run: Run) -> BinaryIO:
        full_list = run.files.filter(kind=FileKind.CATEGORY_LIST).first()
        if full_list is None:
            raise ResultNotFound("This run has no category list to convert to CSV.")
        source: ResultSource = LocalSource() if full_list.is_stored else self
        return source.body(full_list).open(0, source.size(full_list))


def _is_converted(file: ResultFile) -> bool:
    return file.kind == FileKind.CATEGORY_CSV and not file.remote_name


def _must_wait(collection: Collection) -> bool:
    """Return whether to leave the account alone: it asked us to wait, or was tried a moment ago."""
    if collection.retry_at is not None:
        return collection.retry_after is not None
    tried_at = collection.refresh_tried_at
    rest = _REST_AFTER_A_PROBLEM if collection.refresh_problem else _REST
    return tried_at is not None and timezone.now() - tried_at < rest


def _known(collection: Collection) -> Freshness:
    """Return the freshness that the collection's row records."""
    return Freshness(
        as_of=collection.refreshed_at,
        problem=collection.refresh_problem,
        has_older=collection.has_older_runs,
        retry_after=collection.retry_after,
        unlisted=MissingRuns.of(collection).sentences(),
    )


# --- in the background --------------------------------------------------------------------------


_refreshes = Background("list-runs", most=_MAX_AT_ONCE, most_per_owner=_MAX_PER_ACCOUNT)
_loads_older = Background("list-runs", most=_MAX_AT_ONCE, most_per_owner=_MAX_PER_ACCOUNT)
_rereads = Background("reread-runs", most=_MAX_AT_ONCE, most_per_owner=_MAX_PER_ACCOUNT)


def _done_within(
    deadline: timedelta, background: Background, work: _Work, collection: Collection
) -> Freshness:
    """Do the work, or join a request that is already doing it, and return the resulting freshness.

    Wait no longer than the deadline, counted from the start of the work. The work itself continues.
    """
    left = deadline.total_seconds() - background.age(collection.pk)
    try:
        background.done_within(
            max(0, left), collection.pk, lambda: _run(work, collection.pk), owner=collection.account_id
        )
    except StillWorking:
        return replace(_known(collection), problem=_SLOW, is_late=True)
    collection.refresh_from_db(
        fields=[
            "refreshed_at",
            "refresh_tried_at",
            "retry_at",
            "refresh_problem",
            "failing_since",
            "has_older_runs",
            "unlisted",
        ]
    )
    return _known(collection)


def _refresh(collection: Collection, *, seconds: float) -> None:
    """Load the newest runs, and then read a part of the known runs again, which no request waits for."""
    sync.refresh(collection, seconds=seconds)
    if not collection.refresh_problem:
        with suppress(StillWorking):
            _rereads.done_within(
                0, collection.pk, lambda: _run(_reread, collection.pk), owner=collection.account_id
            )


def _reread(collection: Collection, *, seconds: float) -> None:
    try:
        sync.reread(collection, seconds=seconds)
    except SourceBusy as error:
        sync.note_problem(collection, str(error), retry_after=error.retry_after)
    except (NotConnected, SourceUnavailable) as error:
        # The newest runs are up to date. The next refresh tries this part again.
        logger.info("upstream reread collection=%s problem=%s", collection.pk, error)


def _run(work: _Work, collection_id: int) -> None:
    try:
        # Use another instance, because waiting requests use theirs.
        work(Collection.objects.select_related("account").get(pk=collection_id), seconds=_SECONDS)
    except disk.DiskFull as error:
        logger.warning("upstream rows collection=%s problem=%s", collection_id, error)
    except Exception:
        logger.exception("upstream rows collection=%s problem=unexpected", collection_id)
        with disk.best_effort(f"the problem of collection {collection_id}"):
            sync.note_problem(Collection(pk=collection_id), _BROKEN)
