"""Work that goes on when nobody waits for it any more: once for each name, and a few at a time."""

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from typing import Any, TypeVar

from django.db import connections

from collections_app.records.preview.turns import asker
from collections_app.system.database import give_back

T = TypeVar("T")

# Who asks within so many seconds of a failure gets the same one: a page that asks again and again must not
# start the work each time.
_REST_SECONDS = 15.0
# Pages ask every second. If none has asked for this long, no one is waiting.
_WANTED_SECONDS = 120.0


class StillWorking(Exception):
    """The work is under way, or waits for its turn."""


@dataclass
class _Work:
    """A piece of work in progress, or one that failed recently."""

    asker: int | None
    asked_at: float  # by anyone, most recently
    future: "Future[Any]" = field(default_factory=Future)
    failed_at: float | None = None


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
        self._by_name: dict[str, _Work] = {}

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
        known = self._by_name.get(name)
        return known is not None and time.monotonic() - known.asked_at < _WANTED_SECONDS

    def _joined(self, name: str, work: Callable[[], T]) -> "Future[T]":
        with self._lock:
            self._forget_old_failures()
            if known := self._by_name.get(name):
                known.asked_at = time.monotonic()
                return known.future
            self._check_room()
            new = self._by_name[name] = _Work(asker(), time.monotonic())
        try:
            in_background(lambda: self._do(name, new, work))
        except RuntimeError:  # the machine gives no more threads
            self._forget(name)
            raise StillWorking from None
        return new.future

    def _check_room(self) -> None:
        """Raise StillWorking if too much work is in progress, or half of the limit is one person's."""
        askers = [work.asker for work in self._by_name.values() if not work.future.done()]
        has_share = asker() is not None and askers.count(asker()) >= max(1, self._most // 2)
        if has_share or len(askers) >= self._most:
            raise StillWorking

    def _do(self, name: str, mine: _Work, work: Callable[[], T]) -> None:
        try:
            mine.future.set_result(work())
        except FileNotFoundError as error:
            # A table that was deleted meanwhile can be made again at once.
            self._forget(name)
            mine.future.set_exception(error)
        except Exception as error:  # noqa: BLE001  # whoever waits for it gets it
            mine.failed_at = time.monotonic()
            mine.future.set_exception(error)
        else:
            self._forget(name)

    def _forget(self, name: str) -> None:
        with self._lock:
            self._by_name.pop(name, None)

    def _forget_old_failures(self) -> None:
        now = time.monotonic()
        self._by_name = {
            name: work
            for name, work in self._by_name.items()
            if work.failed_at is None or now - work.failed_at <= _REST_SECONDS
        }


def in_background(work: Callable[[], None]) -> None:
    """Do the work in a thread of its own."""

    def worked() -> None:
        try:
            work()
        finally:
            connections.close_all()

    # It doesn't keep the process from ending: what isn't done by then is begun again.
    threading.Thread(target=worked, name="preview", daemon=True).start()
