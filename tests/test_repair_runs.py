import errno
from datetime import timedelta
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError
from django.utils import timezone

from collections_app.models import Collection, ResultFile, Run, State
from collections_app.runs import folder, repair
from collections_app.runs.repair import INTERRUPTED, repair_runs
from collections_app.runs.writer import ResultSetWriter
from tests.support.results import (
    abandon,
    make_failed_run,
    make_processing_run,
    make_ready_run,
    records,
    store_bytes,
    stored_keys,
    stored_records,
)


def dead_run(collection: Collection, pages: int = 2) -> Run:
    """Return a run whose writer was killed while it wrote a page."""
    writer = ResultSetWriter.start(collection, page_size=2)
    for record in records(2 * pages + 1):
        writer.add_record(record)
    Run.objects.filter(pk=writer.run.pk).update(lease_expires_at=timezone.now() - timedelta(seconds=1))
    # A killed writer leaves an unfinished page behind.
    abandon(writer)
    return writer.run


def test_an_interrupted_run_fails_with_a_helpful_reason(laptops: Collection, results_storage: str) -> None:
    run = dead_run(laptops)
    assert any(key.endswith(".part") for key in stored_keys()) or results_storage == "s3"
    report = repair_runs()
    assert report.failed_runs == [run]
    run.refresh_from_db()
    assert (run.state, run.failure_reason, run.lease_expires_at) == (State.FAILED, INTERRUPTED, None)
    assert "Start a new run" in run.failure_reason
    assert not ResultFile.objects.exists()
    assert stored_keys() == []


def test_a_second_repair_changes_nothing(laptops: Collection) -> None:
    dead_run(laptops)
    assert repair_runs().was_needed
    assert not repair_runs().was_needed


def test_a_run_that_is_being_written_is_left_alone(laptops: Collection) -> None:
    with ResultSetWriter.start(laptops, page_size=2) as writer:
        for record in records(3):
            writer.add_record(record)
        before = stored_keys()
        assert not repair_runs().was_needed
        assert stored_keys() == before
    assert stored_records(writer.run) == records(3)


def test_a_lease_from_before_the_clock_was_set_back_is_ignored(laptops: Collection) -> None:
    killed = dead_run(laptops)
    Run.objects.update(lease_expires_at=timezone.now() + timedelta(days=365))
    report = repair_runs()
    assert (report.failed_runs, report.living_runs) == ([killed], [])
    assert stored_keys() == []


def test_a_small_clock_correction_ends_no_lease(laptops: Collection) -> None:
    with ResultSetWriter.start(laptops) as writer:
        Run.objects.update(lease_expires_at=timezone.now() + timedelta(seconds=100))
        assert repair_runs().living_runs == [writer.run]
        writer.add_record({})
    assert stored_records(writer.run) == [{}]


def test_a_paused_run_is_left_alone(laptops: Collection) -> None:
    run = make_processing_run(laptops, records(3), page_size=2)
    before = stored_keys()
    assert not repair_runs().was_needed
    assert stored_keys() == before
    run.refresh_from_db()
    assert run.state == State.PROCESSING


def test_completed_and_failed_runs_are_left_alone(laptops: Collection, headphones: Collection) -> None:
    run = make_ready_run(laptops, records(3))
    make_ready_run(headphones, records(3))
    make_failed_run(laptops)
    before = stored_keys()
    assert not repair_runs().was_needed
    assert stored_keys() == before
    assert stored_records(run) == records(3)


def test_files_that_belong_to_no_run_are_removed(laptops: Collection, results_folder: Path) -> None:
    ready, failed = make_ready_run(laptops), make_failed_run(laptops)
    paused = make_processing_run(laptops, records(1))
    kept = stored_keys()
    for run in (ready, failed, paused):
        store_bytes(f"{folder.folder_of(run)}/0123456789abcdef-page-0001.json", b"[]")
        store_bytes(f"{folder.folder_of(run)}/0123456789abcdef-page-0002.json.12345678.part", b"[]")
    store_bytes("101/99/0123456789abcdef-page-0001.json", b"[]")
    store_bytes("555/1/0123456789abcdef-page-0001.json", b"[]")
    report = repair_runs()
    assert len(report.removed_files) == 8
    assert sorted(report.removed_folders) == ["101/2", "101/99", "555", "555/1"]
    assert stored_keys() == kept


def test_files_of_earlier_attempts_are_removed_during_writing(laptops: Collection) -> None:
    run = make_processing_run(laptops, records(1))
    with ResultSetWriter.resume(run) as writer:
        writer.add_record({})
        stray = f"101/1/{run.attempt}-page-0007.json"
        store_bytes(stray, b"[]")
        assert repair_runs().removed_files == [stray]
        assert stray not in stored_keys()
    assert stored_records(writer.run) == [*records(1), {}]


def test_other_folders_are_left_alone(laptops: Collection) -> None:
    make_failed_run(laptops)
    ours = {"lost+found/a", "README", "101/notes.txt", "101/1/folder/file", "777/folder/file"}
    for name in ours:
        store_bytes(name, b"[]")
    repair_runs()
    assert ours == set(stored_keys())


def test_a_writer_that_renews_in_time_keeps_its_run(
    laptops: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = ResultSetWriter.start(laptops)
    Run.objects.update(lease_expires_at=timezone.now() - timedelta(seconds=1))
    fail = repair._fail

    def renewed_just_before(run: Run) -> bool:
        writer.renew()
        return fail(run)

    monkeypatch.setattr(repair, "_fail", renewed_just_before)
    assert not repair_runs().was_needed
    writer.add_record({})
    assert writer.finish().is_ready


def test_files_of_another_database_are_left_alone(laptops: Collection) -> None:
    store_bytes("101/1/0123456789abcdef-page-0001.json", b"[]")
    assert not repair_runs().was_needed
    assert stored_keys() == ["101/1/0123456789abcdef-page-0001.json"]


def test_an_empty_storage_needs_no_repair(db: None) -> None:
    assert not repair_runs().was_needed


def test_the_command_reports_its_changes(laptops: Collection, results_folder: Path) -> None:
    dead_run(laptops)
    store_bytes("555/1/0123456789abcdef-page-0001.json", b"[]")
    out = StringIO()
    call_command("repair_runs", stdout=out)
    assert out.getvalue().splitlines() == [
        "Run 1 of AU Laptops was interrupted. It is now Failed.",
        "Deleted files that belong to no run: 1.",
        "Deleted empty folders: 2.",
    ]
    out = StringIO()
    call_command("repair_runs", stdout=out)
    assert out.getvalue() == "Nothing to repair.\n"


def test_a_name_cannot_control_the_terminal(laptops: Collection) -> None:
    Collection.objects.update(name="Red\x1b[31m")
    dead_run(laptops)
    out = StringIO()
    call_command("repair_runs", stdout=out)
    assert out.getvalue() == "Run 1 of Red\ufffd[31m was interrupted. It is now Failed.\n"


def test_a_read_only_database(laptops: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(run: Run) -> bool:
        raise OperationalError("disk I/O error")

    dead_run(laptops)
    monkeypatch.setattr(repair, "_fail", full)
    with pytest.raises(CommandError) as caught:
        call_command("repair_runs")
    assert str(caught.value) == (
        "The database can't be used: disk I/O error. Is the disk full? "
        "Fix the problem and run repair_runs again."
    )


def test_a_storage_that_denies_access(laptops: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> list[int]:
        raise OSError(errno.EIO, "The object storage refused the request: AccessDenied", "results")

    monkeypatch.setattr(repair, "_collections_stored", refuse)
    with pytest.raises(CommandError) as caught:
        call_command("repair_runs")
    assert str(caught.value) == (
        "The results storage can't be used: The object storage refused the request: AccessDenied (results). "
        "Fix the problem and run repair_runs again."
    )


def test_the_command_lists_the_runs_it_left_alone(laptops: Collection) -> None:
    out = StringIO()
    with ResultSetWriter.start(laptops):
        call_command("repair_runs", stdout=out)
    assert out.getvalue() == (
        "Not repaired, because they are being written or were interrupted less than a minute ago: "
        "run 1 of AU Laptops. If they were interrupted, run repair_runs again in a minute.\n"
    )
