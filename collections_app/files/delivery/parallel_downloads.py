"""Limit the simultaneous downloads of each person and API key, so that threads stay free for others.

Each file that Python sends occupies a thread until the download ends. Each process counts its own threads.
"""

import threading
from collections import Counter
from dataclasses import dataclass

from django.conf import settings

from collections_app.system.observability import metrics

# The shares of a process's threads that one person, one API key, and all clients together can occupy with
# downloads. With the default of 300 threads these are 150, 100 and 270. `aria2c -x16` downloads five files
# over 80 connections; a browser uses six connections, or about 100 streams over HTTP/2. No person can occupy
# all threads, no script can occupy all of its owner's, and some are always left for pages.
_SHARES = {"person": 1 / 2, "key": 1 / 3, "everybody": 9 / 10}

# Downloads end all the time, and a retry costs little.
RETRY_AFTER_SECONDS = 10


class TooManyStreams(Exception):
    """There are too many downloads for this person or API key, or in total. The response is a 429."""


@dataclass(frozen=True)
class Downloader:
    """Who downloads a file: a user, and the API key if it is a script."""

    user_id: int
    key_id: int | None = None


class Slot:
    """A download that counts towards the limits until end() is called."""

    def __init__(self, streams: "Streams", limited: list[tuple[str, int]]) -> None:
        self._streams = streams
        self._limited = limited

    def end(self) -> None:
        """Stop counting the download. A second call does nothing."""
        limited, self._limited = self._limited, []
        self._streams.leave(limited)


class Streams:
    """The running downloads of this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: Counter[tuple[str, int]] = Counter()

    def begin(self, downloader: Downloader | None) -> Slot:
        """Count another download. Raises TooManyStreams."""
        limited = _limited(downloader)
        with self._lock:
            for who in limited:
                if self._running[who] >= most(who[0]):
                    metrics.STREAMS_REFUSED.labels(who[0]).inc()
                    raise TooManyStreams(_REASONS[who[0]].format(most=most(who[0])))
            for who in limited:
                self._running[who] += 1
        return Slot(self, limited)

    def leave(self, limited: list[tuple[str, int]]) -> None:
        """Stop counting a download."""
        with self._lock:
            for who in limited:
                self._running[who] -= 1
                if not self._running[who]:
                    del self._running[who]

    def running(self) -> int:
        """Return how many downloads are counted."""
        with self._lock:
            return self._running["everybody", 0]


_REASONS = {
    "person": "You have {most} downloads running, the maximum per person. Wait for one to finish.",
    "key": "This API key has {most} downloads running, the maximum per key. Wait for one to finish.",
    "everybody": "Too many downloads are running. Try again in a moment.",
}


def most(kind: str) -> int:
    """Return the maximum number of downloads in a process for a "person", a "key" or "everybody"."""
    return max(1, int(settings.WEB_THREADS * _SHARES[kind]))


def _limited(downloader: Downloader | None) -> list[tuple[str, int]]:
    if downloader is None:
        return []
    limited = [("person", downloader.user_id), ("everybody", 0)]
    return limited if downloader.key_id is None else [*limited, ("key", downloader.key_id)]


streams = Streams()
