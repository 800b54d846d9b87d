"""Share the CPU among users, so that one user's queries don't delay those of others.

Each process has its own counters.
"""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from collections_app.system.database import release_connections

# How many queries one user can have running or waiting. A page sends two, so this allows a few tabs.
MOST_PER_USER = 8
RETRY_AFTER_SECONDS = 5

# The user who sent the current request, or None for background work.
_user_id: ContextVar[int | None] = ContextVar("user_id", default=None)


class TooManyQueries(Exception):
    """A user has too many queries running. The message is for users. The response has the status 429."""


@contextmanager
def queries_of(user_id: int) -> Iterator[None]:
    """Count queries within the block towards a user's limits."""
    token = _user_id.set(user_id)
    try:
        yield
    finally:
        _user_id.reset(token)


def current_user_id() -> int | None:
    """Return the user who sent the current request, or None in the background."""
    return _user_id.get()


class FairSemaphore:
    """A semaphore that each user can hold only once."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._changed = threading.Condition()
        self._running: Counter[int | None] = Counter()
        self._entered: Counter[int | None] = Counter()  # waiting or running

    @contextmanager
    def acquired(self, *, seconds: float) -> Iterator[bool]:
        """Wait for the semaphore, and yield whether it was acquired in time. Raises TooManyQueries."""
        user_id = current_user_id()
        self._enter(user_id)
        try:
            is_acquired = self._acquire(user_id, seconds)
            try:
                yield is_acquired
            finally:
                self._subtract(self._running, user_id, is_acquired)
        finally:
            self._subtract(self._entered, user_id, 1)

    def _enter(self, user_id: int | None) -> None:
        with self._changed:
            if user_id is not None and self._entered[user_id] >= MOST_PER_USER:
                raise TooManyQueries(
                    f"You have {MOST_PER_USER} searches running, the maximum per person. "
                    "Wait for one to finish."
                )
            self._entered[user_id] += 1

    def _acquire(self, user_id: int | None, seconds: float) -> bool:
        until = time.monotonic() + seconds
        if self._try_to_acquire(user_id):
            return True
        release_connections()
        with self._changed:
            return self._changed.wait_for(lambda: self._try_to_acquire(user_id), until - time.monotonic())

    def _try_to_acquire(self, user_id: int | None) -> bool:
        with self._changed:  # the lock of a Condition is reentrant
            has_one = user_id is not None and self._running[user_id] > 0
            if has_one or self._running.total() >= self._most:
                return False
            self._running[user_id] += 1
            return True

    def _subtract(self, counter: Counter[int | None], user_id: int | None, count: int) -> None:
        with self._changed:
            counter[user_id] -= count
            if not counter[user_id]:
                del counter[user_id]
            self._changed.notify_all()
