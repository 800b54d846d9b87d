"""Background work, which continues in its own thread even if no one is waiting for it."""

import logging
import os
import threading
import time
from collections.abc import Callable, Hashable
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from typing import Any, TypeVar

from django.db import connections

from collections_app.system.database import release_connections

logger = logging.getLogger(__name__)

T = TypeVar("T")

# A failure is remembered for this long, because a page that polls must not start the work each time.
_REST_SECONDS = 15.0
# Pages poll every second. If none has polled for this long, no one is waiting.
_WANTED_SECONDS = 120.0


class StillWorking(Exception):
    """The work is still running, or can't start until other work has finished."""


@dataclass
class _Job:
    """Work in progress, or work that failed recently."""

    owner: Hashable
    started_at: float
    requested_at: float  # the most recent time, by anyone
    future: "Future[Any]" = field(default_factory=Future)
    failed_at: float | None = None


class Background:
    """Work of one kind in this process: one job per key, and a limited number of jobs at a time.

    An owner, for example a user, can have `most_per_owner` of them, which is half of them by default.
    """

    def __init__(self, name: str, *, most: int, most_per_owner: int | None = None) -> None:
        self._name = name
        self._most = most
        self._most_per_owner = most_per_owner or max(1, most // 2)
        self.clear()
        # A forked process doesn't inherit the threads.
        os.register_at_fork(after_in_child=self.clear)

    def clear(self) -> None:
        """Forget all jobs."""
        self._lock = threading.Lock()
        self._jobs: dict[Hashable, _Job] = {}

    def done_within(
        self, seconds: float, key: Hashable, work: Callable[[], T], *, owner: Hashable = None
    ) -> T:
        """Return what the work returns. Start it unless a job with this key is running.

        Raises what the work raises, and StillWorking if it takes longer than `seconds` or can't start yet.
        """
        future = self._join(key, work, owner)
        if not future.done():
            release_connections()
            wait([future], timeout=seconds)
        if not future.done():
            raise StillWorking
        done: T = future.result()
        return done

    def is_wanted(self, key: Hashable) -> bool:
        """Return whether anyone has requested the work recently."""
        job = self._jobs.get(key)
        return job is not None and time.monotonic() - job.requested_at < _WANTED_SECONDS

    def age(self, key: Hashable) -> float:
        """Return how many seconds ago the work started, or 0 if it isn't running."""
        job = self._jobs.get(key)
        return time.monotonic() - job.started_at if job else 0.0

    def _join(self, key: Hashable, work: Callable[[], T], owner: Hashable) -> "Future[T]":
        with self._lock:
            self._forget_old_failures()
            if job := self._jobs.get(key):
                job.requested_at = time.monotonic()
                return job.future
            self._check_limits(owner)
            now = time.monotonic()
            job = self._jobs[key] = _Job(owner, started_at=now, requested_at=now)
        try:
            in_background(lambda: self._run(key, job, work), name=self._name)
        except RuntimeError:
            logger.exception("background=%s problem=no thread", self._name)
            self._forget(key)
            raise StillWorking from None
        return job.future

    def _check_limits(self, owner: Hashable) -> None:
        """Raise StillWorking if too many jobs are running, in total or for this owner."""
        owners = [job.owner for job in self._jobs.values() if not job.future.done()]
        has_share = owner is not None and owners.count(owner) >= self._most_per_owner
        if has_share or len(owners) >= self._most:
            raise StillWorking

    def _run(self, key: Hashable, job: _Job, work: Callable[[], object]) -> None:
        try:
            result = work()
        except FileNotFoundError as error:
            # A file that was deleted in the meantime can be created again at once.
            self._forget(key)
            job.future.set_exception(error)
        except BaseException as error:  # noqa: BLE001  # the callers that wait get it
            job.failed_at = time.monotonic()
            job.future.set_exception(error)
        else:
            self._forget(key)
            job.future.set_result(result)

    def _forget(self, key: Hashable) -> None:
        with self._lock:
            self._jobs.pop(key, None)

    def _forget_old_failures(self) -> None:
        now = time.monotonic()
        self._jobs = {
            key: job
            for key, job in self._jobs.items()
            if job.failed_at is None or now - job.failed_at <= _REST_SECONDS
        }


def in_background(work: Callable[[], None], *, name: str) -> None:
    """Run the work in a new thread. Raises RuntimeError if the system can't start one."""

    def run() -> None:
        try:
            work()
        finally:
            connections.close_all()

    # The process can end without waiting for it: unfinished work is started again when it is next needed.
    threading.Thread(target=run, name=name, daemon=True).start()
