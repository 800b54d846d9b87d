"""A run has one writer, even if others want it at the same time on other connections."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from django.core.files.storage import storages
from django.db import connections

from collections_app.models import Collection, LastOwner, Membership, ResultFile, Role, Run, State, Team, User
from collections_app.runs.lease import LeaseLost, RunIsBeingWritten
from collections_app.runs.mirror import mirror_run
from collections_app.runs.removal import delete_run
from collections_app.runs.repair import repair_runs
from collections_app.runs.writer import ResultSetWriter
from collections_app.system import database
from tests.support.meanwhile import ask_meanwhile
from tests.support.mirrors import files_of
from tests.support.results import make_processing_run, records, stored_records
from tests.support.upstream import make_account, make_remote_collection, make_remote_run

pytestmark = pytest.mark.django_db(transaction=True)

THREADS = 8


def at_once(*works: Callable[[], Any]) -> list[Any]:
    """Call all functions at the same time in threads. Return their results and exceptions."""
    together = Barrier(len(works))

    def done(work: Callable[[], Any]) -> Any:
        try:
            together.wait()
            return work()
        except (RunIsBeingWritten, LeaseLost, LastOwner) as error:
            return error
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(works)) as pool:
        return list(pool.map(done, works))


def test_only_one_of_many_resumes_a_run(laptops: Collection) -> None:
    run = make_processing_run(laptops, records(1))
    got = at_once(*[lambda: ResultSetWriter.resume(run)] * THREADS)
    (writer,) = [each for each in got if isinstance(each, ResultSetWriter)]
    assert sum(isinstance(each, RunIsBeingWritten) for each in got) == THREADS - 1
    with writer:
        writer.add_record(records(1, first=2)[0])
    assert stored_records(run) == records(2)


def test_only_one_of_many_copies_a_run(crawlers: Team, results_folder: Path) -> None:
    run = make_remote_run(make_remote_collection(make_account(crawlers)))
    files = files_of(run)
    got = at_once(*[lambda: mirror_run(run, files)] * THREADS)
    assert sorted(files.opened) == sorted(run.files.values_list("remote_name", flat=True))
    # The later ones found nothing left to copy.
    assert all(each == [] or isinstance(each, RunIsBeingWritten) for each in got)
    assert {path.name for path in (results_folder / f"{run.collection_id}/{run.number}").iterdir()} == {
        Path(file.key).name for file in ResultFile.objects.all()
    }


def test_runs_started_at_once_get_consecutive_numbers(laptops: Collection) -> None:
    writers = at_once(*[lambda: ResultSetWriter.start(laptops)] * THREADS)
    assert sorted(writer.run.number for writer in writers) == list(range(1, THREADS + 1))
    laptops.refresh_from_db()
    assert laptops.last_run_number == THREADS


@pytest.fixture
def late(laptops: Collection) -> ResultSetWriter:
    """A writer with a page, whose lease has just expired."""
    writer = ResultSetWriter.start(laptops, page_size=1)
    writer.add_record(records(1)[0])
    lapse()
    return writer


def lapse() -> None:
    Run.objects.update(lease_expires_at=database.now() - timedelta(seconds=1))


class TestAWriterThatIsLate:
    """Its lease expires while it changes its run, and another process wants the run."""

    def another_page(self, writer: ResultSetWriter) -> None:
        writer._change(extracted=2)

    def test_repair_waits_and_leaves_the_run_alone(self, late: ResultSetWriter) -> None:
        report = ask_meanwhile(lambda: self.another_page(late), repair_runs)
        assert not report.was_needed
        late.add_record(records(1, first=2)[0])
        assert stored_records(late.finish()) == records(2)

    def test_the_run_cannot_be_resumed(self, late: ResultSetWriter) -> None:
        def resume() -> object:
            with pytest.raises(RunIsBeingWritten):
                ResultSetWriter.resume(late.run)
            return True

        assert ask_meanwhile(lambda: self.another_page(late), resume)
        assert late.finish().is_ready

    def test_the_run_cannot_be_deleted(self, late: ResultSetWriter) -> None:
        def delete() -> object:
            with pytest.raises(RunIsBeingWritten):
                delete_run(late.run)
            return True

        assert ask_meanwhile(lambda: self.another_page(late), delete)
        assert late.finish().is_ready


class TestAWriterThatIsTooLate:
    """Its lease has expired, and another process is changing the run."""

    def test_the_run_was_repaired(self, late: ResultSetWriter, results_folder: Path) -> None:
        def fail() -> None:
            Run.objects.filter(pk=late.run.pk).update(state=State.FAILED, failure_reason="Interrupted.")
            late.run.files.all().delete()

        def go_on() -> object:
            with pytest.raises(LeaseLost):
                late.add_record(records(1, first=2)[0])
            return True

        assert ask_meanwhile(fail, go_on)
        assert not ResultFile.objects.exists()
        assert not [path for path in results_folder.rglob("*") if path.is_file()]

    def test_the_run_was_resumed(self, late: ResultSetWriter) -> None:
        taken = {"attempt": "another", "lease_expires_at": database.now() + timedelta(seconds=60)}

        def go_on() -> object:
            with pytest.raises(LeaseLost):
                late.finish()
            return True

        assert ask_meanwhile(lambda: Run.objects.update(**taken), go_on)
        (page,) = ResultFile.objects.all()
        assert storages["results"].exists(page.key)


def test_a_lease_that_expires_during_a_repair_loses_no_file(
    laptops: Collection, results_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = ResultSetWriter.start(laptops, page_size=1)
    writer.add_record(records(1)[0])
    # It is written, and its row is about to be committed.
    coming = results_folder / f"{laptops.pk}/1/{writer.run.attempt}-page-0002.json"
    coming.write_text("[]\n")
    monkeypatch.setattr("collections_app.runs.repair.fail_interrupted_runs", lambda: lapse() or [])  # type: ignore[func-returns-value]
    assert not repair_runs().removed_files
    assert coming.exists()
    writer.discard()


def test_one_of_two_owners_who_leave_at_once_stays(crawlers: Team) -> None:
    for name in ("one", "other"):
        user = User.objects.create_user(f"{name}@example.com")
        Membership.objects.create(user=user, team=crawlers, role=Role.OWNER)
    got = at_once(*[owner.remove for owner in crawlers.memberships.all()])
    assert {type(each) for each in got} == {LastOwner, type(None)}
    assert crawlers.memberships.get().role == Role.OWNER
