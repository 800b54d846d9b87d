"""When the next run is expected and when it becomes late, for our runs and an account's."""

from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta
from importlib import import_module
from typing import Any

import pytest
import time_machine
from django.apps import apps
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from collections_app.models import Collection, Run, Schedule, Team, User
from collections_app.models.expectations import (
    expect_next_run,
    learned_rhythm,
    pause,
    remove_schedule,
    restore,
    resume,
    set_schedule,
)
from collections_app.models.rhythm import TimeOfDay
from collections_app.runs.removal import delete_run
from collections_app.runs.repair import fail_interrupted_runs
from collections_app.runs.writer import ResultSetWriter
from collections_app.sources import sync
from tests.support.results import make_failed_run, make_ready_run
from tests.support.tools import PATIENCE
from tests.support.upstream import ListedRuns, lists, make_account, make_remote_collection, remote_run

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
TWO = datetime(2026, 6, 20, 2, tzinfo=UTC)


@pytest.fixture
def nightly(laptops: Collection) -> Collection:
    """A collection that ran on four nights at 02:00, the last time on 20 June 2026."""
    for age in (3, 2, 1, 0):
        make_ready_run(laptops, at=TWO - age * DAY)
    return laptops


def is_late_at(collection: Collection, at: datetime) -> bool:
    with time_machine.travel(at, tick=False):
        return Collection.objects.get(pk=collection.pk).is_late


class TestOurRuns:
    def test_a_run_is_late_after_its_grace(self, nightly: Collection) -> None:
        assert nightly.expected_at == TWO + DAY
        assert not is_late_at(nightly, TWO + DAY + 14 * MINUTE)
        assert is_late_at(nightly, TWO + DAY + HOUR + 15 * MINUTE)

    def test_the_next_run_is_expected_as_soon_as_one_starts(self, nightly: Collection) -> None:
        writer = ResultSetWriter.start(nightly, created_at=TWO + DAY)
        assert nightly.expected_at == TWO + 2 * DAY
        writer.discard()
        nightly.refresh_from_db()
        assert nightly.expected_at == TWO + DAY

    def test_a_run_whose_upload_was_killed_is_still_expected(self, nightly: Collection) -> None:
        ResultSetWriter.start(nightly, created_at=TWO + DAY, discard_if_killed=True)
        nightly.runs.update(lease_expires_at=timezone.now() - MINUTE)
        fail_interrupted_runs()
        nightly.refresh_from_db()
        assert nightly.expected_at == TWO + DAY

    def test_a_run_that_fails_is_not_late(self, nightly: Collection) -> None:
        make_failed_run(nightly, at=TWO + DAY)
        assert not is_late_at(nightly, TWO + DAY + 5 * HOUR)

    def test_deleting_a_run_makes_the_next_one_expected_earlier(self, nightly: Collection) -> None:
        delete_run(make_ready_run(nightly, at=TWO + DAY))
        assert is_late_at(nightly, TWO + DAY + 5 * HOUR)

    @pytest.mark.postgresql(reason="SQLite locks the entire database")
    def test_the_teams_other_collections_are_not_locked(self, laptops: Collection) -> None:
        with CaptureQueriesContext(connection) as queries:
            expect_next_run(laptops)
        locks = [query["sql"] for query in queries if "FOR UPDATE" in query["sql"]]
        assert [sql.partition(" FOR UPDATE ")[2] for sql in locks] == ['OF "collections_app_collection"']

    def test_a_collection_with_few_or_irregular_runs_is_never_late(self, laptops: Collection) -> None:
        for age in (90, 40, 39, 2, 0):
            make_ready_run(laptops, at=TWO - age * DAY)
            assert laptops.late_at is None

    @pytest.mark.parametrize("hours", [12, 24])
    def test_times_at_the_ends_of_the_calendar_are_accepted(self, laptops: Collection, hours: int) -> None:
        Team.objects.update(time_zone="America/New_York")
        for end, direction in ((datetime.min, 1), (datetime.max, -1)):  # noqa: DTZ901
            laptops.runs.all().delete()
            Run.objects.bulk_create(
                Run(
                    collection=laptops,
                    number=number,
                    created_at=end.replace(tzinfo=UTC) + direction * number * hours * HOUR,
                )
                for number in range(5)
            )
            expect_next_run(laptops)
        assert laptops.late_at is None  # it would be after the year 9999

    def test_the_teams_time_zone_decides_what_the_runs_follow(self, nightly: Collection) -> None:
        Team.objects.update(time_zone="Australia/Sydney")
        nightly.team.refresh_from_db()
        rhythm = learned_rhythm(nightly)
        assert isinstance(rhythm, TimeOfDay)
        assert (rhythm.at, rhythm.zone.key) == (time(12), "Australia/Sydney")


def test_the_upgrade_learns_from_the_newest_runs(nightly: Collection, headphones: Collection) -> None:
    Collection.objects.update(expected_at=None, late_at=None)
    import_module("collections_app.migrations.0020_learn_rhythms").expect_next_runs(apps, None)
    nightly.refresh_from_db()
    headphones.refresh_from_db()
    assert (nightly.expected_at, headphones.expected_at) == (TWO + DAY, None)


class TestAnAccountsRuns:
    @pytest.fixture
    def remote(self, crawlers: Team) -> Collection:
        return make_remote_collection(make_account(crawlers))

    @pytest.fixture
    def account(self, monkeypatch: pytest.MonkeyPatch) -> ListedRuns:
        return lists(monkeypatch, [remote_run(number + 4, at=TWO + number * DAY) for number in range(-3, 1)])

    def test_a_run_that_the_account_does_not_list_is_late(
        self, remote: Collection, account: ListedRuns
    ) -> None:
        with time_machine.travel(TWO + DAY + 5 * HOUR, tick=False):
            sync.refresh(remote, seconds=PATIENCE)
            assert remote.is_late
            account.runs.append(remote_run(5, at=TWO + DAY))
            sync.refresh(remote, seconds=PATIENCE)
            assert not remote.is_late

    def test_an_account_that_does_not_respond_makes_nothing_late(
        self, remote: Collection, account: ListedRuns
    ) -> None:
        with time_machine.travel(TWO + HOUR, tick=False):
            sync.refresh(remote, seconds=PATIENCE)
        assert not is_late_at(remote, TWO + 9 * DAY)


class TestSchedules:
    def test_a_schedule_replaces_the_learned_rhythm_until_it_is_removed(self, nightly: Collection) -> None:
        schedule = set_schedule(nightly, kind="time_of_day", at=time(7), time_zone="Europe/Berlin")
        assert nightly.expected_at == TWO + 3 * HOUR
        assert nightly.late_at == TWO + 3 * HOUR + schedule.grace_minutes * MINUTE
        set_schedule(nightly, kind="interval", every_hours=6, grace_minutes=5)
        assert nightly.late_at == TWO + 6 * HOUR + 5 * MINUTE
        remove_schedule(nightly)
        assert nightly.expected_at == TWO + DAY

    def test_a_collection_without_runs_is_expected_after_its_schedule_was_set(
        self, laptops: Collection
    ) -> None:
        with time_machine.travel(TWO, tick=False):
            set_schedule(laptops, kind="time_of_day", at=time(7))
        assert laptops.expected_at == TWO + 5 * HOUR

    @pytest.mark.parametrize(
        ("fields", "wrong"),
        [
            ({"kind": "hourly"}, "kind"),
            ({"kind": "interval"}, "every_hours"),
            ({"kind": "interval", "every_hours": 0}, "every_hours"),
            ({"kind": "interval", "every_hours": 745}, "every_hours"),
            ({"kind": "time_of_day"}, "at"),
            ({"kind": "time_of_day", "at": time(7), "weekdays": ""}, "weekdays"),
            ({"kind": "time_of_day", "at": time(7), "weekdays": "10"}, "weekdays"),
            ({"kind": "time_of_day", "at": time(7), "time_zone": "Mars/Olympus"}, "time_zone"),
            ({"kind": "time_of_day", "at": time(7), "time_zone": "../../etc/passwd"}, "time_zone"),
            ({"kind": "time_of_day", "at": time(7), "grace_minutes": 0}, "grace_minutes"),
            ({"kind": "time_of_day", "at": time(7), "grace_minutes": 10081}, "grace_minutes"),
        ],
    )
    def test_an_invalid_schedule_is_refused(
        self, laptops: Collection, fields: dict[str, Any], wrong: str
    ) -> None:
        with pytest.raises(ValidationError) as caught:
            set_schedule(laptops, **fields)
        assert wrong in caught.value.message_dict

    @pytest.mark.parametrize(
        "fields",
        [
            {"kind": "interval"},
            {"kind": "time_of_day"},
            {"kind": "time_of_day", "at": time(7), "every_hours": 6},
            {"kind": "interval", "every_hours": 6, "grace_minutes": 0},
        ],
    )
    def test_the_database_refuses_an_incomplete_schedule(
        self, laptops: Collection, fields: dict[str, Any]
    ) -> None:
        with pytest.raises(IntegrityError):
            Schedule.objects.create(collection=laptops, **fields)

    def test_a_zone_that_this_machine_no_longer_knows_is_read_as_utc(self, laptops: Collection) -> None:
        Schedule.objects.create(collection=laptops, kind="time_of_day", at=time(7), time_zone="Asia/Atlantis")
        rhythm = Schedule.objects.get().rhythm
        assert isinstance(rhythm, TimeOfDay)
        assert rhythm.zone.key == "UTC"


class TestPausing:
    def test_a_paused_collection_is_not_late(self, nightly: Collection, adam: User) -> None:
        pause(nightly, by=adam)
        assert nightly.paused_by == adam
        assert not is_late_at(nightly, TWO + 9 * DAY)

    @pytest.mark.parametrize("again", [resume, restore])
    def test_runs_that_were_missed_while_it_was_paused_or_archived_are_not_late(
        self, nightly: Collection, adam: User, again: Callable[[Collection], None]
    ) -> None:
        pause(nightly, by=adam) if again is resume else nightly.archive()
        noon = TWO + 9 * DAY + 10 * HOUR
        with time_machine.travel(noon, tick=False):
            again(nightly)
        assert nightly.expected_at == TWO + 10 * DAY
        assert not is_late_at(nightly, noon)
        assert is_late_at(nightly, TWO + 10 * DAY + 5 * HOUR)

    def test_an_archived_collection_is_not_late(self, nightly: Collection) -> None:
        nightly.archive()
        assert not is_late_at(nightly, TWO + 9 * DAY)
