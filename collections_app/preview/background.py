"""Work that goes on when nobody waits for it any more: once for each name, and a few at a time."""

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import Any, TypeVar

from django.db import connections

from collections_app.database import give_back
from collections_app.preview.turns import asker

T = TypeVar("T")

# Who asks within so many seconds of a failure gets the same one: a page that asks again and again must not
# start the work each time.
_REST_SECONDS = 15.0
# Pages ask every second. If none has asked for this long, no one is waiting.
_WANTED_SECONDS = 120.0


class StillWorking(Exception):
    """The work is under way, or waits for its turn."""


class Background:
    """Pieces of work of this process, each under a name."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.clear()
        # Threads don't come along into a forked process.
        os.register_at_fork(after_in_child=self.clear)

    def clear(self) -> None:
        """Forget everything."""
        self._lock = threading.Lock()
        self._futures: dict[str, Future[Any]] = {}
        self._askers: dict[str, int | None] = {}  # by the name of work in progress
        self._failed_at: dict[str, float] = {}
        self._asked_at: dict[str, float] = {}

    def done_within(self, seconds: float, name: str, work: Callable[[], T]) -> T:
        """Return what the work of that name returns, starting it where it isn't under way.

        Raises what it raises, and StillWorking where it takes longer than that.
        """
        future = self._joined(name, work)
        if not future.done():
            give_back()
            wait([future], timeout=seconds)
        if not future.done():
            raise StillWorking
        done: T = future.result()
        return done

    def is_wanted(self, name: str) -> bool:
        """Return whether anyone has asked for the work of that name recently."""
        return time.monotonic() - self._asked_at.get(name, float("-inf")) < _WANTED_SECONDS

    def _joined(self, name: str, work: Callable[[], T]) -> "Future[T]":
        with self._lock:
            self._forget_old_failures()
            if name in self._futures:
                self._asked_at[name] = time.monotonic()
                return self._futures[name]
            self._check_room()
            future = self._futures[name] = Future()
            self._asked_at[name] = time.monotonic()
            self._askers[name] = asker()
        try:
            in_background(lambda: self._do(name, future, work))
        except RuntimeError:  # the machine gives no more threads
            with self._lock:
                self._futures.pop(name, None)
                self._askers.pop(name, None)
                self._asked_at.pop(name, None)
            raise StillWorking from None
        return future

    def _check_room(self) -> None:
        """Raise StillWorking if too much work is in progress, or half of the limit is one person's."""
        askers = list(self._askers.values())
        has_share = asker() is not None and askers.count(asker()) >= max(1, self._most // 2)
        if has_share or len(askers) >= self._most:
            raise StillWorking

    def _do(self, name: str, future: "Future[T]", work: Callable[[], T]) -> None:
        try:
            future.set_result(work())
        except Exception as error:  # noqa: BLE001  # whoever waits for it gets it
            # A table that was deleted meanwhile can be made again at once.
            if not isinstance(error, FileNotFoundError):
                self._failed_at[name] = time.monotonic()
            future.set_exception(error)
        finally:
            with self._lock:
                if name not in self._failed_at:
                    self._futures.pop(name, None)
                self._askers.pop(name, None)
                self._asked_at.pop(name, None)

    def _forget_old_failures(self) -> None:
        now = time.monotonic()
        for name in [name for name, at in self._failed_at.items() if now - at > _REST_SECONDS]:
            del self._failed_at[name]
            self._futures.pop(name, None)
            self._asked_at.pop(name, None)


def in_background(work: Callable[[], None]) -> None:
    """Do the work in a thread of its own."""

    def worked() -> None:
        try:
            work()
        finally:
            connections.close_all()

    # It doesn't keep the process from ending: what isn't done by then is begun again.
    threading.Thread(target=worked, name="preview", daemon=True).start()
