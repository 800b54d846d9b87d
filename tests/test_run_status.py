"""The status of a run: one rule in Python and in the database, for our runs and an account's."""

from datetime import datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.test import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collections_app.models import Collection, Run, State, Status, Team
from collections_app.models.run_status import in_status
from collections_app.runs.writer import ResultSetWriter
from collections_app.sources import SourceUnavailable, sync
from tests.support.html import text_of
from tests.support.results import make_processing_run, make_ready_run, records
from tests.support.tools import PATIENCE
from tests.support.upstream import NOON, ListedRuns, lists, make_account, make_remote_collection, remote_run

HOUR = timedelta(hours=1)


@pytest.fixture
def remote(crawlers: Team) -> Collection:
    return make_remote_collection(make_account(crawlers))


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> ListedRuns:
    return lists(monkeypatch)


def status_at(run: Run, at: datetime) -> str:
    """Return a run's status at a time."""
    with time_machine.travel(at, tick=False):
        return str(Run.objects.select_related("collection").get(pk=run.pk).status)


class TestTheRule:
    @pytest.mark.parametrize(
        ("fields", "status"),
        [
            ({"state": "processing"}, "processing"),
            ({"state": "processing", "stalls_at": NOON}, "stalled"),
            ({"state": "processing", "stalls_at": NOON + HOUR}, "processing"),
            ({"state": "failed", "failure_reason": "No response.", "stalls_at": NOON}, "failed"),
            ({"state": "ready", "file_count": 1, "extracted": 80, "total": 80}, "completed"),
            ({"state": "ready", "file_count": 1, "extracted": 81, "total": 80}, "completed"),
            ({"state": "ready", "file_count": 1, "extracted": 0, "total": 0}, "completed"),
            ({"state": "ready", "file_count": 1, "extracted": 0, "total": None}, "completed"),
            ({"state": "ready", "file_count": 1, "extracted": None, "total": 80}, "completed"),
            ({"state": "ready", "file_count": 1, "extracted": 61, "total": 80}, "incomplete"),
            ({"state": "ready", "file_count": 1, "extracted": 0, "total": 80}, "empty"),
        ],
    )
    def test_it_follows_from_what_is_stored(
        self, laptops: Collection, fields: dict[str, Any], status: str
    ) -> None:
        with time_machine.travel(NOON, tick=False):
            run = Run.objects.create(collection=laptops, number=1, **fields)
            assert str(run.status) == status

    @settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        st.lists(
            st.tuples(
                st.booleans(),  # at an account
                st.sampled_from(State.values),
                st.sampled_from([None, 0, 1, 80]),
                st.sampled_from([None, 0, 1, 80]),
                st.sampled_from([None, NOON - HOUR, NOON, NOON + HOUR]),
            ),
            max_size=8,
        ),
        st.sampled_from([None, NOON - HOUR, NOON, NOON + HOUR]),
    )
    def test_the_database_applies_the_same_rule(
        self, laptops: Collection, remote: Collection, runs: list[Any], refreshed_at: datetime | None
    ) -> None:
        Run.objects.all().delete()
        Collection.objects.filter(pk=remote.pk).update(refreshed_at=refreshed_at)
        for number, (is_remote, state, extracted, total, stalls_at) in enumerate(runs, 1):
            Run.objects.create(
                collection=remote if is_remote else laptops,
                number=number,
                state=state,
                failure_reason="No response." if state == State.FAILED else "",
                extracted=extracted,
                total=total,
                stalls_at=stalls_at,
                file_count=1,
            )
        with time_machine.travel(NOON, tick=False):
            all_runs = list(Run.objects.select_related("collection"))
            found = [(run, status) for status in Status for run in Run.objects.with_status(status)]
            in_database = {run.pk: status for run, status in found}
            assert len(found) == len(in_database)  # each run has one status
            assert in_database == {run.pk: run.status for run in all_runs}
            for status in Status:
                expected = {run.pk for run in all_runs if run.status == status}
                assert set(Run.objects.filter(in_status(status)).values_list("pk", flat=True)) == expected
            ready = {Status.COMPLETED, Status.INCOMPLETE, Status.EMPTY}
            for group in ({Status.FAILED, Status.STALLED}, ready, set(Status)):
                expected = {run.pk for run in all_runs if run.status in group}
                assert set(Run.objects.filter(in_status(*group)).values_list("pk", flat=True)) == expected


@pytest.mark.usefixtures("results_folder")  # an S3 server refuses what is signed at another time
class TestOurRuns:
    """With progress every 50 minutes, a collection allows longer pauses than with progress every minute."""

    def written(self, collection: Collection, every: timedelta) -> Run:
        """Write a run with a page at each step, and return the next run, which has just begun."""
        with time_machine.travel(NOON, tick=False) as clock:
            with ResultSetWriter.start(collection, page_size=1) as writer:
                for record in records(3):
                    clock.shift(every)
                    writer.add_record(record)
            with ResultSetWriter.start(collection) as writer:
                writer.pause()
        return writer.run

    @pytest.mark.parametrize(
        ("every", "after", "status"),
        [
            (50, 60, "processing"),
            (50, 99, "processing"),
            (50, 100, "stalled"),
            (1, 14, "processing"),
            (1, 16, "stalled"),
        ],
    )
    def test_it_stalls_after_twice_its_usual_step_but_not_within_15_minutes(
        self, laptops: Collection, every: int, after: int, status: str
    ) -> None:
        run = self.written(laptops, timedelta(minutes=every))
        begin = NOON + 3 * timedelta(minutes=every)
        assert status_at(run, begin + timedelta(minutes=after)) == status

    def test_the_first_run_stalls_after_an_hour(self, laptops: Collection) -> None:
        with time_machine.travel(NOON, tick=False):
            run = make_processing_run(laptops)
        assert status_at(run, NOON + timedelta(minutes=14)) == "processing"
        assert status_at(run, NOON + HOUR) == "stalled"

    def test_a_run_that_continues_is_processing_again(self, laptops: Collection) -> None:
        with time_machine.travel(NOON, tick=False):
            run = make_processing_run(laptops)
        later = NOON + 5 * HOUR
        assert status_at(run, later) == "stalled"
        with time_machine.travel(later, tick=False):
            writer = ResultSetWriter.resume(run, page_size=1)
            assert status_at(run, later) == "processing"
            writer.add_record({"asin": "A"})
            writer.finish()
        assert status_at(run, later + 99 * HOUR) == "completed"

    def test_its_own_slow_steps_count(self, laptops: Collection) -> None:
        with time_machine.travel(NOON, tick=False) as clock:
            writer = ResultSetWriter.start(laptops, page_size=1)
            clock.shift(2 * HOUR)
            writer.add_record({"asin": "A"})
            run = writer.run
            assert status_at(run, NOON + 5 * HOUR) == "processing"
            assert status_at(run, NOON + 6 * HOUR) == "stalled"
            writer.discard()


class TestAnAccountsRuns:
    def listed(self, remote: Collection, at: datetime) -> Run:
        """List the account at a time, and return its run 1."""
        with time_machine.travel(at, tick=False):
            remote.refresh_from_db()
            sync.refresh(remote, seconds=PATIENCE)
        return remote.runs.get(number=1)

    def test_a_run_that_failed_at_the_account_stalls(self, remote: Collection, account: ListedRuns) -> None:
        account.runs = [remote_run(1, ready=False)]  # last updated at 12:05
        self.listed(remote, NOON + timedelta(minutes=10))
        run = self.listed(remote, NOON + timedelta(minutes=60))
        assert str(run.status) == "processing"
        run = self.listed(remote, NOON + timedelta(minutes=65))
        assert str(run.status) == "stalled"

    def test_an_old_run_is_stalled_when_it_is_first_listed(
        self, remote: Collection, account: ListedRuns
    ) -> None:
        account.runs = [remote_run(1, ready=False)]
        assert str(self.listed(remote, NOON + 9 * HOUR).status) == "stalled"

    def test_progress_ends_the_stall(self, remote: Collection, account: ListedRuns) -> None:
        account.runs = [remote_run(1, ready=False)]
        self.listed(remote, NOON + 9 * HOUR)
        account.runs = [remote_run(1, ready=False, extracted=120)]
        assert str(self.listed(remote, NOON + 9 * HOUR + timedelta(minutes=1)).status) == "processing"

    def test_an_account_that_does_not_respond_stalls_nothing(
        self, remote: Collection, account: ListedRuns
    ) -> None:
        account.runs = [remote_run(1, ready=False)]
        self.listed(remote, NOON + timedelta(minutes=10))
        account.problem = SourceUnavailable("MultiCartAPI is not responding.")
        run = self.listed(remote, NOON + 9 * HOUR)
        assert status_at(run, NOON + 9 * HOUR) == "processing"

    def test_steps_are_learned_from_what_was_seen(self, remote: Collection, account: ListedRuns) -> None:
        # It was seen without progress 50 minutes after its progress at 12:05, and completes then.
        account.runs = [remote_run(1, ready=False)]
        self.listed(remote, NOON + timedelta(minutes=5))
        self.listed(remote, NOON + timedelta(minutes=55))
        account.runs = [remote_run(1)]
        assert self.listed(remote, NOON + timedelta(minutes=56)).longest_step == timedelta(minutes=50)

    def test_a_gap_between_two_listings_is_no_step(self, remote: Collection, account: ListedRuns) -> None:
        account.runs = [remote_run(1, ready=False)]
        self.listed(remote, NOON + timedelta(minutes=5))
        account.runs = [remote_run(1)]
        assert self.listed(remote, NOON + 9 * HOUR).longest_step is None

    def test_a_run_that_a_newer_completed_one_has_overtaken_is_stalled(
        self, remote: Collection, account: ListedRuns
    ) -> None:
        at = NOON + timedelta(minutes=10)
        account.runs = [remote_run(1, ready=False), remote_run(2, at=NOON + timedelta(minutes=1))]
        assert str(self.listed(remote, at).status) == "stalled"
        account.runs[0] = remote_run(1, ready=False, extracted=130)
        assert str(self.listed(remote, at + timedelta(minutes=1)).status) == "processing"


class TestOnPages:
    def row(self, client: Client, address: str = "/collections/101/download") -> str:
        page = client.get(address).content.decode()
        return text_of(page.partition("<tbody")[2].partition("</tbody")[0])

    def with_counts(self, collection: Collection, extracted: int, total: int) -> None:
        make_ready_run(collection, records(extracted))
        Run.objects.update(total=total)

    def test_an_incomplete_run_shows_what_is_missing(self, as_bob: Client, laptops: Collection) -> None:
        self.with_counts(laptops, 61, 80)
        assert "Completed 19 missing" in self.row(as_bob)
        assert "Completed 19 missing" in self.row(as_bob, "/collections/")

    def test_an_empty_run_is_not_completed(self, as_bob: Client, laptops: Collection) -> None:
        self.with_counts(laptops, 0, 80)
        row = self.row(as_bob)
        assert "Empty" in row
        assert "Completed" not in row
        assert "0 of 80" in row
        assert "ZIP" in row
        assert "Empty" in self.row(as_bob, "/collections/")
        page = as_bob.get("/collections/101/runs/1/").content.decode()
        assert 'id="records-search"' not in page
        assert "None of 80 records were found. The next run retries them." in text_of(page)

    def test_a_stalled_run_counts_as_failed_in_the_filter(self, as_bob: Client, laptops: Collection) -> None:
        make_processing_run(laptops)
        Run.objects.update(stalls_at=NOON)
        assert "Stalled" in self.row(as_bob)
        for state, is_shown in (("failed", True), ("stalled", True), ("processing", False)):
            row = self.row(as_bob, f"/collections/101/download?state={state}")
            assert ("Stalled" in row) == is_shown
