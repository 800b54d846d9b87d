"""The figures for Prometheus, to whoever knows the token."""

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

from collections_app.models import Collection, Run
from collections_app.people.access import public
from collections_app.runs.lease import abandoned, written
from collections_app.system import disk
from collections_app.system.background import Background, StillWorking
from collections_app.system.observability.metrics import exposition
from collections_app.views.health import READY_WITHIN_SECONDS

# One of each kind at a time, so that checks that hang don't pile up threads.
_background = Background("metrics", most=2)


@public
def metrics(request: HttpRequest) -> HttpResponse:
    """Answer with all figures; where no token is set, nothing is here."""
    if not settings.METRICS_TOKEN:
        raise Http404
    return _figures(request)


@require_safe
def _figures(request: HttpRequest) -> HttpResponse:
    given = request.headers.get("Authorization", "").encode()
    if not secrets.compare_digest(given, f"Bearer {settings.METRICS_TOKEN}".encode()):
        challenge = {"WWW-Authenticate": 'Bearer realm="metrics"'}
        return HttpResponse("Send the token.\n", status=401, content_type="text/plain", headers=challenge)
    return HttpResponse(exposition(FromTheDatabase(), FreeSpace()), content_type=CONTENT_TYPE_LATEST)


class FromTheDatabase(Collector):
    """What stands in the tables: the same whichever process is asked."""

    def collect(self) -> Iterator[Metric]:
        """Count anew. Without the database, or where it doesn't answer in time, one figure says so."""
        try:
            figures = _background.done_within(READY_WITHIN_SECONDS, "figures", _counted_now)
        except StillWorking:
            figures = []
        yield GaugeMetricFamily("results_database_up", "Whether the database answers.", bool(figures))
        yield from figures


class FreeSpace(Collector):
    """Free disk space."""

    def collect(self) -> Iterator[Metric]:
        """Check the disks. There is no sample if they don't respond in time."""
        family = GaugeMetricFamily(
            "results_free_bytes", "Free space on the disk of a folder.", labels=["folder"]
        )
        with suppress(StillWorking):
            for folder, left in _background.done_within(READY_WITHIN_SECONDS, "space", disk.free).items():
                family.add_metric([folder], left)
        yield family


def _counted_now() -> list[Metric]:
    try:
        return list(_counted())
    except DatabaseError:
        return []


def _counted() -> Iterator[Metric]:
    """Each by an index of few rows, never by counting all runs. Raises DatabaseError."""
    yield GaugeMetricFamily(
        "results_runs_being_written", "Runs with a writer.", Run.objects.filter(written()).count()
    )
    yield GaugeMetricFamily(
        "results_runs_interrupted",
        "Runs whose writer was killed, not failed yet.",
        Run.objects.filter(abandoned()).count(),
    )
    connected = Collection.objects.current().exclude(account=None).exclude(account__encrypted_key="")
    keeping = connected.filter(keeps_results=True)
    yield GaugeMetricFamily(
        "results_runs_to_keep",
        "Runs at accounts that are still to be copied here.",
        Run.objects.to_keep().filter(collection__in=keeping).count(),
    )
    oldest = connected.aggregate(oldest=Min("refresh_tried_at"))["oldest"]
    yield GaugeMetricFamily(
        "results_refresh_age_seconds",
        "Since the collection at an account that waits the longest was last listed.",
        max(0.0, (timezone.now() - oldest).total_seconds()) if oldest else 0.0,
    )
