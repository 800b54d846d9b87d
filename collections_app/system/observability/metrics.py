"""The figures that the processes of this site count; docs/operations.md says what each one tells.

Labels come from short lists of ours, route names for one, never from what a caller sends.

The worker processes of a server put theirs together through files in a folder (PROMETHEUS_MULTIPROC_DIR, see
dashboard/gunicorn_conf.py). Where there is none, a process counts for itself.
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

# What is counted here; nothing that the library would add of its own.
registry = CollectorRegistry()

REQUESTS = Counter(
    "results_http_requests", "Requests answered.", ["route", "method", "status"], registry=registry
)
REQUEST_SECONDS = Histogram(
    "results_http_request_seconds",
    "From a request until its answer begins.",
    ["route"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
    registry=registry,
)
STREAMS = Gauge(
    "results_file_streams",
    "Files being sent by Python now.",
    multiprocess_mode="livesum",
    registry=registry,
)
STREAMS_ENDED = Counter("results_file_streams_ended", "Files sent.", ["outcome"], registry=registry)
STREAMS_REFUSED = Counter(
    "results_file_streams_refused", "Files refused (429).", ["limit"], registry=registry
)
BYTES = Counter("results_file_bytes", "Bytes of files sent.", registry=registry)
UPSTREAM_SECONDS = Histogram(
    "results_upstream_seconds",
    "From a question to an account until its answer.",
    ["call"],
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
    registry=registry,
)
UPSTREAM_ERRORS = Counter(
    "results_upstream_errors", "Failures of accounts.", ["call", "kind"], registry=registry
)


def open_files() -> None:
    """Make this process's files now; on a full disk that would be too late."""
    for outcome in ("complete", "broken off"):
        STREAMS_ENDED.labels(outcome)
    for call in ("list", "file"):
        UPSTREAM_SECONDS.labels(call)
    STREAMS.inc(0)
    BYTES.inc(0)


def note_request(*, route: str, method: str, status: int, seconds: float) -> None:
    """Count an answer."""
    REQUESTS.labels(route, method if method in _METHODS else "other", f"{status // 100}xx").inc()
    REQUEST_SECONDS.labels(route).observe(seconds)


def note_stream(sent: int, *, complete: bool) -> None:
    """Count a file that was sent, or a part of it."""
    BYTES.inc(sent)
    STREAMS_ENDED.labels("complete" if complete else "broken off").inc()


@contextmanager
def upstream_call(call: str, kinds: dict[type[Exception], str]) -> Iterator[None]:
    """Time a question to an account, and count it as an error of the first of the `kinds` that it raises."""
    begun = time.perf_counter()
    try:
        yield
    except tuple(kinds) as error:
        kind = next(kind for each, kind in kinds.items() if isinstance(error, each))
        UPSTREAM_ERRORS.labels(call, kind).inc()
        raise
    finally:
        UPSTREAM_SECONDS.labels(call).observe(time.perf_counter() - begun)


def exposition(*more: Collector) -> bytes:
    """Return everything that is counted, by all processes, in Prometheus' text format."""
    everything = CollectorRegistry()
    if os.environ.get(_FOLDER):
        MultiProcessCollector(everything)  # type: ignore[no-untyped-call]
    else:
        everything.register(registry)
    for collector in more:
        everything.register(collector)
    return generate_latest(everything)
