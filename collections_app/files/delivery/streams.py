"""How many files one caller is sent at once, so that the others find a thread that is free.

Each file that Python sends holds a thread of its worker process until it ends, so that is what is counted,
by each process for itself.
"""

import threading
from collections import Counter
from dataclasses import dataclass

from django.conf import settings

from collections_app.system.observability import metrics

# The parts of a process's threads that one person, one API key, and everybody together may hold with
# downloads. With the usual 300 threads these are 150, 100 and 270: `aria2c -x16` fetches five files at once,
# over 80 connections, a browser six or, over HTTP/2, some 100. No one person can hold all threads, nor a
# person's script those of its owner; and for pages there is always one.
_PARTS = {"person": 1 / 2, "key": 1 / 3, "everybody": 9 / 10}

# When to come again: files end all the time, and to ask costs us nothing.
RETRY_AFTER_SECONDS = 10


class TooManyStreams(Exception):
    """The caller is sent as many files as one caller may be. Answered with 429."""


@dataclass(frozen=True)
class Reader:
    """Whom a file is sent to: a person, and the API key where it is a script that asks."""

    user_id: int
    key_id: int | None = None


class Slot:
    """The place of one stream; end() gives it back, once."""

    def __init__(self, streams: "Streams", limited: list[tuple[str, int]]) -> None:
        self._streams = streams
        self._limited = limited

    def end(self) -> None:
        """Give the place back. A second call does nothing."""
        limited, self._limited = self._limited, []
        self._streams.leave(limited)


class Streams:
    """The streams of this process, by whom they are for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: Counter[tuple[str, int]] = Counter()

    def begin(self, reader: Reader | None) -> Slot:
        """Take a place for one more stream. Raises TooManyStreams."""
        limited = _limited(reader)
        with self._lock:
            for who in limited:
                if self._running[who] >= most(who[0]):
                    metrics.STREAMS_REFUSED.labels(who[0]).inc()
                    raise TooManyStreams(_REASONS[who[0]].format(most=most(who[0])))
            self._running.update(limited)
        return Slot(self, limited)

    def leave(self, limited: list[tuple[str, int]]) -> None:
        """Give places back."""
        with self._lock:
            self._running.subtract(limited)
            for who in limited:
                if not self._running[who]:
                    del self._running[who]

    def running(self) -> int:
        """Return how many streams there are of readers that are counted."""
        with self._lock:
            return self._running["everybody", 0]


_REASONS = {
    "person": "You are being sent {most} files, the most at once for one person. Wait until one has ended.",
    "key": "This API key is being sent {most} files, the most at once for one. Wait until one has ended.",
    "everybody": "So many files are being sent that there is no room for another. Try again in a moment.",
}


def most(kind: str) -> int:
    """Return how many streams one "person", one "key", or "everybody" may have in a process."""
    return max(1, int(settings.WEB_THREADS * _PARTS[kind]))


def _limited(reader: Reader | None) -> list[tuple[str, int]]:
    if reader is None:
        return []
    limited = [("person", reader.user_id), ("everybody", 0)]
    return limited if reader.key_id is None else [*limited, ("key", reader.key_id)]


streams = Streams()
