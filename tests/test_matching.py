"""Which rules notify of an event."""

from datetime import UTC, datetime

import pytest

from collections_app.events.record import record
from collections_app.models import (
    Channel,
    Collection,
    Event,
    EventKind,
    Membership,
    Mute,
    Notification,
    OpenProblem,
    Rule,
    Team,
    User,
)
from collections_app.notifications.matching import due_at, notify
from tests.support.notifications import make_channel, make_rule
from tests.support.upstream import make_account, make_remote_collection

pytestmark = pytest.mark.django_db

FAILED, COMPLETED, RECOVERED = (
    EventKind.RUN_FAILED,
    EventKind.RUN_COMPLETED,
    EventKind.COLLECTION_RECOVERED,
)


@pytest.fixture
def channel(crawlers: Team) -> Channel:
    return make_channel(crawlers)


def sent(kind: EventKind, collection: Collection) -> list[str]:
    """Record an event, and return the channels that are notified."""
    return [each.channel.name for each in notify(record(kind, collection=collection))]


class TestRules:
    def test_only_rules_for_the_kind_that_are_on_notify(self, laptops: Collection, channel: Channel) -> None:
        make_rule(channel, FAILED)
        make_rule(make_channel(laptops.team, "Off"), COMPLETED, is_on=False)
        assert [sent(COMPLETED, laptops), sent(FAILED, laptops)] == [[], ["Operations"]]

    def test_other_teams_hear_nothing(self, laptops: Collection, strangers: Team) -> None:
        make_rule(make_channel(strangers))
        assert sent(FAILED, laptops) == []

    @pytest.mark.parametrize(
        ("lists", "text", "matching"),
        [
            ([], "", ["AU Laptops", "AU Headphones"]),
            (["AU Laptops"], "", ["AU Laptops"]),
            ([], "héadph", ["AU Headphones"]),
            (["AU Laptops"], "head", ["AU Laptops", "AU Headphones"]),
            ([], "phones AU", []),
        ],
    )
    def test_a_rule_can_list_collections_and_name_part_of_their_names(
        self,
        laptops: Collection,
        headphones: Collection,
        channel: Channel,
        lists: list[str],
        text: str,
        matching: list[str],
    ) -> None:
        rule = make_rule(channel, collections_like=text)
        rule.collections.set(Collection.objects.filter(name__in=lists))
        headphones.name = "AU Headphones"
        headphones.save()
        assert [each.name for each in (laptops, headphones) if sent(COMPLETED, each)] == matching

    def test_a_muted_collection_is_silent_for_that_rule_only(
        self, laptops: Collection, channel: Channel
    ) -> None:
        rule = make_rule(channel)
        make_rule(make_channel(laptops.team, "Bob"))
        Mute.objects.create(rule=rule, collection=laptops)
        assert sent(FAILED, laptops) == ["Bob"]

    def test_a_muted_product_does_not_mute_the_collection(
        self, laptops: Collection, channel: Channel
    ) -> None:
        Mute.objects.create(rule=make_rule(channel), collection=laptops, key='["B000000001"]')
        assert sent(FAILED, laptops) == ["Operations"]

    def test_two_rules_for_one_channel_notify_once(self, laptops: Collection, channel: Channel) -> None:
        first, _ = make_rule(channel), make_rule(channel)
        sent(FAILED, laptops)
        assert Notification.objects.get().rule == first

    def test_a_rule_for_one_collection_hears_of_its_account(
        self, laptops: Collection, channel: Channel
    ) -> None:
        account = make_account(laptops.team)
        make_rule(channel).collections.add(make_remote_collection(account))
        make_rule(make_channel(laptops.team, "Other")).collections.add(laptops)
        event = record(EventKind.ACCOUNT_UNAVAILABLE, team_id=account.team_id, data={"account": account.pk})
        assert [each.channel.name for each in notify(event)] == ["Operations"]

    def test_a_deleted_collection_hears_nothing(self, laptops: Collection, channel: Channel) -> None:
        make_rule(channel, collections_like="laptops")
        event = record(COMPLETED, collection=laptops)
        laptops.delete()
        assert notify(event) == []


class TestQuietProblems:
    @pytest.mark.parametrize(("every", "told"), [(0, [1]), (1, [1, 2, 3, 4, 5, 6, 7]), (3, [1, 4, 7])])
    def test_the_first_failure_and_then_every_nth_notify(
        self, laptops: Collection, channel: Channel, every: int, told: list[int]
    ) -> None:
        make_rule(channel, repeat_every=every)
        assert [number for number in range(1, 8) if sent(FAILED, laptops)] == told

    def test_another_kind_of_problem_notifies_once(self, laptops: Collection, channel: Channel) -> None:
        make_rule(channel)
        kinds = [EventKind.RUN_INCOMPLETE, FAILED, EventKind.RUN_INCOMPLETE, FAILED]
        assert [bool(sent(kind, laptops)) for kind in kinds] == [True, True, False, False]

    def test_only_rules_that_told_of_the_problem_tell_of_the_recovery(
        self, laptops: Collection, channel: Channel
    ) -> None:
        make_rule(channel)
        make_rule(make_channel(laptops.team, "Late"), EventKind.COLLECTION_LATE, RECOVERED)
        sent(FAILED, laptops)
        assert [sent(RECOVERED, laptops), sent(RECOVERED, laptops)] == [["Operations"], []]
        assert sent(FAILED, laptops) == ["Operations"]

    def test_collections_do_not_silence_each_other(
        self, laptops: Collection, headphones: Collection, channel: Channel
    ) -> None:
        make_rule(channel)
        assert sent(FAILED, laptops) == sent(FAILED, headphones) == ["Operations"]


@pytest.mark.parametrize(
    ("now", "due"),
    [
        (datetime(2026, 6, 21, 20, tzinfo=UTC), datetime(2026, 6, 21, 21, tzinfo=UTC)),
        (datetime(2026, 6, 21, 21, tzinfo=UTC), datetime(2026, 6, 22, 21, tzinfo=UTC)),
        # The clocks go forward by an hour on 4 October.
        (datetime(2026, 10, 3, 12, tzinfo=UTC), datetime(2026, 10, 3, 20, tzinfo=UTC)),
    ],
)
def test_a_digest_is_due_at_its_hour_in_the_zone_of_the_team(
    crawlers: Team, now: datetime, due: datetime
) -> None:
    crawlers.time_zone = "Australia/Sydney"
    assert due_at(make_channel(crawlers, digest_hour=7), now) == due
    assert due_at(Channel(team=crawlers), now) == now


class TestDeletions:
    def test_collections_and_teams_are_deleted_and_the_events_stay(
        self, laptops: Collection, channel: Channel
    ) -> None:
        rule = make_rule(channel)
        rule.collections.add(laptops)
        Mute.objects.create(rule=make_rule(channel), collection=laptops)
        event = record(FAILED, collection=laptops)
        notify(event)
        laptops.delete()
        assert not OpenProblem.objects.exists()
        assert Event.objects.get() == event
        laptops.team.delete()
        assert [each.objects.count() for each in (Channel, Rule, Notification)] == [0, 0, 0]
        assert Event.objects.get().team_id == event.team_id

    def test_the_channel_of_a_member_is_deleted_with_the_membership(
        self, laptops: Collection, bob: User
    ) -> None:
        member = Membership.objects.get(user=bob)
        make_rule(Channel.objects.create(team=laptops.team, kind="email", name="Bob", member=member))
        assert sent(FAILED, laptops) == ["Bob"]
        member.remove()
        assert not Notification.objects.exists()
        assert sent(FAILED, laptops) == []
