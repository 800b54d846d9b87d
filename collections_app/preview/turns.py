"""Turns at the machine's cores, shared so that no one person's questions keep others waiting.

Each process counts for itself.
"""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from collections_app.database import give_back

# How many questions of one person are answered or wait at once. A page asks two, so this is a few tabs.
MOST_OF_A_PERSON = 8
RETRY_AFTER_SECONDS = 5

# Whose request this is. Work in the background is nobody's.
_asker: ContextVar[int | None] = ContextVar("asker", default=None)


class TooManyQuestions(Exception):
    """A person asks too much at once; the message says so in plain sentences. Answered with 429."""


@contextmanager
def asked_by(person: int) -> Iterator[None]:
    """Count what is asked within against a person's share."""
    token = _asker.set(person)
    try:
        yield
    finally:
        _asker.reset(token)


def asker() -> int | None:
    """Return the person whose request this is; None in the background."""
    return _asker.get()


class Turns:
    """A few turns at once, of which one person has one."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._changed = threading.Condition()
        self._running: Counter[int | None] = Counter()
        self._asked: Counter[int | None] = Counter()

    @contextmanager
    def turn(self, *, seconds: float) -> Iterator[bool]:
        """Wait for a turn and give whether it came in time. Raises TooManyQuestions."""
        person = asker()
        self._begin(person)
        try:
            has_turn = self._waited(person, seconds)
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

    def _waited(self, person: int | None, seconds: float) -> bool:
        until = time.monotonic() + seconds
        if self._took(person):
            return True
        give_back()
        with self._changed:
            return self._changed.wait_for(lambda: self._took(person), until - time.monotonic())

    def _took(self, person: int | None) -> bool:
        with self._changed:  # a condition's lock can be taken again by who has it
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
