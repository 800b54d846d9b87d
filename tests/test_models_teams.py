import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.db import IntegrityError, connection, transaction

from collections_app.models import ApiKey, LastOwner, Membership, Role, Team, User
from tests.support.keys import recognize


@contextmanager
def that_cannot_be_written_to() -> Iterator[None]:
    """Make the database read-only."""
    switch = {"sqlite": "PRAGMA query_only = {}", "postgresql": "SET transaction_read_only = {}"}
    # PostgreSQL becomes writable again only by a rollback.
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(switch[connection.vendor].format("ON"))
        yield
        if connection.vendor == "sqlite":
            cursor.execute(switch["sqlite"].format("OFF"))
        transaction.set_rollback(True)


class TestUsers:
    @pytest.mark.django_db
    def test_an_address_is_stored_in_lower_case_without_spaces(self) -> None:
        user = User.objects.create_user("  Dora@Example.COM ")
        assert user.email == "dora@example.com"

    def test_an_address_is_found_in_any_case(self, alice: User) -> None:
        assert User.objects.get_by_natural_key("ALICE@Example.com") == alice

    @pytest.mark.parametrize("email", ["alice@example.com", "Alice@Example.com"])
    def test_an_address_is_unique_in_any_case(self, alice: User, email: str) -> None:
        with pytest.raises(IntegrityError):
            User.objects.create_user(email)

    def test_the_database_itself_refuses_the_same_address_in_another_case(
        self, alice: User, eve: User
    ) -> None:
        with pytest.raises(IntegrityError):
            User.objects.filter(pk=eve.pk).update(email="ALICE@example.com")

    @pytest.mark.django_db
    def test_a_user_without_a_password_cannot_sign_in(self) -> None:
        assert not User.objects.create_user("dora@example.com").has_usable_password()

    @pytest.mark.django_db
    def test_an_operator_may_use_the_admin(self) -> None:
        operator = User.objects.create_superuser("root@example.com", "a good long one")
        assert operator.is_staff
        assert operator.is_superuser

    def test_a_user_without_a_name_is_shown_by_address(self) -> None:
        nameless = User(email="dora@example.com")
        assert (nameless.get_full_name(), nameless.get_short_name()) == ("dora@example.com", "dora")
        named = User(email="dora@example.com", name="Dora Diaz")
        assert (named.get_full_name(), named.get_short_name()) == ("Dora Diaz", "Dora")
        assert str(named) == "dora@example.com"


class TestTeams:
    @pytest.mark.django_db
    def test_a_team_has_a_name(self) -> None:
        with pytest.raises(IntegrityError):
            Team.objects.create(name="")

    def test_a_team_is_shown_by_its_name(self, crawlers: Team) -> None:
        assert str(crawlers) == "Crawlers"

    def test_a_user_is_in_a_team_once(self, bob: User, crawlers: Team) -> None:
        with pytest.raises(IntegrityError):
            Membership.objects.create(user=bob, team=crawlers, role=Role.ADMIN)

    def test_a_role_is_one_of_three(self, eve: User, crawlers: Team) -> None:
        with pytest.raises(IntegrityError):
            Membership.objects.create(user=eve, team=crawlers, role="king")

    def test_members_are_sorted_by_role_and_address(
        self, bob: User, adam: User, alice: User, crawlers: Team
    ) -> None:
        aaron = User.objects.create_user("aaron@example.com")
        Membership.objects.create(user=aaron, team=crawlers)
        assert [str(member) for member in crawlers.memberships.by_role()] == [
            "alice@example.com in Crawlers (owner)",
            "adam@example.com in Crawlers (admin)",
            "aaron@example.com in Crawlers (member)",
            "bob@example.com in Crawlers (member)",
        ]


class TestTheLastOwner:
    @pytest.mark.parametrize("role", [Role.ADMIN, Role.MEMBER])
    def test_cannot_take_a_lesser_role(self, alice: User, carol: User, role: Role) -> None:
        membership = alice.memberships.get()
        with pytest.raises(LastOwner, match=r"the team's last owner\. Make someone else an owner first"):
            membership.change_role(role)
        assert alice.memberships.get().role == Role.OWNER

    def test_cannot_be_removed(self, alice: User, carol: User) -> None:
        with pytest.raises(LastOwner):
            alice.memberships.get().remove()
        assert alice.memberships.exists()

    def test_may_become_an_owner_again(self, alice: User) -> None:
        alice.memberships.get().change_role(Role.OWNER)
        assert alice.memberships.get().role == Role.OWNER

    def test_can_be_removed_once_there_is_another(self, alice: User, adam: User) -> None:
        adam.memberships.get().change_role(Role.OWNER)
        alice.memberships.get().remove()
        assert not alice.memberships.exists()

    def test_stays_even_with_an_inactive_owner(self, alice: User, adam: User) -> None:
        adam.memberships.get().change_role(Role.OWNER)
        User.objects.filter(pk=adam.pk).update(is_active=False)
        with pytest.raises(LastOwner):
            alice.memberships.get().remove()
        adam.memberships.get().remove()
        assert alice.memberships.exists()

    def test_does_not_restrict_other_members(self, alice: User, adam: User, bob: User) -> None:
        adam.memberships.get().change_role(Role.MEMBER)
        bob.memberships.get().remove()
        assert adam.memberships.get().role == Role.MEMBER
        assert not bob.memberships.exists()


class TestApiKeys:
    def test_its_text_is_recognized_and_not_stored(self, bob: User) -> None:
        key, text = ApiKey.objects.issue(bob.memberships.get(), "cron job")
        assert recognize(text) == key
        stored = " ".join(str(value) for value in ApiKey.objects.values_list().get())
        secret = text.partition(".")[2]
        assert len(secret) >= 43
        assert secret not in stored

    def test_it_is_shown_by_its_prefix(self, bob: User) -> None:
        key, text = ApiKey.objects.issue(bob.memberships.get(), "cron job")
        assert str(key) == f"{text[:8]}… (cron job)"

    def test_recognizing_takes_one_query_with_team_and_user(
        self, bob: User, bobs_key: str, django_assert_num_queries: pytest.FixtureRequest
    ) -> None:
        with django_assert_num_queries(1):  # type: ignore[operator]
            key = recognize(bobs_key)
            assert key is not None
            assert (key.membership.team.name, key.membership.user_id) == ("Crawlers", bob.pk)

    @pytest.mark.parametrize(
        "text", ["", ".", "deadbeef", "deadbeef.", "ключ", "\ud800", "x" * 10_000, "a\0b.c"]
    )
    def test_other_texts_are_not_recognized(self, bobs_key: str, text: str) -> None:
        assert recognize(text) is None

    def test_every_character_counts(self, bobs_key: str) -> None:
        for index in range(len(bobs_key)):
            other = "A" if bobs_key[index] != "A" else "B"
            assert recognize(bobs_key[:index] + other + bobs_key[index + 1 :]) is None

    def test_a_revoked_key_is_rejected_and_keeps_its_time(self, bob: User) -> None:
        key, text = ApiKey.objects.issue(bob.memberships.get(), "cron job")
        with time_machine.travel("2026-06-20", tick=False):
            key.revoke()
        with time_machine.travel("2026-06-21", tick=False):
            key.revoke()
        key.refresh_from_db()
        assert key.revoked_at == datetime(2026, 6, 20, tzinfo=UTC)
        assert recognize(text) is None

    def test_the_key_of_an_inactive_user_is_rejected(self, bob: User, bobs_key: str) -> None:
        bob.is_active = False
        bob.save()
        assert recognize(bobs_key) is None

    def test_removing_the_member_deletes_the_key(self, bob: User, bobs_key: str) -> None:
        bob.memberships.get().remove()
        assert not ApiKey.objects.exists()

    def test_the_last_use_is_saved_every_five_minutes(self, bob: User) -> None:
        key, _ = ApiKey.objects.issue(bob.memberships.get(), "cron job")
        start = datetime(2026, 6, 20, 12, tzinfo=UTC)
        noted = []
        for minutes in (0, 4, 5, 6):
            with time_machine.travel(start + timedelta(minutes=minutes), tick=False):
                key.note_use()
            key.refresh_from_db()
            noted.append(key.last_used_at)
        later = start + timedelta(minutes=5)
        assert noted == [start, start, later, later]

    def test_a_key_works_with_a_read_only_database(self, bob: User, caplog: pytest.LogCaptureFixture) -> None:
        key, text = ApiKey.objects.issue(bob.memberships.get(), "cron job")
        with that_cannot_be_written_to():
            key.note_use()
        assert recognize(text) == key
        (line,) = caplog.messages
        assert line.startswith(f"Can't record the use of key {key.prefix}: ")

    def test_keys_are_unique(self, bob: User) -> None:
        membership = bob.memberships.get()
        texts = [ApiKey.objects.issue(membership, "cron job")[1] for _ in range(20)]
        assert all(one != other for one, other in itertools.combinations(texts, 2))
