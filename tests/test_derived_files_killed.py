"""A process may be killed at any point: slices, comparisons, blocks and exports are complete or absent.

None of them outlives its run, and what the process left behind disappears.
"""

import hashlib
import os
from collections.abc import Callable, Iterable
from datetime import timedelta
from itertools import chain, count
from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import storages
from django.utils import timezone

from collections_app.models import Block, Collection, Comparison, Export, Run, Slice, TrackingSettings
from collections_app.records.exports import build as build_exports
from collections_app.records.exports import create, retention
from collections_app.records.formats.export_formats import ExportSpec, Format
from collections_app.records.tracking import (
    blocks,
    build_comparison,
    comparison_files,
    slice_builder,
    slice_repair,
)
from collections_app.records.tracking.slice_queue import SliceQueue
from collections_app.records.tracking.stored_slices import forget
from collections_app.runs.removal import delete_run
from collections_app.runs.repair import repair_runs
from collections_app.runs.strays import key_of
from tests.support.results import make_ready_run, records, store_bytes, stored_keys
from tests.support.tools import is_thorough
from tests.test_writer_killed import POINTS, POINTS_ON_S3, is_killed, kill_at

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.no_cover]

SCRATCHES = [slice_builder.SCRATCH, comparison_files.SCRATCH, blocks.SCRATCH, retention.SCRATCH]
FOLDERS = tuple(
    f"{folder}/"
    for folder in (slice_builder.FOLDER, comparison_files.FOLDER, blocks.FOLDER, retention.FOLDER)
)


@pytest.fixture(autouse=True)
def without_duckdb(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip syncing, and write files without DuckDB, whose threads don't survive in a forked process."""

    def write_slice(values: Iterable[Any], lines: Path, parquet: Path) -> tuple[str, ...]:
        parquet.write_text(repr(list(values)))
        return ("asin",)

    def compare(*_: object) -> dict[str, Any]:
        return {"settings_version": 1, "key": "", "size": 0, "rows": 1, "counts": {"new": 1}, "summary": {}}

    def write_changes(lines: Path, parquet: Path) -> dict[str, Any]:
        parquet.write_text("changes")
        return {}

    def write_block(task: blocks.Task, settings: TrackingSettings, folder: Path) -> int:
        (folder / blocks._FILE).write_text(repr([run.number for run in task.runs]))
        return 1

    monkeypatch.setattr(os, "fsync", lambda file: None)
    monkeypatch.setattr(slice_builder, "write_slice", write_slice)
    monkeypatch.setattr(build_comparison, "slice_of", lambda run: None)
    monkeypatch.setattr(build_comparison._Build, "_compare", compare)
    monkeypatch.setattr(build_comparison, "write_changes", write_changes)
    monkeypatch.setattr(blocks, "_write", write_block)
    monkeypatch.setattr(blocks, "MERGED_AT_ONCE", 2)
    monkeypatch.setattr(create, "_is_quick", lambda *_: False)


# --- what a process does until it is killed -----------------------------------------------------


def build_a_slice(run: Run) -> None:
    slice_builder.build_slice(run)


def build_a_comparison(run: Run) -> None:
    build_comparison.build_next()


def build_a_block(run: Run) -> None:
    task = blocks.next_task()
    assert task
    blocks.build(task)


def build_an_export(run: Run) -> None:
    build_exports.build_next()


def delete_the_run(run: Run) -> None:
    delete_run(run)


def forget_a_slice(run: Run) -> None:
    forget(Slice.objects.get(run=run))


def forget_a_comparison(run: Run) -> None:
    comparison_files.delete_file(Comparison.objects.get(run=run))


def repair(run: Run) -> None:
    repair_runs()
    slice_repair.repair_slices()
    comparison_files.tidy()
    blocks.tidy()
    retention.tidy()


# --- what it finds ------------------------------------------------------------------------------


def nothing(run: Run) -> None:
    """Prepare nothing."""


def a_slice(run: Run) -> None:
    build_a_slice(run)


def an_old_slice(run: Run) -> None:
    build_a_slice(run)
    Slice.objects.filter(run=run).update(version=0)


def a_queued_comparison(run: Run) -> None:
    older = run.collection.runs.exclude(pk=run.pk).get()
    Comparison.objects.create(run=run, since=older, settings_version=0)


def an_outdated_comparison(run: Run) -> None:
    a_queued_comparison(run)
    build_a_comparison(run)
    Comparison.objects.update(state="queued")


def two_blocks(run: Run) -> None:
    build_a_slice(run)
    build_a_block(run)
    Block.objects.update(level=0)


def a_queued_export(run: Run) -> None:
    create.create_export(run, ExportSpec(Format.JSONL))


def everything(run: Run) -> None:
    a_queued_comparison(run)
    a_queued_export(run)
    finish()


def a_mess(run: Run) -> None:
    """Leave rows without files, files of deleted runs, and what killed processes leave."""
    everything(run)
    for key in keys():
        storages["results"].delete(key)
    for folder in FOLDERS[1:]:
        store_bytes(f"{folder}99-{'a' * 16}", b"of a deleted run")
    store_bytes(f"tracking/{run.collection_id}/99-{'a' * 16}.parquet", b"of a deleted run")
    other = make_ready_run(run.collection, records(1))
    attempt = slice_builder._claimed(other)
    store_bytes(f"tracking/{run.collection_id}/{other.number}-{attempt}.parquet", b"of a killed process")
    comparison = Comparison.objects.create(
        run=other, since=run, settings_version=0, state="running", attempt=16 * "c", lease_expires_at=past()
    )
    store_bytes(key_of(comparison_files.FOLDER, comparison, 16 * "c"), b"of a killed process")
    for scratch in SCRATCHES:
        scratch.folder_of("b" * 16).mkdir(parents=True)
    expire_leases()


THOROUGH = pytest.mark.thorough


@pytest.mark.parametrize(
    ("prepare", "act", "least"),
    [
        pytest.param(nothing, build_a_slice, 20, id="build a slice"),
        pytest.param(an_old_slice, build_a_slice, 20, id="rebuild a slice", marks=THOROUGH),
        pytest.param(a_slice, forget_a_slice, 5, id="forget a slice", marks=THOROUGH),
        pytest.param(a_queued_comparison, build_a_comparison, 20, id="build a comparison"),
        pytest.param(an_outdated_comparison, build_a_comparison, 20, id="rebuild", marks=THOROUGH),
        pytest.param(everything, forget_a_comparison, 2, id="forget a comparison", marks=THOROUGH),
        pytest.param(a_slice, build_a_block, 20, id="build a block"),
        pytest.param(two_blocks, build_a_block, 20, id="merge blocks", marks=THOROUGH),
        pytest.param(a_queued_export, build_an_export, 20, id="build an export", marks=THOROUGH),
        pytest.param(everything, delete_the_run, 10, id="delete a run", marks=THOROUGH),
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
    TrackingSettings.objects.create(collection=laptops, key_columns=["asin"])
    points = POINTS_ON_S3 if results_storage == "s3" else POINTS
    # An odd step, because there is a point before and after each call. S3 has few points.
    step = (1 if results_storage == "s3" else 3) if is_thorough() else 25
    for point in count(1, step):
        run = start_over(laptops)
        prepare(run)
        killed = is_killed(lambda run=run, point=point: kill_at(points, point, lambda: act(run)))  # type: ignore[misc]
        check(laptops, is_whole=prepare is not a_mess)
        if not killed:
            break
    assert point > (1 if results_storage == "s3" else least)


def start_over(collection: Collection) -> Run:
    """Return a new run, and leave only an older one, for which everything has been created."""
    for run in collection.runs.order_by("number")[1:]:
        delete_run(run)
    if not collection.runs.exists():
        make_ready_run(collection, records(1))
    finish()
    return make_ready_run(collection, records(3))


def finish() -> None:
    """Do what the worker does."""
    queue = SliceQueue(remote=False)
    while run := queue.next():
        assert slice_builder.build_slice(run)
    while build_comparison.build_next():
        pass
    while task := blocks.next_task():
        blocks.build(task)
    while build_exports.build_next():
        pass


def past() -> Any:
    return timezone.now() - timedelta(seconds=1)


def expire_leases() -> None:
    for model in (Slice, Comparison, TrackingSettings, Export):
        model.objects.exclude(lease_expires_at=None).update(lease_expires_at=past())


def check(collection: Collection, *, is_whole: bool) -> None:
    """Check that each file is complete, then that a repair and the worker do the rest."""
    if is_whole:
        check_files()
    expire_leases()
    repair(collection.runs.all()[0])
    check_files()
    assert keys() == {row.key for row in rows()}
    assert not any(folder for scratch in SCRATCHES for folder in scratch.folders())
    finish()
    check_files()
    assert keys() == {row.key for row in rows()}
    runs = list(collection.runs.order_by("pk").values_list("pk", flat=True))
    assert list(Slice.objects.ready().order_by("run").values_list("run", flat=True)) == runs
    assert list(Block.objects.order_by("runs").values_list("runs", flat=True)) == runs
    assert not Comparison.objects.exclude(state="ready").exists()
    assert not Export.objects.exclude(state="ready").exists()


def check_files() -> None:
    for row in rows():
        with storages["results"].open(row.key) as file:
            content = file.read()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (row.size, row.sha256)


def rows() -> Iterable[Any]:
    """Return the rows that have a file: while it is created again, the old one."""
    stored = (Slice.objects.all(), Comparison.objects.all(), Block.objects.all(), Export.objects.all())
    return chain.from_iterable(each.exclude(key="") for each in stored)


def keys() -> set[str]:
    return {key for key in stored_keys() if key.startswith(FOLDERS)}
