"""Share the CPU among people, so that one person's questions don't keep others waiting.

Each process has its own counters.
"""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from collections_app.system.database import release_connections

# How many questions one person may have running or waiting. A page asks two, so this allows a few tabs.
MOST_OF_A_PERSON = 8
RETRY_AFTER_SECONDS = 5

# The person who sent the current request, or None for background work.
_asker: ContextVar[int | None] = ContextVar("asker", default=None)


class TooManyQuestions(Exception):
    """A person asks too many questions at once. The message is for them. Answered with 429."""


@contextmanager
def asked_by(person: int) -> Iterator[None]:
    """Count questions within the block against a person's share."""
    token = _asker.set(person)
    try:
        yield
    finally:
        _asker.reset(token)


def asker() -> int | None:
    """Return the person who sent the current request, or None in the background."""
    return _asker.get()


class Turns:
    """A limited number of turns at once, with at most one per person."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._changed = threading.Condition()
        self._running: Counter[int | None] = Counter()
        self._asked: Counter[int | None] = Counter()

    @contextmanager
    def turn(self, *, seconds: float) -> Iterator[bool]:
        """Wait for a turn and yield whether there was one in time. Raises TooManyQuestions."""
        person = asker()
        self._begin(person)
        try:
            has_turn = self._wait(person, seconds)
            try:
                yield has_turn
            finally:
                self._leave(self._running, person, has_turn)
        finally:
            self._leave(self._asked, person, True)

    def _begin(self, person: int | None) -> None:
        with self._changed:
            if person is not None and self._asked[person] >= MOST_OF_A_PERSON:
                raise TooManyQuestions(
                    f"You have {MOST_OF_A_PERSON} searches running, the maximum per person. "
                    "Wait for one to finish."
                )
            self._asked[person] += 1

    def _wait(self, person: int | None, seconds: float) -> bool:
        until = time.monotonic() + seconds
        if self._try_to_take(person):
            return True
        release_connections()
        with self._changed:
            return self._changed.wait_for(lambda: self._try_to_take(person), until - time.monotonic())

    def _try_to_take(self, person: int | None) -> bool:
        with self._changed:  # the lock of a Condition is reentrant
            has_own = person is not None and self._running[person] > 0
            if has_own or self._running.total() >= self._most:
                return False
            self._running[person] += 1
            return True

    def _leave(self, where: Counter[int | None], person: int | None, count: int) -> None:
        with self._changed:
            where[person] -= count
            if not where[person]:
                del where[person]
            self._changed.notify_all()
