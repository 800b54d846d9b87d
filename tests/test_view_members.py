import re
from html import unescape
from typing import Any

import pytest
import time_machine
from django.core import mail
from django.core.management import call_command
from django.test import Client
from pytest_django import DjangoAssertNumQueries, Settings

from collections_app.models import ApiKey, Membership, Role, Team, User
from tests.conftest import PASSWORD
from tests.support.html import columns, links, rows
from tests.support.keys import recognize
from tests.support.meanwhile import ask_meanwhile

NEW = {"email": "Dora@Example.com ", "name": "Dora", "role": "member"}
NEW_PASSWORD = "a violet umbrella in the rain"


def link_in(response: Any) -> str:
    """Return the password link in a response."""
    found = re.search(r'value="([^"]*/password/reset/key/[^"]*)"', response.content.decode())
    assert found, "The response contains no password link."
    return unescape(found[1])


def set_password(link: str, password: str = NEW_PASSWORD) -> Any:
    """Open a password link in a new browser, and set a password."""
    browser = Client()
    form = browser.get(link, follow=True)
    address = form.redirect_chain[-1][0]
    return browser.post(address, {"password1": password, "password2": password}, follow=True)


def signs_in(email: str, password: str) -> bool:
    response = Client().post("/accounts/login/", {"login": email, "password": password})
    return response.status_code == 302 and response["Location"] == "/"


# --- the list -----------------------------------------------------------------------------------


def test_it_lists_the_members_owners_first(
    alice: User, adam: User, as_bob: Client, bobs_key: str, carol: User
) -> None:
    response = as_bob.get("/members/")
    assert columns(response) == ["Name", "Role", "Joined", "Active keys"]
    assert [[row[0], row[1], row[3]] for row in rows(response)] == [
        ["Alice alice@example.com", "Owner", "0"],
        ["Adam adam@example.com", "Admin", "0"],
        ["Bob You bob@example.com", "Member", "1"],
    ]


def test_an_owner_manages_everyone_and_an_admin_manages_members(
    as_alice: Client, as_adam: Client, as_bob: Client, bob: User
) -> None:
    def managed(client: Client) -> int:
        return client.get("/members/").content.decode().count("Change role")

    assert managed(as_alice) == 3
    assert managed(as_adam) == 1
    assert managed(as_bob) == 0


def test_admins_see_the_teams_keys_and_members_do_not(
    as_adam: Client, as_bob: Client, bobs_key: str, carols_key: str
) -> None:
    to_adam, to_bob = (client.get("/members/").content.decode() for client in (as_adam, as_bob))
    assert f"{bobs_key[:8]}…" in to_adam
    assert bobs_key not in to_adam
    assert carols_key[:8] not in to_adam
    assert bobs_key[:8] not in to_bob


def test_a_revoked_key_is_not_active(as_adam: Client, bob: User, bobs_key: str) -> None:
    ApiKey.objects.get().revoke()
    response = as_adam.get("/members/")
    assert rows(response)[-1][3] == "0"
    assert "No API keys yet" in response.content.decode()


def test_a_key_of_an_inactive_user_is_not_active(as_adam: Client, bob: User, bobs_key: str) -> None:
    User.objects.filter(pk=bob.pk).update(is_active=False)
    response = as_adam.get("/members/")
    assert rows(response)[-1][3] == "0"
    assert "No API keys yet" in response.content.decode()


@pytest.mark.parametrize("count", [1, 40])
def test_the_number_of_queries_does_not_grow_with_the_team(
    as_alice: Client, crawlers: Team, count: int, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for number in range(count):
        user = User.objects.create_user(f"user{number}@example.com")
        ApiKey.objects.issue(Membership.objects.create(user=user, team=crawlers), "job")
    with django_assert_max_num_queries(7):
        as_alice.get("/members/")


# --- adding -------------------------------------------------------------------------------------


def test_a_new_user_gets_a_link_to_set_a_password(as_adam: Client, crawlers: Team) -> None:
    response = as_adam.post("/members/add", NEW)
    assert response.status_code == 201
    dora = User.objects.get(email="dora@example.com")
    assert (dora.name, dora.has_usable_password()) == ("Dora", False)
    assert dora.memberships.get().role == Role.MEMBER
    link = link_in(response)
    assert link.startswith("http://testserver/accounts/password/reset/key/")
    invitation = Client().get(link, follow=True).content.decode()
    assert "<h1>Join Crawlers</h1>" in invitation
    assert "Set a password for dora@example.com to sign in to Crawlers." in invitation
    page = set_password(link)
    assert page.redirect_chain == [("/", 302)]
    assert page.content.decode().count('class="message ') == 1
    assert "Saved your new password." in page.content.decode()
    assert "dora@example.com · Member" in page.content.decode()
    assert signs_in("dora@example.com", NEW_PASSWORD)


def test_a_link_works_once(as_adam: Client) -> None:
    link = link_in(as_adam.post("/members/add", NEW))
    set_password(link)
    assert "This link doesn't work" in Client().get(link).content.decode()


def test_a_link_expires_when_the_user_signs_in_without_it(as_adam: Client, bob: User) -> None:
    link = link_in(as_adam.post(address_of(bob, "password-link")))
    assert signs_in("bob@example.com", PASSWORD)
    assert "This link doesn't work" in Client().get(link).content.decode()


def test_a_link_has_the_public_url(as_adam: Client, settings: Settings) -> None:
    settings.PUBLIC_URL = "https://results.example.com"
    link = link_in(as_adam.post("/members/add", NEW))
    assert link.startswith("https://results.example.com/accounts/password/reset/key/")


def test_a_link_is_not_cached(as_adam: Client) -> None:
    assert "no-store" in as_adam.post("/members/add", NEW)["Cache-Control"]


def test_without_a_mail_server_the_link_is_only_shown(as_adam: Client) -> None:
    assert (
        "Share this link privately with dora@example.com"
        in as_adam.post("/members/add", NEW).content.decode()
    )
    assert mail.outbox == []


def test_with_a_mail_server_the_link_is_also_queued_as_mail(as_adam: Client, settings: Settings) -> None:
    settings.EMAIL_URL = "smtp://mail.example.com"
    response = as_adam.post("/members/add", NEW)
    assert "We are sending this link to dora@example.com" in response.content.decode()
    assert mail.outbox == []
    call_command("work", "--once")
    [message] = mail.outbox
    assert (message.to, message.subject) == (["dora@example.com"], "Join Crawlers on Results")
    assert "You have been added to Crawlers on Results." in message.body
    assert link_in(response) in message.body


def test_a_user_of_another_managed_team_keeps_password_and_name(
    as_adam: Client, adam: User, carol: User, crawlers: Team, strangers: Team
) -> None:
    Membership.objects.create(user=adam, team=strangers, role=Role.OWNER)
    as_adam.post("/team", {"team": crawlers.pk})
    fields = {"email": "CAROL@example.com", "name": "Mallory", "role": "member"}
    response = as_adam.post("/members/add", fields, follow=True)
    assert "Added Carol to Crawlers." in response.content.decode()
    assert carol.memberships.filter(team=crawlers, role=Role.MEMBER).exists()
    carol.refresh_from_db()
    assert carol.name == "Carol"
    assert carol.check_password(PASSWORD)


def test_a_user_of_another_team_without_a_password_gets_no_link(
    as_adam: Client, adam: User, crawlers: Team, strangers: Team
) -> None:
    Membership.objects.create(user=adam, team=strangers, role=Role.ADMIN)
    dora = User.objects.create_user("dora@example.com", name="Dora")
    Membership.objects.create(user=dora, team=strangers, role=Role.MEMBER)
    as_adam.post("/team", {"team": crawlers.pk})
    response = as_adam.post("/members/add", NEW, follow=True)
    assert "Added Dora to Crawlers." in response.content.decode()
    assert "/password/reset/key/" not in response.content.decode()
    assert dora.memberships.filter(team=crawlers).exists()


@pytest.mark.parametrize("role", [Role.MEMBER, Role.ADMIN])
def test_a_user_in_an_unmanaged_team_is_not_added(
    as_adam: Client, adam: User, carol: User, crawlers: Team, strangers: Team, role: Role
) -> None:
    carol.set_unusable_password()
    carol.save()
    Membership.objects.create(user=adam, team=strangers, role=role)
    as_adam.post("/team", {"team": crawlers.pk})
    response = as_adam.post("/members/add", {"email": carol.email, "role": "member"})
    assert "You can&#x27;t add carol@example.com." in response.content.decode()
    assert not carol.memberships.filter(team=crawlers).exists()


def test_an_operator_is_not_added(as_alice: Client) -> None:
    oscar = User.objects.create_superuser("oscar@example.com", PASSWORD)
    response = as_alice.post("/members/add", {"email": oscar.email, "role": "member"})
    assert "Ask the operator" in response.content.decode()
    oscar.refresh_from_db()
    assert oscar.check_password(PASSWORD)
    assert not oscar.memberships.exists()


def test_a_user_without_a_team_loses_the_old_password(as_adam: Client, eve: User, crawlers: Team) -> None:
    response = as_adam.post("/members/add", {"email": eve.email, "role": "member"})
    assert "/accounts/password/reset/key/" in link_in(response)
    assert eve.memberships.get().team == crawlers
    assert not signs_in("eve@example.com", PASSWORD)


def test_a_user_is_not_added_twice(as_alice: Client, bob: User) -> None:
    response = as_alice.post("/members/add", {"email": bob.email, "role": "owner"})
    assert "bob@example.com is already in Crawlers." in response.content.decode()
    assert bob.memberships.get().role == Role.MEMBER


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"role": "member"}, "Fill in this field."),
        ({"email": "nobody", "role": "member"}, "Enter a valid email address."),
        ({"email": "a\0@example.com", "role": "member"}, "Remove the null characters."),
        ({"email": f"{'a' * 250}@example.com", "role": "member"}, "at most 254 characters"),
        ({"email": "d@example.com", "role": "emperor"}, "Choose one of the options."),
        ({"email": "d@example.com"}, "Choose one of the options."),
        ({"email": "d@example.com", "role": "member", "name": "a\tb"}, "control characters"),
        ({"email": "d@example.com", "role": "member", "name": "x" * 101}, "at most 100 characters"),
    ],
)
def test_the_form_for_adding_shows_errors(as_alice: Client, fields: dict[str, str], complaint: str) -> None:
    response = as_alice.post("/members/add", fields)
    assert response.status_code == 200
    assert complaint in response.content.decode()
    assert User.objects.count() == 1


@pytest.mark.parametrize("role", ["admin", "owner"])
def test_an_admin_adds_members_only(as_adam: Client, role: str) -> None:
    response = as_adam.post("/members/add", NEW | {"role": role})
    assert "Choose one of the options." in response.content.decode()
    assert not User.objects.filter(email="dora@example.com").exists()


def test_a_member_cannot_add_anyone(as_bob: Client) -> None:
    assert as_bob.get("/members/add").status_code == 403
    assert as_bob.post("/members/add", NEW).status_code == 403


# --- roles and removing -------------------------------------------------------------------------


def address_of(user: User, what: str) -> str:
    return f"/members/{user.memberships.get().pk}/{what}"


def test_an_owner_changes_a_role(as_alice: Client, bob: User) -> None:
    assert "Change role of Bob" in as_alice.get(address_of(bob, "role")).content.decode()
    response = as_alice.post(address_of(bob, "role"), {"role": "admin"}, follow=True)
    assert "Changed the role of Bob to Admin." in response.content.decode()
    assert bob.memberships.get().role == Role.ADMIN


def test_an_unknown_role_is_refused(as_alice: Client, bob: User) -> None:
    response = as_alice.post(address_of(bob, "role"), {"role": "emperor"})
    assert "Choose one of the options." in response.content.decode()


def test_the_last_owner_stays_an_owner(as_alice: Client, alice: User) -> None:
    for what, fields in (("role", {"role": "member"}), ("remove", {})):
        response = as_alice.post(address_of(alice, what), fields, follow=True)
        assert "This is the team&#x27;s last owner." in response.content.decode()
    assert alice.memberships.get().role == Role.OWNER


def test_removing_asks_for_confirmation_and_ends_access_and_keys(
    as_adam: Client, as_bob: Client, bob: User, bobs_key: str
) -> None:
    address = address_of(bob, "remove")
    assert "Remove Bob?" in as_adam.get(address).content.decode()
    assert as_bob.get("/collections/").status_code == 200
    assert "Removed Bob from Crawlers." in as_adam.post(address, follow=True).content.decode()
    assert as_bob.get("/collections/").status_code == 403
    assert recognize(bobs_key) is None


@pytest.mark.parametrize("what", ["role", "remove", "password-link"])
def test_an_admin_cannot_manage_admins_and_owners(
    as_adam: Client, alice: User, adam: User, what: str
) -> None:
    for user in (alice, adam):
        response = as_adam.post(address_of(user, what), {"role": "member"})
        assert response.status_code == 403
        assert "Only owners can manage an " in response.content.decode()
    assert {m.role for m in Membership.objects.all()} == {Role.OWNER, Role.ADMIN}


@pytest.mark.parametrize("what", ["role", "remove", "password-link"])
def test_a_user_of_another_team_is_not_found(as_alice: Client, carol: User, what: str) -> None:
    response = as_alice.post(address_of(carol, what), {"role": "member"})
    assert response.status_code == 404
    assert "This team has no such member." in response.content.decode()


@pytest.mark.parametrize("what", ["role", "remove", "password-link"])
def test_a_member_cannot_manage_anyone(as_bob: Client, alice: User, what: str) -> None:
    assert as_bob.post(address_of(alice, what), {"role": "member"}).status_code == 403


# --- password links -----------------------------------------------------------------------------


def test_a_password_link_asks_for_confirmation_and_sets_a_new_password(as_adam: Client, bob: User) -> None:
    address = address_of(bob, "password-link")
    assert "Create a password link for Bob?" in as_adam.get(address).content.decode()
    response = as_adam.post(address)
    assert response.status_code == 200
    assert "no-store" in response["Cache-Control"]
    bob.refresh_from_db()
    assert bob.check_password(PASSWORD)
    set_password(link_in(response))
    assert signs_in("bob@example.com", NEW_PASSWORD)


def test_a_user_in_another_team_gets_no_password_link(as_alice: Client, bob: User, strangers: Team) -> None:
    membership = bob.memberships.get()
    Membership.objects.create(user=bob, team=strangers)
    assert (
        links(as_alice.get("/members/")).get("Create password link…")
        != f"/members/{membership.pk}/password-link"
    )
    response = as_alice.post(f"/members/{membership.pk}/password-link")
    assert response.status_code == 403
    assert "Bob is also in another team, or is an operator." in response.content.decode()


def test_an_operator_gets_no_password_link(as_alice: Client, bob: User) -> None:
    User.objects.filter(pk=bob.pk).update(is_staff=True)
    assert as_alice.post(address_of(bob, "password-link")).status_code == 403


def works(link: str) -> bool:
    return "This link doesn't work" not in Client().get(link, follow=True).content.decode()


@pytest.mark.parametrize("user", ["bob", "adam", "alice"])
@pytest.mark.parametrize("field", ["is_staff", "is_superuser"])
def test_a_link_expires_when_the_user_becomes_an_operator(
    as_adam: Client, bob: User, field: str, user: str
) -> None:
    link = link_in(as_adam.post(address_of(bob, "password-link")))
    User.objects.filter(email=f"{user}@example.com").update(**{field: True})
    assert works(link) == (user != "bob")


def test_a_link_expires_when_the_users_role_changes(as_adam: Client, bob: User) -> None:
    link = link_in(as_adam.post(address_of(bob, "password-link")))
    assert works(link)
    bob.memberships.get().change_role(Role.OWNER)
    assert not works(link)


def test_a_link_expires_when_the_user_joins_another_team(as_adam: Client, bob: User, strangers: Team) -> None:
    link = link_in(as_adam.post(address_of(bob, "password-link")))
    Membership.objects.create(user=bob, team=strangers)
    assert not works(link)


@pytest.mark.parametrize("what", ["removed", "a member", "closed"])
def test_a_link_expires_when_its_creator_is_no_longer_an_admin(
    as_adam: Client, alice: User, adam: User, bob: User, what: str
) -> None:
    link = link_in(as_adam.post(address_of(bob, "password-link")))
    if what == "removed":
        adam.memberships.get().remove()
    elif what == "a member":
        adam.memberships.get().change_role(Role.MEMBER)
    else:
        User.objects.filter(pk=adam.pk).update(is_active=False)
    assert not works(link)


def test_a_link_expires_even_if_its_form_is_open(as_adam: Client, alice: User, adam: User, bob: User) -> None:
    browser = Client()
    form = browser.get(link_in(as_adam.post(address_of(bob, "password-link"))), follow=True)
    adam.memberships.get().remove()
    fields = {"password1": NEW_PASSWORD, "password2": NEW_PASSWORD}
    response = browser.post(form.redirect_chain[-1][0], fields, follow=True)
    assert "This link doesn't work" in response.content.decode()
    assert not signs_in("bob@example.com", NEW_PASSWORD)


def test_adding_more_members_expires_no_link(as_alice: Client) -> None:
    now = time_machine.travel("2030-01-01", tick=False)
    with now as clock:
        as_alice.force_login(User.objects.get(email="alice@example.com"))
        created = []
        for name in ("ann", "ben", "dora"):
            fields = {"email": f"{name}@example.com", "role": "member" if name == "dora" else "admin"}
            created.append(link_in(as_alice.post("/members/add", fields)))
            clock.shift(1)
        assert [works(link) for link in created] == [True, True, True]


def test_a_password_link_does_not_reactivate_a_user(
    as_adam: Client, bob: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = link_in(as_adam.post(address_of(bob, "password-link")))
    make_hash = User.set_password

    def close_meanwhile(user: User, password: str) -> None:
        User.objects.filter(pk=user.pk).update(is_active=False)
        make_hash(user, password)

    monkeypatch.setattr(User, "set_password", close_meanwhile)
    set_password(link)
    bob.refresh_from_db()
    assert (bob.is_active, bob.check_password(NEW_PASSWORD)) == (False, True)


# --- concurrent changes --------------------------------------------------------------

at_once = pytest.mark.django_db(transaction=True)


@at_once
@pytest.mark.parametrize("what", ["role", "remove", "password-link"])
def test_a_member_removed_concurrently_is_not_found(
    as_alice: Client, adam: User, bob: User, what: str
) -> None:
    membership, address = bob.memberships.get(), address_of(bob, what)
    response = ask_meanwhile(membership.remove, lambda: as_alice.post(address, {"role": "admin"}))
    assert response.status_code == 404
    assert "They may have been removed." in response.content.decode()


@at_once
@pytest.mark.parametrize("what", ["role", "remove", "password-link"])
def test_an_admin_cannot_change_a_member_promoted_concurrently(as_adam: Client, bob: User, what: str) -> None:
    membership, address = bob.memberships.get(), address_of(bob, what)
    response = ask_meanwhile(
        lambda: membership.change_role(Role.OWNER), lambda: as_adam.post(address, {"role": "member"})
    )
    assert response.status_code == 403
    assert "Only owners can manage an owner." in response.content.decode()
    assert bob.memberships.get().role == Role.OWNER


@at_once
@pytest.mark.parametrize("what", ["role", "remove"])
def test_two_owners_cannot_demote_each_other(as_alice: Client, alice: User, bob: User, what: str) -> None:
    bob.memberships.get().change_role(Role.OWNER)
    membership, address = alice.memberships.get(), address_of(bob, what)
    response = ask_meanwhile(
        lambda: membership.change_role(Role.MEMBER), lambda: as_alice.post(address, {"role": "member"})
    )
    assert response.status_code == 403
    assert "Only admins and owners of Crawlers may do this" in response.content.decode()
    assert bob.memberships.get().role == Role.OWNER


@at_once
def test_an_admin_removed_concurrently_cannot_add_anyone(as_adam: Client, adam: User) -> None:
    response = ask_meanwhile(adam.memberships.get().remove, lambda: as_adam.post("/members/add", NEW))
    assert response.status_code == 403
    assert "You are no longer in Crawlers." in response.content.decode()
    assert not User.objects.filter(email="dora@example.com").exists()


@at_once
def test_an_owner_demoted_concurrently_cannot_add_an_owner(as_alice: Client, alice: User, adam: User) -> None:
    adam.memberships.get().change_role(Role.OWNER)
    membership = alice.memberships.get()
    response = ask_meanwhile(
        lambda: membership.change_role(Role.ADMIN),
        lambda: as_alice.post("/members/add", NEW | {"role": "owner"}),
    )
    assert response.status_code == 403
    assert "You may no longer assign this role in Crawlers." in response.content.decode()
    assert not User.objects.filter(email="dora@example.com").exists()
