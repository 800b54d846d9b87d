"""Metrics of the processes of this site. docs/operations.md describes each one.

Label values come from short lists, such as the names of routes, and never from a request.

The worker processes of a server combine their metrics in the folder PROMETHEUS_MULTIPROC_DIR, which
dashboard/gunicorn_conf.py sets. Without it, each process has its own metrics.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
_METHODS = {"GET", "HEAD", "POST", "OPTIONS", "PUT", "PATCH", "DELETE", "TRACE"}

# It lacks the default metrics of the library.
registry = CollectorRegistry()

REQUESTS = Counter(
    "results_http_requests", "HTTP requests.", ["route", "method", "status"], registry=registry
)
REQUEST_SECONDS = Histogram(
    "results_http_request_seconds",
    "Time from a request to the start of its response.",
    ["route"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
    registry=registry,
)
STREAMS = Gauge(
    "results_file_streams",
    "Downloads that Python is sending.",
    multiprocess_mode="livesum",
    registry=registry,
)
STREAMS_ENDED = Counter("results_file_streams_ended", "Downloads that ended.", ["outcome"], registry=registry)
STREAMS_REFUSED = Counter(
    "results_file_streams_refused", "Downloads refused (429).", ["limit"], registry=registry
)
BYTES = Counter("results_file_bytes", "Bytes sent in downloads.", registry=registry)
UPSTREAM_SECONDS = Histogram(
    "results_upstream_seconds",
    "Time from a request to an account to its response.",
    ["call"],
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
    registry=registry,
)
UPSTREAM_ERRORS = Counter(
    "results_upstream_errors", "Failed requests to accounts.", ["call", "kind"], registry=registry
)


def open_files() -> None:
    """Create the files of this process now, because it can't create them on a full disk."""
    for outcome in ("complete", "broken off"):
        STREAMS_ENDED.labels(outcome)
    for call in ("list", "file"):
        UPSTREAM_SECONDS.labels(call)
    STREAMS.inc(0)
    BYTES.inc(0)


def note_request(*, route: str, method: str, status: int, seconds: float) -> None:
    """Count a request."""
    REQUESTS.labels(route, method if method in _METHODS else "other", f"{status // 100}xx").inc()
    REQUEST_SECONDS.labels(route).observe(seconds)


def note_stream(sent: int, *, complete: bool) -> None:
    """Count a download that ended, and the bytes that were sent."""
    BYTES.inc(sent)
    STREAMS_ENDED.labels("complete" if complete else "broken off").inc()


@contextmanager
def upstream_call(call: str, kinds: dict[type[Exception], str]) -> Iterator[None]:
    """Time a request to an account. If it raises one of the `kinds`, count it as an error of that kind."""
    started = time.perf_counter()
    try:
        yield
    except tuple(kinds) as error:
        kind = next(kind for each, kind in kinds.items() if isinstance(error, each))
        UPSTREAM_ERRORS.labels(call, kind).inc()
        raise
    finally:
        UPSTREAM_SECONDS.labels(call).observe(time.perf_counter() - started)


def exposition(*more: Collector) -> bytes:
    """Return the metrics of all processes in the text format of Prometheus."""
    everything = CollectorRegistry()
    if os.environ.get(_FOLDER):
        MultiProcessCollector(everything)  # type: ignore[no-untyped-call]
    else:
        everything.register(registry)
    for collector in more:
        everything.register(collector)
    return generate_latest(everything)
