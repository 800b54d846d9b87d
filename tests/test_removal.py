from datetime import timedelta
from pathlib import Path

import pytest
from django.db import transaction
from django.utils import timezone

from collections_app.models import Collection, ResultFile, Run
from collections_app.runs import folder
from collections_app.runs.lease import RunIsBeingWritten
from collections_app.runs.removal import delete_run
from collections_app.runs.repair import repair_runs
from collections_app.runs.writer import ResultSetWriter
from tests.support.results import (
    make_failed_run,
    make_processing_run,
    make_ready_run,
    records,
    stored_keys,
    stored_records,
)


def test_rows_and_files_are_deleted(laptops: Collection) -> None:
    kept, deleted = make_ready_run(laptops, records(2)), make_ready_run(laptops)
    delete_run(deleted)
    assert list(Run.objects.all()) == [kept]
    assert set(ResultFile.objects.values_list("run", flat=True)) == {kept.pk}
    assert not [key for key in stored_keys() if not key.startswith("101/1/")]
    assert stored_records(kept) == records(2)


def test_runs_in_every_state_can_be_deleted(laptops: Collection) -> None:
    for run in (make_failed_run(laptops), make_processing_run(laptops, records(1))):
        delete_run(run)
    assert not Run.objects.exists()
    assert stored_keys() == []


def test_a_run_that_is_being_written_cannot_be_deleted(laptops: Collection) -> None:
    with ResultSetWriter.start(laptops) as writer:
        writer.add_record({})
        with pytest.raises(RunIsBeingWritten, match="Run 1 is being written"):
            delete_run(writer.run)
    assert stored_records(writer.run) == [{}]


@pytest.mark.parametrize("left", [timedelta(seconds=-1), timedelta(days=365)])  # the clock was set back
def test_a_run_whose_writer_was_killed_can_be_deleted(laptops: Collection, left: timedelta) -> None:
    run = ResultSetWriter.start(laptops).run
    Run.objects.update(lease_expires_at=timezone.now() + left)
    delete_run(run)
    assert not Run.objects.exists()


def test_deleting_twice_is_harmless(laptops: Collection) -> None:
    run = make_ready_run(laptops)
    delete_run(run)
    delete_run(run)


def test_files_that_were_not_reached_are_removed_by_repair(
    laptops: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(run: Run) -> None:
        raise KeyboardInterrupt

    kept, run = make_ready_run(laptops), make_ready_run(laptops)
    with monkeypatch.context() as patch:
        patch.setattr(folder, "remove", killed)
        with pytest.raises(KeyboardInterrupt):
            delete_run(run)
    assert len(repair_runs().removed_files) == 2
    assert sorted(stored_keys()) == sorted(file.key for file in kept.files.all())


def test_the_rows_are_deleted_before_the_files(laptops: Collection) -> None:
    run = make_ready_run(laptops, records(1))
    with transaction.atomic(), pytest.raises(RuntimeError, match="durable"):
        delete_run(run)
    assert stored_records(run) == records(1)


def test_empty_folders_are_removed(laptops: Collection, results_folder: Path) -> None:
    kept, deleted = make_ready_run(laptops), make_ready_run(laptops)
    delete_run(deleted)
    assert [path.name for path in (results_folder / "101").iterdir()] == [str(kept.number)]
