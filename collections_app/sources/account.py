"""A MultiCartAPI account as a source."""

import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import BinaryIO, Protocol

from django.db import connections
from django.utils import timezone

from collections_app.models import Collection, FileKind, ResultFile, Run
from collections_app.sources import rows
from collections_app.sources.base import Body, Freshness, ResultNotFound, ResultSource
from collections_app.sources.converted import CategoryCsvBody
from collections_app.sources.http import MOST_BYTES
from collections_app.sources.local import LocalSource
from collections_app.sources.unlisted import Unlisted
from collections_app.sources.upstream import UpstreamBody, size_of
from collections_app.system import database, disk

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
    """What brings rows: rows.bring_up_to_date and rows.reach_back."""

    def __call__(self, collection: Collection, *, seconds: float) -> None: ...


class AccountSource:
    """Results at an account: rows are copies of what it lists, bytes are asked of it when they are read."""

    def refresh(self, collection: Collection, *, deadline: timedelta) -> Freshness:
        """Bring the newest runs; who asks within a few seconds of another gets what that one brought."""
        known = _known(collection)
        # Where neither runs nor a problem are known, another process has only just begun to ask.
        if (known.as_of or known.problem) and _is_resting(collection):
            return known
        return _done_within(deadline, _refreshes, rows.bring_up_to_date, collection)

    def reach_back(self, collection: Collection, *, deadline: timedelta) -> Freshness:
        """Bring the next older runs, where the account has more than are known."""
        failed = collection.refresh_problem and _is_resting(collection)
        if failed or not collection.has_older_runs:
            return _known(collection)
        return _done_within(deadline, _reaches_back, rows.reach_back, collection)

    def size(self, file: ResultFile) -> int:
        """Return the file's size, asking the account once: a ready file never changes."""
        known = file.size
        if known is None or known > MOST_BYTES:
            database.give_back()  # it may take long
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
        full_list.run = run
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


class _UnderWay:
    """A list that is being asked for, and who wants to know when it is done."""

    def __init__(self, account_id: int | None) -> None:
        self.account_id = account_id
        self.since = time.monotonic()
        self.done = threading.Event()


class _Register:
    """What is under way in this process: one piece of work at a time for a collection."""

    def __init__(self) -> None:
        self.clear()
        # Threads don't come along into a forked process.
        os.register_at_fork(after_in_child=self.clear)

    def clear(self) -> None:
        """Forget everything."""
        self._lock = threading.Lock()
        self._by_collection: dict[int, _UnderWay] = {}

    def join(self, collection: Collection) -> tuple[_UnderWay | None, bool]:
        """Return the work under way for a collection, and whether it is the caller who has to start it.

        None where too much is under way already.
        """
        with self._lock:
            under_way = self._by_collection.get(collection.pk)
            if under_way or not self._has_room(collection.account_id):
                return under_way, False
            self._by_collection[collection.pk] = _UnderWay(collection.account_id)
            return self._by_collection[collection.pk], True

    def _has_room(self, account_id: int | None) -> bool:
        of_account = sum(each.account_id == account_id for each in self._by_collection.values())
        return len(self._by_collection) < _MOST_AT_ONCE and of_account < _MOST_OF_AN_ACCOUNT

    def leave(self, collection_id: int) -> None:
        """End the work for a collection, and tell who waits for it."""
        with self._lock:
            self._by_collection.pop(collection_id).done.set()


_refreshes = _Register()
_reaches_back = _Register()


def _done_within(deadline: timedelta, register: _Register, work: _Work, collection: Collection) -> Freshness:
    """Do the work, or join who does it already, and return what it brought.

    Waits until the deadline after its start at most; the work itself goes on.
    """
    under_way, is_new = register.join(collection)
    if is_new:
        _start(register, work, collection.pk)
    database.give_back()  # for those who don't wait
    left = deadline.total_seconds() - (time.monotonic() - under_way.since) if under_way else 0
    if under_way is None or not under_way.done.wait(max(0, left)):
        known = _known(collection)
        return replace(known, problem=_SLOW, is_late=True)
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


def _start(register: _Register, work: _Work, collection_id: int) -> None:
    try:
        _in_background(lambda: _bring(register, work, collection_id))
    except RuntimeError:
        logger.exception("upstream rows collection=%s problem=no thread", collection_id)
        register.leave(collection_id)


def _in_background(work: Callable[[], None]) -> None:
    def worked() -> None:
        try:
            work()
        finally:
            connections.close_all()

    # It doesn't keep the process from ending: what isn't written by then is listed again.
    threading.Thread(target=worked, name="list-runs", daemon=True).start()


def _bring(register: _Register, work: _Work, collection_id: int) -> None:
    try:
        # A row of its own: whoever waits goes on using theirs.
        work(Collection.objects.select_related("account").get(pk=collection_id), seconds=_SECONDS)
    except disk.DiskFull as error:
        logger.warning("upstream rows collection=%s problem=%s", collection_id, error)
    except Exception:
        logger.exception("upstream rows collection=%s problem=unexpected", collection_id)
        rows.note_problem(Collection(pk=collection_id), _BROKEN)
    finally:
        register.leave(collection_id)
