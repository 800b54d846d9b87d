"""The condition of a collection: its problems, acknowledgments and urgency."""

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta

import pytest
import time_machine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pytest_django import DjangoAssertNumQueries

from collections_app.models import (
    Acknowledgment,
    Collection,
    Run,
    State,
    Status,
    Team,
    User,
    Verdict,
    conditions,
)
from collections_app.models.conditions import (
    CollectionDetails,
    Condition,
    NoProblem,
    acknowledge,
    condition_of,
    conditions_of,
    prefetch_conditions,
    withdraw_acknowledgment,
)
from tests.support.run_history import make_runs
from tests.support.upstream import NOON, make_account, make_remote_collection

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
MONDAY = date(2026, 6, 22)


@pytest.fixture(autouse=True)
def at_noon() -> Iterable[None]:
    with time_machine.travel(NOON, tick=False):
        yield


def make_late(collection: Collection) -> None:
    collection.late_at = NOON - HOUR
    collection.save()


def read(collection: Collection) -> tuple[Condition, CollectionDetails]:
    prefetch_conditions([collection])
    return collection.condition, collection.details


class TestProblems:
    @pytest.mark.parametrize(
        ("kinds", "problem"),
        [
            ("", None),
            ("c", None),
            ("p", None),
            ("f", "failed"),
            ("s", "failed"),
            ("e", "empty"),
            ("i", "incomplete"),
            ("cf", "failed"),
            ("fc", None),
            ("cfp", "failed"),  # a run that is processing doesn't tell yet
            ("csp", "failed"),
            ("fcp", None),
        ],
    )
    def test_they_follow_from_the_newest_run_that_has_ended(
        self, laptops: Collection, kinds: str, problem: str | None
    ) -> None:
        make_runs(laptops, kinds)
        assert condition_of(laptops).problem == problem

    @pytest.mark.parametrize(
        ("kinds", "problems"), [("c", ["late"]), ("f", ["failed", "late"]), ("i", ["late", "incomplete"])]
    )
    def test_a_collection_can_have_two(self, laptops: Collection, kinds: str, problems: list[str]) -> None:
        make_runs(laptops, kinds)
        make_late(laptops)
        assert condition_of(laptops).problems == problems

    @pytest.mark.parametrize("field", ["paused_at", "archived_at"])
    def test_a_paused_or_archived_collection_has_none(self, laptops: Collection, field: str) -> None:
        make_runs(laptops, "f")
        make_late(laptops)
        setattr(laptops, field, NOON)
        laptops.save()
        assert condition_of(laptops).problems == []

    def test_an_account_that_does_not_respond_causes_none(self, crawlers: Team) -> None:
        remote = make_remote_collection(make_account(crawlers), refreshed_at=NOON - 2 * HOUR)
        make_runs(remote, "cs")
        make_late(remote)
        assert condition_of(remote).problems == []
        Collection.objects.update(refreshed_at=NOON)
        assert condition_of(remote).problems == ["failed", "late"]

    def test_the_most_urgent_ones_come_first(self, crawlers: Team, alice: User) -> None:
        named = {name: Collection.objects.create(team=crawlers, name=name) for name in "ABCDEFG"}
        for name, kinds in {"A": "c", "B": "i", "C": "e", "D": "c", "E": "f", "F": "f", "G": "f"}.items():
            make_runs(named[name], kinds)
        make_late(named["D"])
        acknowledge(named["F"], by=alice, note="The shop is down.", until=MONDAY)
        Collection.objects.filter(name="G").update(paused_at=NOON)
        found = conditions_of(crawlers.collections.by_name())
        order = sorted(found, key=lambda pk: found[pk].urgency)
        assert [Collection.objects.get(pk=pk).name for pk in order] == list("EDCBFAG")


class TestDetails:
    @pytest.mark.parametrize(
        ("kinds", "failures"),
        [("", 0), ("c", 0), ("f", 1), ("cfsf", 3), ("cfffp", 3), ("ffc", 0), ("fef", 1), ("fif", 1)],
    )
    def test_failures_in_a_row_are_counted(self, laptops: Collection, kinds: str, failures: int) -> None:
        make_runs(laptops, kinds)
        assert read(laptops)[1].failures == failures

    def test_runs_with_equal_times_fail_in_the_order_of_their_numbers(self, laptops: Collection) -> None:
        make_runs(laptops, "fcff")
        Run.objects.update(created_at=NOON)
        assert read(laptops)[1].failures == 2

    def test_a_hundred_failures_are_counted(self, laptops: Collection) -> None:
        make_runs(laptops, "c" + "f" * 120)
        assert read(laptops)[1].failures == 100

    def test_the_runs_that_lists_show(self, laptops: Collection) -> None:
        make_runs(laptops, "cief" + "p")
        details = read(laptops)[1]
        runs = [details.newest_run, details.last_run, details.last_successful_run, details.newest_ready_run]
        assert [run.number for run in runs if run] == [5, 4, 1, 3]
        assert details.newest_run is laptops.latest_run

    def test_the_search_for_a_successful_run_is_bounded(
        self, laptops: Collection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(conditions, "_SUCCESS_AMONG", 3)
        make_runs(laptops, "cifi")
        assert read(laptops)[1].last_successful_run
        make_runs(laptops, "i")
        assert read(laptops)[1].last_successful_run is None

    @pytest.mark.parametrize("count", [1, 20])
    def test_any_number_of_collections_needs_the_same_queries(
        self, crawlers: Team, alice: User, count: int, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        listed = [Collection.objects.create(team=crawlers, name=f"{number}") for number in range(count)]
        for collection in listed:
            make_runs(collection, "cfp")
            acknowledge(collection, by=alice, note="Known.", until=MONDAY)
        with django_assert_num_queries(7):
            prefetch_conditions(listed)
        with django_assert_num_queries(3):
            assert len(conditions_of(crawlers.collections.all())) == count


class TestAcknowledging:
    def test_the_problem_needs_no_attention_until_the_day_begins_in_the_teams_time_zone(
        self, laptops: Collection, bob: User
    ) -> None:
        laptops.team.time_zone = "Australia/Sydney"
        laptops.team.save()
        make_runs(laptops, "f")
        acknowledge(laptops, by=bob, note="The shop is down.", until=MONDAY)
        condition, details = read(laptops)
        assert (condition.problem, condition.is_acknowledged) == (None, True)
        assert details.acknowledgment
        assert details.acknowledgment.by == bob
        begin = datetime(2026, 6, 21, 14, tzinfo=UTC)
        with time_machine.travel(begin - HOUR, tick=False):
            assert condition_of(laptops).problem is None
        with time_machine.travel(begin, tick=False):
            condition, details = read(laptops)
            assert (condition.problem, details.acknowledgment) == ("failed", None)

    @pytest.mark.parametrize(
        ("before", "after", "problem"),
        [
            ("f", "f", None),
            ("f", "s", None),
            ("s", "f", None),
            ("i", "f", "failed"),
            ("i", "e", "empty"),
            ("i", "fi", None),
            ("f", "cf", "failed"),  # it recovered in between
            ("f", "c", None),
            ("i", "i", None),
        ],
    )
    def test_it_ends_when_the_collection_recovers_and_covers_no_other_problem(
        self, laptops: Collection, bob: User, before: str, after: str, problem: str | None
    ) -> None:
        make_runs(laptops, before)
        acknowledge(laptops, by=bob, note="Known.", until=MONDAY)
        with time_machine.travel(NOON, tick=False):
            make_runs(laptops, after)
            Run.objects.filter(number__gt=len(before)).update(created_at=NOON)
        assert condition_of(laptops).problem == problem

    def test_a_failed_run_that_becomes_late_too_needs_attention(self, laptops: Collection, bob: User) -> None:
        make_runs(laptops, "f")
        acknowledge(laptops, by=bob, note="Known.", until=MONDAY)
        make_late(laptops)
        condition, details = read(laptops)
        assert (condition.problem, condition.is_acknowledged) == ("late", False)
        assert details.acknowledgment

    def test_a_late_collection_without_runs(self, laptops: Collection, bob: User) -> None:
        make_late(laptops)
        acknowledge(laptops, by=bob, note="It starts next week.", until=MONDAY)
        assert condition_of(laptops).is_acknowledged
        make_runs(laptops, "f")
        assert condition_of(laptops).problem == "failed"

    def test_the_newest_one_counts(self, laptops: Collection, alice: User, bob: User) -> None:
        make_runs(laptops, "f")
        acknowledge(laptops, by=bob, note="Known.", until=MONDAY)
        acknowledge(laptops, by=alice, note="Known for longer.", until=MONDAY + DAY)
        assert Acknowledgment.objects.get().by == alice
        withdraw_acknowledgment(laptops)
        assert condition_of(laptops).problem == "failed"

    def test_a_collection_without_a_problem_cannot_be_acknowledged(
        self, laptops: Collection, bob: User
    ) -> None:
        make_runs(laptops, "c")
        with pytest.raises(NoProblem):
            acknowledge(laptops, by=bob, note="Known.", until=MONDAY)

    def test_it_is_kept_when_its_author_is_deleted(self, laptops: Collection, bob: User) -> None:
        make_runs(laptops, "f")
        acknowledge(laptops, by=bob, note="Known.", until=MONDAY)
        bob.delete()
        assert condition_of(laptops).is_acknowledged


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kinds=st.text("ciefsp", max_size=6), is_late=st.booleans())
def test_the_database_applies_the_rule_of_runs_and_of_late(
    laptops: Collection, kinds: str, *, is_late: bool
) -> None:
    laptops.runs.all().delete()
    make_runs(laptops, kinds)
    laptops.late_at = NOON if is_late else NOON + HOUR
    laptops.save()
    condition, details = read(laptops)
    ended = [run.status for run in laptops.runs.newest_first() if run.status != Status.PROCESSING]
    last = ended[0] if ended else None
    assert condition.last_status == (Status.FAILED if last == Status.STALLED else last)
    assert condition.is_late == laptops.is_late == is_late
    failed = [status in {Status.FAILED, Status.STALLED} for status in ended]
    assert details.failures == (failed.index(False) if False in failed else len(failed))
    successful = laptops.runs.newest_first().filter(state=State.READY, extracted=80).first()
    assert details.last_successful_run == successful


class TestVerdicts:
    """A run that isn't trusted is a problem."""

    def judge(self, collection: Collection, level: str, overrule: str = "") -> None:
        Verdict.objects.create(
            run=collection.runs.latest("number"),
            level=level,
            overrule=overrule,
            overruled_at=NOON if overrule else None,
            settings_version=1,
        )

    @pytest.mark.parametrize(
        ("kind", "verdict", "problem"),
        [
            ("c", ("good", ""), None),
            ("c", ("check", ""), None),
            ("c", ("broken", ""), "broken"),
            ("c", ("broken", "trusted"), None),
            ("c", ("good", "distrusted"), "broken"),
            ("i", ("broken", ""), "broken"),
            ("e", ("broken", ""), "empty"),
        ],
    )
    def test_a_run_that_is_not_trusted_needs_attention(
        self, laptops: Collection, kind: str, verdict: tuple[str, str], problem: str | None
    ) -> None:
        make_runs(laptops, kind)
        self.judge(laptops, *verdict)
        assert condition_of(laptops).problem == problem

    def test_an_acknowledged_broken_run_stays_acknowledged_until_one_is_trusted(
        self, laptops: Collection, bob: User
    ) -> None:
        make_runs(laptops, "c")
        self.judge(laptops, "broken")
        acknowledge(laptops, by=bob, note="The shop has a new page.", until=MONDAY)
        Run.objects.update(created_at=NOON - DAY)
        Acknowledgment.objects.update(last_run_at=NOON - DAY)
        make_runs(laptops, "c")
        self.judge(laptops, "broken")
        assert condition_of(laptops).is_acknowledged
        Verdict.objects.filter(run__number=2).update(level="good")
        assert condition_of(laptops).covered == frozenset()
