"""A MultiCartAPI account as a source."""

import logging
from dataclasses import replace
from datetime import timedelta
from typing import BinaryIO, Protocol

from django.utils import timezone

from collections_app.models import Collection, FileKind, ResultFile, Run
from collections_app.sources import rows
from collections_app.sources.base import Body, Freshness, ResultNotFound, ResultSource
from collections_app.sources.converted import CategoryCsvBody
from collections_app.sources.http import MAX_FILE_BYTES
from collections_app.sources.local import LocalSource
from collections_app.sources.unlisted import Unlisted
from collections_app.sources.upstream import UpstreamBody, size_of
from collections_app.system import database, disk
from collections_app.system.background import Background, StillWorking

logger = logging.getLogger(__name__)

# How long an account is listed at most. Nobody waits for that: it goes on in the background.
_SECONDS = 30.0
# How many lists a process requests at once, in total and from one account: accounts that hang must not fill
# the process with threads, or block the lists of other accounts.
_MOST_AT_ONCE = 32
_MOST_OF_AN_ACCOUNT = 8
# What was asked for a moment ago isn't asked for again; an account that fails is left alone for longer.
_REST = timedelta(seconds=3)
_REST_AFTER_A_PROBLEM = timedelta(seconds=15)

_SLOW = "MultiCartAPI is slow to answer."
_BROKEN = "Something went wrong on our side while asking MultiCartAPI. It was logged; try again later."


class _Work(Protocol):
    """What brings rows: rows.refresh and rows.load_older."""

    def __call__(self, collection: Collection, *, seconds: float) -> None: ...


class AccountSource:
    """Results at an account: rows are copies of what it lists, bytes are asked of it when they are read."""

    def refresh(self, collection: Collection, *, deadline: timedelta) -> Freshness:
        """Bring the newest runs; who asks within a few seconds of another gets what that one brought."""
        known = _known(collection)
        # Where neither runs nor a problem are known, another process has only just begun to ask.
        if (known.as_of or known.problem) and _is_resting(collection):
            return known
        return _done_within(deadline, _refreshes, rows.refresh, collection)

    def load_older(self, collection: Collection, *, deadline: timedelta) -> Freshness:
        """Bring the next older runs, where the account has more than are known."""
        failed = collection.refresh_problem and _is_resting(collection)
        if failed or not collection.has_older_runs:
            return _known(collection)
        return _done_within(deadline, _loads_older, rows.load_older, collection)

    def size(self, file: ResultFile) -> int:
        """Return the file's size, asking the account once: a ready file never changes."""
        known = file.size
        if known is None or known > MAX_FILE_BYTES:
            database.release_connections()  # it may take long
            size = self._csv(file).size if _is_made(file) else size_of(file)
            with disk.best_effort(f"the size of file {file.pk}"):
                ResultFile.objects.filter(pk=file.pk, size=known).update(size=size)
            file.size = known = size
        return known

    def body(self, file: ResultFile) -> Body:
        """Return the bytes at the account, or what is made from them."""
        return self._csv(file) if _is_made(file) else UpstreamBody(file)

    def _csv(self, file: ResultFile) -> CategoryCsvBody:
        return CategoryCsvBody(file, lambda: self._open_list(file.run))

    def _open_list(self, run: Run) -> BinaryIO:
        full_list = run.files.filter(kind=FileKind.CATEGORY_LIST).first()
        if full_list is None:
            raise ResultNotFound("The run has no list that a CSV could be made of.")
        source: ResultSource = LocalSource() if full_list.is_stored else self
        return source.body(full_list).open(0, source.size(full_list))


def _is_made(file: ResultFile) -> bool:
    return file.kind == FileKind.CATEGORY_CSV and not file.remote_name


def _is_resting(collection: Collection) -> bool:
    """Return whether to leave the account alone: it asked us to wait, or was tried a moment ago."""
    if collection.retry_at is not None:
        return collection.retry_after is not None
    tried_at = collection.refresh_tried_at
    rest = _REST_AFTER_A_PROBLEM if collection.refresh_problem else _REST
    return tried_at is not None and timezone.now() - tried_at < rest


def _known(collection: Collection) -> Freshness:
    """Return what the collection's row says."""
    return Freshness(
        as_of=collection.refreshed_at,
        problem=collection.refresh_problem,
        has_older=collection.has_older_runs,
        retry_after=collection.retry_after,
        unlisted=Unlisted.of(collection).sentences(),
    )


# --- in the background --------------------------------------------------------------------------


_refreshes = Background("list-runs", most=_MOST_AT_ONCE, most_per_owner=_MOST_OF_AN_ACCOUNT)
_loads_older = Background("list-runs", most=_MOST_AT_ONCE, most_per_owner=_MOST_OF_AN_ACCOUNT)


def _done_within(
    deadline: timedelta, background: Background, work: _Work, collection: Collection
) -> Freshness:
    """Do the work, or join a request that does it already, and return what the rows say then.

    Wait until the deadline after the start of the work at most. The work itself continues.
    """
    left = deadline.total_seconds() - background.age(collection.pk)
    try:
        background.done_within(
            max(0, left), collection.pk, lambda: _bring(work, collection.pk), owner=collection.account_id
        )
    except StillWorking:
        return replace(_known(collection), problem=_SLOW, is_late=True)
    collection.refresh_from_db(
        fields=[
            "refreshed_at",
            "refresh_tried_at",
            "retry_at",
            "refresh_problem",
            "has_older_runs",
            "unlisted",
        ]
    )
    return _known(collection)


def _bring(work: _Work, collection_id: int) -> None:
    try:
        # A row of its own: the requests that wait go on using theirs.
        work(Collection.objects.select_related("account").get(pk=collection_id), seconds=_SECONDS)
    except disk.DiskFull as error:
        logger.warning("upstream rows collection=%s problem=%s", collection_id, error)
    except Exception:
        logger.exception("upstream rows collection=%s problem=unexpected", collection_id)
        with disk.best_effort(f"the problem of collection {collection_id}"):
            rows.note_problem(Collection(pk=collection_id), _BROKEN)
