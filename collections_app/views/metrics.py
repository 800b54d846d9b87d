"""The metrics for Prometheus."""

import secrets
from collections.abc import Iterator
from contextlib import suppress

from django.conf import settings
from django.db import DatabaseError
from django.db.models import Min
from django.http import Http404, HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from collections_app.models import Collection, Run, StorageUse
from collections_app.models.collections import CollectionQuerySet
from collections_app.models.keeping import runs_to_copy
from collections_app.people.access import public
from collections_app.runs.lease import abandoned, being_written
from collections_app.system import disk
from collections_app.system.background import Background, StillWorking
from collections_app.system.observability.metrics import exposition
from collections_app.views.health import READY_WITHIN_SECONDS

# One job of each kind at a time, so that checks that hang don't pile up threads.
_background = Background("metrics", most=2)


@public
def metrics(request: HttpRequest) -> HttpResponse:
    """Return the metrics, or 404 if METRICS_TOKEN is not set."""
    if not settings.METRICS_TOKEN:
        raise Http404
    return _metrics(request)


@require_safe
def _metrics(request: HttpRequest) -> HttpResponse:
    credentials = request.headers.get("Authorization", "").encode()
    if not secrets.compare_digest(credentials, f"Bearer {settings.METRICS_TOKEN}".encode()):
        challenge = {"WWW-Authenticate": 'Bearer realm="metrics"'}
        return HttpResponse("Send the token.\n", status=401, content_type="text/plain", headers=challenge)
    return HttpResponse(exposition(DatabaseMetrics(), DiskSpace()), content_type=CONTENT_TYPE_LATEST)


class DatabaseMetrics(Collector):
    """Metrics from the database. They are the same in every process."""

    def collect(self) -> Iterator[Metric]:
        """Query the database. If it doesn't respond in time, only `results_database_up` is returned."""
        try:
            found = _background.done_within(READY_WITHIN_SECONDS, "figures", _query)
        except StillWorking:
            found = []
        yield GaugeMetricFamily("results_database_up", "Whether the database responds.", bool(found))
        yield from found


class DiskSpace(Collector):
    """Free and total disk space."""

    def collect(self) -> Iterator[Metric]:
        """Check the disks. There are no samples if they don't respond in time."""
        free = GaugeMetricFamily(
            "results_free_bytes", "Free space on the disk of a folder.", labels=["folder"]
        )
        total = GaugeMetricFamily("results_disk_bytes", "Size of the disk of a folder.", labels=["folder"])
        with suppress(StillWorking):
            found = _background.done_within(READY_WITHIN_SECONDS, "space", disk.spaces)
            for folder, space in found.items():
                free.add_metric([folder], space.free)
                total.add_metric([folder], space.total)
        yield free
        yield total


def _query() -> list[Metric]:
    try:
        return [*_counts(), *_storage()]
    except DatabaseError:
        return []


def _to_copy(keeping: CollectionQuerySet) -> int:
    """Return how many runs of these collections have to be copied."""
    limited = keeping.exclude(retention=None)
    unlimited = keeping.filter(retention=None)
    number: int = Run.objects.to_keep().filter(collection__in=unlimited).count()
    return number + sum(runs_to_copy(each).count() for each in limited)


def _counts() -> Iterator[Metric]:
    """Yield counts that use an index with few rows. None of them counts all runs."""
    yield GaugeMetricFamily(
        "results_runs_being_written", "Runs with a writer.", Run.objects.filter(being_written()).count()
    )
    yield GaugeMetricFamily(
        "results_runs_interrupted",
        "Runs whose writer was killed and that have not been marked as failed yet.",
        Run.objects.filter(abandoned()).count(),
    )
    connected = Collection.objects.connected()
    keeping = connected.filter(keeps_results=True)
    yield GaugeMetricFamily(
        "results_runs_to_keep",
        "Runs of accounts that have not been copied yet.",
        _to_copy(keeping),
    )
    oldest = connected.aggregate(oldest=Min("refresh_tried_at"))["oldest"]
    yield GaugeMetricFamily(
        "results_refresh_age_seconds",
        "Age of the oldest list of runs from an account.",
        max(0.0, (timezone.now() - oldest).total_seconds()) if oldest else 0.0,
    )


def _storage() -> Iterator[Metric]:
    """Yield what the worker has measured."""
    labels = ["kind", "machine"]
    size = GaugeMetricFamily("results_storage_bytes", "Space used, by kind.", labels=labels)
    age = GaugeMetricFamily("results_storage_age_seconds", "Age of that measurement.", labels=labels)
    for use in StorageUse.objects.all():
        values = [use.kind, use.machine]
        size.add_metric(values, use.bytes)
        age.add_metric(values, max(0.0, (timezone.now() - use.measured_at).total_seconds()))
    yield size
    yield age
