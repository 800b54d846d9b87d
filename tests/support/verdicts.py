"""Runs with verdicts, without reading their records."""

from datetime import timedelta
from typing import Any

from django.utils import timezone

from collections_app.models import (
    Collection,
    FileKind,
    ResultFile,
    Run,
    Slice,
    SliceState,
    TrackingSettings,
    Verdict,
)
from collections_app.records.quality.profile import ColumnProfile, ProductChanges, Profile
from collections_app.records.quality.reasons import Check, Reason

CHANGES = ProductChanges(
    products=100, matched=100, changed=10, prices=100, changed_prices=10, price_ratio=1.0
)
PROFILE = Profile(
    records=100,
    extracted=100,
    total=100,
    columns={name: ColumnProfile(100, 0) for name in ("asin", "title", "price")},
    has_key=True,
    title_column="title",
    price_column="price",
    changes=CHANGES,
)
NO_PRICE = Reason(Check.COVERAGE, "broken", value=0.59, low=0.98, high=1, column="price")  # type: ignore[arg-type]


def make_sliced_run(collection: Collection, number: int, **fields: Any) -> Run:
    """Create a completed run that has a slice, an hour after the one with the previous number."""
    TrackingSettings.objects.get_or_create(collection=collection, defaults={"key_columns": ["asin"]})
    created_at = timezone.now() - timedelta(days=10) + timedelta(hours=number)
    fields = {"created_at": created_at, "updated_at": created_at, "extracted": 100, "total": 100} | fields
    run = Run.objects.create(collection=collection, number=number, state="ready", file_count=1, **fields)
    ResultFile.objects.create(
        run=run,
        kind=FileKind.PAGE,
        position=1,
        name="page_1.json",
        key=f"{run.pk}",
        modified=created_at,
        size=2,
    )
    Collection.objects.filter(pk=collection.pk).update(last_run_number=number)
    Slice.objects.create(run=run, version=1, state=SliceState.READY, key=f"{number}.parquet")
    return run


def make_judged_runs(collection: Collection, *levels: str) -> list[Run]:
    """Create completed runs with these verdicts, the oldest first. Broken runs lack prices."""
    runs = [make_sliced_run(collection, number) for number in range(1, len(levels) + 1)]
    Verdict.objects.bulk_create(
        Verdict(
            run=run,
            level=level,
            reasons=[NO_PRICE.to_json()] if level in {"check", "broken"} else [],
            profile=PROFILE.to_json(),
            settings_version=1,
            baseline=[earlier.number for earlier in runs[:index][::-1]],
        )
        for index, (run, level) in enumerate(zip(runs, levels, strict=True))
    )
    Slice.objects.update(needs_verdict=False)
    return runs
