"""A mirror may be killed at any point: the next one continues, and all bytes are correct."""

import hashlib
import os
from pathlib import Path

import pytest

from collections_app.models import Collection, Kind, ResultFile, Run, Team
from collections_app.runs.mirror import mirror_run
from collections_app.runs.removal import delete_run
from collections_app.runs.repair import repair_runs
from tests.support.mirrors import Files, csv_of, files_of
from tests.support.results import store_bytes, stored_bytes
from tests.support.tools import all_or_few
from tests.support.upstream import make_account, make_remote_collection, make_remote_run
from tests.test_writer_killed import POINTS, expire_leases, is_killed, kill_at, points_to_be_killed_at, verify

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.no_cover]


@pytest.fixture(autouse=True)
def without_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip syncing, but keep it as a point to be killed at. The system keeps a killed process's writes."""
    monkeypatch.setattr(os, "fsync", lambda file: None)


@pytest.mark.parametrize("kind", all_or_few([Kind.AMAZON, Kind.AMAZON_CATEGORY], Kind.AMAZON))
def test_killed_at_every_point(crawlers: Team, results_folder: Path, kind: Kind) -> None:
    collection = make_remote_collection(make_account(crawlers), kind=kind)
    for point in points_to_be_killed_at("folder"):
        run = start_over(collection)
        files = files_of(run)
        killed = is_killed(
            lambda run=run, files=files, point=point: kill_at(POINTS, point, lambda: copy(run, files))  # type: ignore[misc]
        )
        copied = {file.remote_name for file in run.files.exclude(key="")}
        for file in run.files.exclude(key=""):
            verify(file)
        expire_leases()
        if point % 4 < 2:  # half of the bytes
            repair_runs()
            assert on_disk(results_folder) == keys()
        copy(run, files)
        check(run, files, results_folder)
        assert not copied & set(files.opened)
        if not killed:
            break
    assert point > 20


@pytest.mark.thorough
def test_killed_at_every_point_while_replacing_a_damaged_copy(crawlers: Team, results_folder: Path) -> None:
    collection = make_remote_collection(make_account(crawlers))
    for point in points_to_be_killed_at("folder"):
        run = start_over(collection)
        files = files_of(run)
        copy(run, files)
        damage(run.files.get(position=1))
        killed = is_killed(
            lambda run=run, files=files, point=point: kill_at(POINTS, point, lambda: copy(run, files))  # type: ignore[misc]
        )
        expire_leases()
        if point % 4 < 2:
            repair_runs()
            assert on_disk(results_folder) == keys()
        copy(run, files)
        check(run, files, results_folder)
        if not killed:
            break
    assert point > 10


def damage(page: ResultFile) -> None:
    """Store an error instead of a page, and mark the copy as damaged."""
    content = b'{"code": 500, "data": "Try again", "status": 0}'
    store_bytes(page.key, content)
    digest = hashlib.sha256(content).hexdigest()
    ResultFile.objects.filter(pk=page.pk).update(size=len(content), sha256=digest, is_damaged=True)
    Run.objects.filter(pk=page.run_id).update(is_kept=False)


def start_over(collection: Collection) -> Run:
    for run in collection.runs.all():
        delete_run(run)
    return make_remote_run(collection)


def copy(run: Run, files: Files) -> None:
    there = Run.objects.select_related("collection").get(pk=run.pk)
    assert mirror_run(there, files) == []


def check(run: Run, files: Files, results_folder: Path) -> None:
    expected = dict(files.contents)
    if run.collection.is_category:
        expected["category_asins.csv"] = csv_of(expected["category_asins.json"])
    assert {file.name: stored_bytes(file) for file in run.files.all()} == expected
    for file in run.files.all():
        verify(file)
    run.refresh_from_db()
    assert (run.is_kept, run.lease_expires_at) == (True, None)
    assert on_disk(results_folder) == keys()
    assert not repair_runs().was_needed


def on_disk(results_folder: Path) -> set[str]:
    return {str(path.relative_to(results_folder)) for path in results_folder.rglob("*") if path.is_file()}


def keys() -> set[str]:
    return set(ResultFile.objects.exclude(key="").values_list("key", flat=True))
