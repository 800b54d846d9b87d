"""Background work: what is waiting or running, and since when."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Count, Min, Q, QuerySet
from django.utils import timezone

from collections_app.models import (
    Collection,
    Comparison,
    ComparisonState,
    Export,
    ExportState,
    OutgoingMail,
    Run,
    State,
    Verification,
)
from collections_app.records.tracking.slice_progress import progress
from collections_app.runs.lease import being_written

_ALL = Q(pk__isnull=False)


@dataclass(frozen=True)
class Queue:
    """One kind of work. `oldest` is when its oldest unfinished item was requested, or None."""

    name: str
    waiting: int
    running: int
    oldest: datetime | None
    detail: str = ""


def queues() -> list[Queue]:
    """Return all queues, with few queries each."""
    return [_runs(), _exports(), _slices(), _comparisons(), _verifications(), _mail(), _copies()]


def _runs() -> Queue:
    """Runs that imports, uploads and scrapers write. Runs whose writer was killed wait to be repaired."""
    written = Run.objects.filter(state=State.PROCESSING, lease_expires_at__isnull=False)
    return _queue("Imports and uploads", written, being_written(), "created_at")


def _exports() -> Queue:
    running = Q(state=ExportState.RUNNING)
    return _queue("Exports", Export.objects.under_way(), running, "created_at")


def _slices() -> Queue:
    """Runs that are prepared for comparison, the newest first, so that the oldest one means nothing."""
    found = progress()
    waiting = max(found.total - found.prepared - found.running, 0)
    detail = f"{found.prepared:,} of {found.total:,} runs" if waiting else ""
    return Queue("Slices", waiting, found.running, None, detail)


def _comparisons() -> Queue:
    running = Q(state=ComparisonState.RUNNING)
    return _queue("Comparisons", Comparison.objects.under_way(), running, "created_at")


def _verifications() -> Queue:
    under_way = Verification.objects.filter(lease_expires_at__gt=timezone.now())
    return _queue("Verifications", under_way, _ALL, "started_at")


def _mail() -> Queue:
    # An email that is being sent looks like one that waits.
    return _queue("Mail", OutgoingMail.objects.all(), ~_ALL, "created_at")


def _copies() -> Queue:
    """Copies of collections that keep all runs. Collections with a retention would need a query each."""
    keeping = Collection.objects.connected().filter(keeps_results=True, retention=None)
    waiting = Run.objects.to_keep().filter(collection__in=keeping)
    running = Q(lease_expires_at__gt=timezone.now())
    return _queue("Copies of collections that keep all runs", waiting, running, "created_at")


def _queue(name: str, rows: "QuerySet[Any]", running: Q, since: str) -> Queue:
    found = rows.order_by().aggregate(all=Count("pk"), running=Count("pk", filter=running), oldest=Min(since))
    return Queue(name, found["all"] - found["running"], found["running"], found["oldest"])
