"""A process may be killed at any point: each slice is complete or absent, and no deleted run has one."""

import hashlib
import os
from collections.abc import Callable, Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import storages
from django.utils import timezone

from collections_app.models import Collection, Run, Slice
from collections_app.records.tracking import slice_builder
from collections_app.records.tracking.slice_builder import build_slice
from collections_app.records.tracking.slice_queue import SliceQueue
from collections_app.records.tracking.slice_repair import repair_slices
from collections_app.records.tracking.stored_slices import forget
from collections_app.runs.removal import delete_run
from collections_app.runs.repair import repair_runs
from tests.support.results import make_ready_run, records, store_bytes, stored_keys
from tests.test_writer_killed import POINTS, POINTS_ON_S3, is_killed, kill_at, points_to_be_killed_at

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.no_cover]


@pytest.fixture(autouse=True)
def without_duckdb(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip syncing, and write slices without DuckDB, whose threads don't survive in a forked process."""
    monkeypatch.setattr(os, "fsync", lambda file: None)

    def write_slice(values: Iterable[Any], lines: Path, parquet: Path) -> tuple[str, ...]:
        parquet.write_text(repr(list(values)))
        return ("asin",)

    monkeypatch.setattr(slice_builder, "write_slice", write_slice)


def build(run: Run) -> None:
    build_slice(run)


def delete(run: Run) -> None:
    delete_run(run)


def forget_it(run: Run) -> None:
    forget(Slice.objects.get(run=run))


def repair(run: Run) -> None:
    repair_slices()


def a_slice(run: Run) -> None:
    assert build_slice(run)


def an_old_slice(run: Run) -> None:
    assert build_slice(run)
    Slice.objects.update(version=0)


def a_mess(run: Run) -> None:
    """Leave a slice without a file, the file of a deleted run, and what a killed process leaves."""
    assert build_slice(run)
    storages["results"].delete(Slice.objects.get(run=run).key)
    folder = f"tracking/{run.collection_id}"
    store_bytes(f"{folder}/99-{'a' * 16}.parquet", b"of a deleted run")
    other = make_ready_run(run.collection, records(1))
    attempt = slice_builder._claimed(other)
    store_bytes(f"{folder}/{other.number}-{attempt}.parquet", b"of a killed process")
    slice_builder.SCRATCH.folder_of("b" * 16).mkdir(parents=True)
    expire_leases()


def nothing(run: Run) -> None:
    """Prepare nothing."""


THOROUGH = pytest.mark.thorough


@pytest.mark.parametrize(
    ("prepare", "act", "least"),
    [
        pytest.param(nothing, build, 20, id="build"),
        pytest.param(an_old_slice, build, 20, id="rebuild", marks=THOROUGH),
        pytest.param(a_slice, delete, 10, id="delete", marks=THOROUGH),
        pytest.param(a_slice, forget_it, 5, id="forget", marks=THOROUGH),
        pytest.param(a_mess, repair, 10, id="repair", marks=THOROUGH),
    ],
)
def test_killed_at_every_point(
    laptops: Collection,
    results_storage: str,
    prepare: Callable[[Run], None],
    act: Callable[[Run], None],
    least: int,
) -> None:
    points = POINTS_ON_S3 if results_storage == "s3" else POINTS
    for point in points_to_be_killed_at(results_storage):
        run = start_over(laptops)
        prepare(run)
        killed = is_killed(lambda run=run, point=point: kill_at(points, point, lambda: act(run)))  # type: ignore[misc]
        check(laptops, is_whole=prepare is not a_mess)
        if not killed:
            break
    assert point > (2 if results_storage == "s3" else least)


def start_over(collection: Collection) -> Run:
    for run in collection.runs.all():
        delete_run(run)
    # Without any run, nothing is repaired, because the files may belong to another database.
    assert build_slice(make_ready_run(collection, records(1)))
    return make_ready_run(collection, records(3))


def expire_leases() -> None:
    past = timezone.now() - timedelta(seconds=1)
    Slice.objects.exclude(lease_expires_at=None).update(lease_expires_at=past)


def check(collection: Collection, *, is_whole: bool) -> None:
    """Check that each slice is complete, then that a repair and the worker do the rest."""
    if is_whole:
        check_files()
    expire_leases()
    repair_runs()
    repair_slices()
    check_files()
    assert slices_stored() == set(Slice.objects.exclude(key="").values_list("key", flat=True))
    assert not any(slice_builder.SCRATCH.folders())
    assert repair_slices() == []
    queue = SliceQueue(remote=False)
    while run := queue.next():
        assert build_slice(run)
    assert set(Slice.objects.ready().values_list("run", flat=True)) == set(
        collection.runs.values_list("pk", flat=True)
    )
    assert len(slices_stored()) == collection.runs.count()


def check_files() -> None:
    for stored in Slice.objects.ready():
        with storages["results"].open(stored.key) as file:
            content = file.read()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (stored.size, stored.sha256)


def slices_stored() -> set[str]:
    return {key for key in stored_keys() if key.startswith("tracking/")}
