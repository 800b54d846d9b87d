"""Events are discovered from the states of runs, collections and accounts."""

from collections.abc import Iterable
from datetime import timedelta

import pytest
import time_machine
from django.db import transaction
from django.utils import timezone

from collections_app.events import unannounced
from collections_app.management import worker
from collections_app.management.worker import Announcer
from collections_app.models import (
    Account,
    Acknowledgment,
    Collection,
    Event,
    EventKind,
    Run,
    Team,
    User,
    Verdict,
)
from collections_app.models.conditions import acknowledge
from collections_app.models.expectations import pause, resume
from collections_app.models.runs import PAST
from collections_app.notifications.announce import announce, announce_outage
from tests.support.notifications import make_channel, make_rule, notified
from tests.support.run_history import DAY, HOUR, KINDS, make_runs
from tests.support.upstream import NOON, make_account, make_remote_collection

pytestmark = pytest.mark.django_db

MINUTE = timedelta(minutes=1)


@pytest.fixture(autouse=True)
def at_noon() -> Iterable[time_machine.Traveller]:
    with time_machine.travel(NOON, tick=False) as traveller:
        yield traveller


@pytest.fixture
def rule(crawlers: Team) -> None:
    """A rule of the team that notifies of everything."""
    make_rule(make_channel(crawlers))


@pytest.fixture
def remote(crawlers: Team) -> Collection:
    """A connected collection whose list of runs was read just now."""
    return make_remote_collection(make_account(crawlers), refreshed_at=NOON)


def add_run(collection: Collection, kind: str, *, at: timedelta = timedelta()) -> Run:
    """Create the next run, so long after noon."""
    number = 1 + collection.runs.count()
    created_at = NOON + at + timedelta(seconds=number)
    return Run.objects.create(
        collection=collection, number=number, file_count=1, created_at=created_at, **KINDS[kind]
    )


def happened(collection: Collection) -> list[str]:
    """Announce, and return the new events in words."""
    seen = Event.objects.count()
    Announcer().run_once()
    return [EventKind(event.kind).name for event in Event.objects.order_by("pk")[seen:]]


def told() -> list[str]:
    return [EventKind(event.kind).name for event in notified()]


class TestRuns:
    @pytest.mark.parametrize(
        ("kind", "events"),
        [
            ("c", ["RUN_COMPLETED"]),
            ("i", ["RUN_INCOMPLETE"]),
            ("e", ["RUN_EMPTY"]),
            ("f", ["RUN_FAILED"]),
            ("s", ["RUN_STALLED"]),
            ("p", []),
        ],
    )
    def test_the_end_of_a_run_is_announced_once(
        self, laptops: Collection, kind: str, events: list[str]
    ) -> None:
        add_run(laptops, kind)
        assert [happened(laptops), happened(laptops)] == [events, []]

    def test_a_bulk_update_is_noticed(self, laptops: Collection) -> None:
        add_run(laptops, "p")
        assert happened(laptops) == []
        laptops.runs.update(state="failed", failure_reason="MultiCartAPI no longer lists this run.")
        assert happened(laptops) == ["RUN_FAILED"]
        event = Event.objects.get()
        assert (event.sequence, event.run_number, event.actor_name) == (1, 1, "System")
        assert event.data["reason"] == "MultiCartAPI no longer lists this run."

    def test_nothing_is_read_or_written_while_nothing_happens(self, laptops: Collection) -> None:
        make_runs(laptops, "cfcs")
        happened(laptops)
        assert (unannounced.with_changed_runs(), unannounced.with_changed_problems()) == (set(), set())

    def test_a_run_that_a_rollback_removes_is_not_announced(self, laptops: Collection) -> None:
        with transaction.atomic():
            add_run(laptops, "f")
            announce(laptops.pk)
            transaction.set_rollback(True)
        assert not Event.objects.exists()
        assert happened(laptops) == []

    def test_a_stall_is_announced_once_even_if_the_run_makes_progress(self, laptops: Collection) -> None:
        run = add_run(laptops, "s")
        happened(laptops)
        Run.objects.filter(pk=run.pk).update(stalls_at=NOON + HOUR)
        assert happened(laptops) == []
        Run.objects.filter(pk=run.pk).update(stalls_at=NOON - MINUTE)
        assert happened(laptops) == []


@pytest.mark.usefixtures("rule")
class TestHistory:
    def test_500_old_runs_send_nothing_and_the_next_run_one_message(self, remote: Collection) -> None:
        make_runs(remote, "f" * 51)
        assert happened(remote) == []
        oldest = remote.runs.newest_first().last()
        assert oldest is not None
        Run.objects.bulk_create(
            Run(
                collection=remote,
                number=1_000 + number,
                created_at=oldest.created_at - number * DAY,
                **KINDS["f"],
            )
            for number in range(500)
        )
        assert (happened(remote), told()) == ([], [])
        assert remote.runs.exclude(announced=PAST).count() == 0
        Run.objects.create(collection=remote, number=2_000, created_at=NOON, **KINDS["f"])
        assert (happened(remote), told()) == (["RUN_FAILED"], ["RUN_FAILED"])

    def test_the_first_run_of_an_empty_list_is_news(self, remote: Collection) -> None:
        assert happened(remote) == []
        add_run(remote, "c")
        assert happened(remote) == ["RUN_COMPLETED"]

    def test_a_run_that_is_running_when_the_account_is_connected_is_news(self, remote: Collection) -> None:
        make_runs(remote, "pp")
        assert happened(remote) == []
        remote.runs.update(**KINDS["c"])
        assert happened(remote) == ["RUN_COMPLETED"]
        assert Event.objects.get().run_number == 2

    def test_after_an_outage_only_the_newest_run_sends_a_message(self, remote: Collection) -> None:
        happened(remote)
        for _ in range(30):
            add_run(remote, "i")
        assert happened(remote) == ["RUN_INCOMPLETE"] * 30
        assert [event.run_number for event in notified()] == [30]

    def test_a_run_that_fails_while_the_next_one_is_running_sends_a_message(
        self, laptops: Collection
    ) -> None:
        add_run(laptops, "f")
        add_run(laptops, "p")
        happened(laptops)
        assert told() == ["RUN_FAILED"]


@pytest.mark.usefixtures("rule")
class TestProblems:
    def test_a_failure_and_the_recovery_are_told_and_nothing_in_between(self, laptops: Collection) -> None:
        for kind in "fffcc":
            add_run(laptops, kind, at=-HOUR)
            happened(laptops)
        laptops.runs.update(updated_at=NOON - HOUR)
        assert happened(laptops) == ["COLLECTION_RECOVERED"]
        assert told() == ["RUN_FAILED", "RUN_COMPLETED", "RUN_COMPLETED", "COLLECTION_RECOVERED"]

    def test_a_recovery_waits_for_the_verdict(self, laptops: Collection) -> None:
        add_run(laptops, "f")
        happened(laptops)
        run = add_run(laptops, "c")
        assert happened(laptops) == ["RUN_COMPLETED"]
        Verdict.objects.create(run=run, level="broken", settings_version=1)
        assert happened(laptops) == ["RUN_BROKEN"]
        Verdict.objects.update(level="good")
        assert happened(laptops) == ["COLLECTION_RECOVERED"]

    def test_each_broken_run_is_announced_once(self, laptops: Collection) -> None:
        for _ in range(2):
            run = add_run(laptops, "c")
            Verdict.objects.create(run=run, level="broken", settings_version=1)
            assert happened(laptops) == ["RUN_COMPLETED", "RUN_BROKEN"]
            assert happened(laptops) == []
        assert told().count("RUN_BROKEN") == 1

    def test_late_is_told_and_the_recovery_waits_until_the_run_has_ended(
        self, laptops: Collection, at_noon: time_machine.Traveller
    ) -> None:
        make_late(laptops)
        assert [happened(laptops), happened(laptops)] == [["COLLECTION_LATE"], []]
        run = add_run(laptops, "p")
        Collection.objects.update(late_at=NOON + DAY)
        assert happened(laptops) == []
        Run.objects.filter(pk=run.pk).update(**KINDS["c"], updated_at=NOON - HOUR)
        assert happened(laptops) == ["RUN_COMPLETED", "COLLECTION_RECOVERED"]

    def test_late_is_dropped_when_the_run_then_fails(self, laptops: Collection) -> None:
        make_late(laptops)
        happened(laptops)
        assert told() == ["COLLECTION_LATE"]
        add_run(laptops, "f")
        happened(laptops)
        assert told() == ["RUN_FAILED"]

    def test_a_collection_is_not_late_while_its_account_does_not_answer(self, remote: Collection) -> None:
        Collection.objects.update(late_at=NOON + MINUTE, refresh_problem="No answer.")
        with time_machine.travel(NOON + HOUR, tick=False):
            assert happened(remote) == []

    def test_paused_collections_are_silent(self, laptops: Collection, alice: User) -> None:
        pause(laptops, by=alice)
        make_late(laptops)
        add_run(laptops, "f")
        assert (happened(laptops), told()) == (["RUN_FAILED"], [])
        resume(laptops)
        assert (happened(laptops), told()) == ([], [])

    def test_acknowledged_problems_are_silent(self, laptops: Collection, alice: User) -> None:
        add_run(laptops, "f")
        happened(laptops)
        acknowledge(laptops, by=alice, note="The shop is closed.", until=(NOON + 2 * DAY).date())
        add_run(laptops, "s")
        assert (happened(laptops), told()) == (["RUN_STALLED"], ["RUN_FAILED"])
        Acknowledgment.objects.all().delete()
        add_run(laptops, "s")
        assert (happened(laptops), told()) == (["RUN_STALLED"], ["RUN_FAILED", "RUN_STALLED"])


class TestOutages:
    @pytest.mark.usefixtures("rule")
    def test_an_account_that_does_not_answer_and_comes_back_is_announced(self, remote: Collection) -> None:
        fail(remote)
        assert happened(remote) == []
        with time_machine.travel(NOON + 15 * MINUTE, tick=False):
            assert [happened(remote), happened(remote)] == [["ACCOUNT_UNAVAILABLE"], []]
            Collection.objects.update(refresh_problem="", failing_since=None, refreshed_at=timezone.now())
            assert [happened(remote), happened(remote)] == [["ACCOUNT_RECOVERED"], []]
        assert told() == ["ACCOUNT_UNAVAILABLE", "ACCOUNT_RECOVERED"]
        assert Event.objects.filter(target="MultiCartAPI", data__reason="No answer.").count() == 1

    def test_an_account_is_available_if_one_of_its_collections_is_refreshed(self, remote: Collection) -> None:
        fail(remote)
        assert remote.account is not None
        with time_machine.travel(NOON + HOUR, tick=False):
            make_remote_collection(remote.account, remote_id=7002, refreshed_at=timezone.now())
            assert happened(remote) == []

    def test_a_disconnected_account_is_not_unavailable(self, remote: Collection) -> None:
        fail(remote)
        with time_machine.travel(NOON + HOUR, tick=False):
            happened(remote)
            Account.objects.update(encrypted_key="")
            assert [happened(remote), happened(remote)] == [[], []]


def make_late(collection: Collection) -> None:
    Collection.objects.filter(pk=collection.pk).update(late_at=NOON - HOUR, expected_at=NOON - 2 * HOUR)


def fail(collection: Collection) -> None:
    Collection.objects.filter(pk=collection.pk).update(refresh_problem="No answer.", failing_since=NOON)


def test_deleted_collections_and_accounts_are_ignored(crawlers: Team) -> None:
    assert (announce(999), announce_outage(999)) == (0, 0)


def test_one_that_fails_does_not_delay_the_others(
    laptops: Collection, headphones: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_run(laptops, "f")
    add_run(headphones, "f")

    def fails_for_laptops(pk: int) -> int:
        return 1 // 0 if pk == laptops.pk else announce(pk)

    monkeypatch.setattr(worker, "announce", fails_for_laptops)
    Announcer().run_once()
    assert Event.objects.get().collection_id == headphones.pk
