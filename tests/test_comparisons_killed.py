"""A process may be killed at any point: the changes of runs are complete or absent, and strays disappear."""

import os
from collections.abc import Callable
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import storages
from django.utils import timezone

from collections_app.models import Collection, Comparison, Run, TrackingSettings
from collections_app.records.tracking import build_comparison, comparison_files
from collections_app.records.tracking.build_comparison import build, build_next
from collections_app.runs.removal import delete_run
from collections_app.runs.repair import repair_runs
from tests.support.results import make_ready_run, records, stored_keys
from tests.test_writer_killed import POINTS, POINTS_ON_S3, is_killed, kill_at, points_to_be_killed_at

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.no_cover, pytest.mark.thorough]

CONTENT = b"changes" * 100


@pytest.fixture(autouse=True)
def without_duckdb(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip syncing, and compare without DuckDB, whose threads don't survive in a forked process."""
    monkeypatch.setattr(os, "fsync", lambda file: None)

    def compare(*_: object) -> dict[str, Any]:
        return {"settings_version": 1, "key": "", "size": 0, "rows": 1, "counts": {"new": 1}, "summary": {}}

    def write_changes(lines: Path, changes: Path) -> dict[str, Any]:
        changes.write_bytes(CONTENT)
        return {}

    monkeypatch.setattr(build_comparison, "slice_of", lambda run: None)
    monkeypatch.setattr(build_comparison._Build, "_compare", compare)
    monkeypatch.setattr(build_comparison, "write_changes", write_changes)


def build_it(comparison: Comparison) -> None:
    build(comparison)


def delete_a_run(comparison: Comparison) -> None:
    delete_run(comparison.since)


def make_room(comparison: Comparison) -> None:
    comparison_files.delete_file(comparison)


def tidy(comparison: Comparison) -> None:
    comparison_files.tidy()


def queued(comparison: Comparison) -> None:
    """Prepare nothing."""


def built(comparison: Comparison) -> None:
    assert build(comparison)
    comparison.refresh_from_db()


def outdated(comparison: Comparison) -> None:
    built(comparison)
    Comparison.objects.update(state="queued")


def stray(comparison: Comparison) -> None:
    built(comparison)
    Comparison.objects.update(key="", state="queued")


@pytest.mark.parametrize(
    ("prepare", "act", "least"),
    [
        pytest.param(queued, build_it, 20, id="build"),
        pytest.param(outdated, build_it, 20, id="rebuild"),
        pytest.param(built, delete_a_run, 10, id="delete a run"),
        pytest.param(built, make_room, 2, id="make room"),
        pytest.param(stray, tidy, 2, id="tidy"),
    ],
)
def test_killed_at_every_point(
    laptops: Collection,
    results_storage: str,
    prepare: Callable[[Comparison], None],
    act: Callable[[Comparison], None],
    least: int,
) -> None:
    points = POINTS_ON_S3 if results_storage == "s3" else POINTS
    # Every third one, which takes a minute.
    for point in islice(points_to_be_killed_at(results_storage), 0, None, 3):
        comparison = start_over(laptops)
        prepare(comparison)
        killed = is_killed(
            lambda comparison=comparison, point=point: kill_at(points, point, lambda: act(comparison))  # type: ignore[misc]
        )
        check()
        if not killed:
            break
    assert point > (1 if results_storage == "s3" else least)


def start_over(collection: Collection) -> Comparison:
    for run in collection.runs.all():
        delete_run(run)
    comparison_files.tidy()
    TrackingSettings.objects.update_or_create(collection=collection, defaults={"key_columns": ["asin"]})
    since, run = (make_ready_run(collection, records(1)) for _ in range(2))
    created = Comparison.objects.create(run=run, since=since, settings_version=0)
    return Comparison.objects.select_related("run__collection", "since__collection").get(pk=created.pk)


def check() -> None:
    """Check that each file is complete, then that the worker does the rest."""
    check_files()
    past = timezone.now() - timedelta(seconds=1)
    Comparison.objects.exclude(lease_expires_at=None).update(lease_expires_at=past)
    repair_runs()
    while build_next():
        pass
    comparison_files.tidy()
    check_files()
    assert files() == set(Comparison.objects.exclude(key="").values_list("key", flat=True))
    assert not any(comparison_files.SCRATCH.folders())
    assert not Comparison.objects.exclude(state="ready").exists()
    assert not Comparison.objects.exclude(run__in=Run.objects.all(), since__in=Run.objects.all()).exists()


def check_files() -> None:
    for comparison in Comparison.objects.filter(state="ready").exclude(key=""):
        with storages["results"].open(comparison.key) as file:
            assert file.read() == CONTENT


def files() -> set[str]:
    return {key for key in stored_keys() if key.startswith(f"{comparison_files.FOLDER}/")}
