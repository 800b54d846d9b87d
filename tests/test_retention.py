"""Retention: a collection keeps its newest runs. The others are deleted after seven days of grace."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.utils import timezone

from collections_app.management.retention import apply_retention
from collections_app.models import Collection, ResultFile, Retention, Run, Team, User
from collections_app.models.keeping import runs_to_copy
from collections_app.models.retention import (
    RetentionKind,
    leaving_of,
    pin_runs,
    preview,
    remove_retention,
    retention_of,
    set_retention,
    unpin_run,
)
from collections_app.records.exports import retention as exports
from collections_app.runs.mirror import mirror_run
from collections_app.runs.repair import repair_runs
from collections_app.system import database
from tests.support.mirrors import files_of
from tests.support.results import make_failed_run, make_processing_run, make_ready_run, stored_keys
from tests.support.upstream import make_account, make_remote_collection, make_remote_run

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
NOW = datetime(2026, 11, 30, 9, tzinfo=UTC)
RUNS, DAYS = RetentionKind.RUNS, RetentionKind.DAYS

pytestmark = pytest.mark.usefixtures("results_folder")


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[time_machine.Traveller]:
    monkeypatch.setattr(database, "now", timezone.now)  # PostgreSQL's clock doesn't travel
    with time_machine.travel(NOW, tick=False) as traveller:
        yield traveller


@pytest.fixture
def nightly(laptops: Collection) -> Collection:
    """A collection with runs 1 to 5. Run 5 is two days old, run 4 three days, and so on."""
    for age in (6, 5, 4, 3, 2):
        make_ready_run(laptops, at=NOW - age * DAY)
    return laptops


def leaving(collection: Collection) -> list[int]:
    """Return the numbers of the runs that will be deleted, the oldest first."""
    marked = collection.runs.filter(delete_at__isnull=False)
    return list(marked.order_by("created_at").values_list("number", flat=True))


def facts_of_files(collection: Collection, number: int) -> list[tuple[object, ...]]:
    """Return what is stored about the files of a run, except their names."""
    files = ResultFile.objects.filter(run__collection=collection, run__number=number).order_by("kind")
    names = {"id", "run_id", "name", "remote_name", "modified"}
    return [tuple(value for name, value in row.items() if name not in names) for row in files.values()]


def numbers(collection: Collection) -> list[int]:
    return sorted(collection.runs.values_list("number", flat=True))


def work(collection: Collection) -> None:
    """Do what the worker does for a collection."""
    retention = retention_of(collection)
    assert retention
    while apply_retention(retention):
        retention.refresh_from_db()


def work_for(clock: time_machine.Traveller, collection: Collection, time: timedelta) -> None:
    """Let time pass while the worker is running."""
    end = datetime.now(UTC) + time
    while (left := end - datetime.now(UTC)) > 0 * DAY:
        clock.shift(min(left, 23 * HOUR))
        work(collection)


class TestWhichRunsAreKept:
    def test_the_newest_runs(self, nightly: Collection, alice: User) -> None:
        set_retention(nightly, RUNS, 2, by=alice)
        assert leaving(nightly) == [1, 2, 3]

    def test_the_last_days(self, nightly: Collection, alice: User) -> None:
        set_retention(nightly, DAYS, 4, by=alice)
        assert leaving(nightly) == [1, 2]  # exactly four days is not older

    def test_failed_and_empty_runs_do_not_count_but_are_deleted_with_the_runs_around_them(
        self, laptops: Collection, alice: User
    ) -> None:
        make_failed_run(laptops, at=NOW - 9 * DAY)
        make_ready_run(laptops, at=NOW - 8 * DAY)
        make_failed_run(laptops, at=NOW - 7 * DAY)
        empty = make_ready_run(laptops, (), at=NOW - 6 * DAY)
        Run.objects.filter(pk=empty.pk).update(extracted=0, total=50)
        make_ready_run(laptops, at=NOW - 5 * DAY)
        make_failed_run(laptops, at=NOW - 4 * DAY)
        set_retention(laptops, RUNS, 2, by=alice)
        assert leaving(laptops) == [1]
        set_retention(laptops, RUNS, 1, by=alice)
        assert leaving(laptops) == [1, 2, 3, 4]

    def test_pinned_unfinished_and_newest_successful_runs_always_stay(
        self, nightly: Collection, alice: User
    ) -> None:
        make_processing_run(nightly, at=NOW - 20 * DAY)
        make_failed_run(nightly, at=NOW - 36 * HOUR)
        Run.objects.filter(number=5).update(extracted=1, total=2)  # Incomplete
        pin_runs(nightly.runs.filter(number=2), by=alice)
        set_retention(nightly, DAYS, 1, by=alice)
        assert leaving(nightly) == [1, 3, 7]

    def test_fewer_runs_than_it_keeps(self, nightly: Collection, alice: User) -> None:
        set_retention(nightly, RUNS, 6, by=alice)
        assert leaving(nightly) == []


class TestGrace:
    def test_a_run_stays_for_seven_days_and_is_then_deleted_with_its_files(
        self, nightly: Collection, alice: User, clock: time_machine.Traveller
    ) -> None:
        set_retention(nightly, RUNS, 4, by=alice)
        work_for(clock, nightly, 7 * DAY - HOUR)
        assert numbers(nightly) == [1, 2, 3, 4, 5]
        work_for(clock, nightly, HOUR)
        assert numbers(nightly) == [2, 3, 4, 5]
        assert not [key for key in stored_keys() if key.startswith("101/1/")]
        assert not repair_runs().was_needed

    def test_a_run_that_arrives_late_gets_the_full_grace_period(
        self, nightly: Collection, alice: User, clock: time_machine.Traveller
    ) -> None:
        set_retention(nightly, RUNS, 5, by=alice)
        work_for(clock, nightly, 5 * DAY)
        make_ready_run(nightly, at=NOW - 400 * DAY)  # run 6
        work_for(clock, nightly, HOUR)
        assert leaving(nightly) == [6]
        work_for(clock, nightly, 7 * DAY - HOUR)
        assert 6 in numbers(nightly)
        work_for(clock, nightly, HOUR)
        assert 6 not in numbers(nightly)

    def test_a_new_run_marks_an_old_one_for_deletion(self, nightly: Collection, alice: User) -> None:
        set_retention(nightly, RUNS, 5, by=alice)
        make_ready_run(nightly, at=NOW)
        work(nightly)
        assert leaving(nightly) == [1]

    def test_deleting_a_newer_run_keeps_an_older_one(self, nightly: Collection, alice: User) -> None:
        set_retention(nightly, RUNS, 4, by=alice)
        nightly.runs.get(number=5).delete()
        work(nightly)
        assert leaving(nightly) == []

    def test_pinning_a_run_keeps_it_and_unpinning_restarts_the_grace_period(
        self, nightly: Collection, alice: User, clock: time_machine.Traveller
    ) -> None:
        set_retention(nightly, RUNS, 4, by=alice)
        clock.shift(20 * HOUR)
        pin_runs(nightly.runs.filter(number=1), by=alice)
        work(nightly)
        assert leaving(nightly) == []
        unpin_run(nightly.runs.get(number=1))
        work(nightly)
        assert nightly.runs.get(number=1).delete_at == NOW + 20 * HOUR + 7 * DAY

    def test_changing_the_setting_back_keeps_every_run(self, nightly: Collection, alice: User) -> None:
        set_retention(nightly, RUNS, 1, by=alice)
        remove_retention(nightly)
        assert leaving_of(nightly) is None
        assert not Retention.objects.exists()

    def test_a_run_that_is_pinned_while_the_worker_deletes_stays(
        self, nightly: Collection, alice: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        set_retention(nightly, RUNS, 3, by=alice)
        Run.objects.filter(number__lte=2).update(delete_at=NOW)

        def pin(run: Run) -> list[str]:
            pin_runs(nightly.runs.filter(number=1), by=alice)
            return []

        monkeypatch.setattr("collections_app.management.retention.cache_names", pin)
        work(nightly)
        assert numbers(nightly) == [1, 3, 4, 5]


class TestWrongClock:
    """Seven days must have passed while the worker was running."""

    @pytest.mark.parametrize("jump", [365 * DAY, 25 * HOUR, -365 * DAY])
    def test_a_clock_that_jumps_deletes_nothing_and_restarts_the_grace_period(
        self, nightly: Collection, alice: User, clock: time_machine.Traveller, jump: timedelta
    ) -> None:
        set_retention(nightly, RUNS, 3, by=alice)
        work_for(clock, nightly, 7 * DAY - HOUR)
        clock.shift(jump)
        work(nightly)
        assert numbers(nightly) == [1, 2, 3, 4, 5]
        work_for(clock, nightly, 7 * DAY - HOUR)
        assert leaving(nightly) == [1, 2]
        work_for(clock, nightly, HOUR)
        assert numbers(nightly) == [3, 4, 5]

    def test_days_are_not_counted_by_a_clock_that_is_wrong_for_less_than_seven_days(
        self, nightly: Collection, alice: User, clock: time_machine.Traveller
    ) -> None:
        set_retention(nightly, DAYS, 30, by=alice)
        clock.shift(365 * DAY)
        work_for(clock, nightly, 7 * DAY - HOUR)
        assert leaving(nightly) == [1, 2, 3, 4]
        clock.shift(-365 * DAY)
        work(nightly)
        assert leaving(nightly) == []


class TestPreview:
    def test_it_lists_what_would_be_deleted_and_changes_nothing(
        self, nightly: Collection, alice: User
    ) -> None:
        pin_runs(nightly.runs.filter(number=1), by=alice)
        before = list(Run.objects.order_by("pk").values())
        shown = preview(Retention(collection=nightly, kind=DAYS, number=1))
        assert [run.number for run in shown.runs] == [4, 3, 2]
        assert (shown.count, shown.oldest, shown.newest) == (3, NOW - 5 * DAY, NOW - 3 * DAY)
        assert shown.size == sum(file.size or 0 for file in ResultFile.objects.filter(run__in=shown.runs))
        assert (shown.pinned, shown.processing, [run.number for run in shown.always_kept]) == (1, 0, [5])
        assert list(Run.objects.order_by("pk").values()) == before
        assert not Retention.objects.exists()


class TestManyRuns:
    def test_they_are_marked_in_blocks(
        self, nightly: Collection, alice: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("collections_app.models.retention.BLOCK", 2)
        set_retention(nightly, RUNS, 1, by=alice)
        assert len(leaving(nightly)) == 2
        work(nightly)
        assert leaving(nightly) == [1, 2, 3, 4]

    def test_expired_ones_are_deleted_in_blocks(
        self, nightly: Collection, alice: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("collections_app.management.retention.MOST_DELETED_AT_ONCE", 3)
        set_retention(nightly, RUNS, 1, by=alice)
        Run.objects.exclude(delete_at=None).update(delete_at=NOW)
        retention = Retention.objects.due().get()
        assert apply_retention(retention)
        assert numbers(nightly) == [4, 5]
        retention.refresh_from_db()
        assert Retention.objects.due().exists()
        assert not apply_retention(retention)
        assert numbers(nightly) == [5]
        assert not Retention.objects.due().exists()


class TestAnAccount:
    """Only copies are deleted. The account keeps its runs, and the list shows them."""

    @pytest.fixture
    def remote(self, crawlers: Team) -> Collection:
        """A collection of an account. Runs 1 to 3 are copied, and run 4 is not."""
        remote = make_remote_collection(make_account(crawlers))
        for number in (1, 2, 3, 4):
            run = make_remote_run(remote, number)
            Run.objects.filter(pk=run.pk).update(created_at=NOW - (5 - number) * DAY)
            if number < 4:
                assert mirror_run(run, files_of(run)) == []
        return remote

    def test_deleted_copies_are_not_copied_again(self, remote: Collection, alice: User) -> None:
        set_retention(remote, RUNS, 2, by=alice)
        assert leaving(remote) == [1, 2]
        Run.objects.exclude(delete_at=None).update(delete_at=NOW)
        work(remote)
        assert numbers(remote) == [1, 2, 3, 4]
        assert {key.split("/")[1] for key in stored_keys()} == {"3"}
        assert facts_of_files(remote, 1) == facts_of_files(remote, 4)
        assert [run.number for run in runs_to_copy(remote)] == [4]
        assert leaving(remote) == []
        assert not repair_runs().was_needed

    def test_a_pinned_run_is_copied_again(self, remote: Collection, alice: User) -> None:
        set_retention(remote, RUNS, 1, by=alice)
        Run.objects.exclude(delete_at=None).update(delete_at=NOW)
        work(remote)
        run = remote.runs.get(number=1)
        pin_runs(remote.runs.filter(number=1), by=alice)
        assert [each.number for each in runs_to_copy(remote)] == [1, 4]
        assert mirror_run(run, files_of(run)) == []
        work(remote)
        assert leaving(remote) == []


def test_the_exports_of_a_deleted_run_are_deleted_too(nightly: Collection, alice: User) -> None:
    set_retention(nightly, RUNS, 4, by=alice)
    Run.objects.exclude(delete_at=None).update(delete_at=NOW)
    work(nightly)
    exports.tidy()
    assert {key.split("/")[1] for key in stored_keys()} == {"2", "3", "4", "5"}
