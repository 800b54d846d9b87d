"""Runs whose products are known, for tests."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from django.utils import timezone

from collections_app.models import Collection, Run, RunCoverage, TrackingSettings, Verdict, VerdictLevel
from collections_app.records.tracking import blocks
from collections_app.records.tracking.slice_builder import build_slice
from tests.support.results import make_ready_run

LAPTOP = {"asin": "B01", "title": "Laptop", "price": "$1,299.00", "in_stock": True, "seller_name": "Nile"}
MOUSE = {"asin": "B02", "title": "Mouse", "price": "$15.00", "in_stock": False}


def make_tracked_run(
    collection: Collection,
    content: Sequence[Mapping[str, Any]] = (LAPTOP, MOUSE),
    *,
    at: datetime | None = None,
    is_broken: bool = False,
) -> Run:
    """Create a run with its slice and its block."""
    TrackingSettings.objects.get_or_create(collection=collection, defaults={"key_columns": ["asin"]})
    run = make_ready_run(collection, content, at=at)
    build_slice(run)
    build_blocks()
    if is_broken:
        Verdict.objects.create(
            run=run, level=VerdictLevel.BROKEN, settings_version=1, judged_at=timezone.now()
        )
    return run


def make_availability_run(
    collection: Collection, content: Sequence[Mapping[str, Any]], *, at: datetime | None = None
) -> Run:
    """Create a run that only scraped the availability, with its slice and its block."""
    run = make_tracked_run(collection, content, at=at)
    Verdict.objects.create(
        run=run, level=VerdictLevel.GOOD, settings_version=1, coverage=RunCoverage.AVAILABILITY
    )
    return run


def build_blocks() -> int:
    """Create all blocks, and return how many steps that took."""
    steps = 0
    while task := blocks.next_task():
        blocks.build(task)
        steps += 1
    return steps
