"""Slices of runs in the results storage, and the worker that creates them."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import storages
from django.core.management import call_command
from django.test import Client
from django.utils import timezone

from collections_app.management.worker import Slicer
from collections_app.models import Account, Collection, Export, Run, Slice, SliceState, Team, TrackingSettings
from collections_app.records.preview.engine import open_database
from collections_app.records.tracking import slice_builder, slice_repair
from collections_app.records.tracking.settings import tracking_of
from collections_app.records.tracking.slice_builder import build_slice
from collections_app.records.tracking.slice_progress import Progress, progress_of
from collections_app.records.tracking.slice_queue import SliceQueue
from collections_app.records.tracking.slices import write_slice
from collections_app.records.tracking.stored_slices import SliceUnavailable, existing_slice, slice_of
from collections_app.runs.removal import delete_run
from collections_app.sources import SourceBusy
from collections_app.sources import account as account_source
from tests.support.mirrors import Files, files_of
from tests.support.results import (
    make_processing_run,
    make_ready_run,
    make_run_of_pages,
    records,
    store_bytes,
    stored_keys,
)
from tests.support.upstream import make_account, make_remote_collection, make_remote_run

pytestmark = pytest.mark.django_db


def asins(run: Run) -> list[str]:
    """Return the ASINs in the slice of a run."""
    found = slice_of(run)
    with open_database(found.path, seconds=60) as database:
        rows = database.query(
            f"SELECT {found.sql_name('asin')} FROM read_parquet($slice) ORDER BY n",
            {"slice": str(found.path)},
        )
    return [json.loads(asin) for (asin,) in rows]


def slices_stored() -> list[str]:
    return [key for key in stored_keys() if key.startswith("tracking/")]


def slice_all(slicer: Slicer | None = None) -> list[int]:
    """Let the worker create all slices. Return the numbers of their runs in the order of creation."""
    slicer = slicer or Slicer()
    while slicer.run_once():
        pass
    return list(Slice.objects.ready().order_by("created_at").values_list("run__number", flat=True))


@pytest.fixture
def run(laptops: Collection) -> Run:
    return make_ready_run(laptops, records(3))


@pytest.fixture
def account(crawlers: Team) -> Account:
    return make_account(crawlers, tracks_runs=True)


@pytest.fixture
def remote(account: Account) -> Collection:
    return make_remote_collection(account)


def serve(monkeypatch: pytest.MonkeyPatch, *runs: Run) -> Files:
    """Let the account send the files of these runs."""
    contents: dict[str, bytes] = {}
    for run in runs:
        contents |= files_of(run).contents
    files = Files(contents)
    monkeypatch.setattr(account_source, "UpstreamBody", files.body)
    monkeypatch.setattr(account_source, "size_of", files.size)
    return files


class TestBuilding:
    def test_a_slice_has_all_records(self, run: Run) -> None:
        assert asins(run) == ["B000000001", "B000000002", "B000000003"]
        stored = Slice.objects.get(run=run)
        assert (stored.state, stored.records, stored.columns) == (
            SliceState.READY,
            3,
            ["asin", "title", "price_cents"],
        )
        assert slices_stored() == [stored.key]
        assert stored.key.startswith(f"tracking/{run.collection_id}/{run.number}-")

    def test_a_slice_is_created_only_once(self, run: Run) -> None:
        slice_of(run)
        created_at = Slice.objects.get().created_at
        assert asins(run)
        Run.objects.update(needs_slice=True)
        assert not build_slice(run)
        assert SliceQueue(remote=False).next() is None
        assert Slice.objects.get().created_at == created_at

    def test_an_older_version_is_replaced(self, run: Run) -> None:
        slice_of(run)
        (old,) = slices_stored()
        Slice.objects.update(version=0)
        assert existing_slice(run) is None
        assert SliceQueue(remote=False).next() is None
        slice_repair.tidy()
        assert SliceQueue(remote=False).next() == run
        assert len(asins(run)) == 3
        assert len(slices_stored()) == 1
        assert slices_stored() != [old]

    def test_a_missing_file_is_created_again(self, run: Run) -> None:
        slice_of(run)
        storages["results"].delete(Slice.objects.get().key)
        for path in Path(storages["converted"].path("")).glob("tracking-*"):
            path.unlink()
        assert existing_slice(run) is None
        assert SliceQueue(remote=False).next() == run
        assert len(asins(run)) == 3

    def test_a_damaged_file_is_found_by_verify_and_created_again(
        self, run: Run, capsys: pytest.CaptureFixture[str]
    ) -> None:
        slice_of(run)
        call_command("verify")
        assert "comparing" not in capsys.readouterr().out
        stored = Slice.objects.get()
        store_bytes(stored.key, b"x" * stored.size)
        call_command("verify")
        said = capsys.readouterr().out
        assert (
            "Run 1 of AU Laptops: The data for comparing it was damaged or missing. It will be created again."
        ) in said
        assert "1 run verified and intact." in said
        assert SliceQueue(remote=False).next() == run

    def test_slices_are_created_again_in_a_new_storage(self, run: Run) -> None:
        slice_of(run)
        storages["results"].delete(Slice.objects.get().key)
        slice_repair.tidy()
        assert not Slice.objects.exists()
        assert SliceQueue(remote=False).next() == run

    def test_damaged_records_are_final(self, laptops: Collection) -> None:
        run = make_run_of_pages(laptops, {"page_1.json": b'[{"asin": "B01"}]'})
        with storages["results"].open(run.files.with_records().get().key, "wb") as file:
            file.write(b'[{"asin": "B01"} ')
        with pytest.raises(SliceUnavailable, match=r"^“page_1.json” is damaged: line 1, column \d+"):
            slice_of(run)
        assert SliceQueue(remote=False).next() is None
        with pytest.raises(SliceUnavailable, match="damaged"):
            slice_of(run)

    def test_other_failures_are_retried_after_growing_pauses(
        self, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fails(*_: object) -> None:
            raise RuntimeError

        monkeypatch.setattr(slice_builder, "write_slice", fails)
        for failures, minutes in [(1, 5), (2, 10), (3, 20)]:
            assert build_slice(run)
            failed = Slice.objects.get()
            assert failed.failures == failures
            assert failed.retry_at
            pause = failed.retry_at - timezone.now()
            assert timedelta(minutes=minutes - 1) < pause <= timedelta(minutes=minutes)
            assert SliceQueue(remote=False).next() is None
        monkeypatch.undo()
        with pytest.raises(SliceUnavailable, match="The error was logged"):
            slice_of(run)
        Slice.objects.update(retry_at=timezone.now())
        assert SliceQueue(remote=False).next() == run
        assert len(asins(run)) == 3
        assert Slice.objects.get().failures == 0

    def test_a_killed_attempt_is_taken_over_once_its_lease_has_expired(self, run: Run) -> None:
        attempt = slice_builder._claimed(run)
        assert attempt
        assert not build_slice(run)
        assert SliceQueue(remote=False).next() is None
        Slice.objects.update(lease_expires_at=timezone.now())
        assert SliceQueue(remote=False).next() == run
        assert build_slice(run)

    def test_a_process_that_stops_leaves_the_slice_to_others(self, run: Run) -> None:
        with pytest.raises(slice_builder.Stopped):
            build_slice(run, must_stop=lambda: True)
        assert slices_stored() == []
        assert SliceQueue(remote=False).next() == run


class TestDeletion:
    def test_deleting_a_run_deletes_its_slice(self, run: Run) -> None:
        slice_of(run)
        delete_run(run)
        assert slices_stored() == []
        with pytest.raises(SliceUnavailable, match="deleted"):
            slice_of(run)

    def test_a_run_that_is_deleted_meanwhile_gets_no_slice(
        self, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def delete_first(*args: Any) -> tuple[str, ...]:
            Run.objects.get(pk=run.pk).delete()
            return write_slice(*args)

        monkeypatch.setattr(slice_builder, "write_slice", delete_first)
        assert build_slice(run)
        assert slices_stored() == []
        assert not Slice.objects.exists()


class TestWorker:
    def test_the_newest_runs_come_first_and_collections_take_turns(
        self, laptops: Collection, headphones: Collection
    ) -> None:
        for _ in range(2):
            make_ready_run(laptops)
            make_ready_run(headphones)
        make_processing_run(laptops)
        slicer = Slicer()
        order = []
        while run := slicer._queues[0].next():
            assert build_slice(run)
            order.append((run.collection, run.number))
        assert order == [(laptops, 2), (headphones, 2), (laptops, 1), (headphones, 1)]
        assert not Run.objects.to_slice().filter(state="ready").exists()

    def test_a_slice_gives_way_to_an_export_in_the_same_thread(self, run: Run) -> None:
        export = Export.objects.create(run=run, format="csv", digest="x")
        slicer = Slicer(gives_way=True)
        assert slicer.run_once()
        assert not Slice.objects.ready().exists()
        export.delete()
        slicer._checked_at = float("-inf")
        assert slice_all(slicer) == [1]

    def test_the_key_is_suggested_from_the_first_slices(self, laptops: Collection) -> None:
        assert not tracking_of(laptops).key
        make_ready_run(laptops, [{"sku": "A", "id": 1}, {"sku": "B", "id": 2}])
        slice_all()
        assert TrackingSettings.objects.get(collection=laptops).key == ("sku",)
        for _ in range(2):
            make_ready_run(laptops, [{"sku": "A", "id": 1}, {"sku": "A", "id": 2}])
        slice_all()
        tracking = tracking_of(laptops)
        assert (tracking.key, tracking.version, tracking.is_suggested) == (("id",), 2, True)

    def test_the_records_of_the_newest_runs_are_read_from_an_account(
        self, remote: Collection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        runs = [
            make_remote_run(remote, number, at=timezone.now() + timedelta(hours=number))
            for number in range(1, 5)
        ]
        monkeypatch.setattr("collections_app.records.tracking.slice_queue.MOST_REMOTE", 2)
        serve(monkeypatch, *runs)
        assert slice_all() == [4, 3]
        assert len(asins(runs[0])) == 2  # on demand

    def test_an_account_that_asks_to_wait_gets_no_request(
        self, remote: Collection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        runs = [make_remote_run(remote, number) for number in range(1, 4)]
        files = serve(monkeypatch, *runs)

        def is_busy(name: str) -> None:
            raise SourceBusy("The account asks us to wait.", 600)

        files.on_open = is_busy
        slicer = Slicer()
        assert slice_all(slicer) == []
        assert len(files.opened) == 1
        with pytest.raises(SliceUnavailable, match="asks us to wait"):
            slice_of(Slice.objects.get().run)

    def test_an_account_sends_no_records_if_its_switch_is_off(
        self, remote: Collection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run = make_remote_run(remote)
        Account.objects.update(tracks_runs=False)
        files = serve(monkeypatch, run)
        assert slice_all() == []
        assert files.opened == []


class TestProgress:
    def test_the_download_page_shows_the_progress_while_many_runs_wait(
        self, laptops: Collection, as_bob: Client
    ) -> None:
        for _ in range(6):
            make_ready_run(laptops)
        page = f"/collections/{laptops.pk}/download"
        slice_of(laptops.runs.get(number=6))
        assert "Comparing runs: 1 of 6 prepared" in as_bob.get(page).content.decode()
        slice_of(laptops.runs.get(number=5))
        assert "Comparing runs" not in as_bob.get(page).content.decode()

    def test_it_does_not_wait_for_runs_of_an_account_that_are_not_compared(self, remote: Collection) -> None:
        for number in range(1, 7):
            make_remote_run(remote, number)
        assert progress_of(remote) == Progress(0, 6)
        Account.objects.update(tracks_runs=False)
        assert progress_of(remote) is None
