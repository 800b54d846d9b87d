"""Who may do what. test_access_of_every_address.py tests the views."""

import re

import pytest
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse
from django.test import Client, RequestFactory

from collections_app.models import Collection, Membership, Role, Team, User
from collections_app.people import access
from collections_app.people.access import Action


def membership(user: User) -> Membership:
    return user.memberships.get()


def current_team(client: Client) -> str:
    """Return the team whose members the user sees."""
    (team,) = re.findall(r"People in (\w+)\.", client.get("/members/").content.decode())
    return str(team)


@pytest.fixture
def alice_among_strangers(alice: User, strangers: Team) -> Membership:
    return Membership.objects.create(user=alice, team=strangers, role=Role.MEMBER)


# --- roles --------------------------------------------------------------------------------------


def test_members_can_only_see_acknowledge_pin_and_overrule(bob: User) -> None:
    allowed = [action for action in Action if access.may(membership(bob), action)]
    assert allowed == [Action.SEE, Action.ACKNOWLEDGE, Action.PIN_RUNS, Action.OVERRULE_VERDICTS]


def test_admins_and_owners_can_do_everything(adam: User, alice: User) -> None:
    for user in adam, alice:
        assert all(access.may(membership(user), action) for action in Action)


def test_admins_manage_members_and_owners_manage_everyone(alice: User, adam: User, bob: User) -> None:
    everybody = {user: membership(user) for user in (alice, adam, bob)}

    def managed_by(user: User) -> list[User]:
        return [other for other, theirs in everybody.items() if access.may_manage(everybody[user], theirs)]

    assert managed_by(alice) == [alice, adam, bob]
    assert managed_by(adam) == [bob]
    assert managed_by(bob) == []


def test_members_cannot_assign_roles_above_their_own(alice: User, adam: User, bob: User) -> None:
    assert access.assignable_roles(membership(alice)) == [Role.MEMBER, Role.ADMIN, Role.OWNER]
    assert access.assignable_roles(membership(adam)) == [Role.MEMBER]
    assert access.assignable_roles(membership(bob)) == []


def test_owners_cannot_manage_other_teams(carol: User, bob: User) -> None:
    assert not access.may_manage(membership(carol), membership(bob))


def test_passwords_are_reset_only_for_users_of_a_single_team(
    alice: User, adam: User, bob: User, strangers: Team
) -> None:
    assert access.may_reset_password(membership(alice), membership(bob))
    assert access.may_reset_password(membership(adam), membership(bob))
    assert not access.may_reset_password(membership(adam), membership(alice))
    theirs = membership(bob)
    Membership.objects.create(user=bob, team=strangers)
    assert not access.may_reset_password(membership(alice), theirs)


def test_users_are_added_by_those_who_manage_them_in_all_of_their_teams(
    alice: User, adam: User, bob: User, carol: User, eve: User, strangers: Team
) -> None:
    Membership.objects.create(user=adam, team=strangers, role=Role.ADMIN)
    adams, alices = ([*user.memberships.all()] for user in (adam, alice))
    assert access.may_add(adams, eve)
    assert access.may_add(adams, bob)
    assert not access.may_add(adams, carol)
    assert access.may_add(alices, adam) is False


def test_no_one_can_reset_an_operators_password(alice: User, bob: User) -> None:
    bob.is_staff = True
    bob.save()
    assert not access.may_reset_password(membership(alice), membership(bob))


# --- collections --------------------------------------------------------------------------------


def test_a_collection_is_returned_with_its_membership(
    alice: User, alice_among_strangers: Membership, laptops: Collection, secret_plans: Collection
) -> None:
    memberships = list(alice.memberships.all())
    assert access.collection_of(memberships, secret_plans.pk) == (secret_plans, alice_among_strangers)
    assert access.collection_of(memberships, laptops.pk)[1].role == Role.OWNER


@pytest.mark.parametrize("number", [-1, 0, 999, 2**63 - 1, 2**63, 10**30])
def test_another_teams_collection_looks_like_a_missing_one(
    bob: User, secret_plans: Collection, number: int
) -> None:
    with pytest.raises(PermissionDenied) as strange:
        access.collection_of([membership(bob)], secret_plans.pk)
    with pytest.raises(PermissionDenied) as missing:
        access.collection_of([membership(bob)], number)
    assert str(strange.value) == str(missing.value) == access.NOT_YOURS


def test_a_collection_needs_a_membership(laptops: Collection) -> None:
    with pytest.raises(PermissionDenied):
        access.collection_of([], laptops.pk)


def test_the_role_in_the_collections_team_decides(
    as_alice: Client, alice_among_strangers: Membership, secret_plans: Collection, laptops: Collection
) -> None:
    assert as_alice.get(f"/collections/{secret_plans.pk}/download").status_code == 200
    response = as_alice.get(f"/collections/{secret_plans.pk}/rename")
    assert response.status_code == 403
    assert "Only admins and owners of Strangers may do this" in response.content.decode()
    assert as_alice.get(f"/collections/{laptops.pk}/rename").status_code == 200


# --- teams --------------------------------------------------------------------------------------


def test_the_chosen_team_is_the_current_one(
    as_alice: Client, alice_among_strangers: Membership, crawlers: Team, strangers: Team
) -> None:
    assert current_team(as_alice) == crawlers.name  # the first by name
    as_alice.post("/team", {"team": strangers.pk})
    assert current_team(as_alice) == strangers.name


def test_a_removed_member_falls_back_to_another_team(
    as_alice: Client, alice_among_strangers: Membership, crawlers: Team, strangers: Team
) -> None:
    as_alice.post("/team", {"team": strangers.pk})
    alice_among_strangers.remove()
    assert current_team(as_alice) == crawlers.name


def test_users_can_choose_only_their_teams(as_bob: Client, strangers: Team, crawlers: Team) -> None:
    assert as_bob.post("/team", {"team": strangers.pk}).status_code == 403
    assert current_team(as_bob) == crawlers.name


def test_a_removed_member_loses_access_at_once(as_bob: Client, bob: User, laptops: Collection) -> None:
    assert as_bob.get("/collections/101/download").status_code == 200
    membership(bob).remove()
    assert as_bob.get("/collections/101/download").status_code == 403
    assert as_bob.get("/collections/").status_code == 403


def test_a_lower_role_applies_at_once(as_adam: Client, adam: User, laptops: Collection) -> None:
    assert as_adam.get("/collections/101/rename").status_code == 200
    membership(adam).change_role(Role.MEMBER)
    assert as_adam.get("/collections/101/rename").status_code == 403


# --- signing in ---------------------------------------------------------------------------------


def test_the_session_of_an_inactive_user_is_invalid(as_bob: Client, bob: User) -> None:
    bob.is_active = False
    bob.save()
    response = as_bob.get("/collections/?q=a")
    assert response.status_code == 302
    assert response.headers["Location"] == "/accounts/login/?next=/collections/%3Fq%3Da"


@pytest.mark.django_db
def test_an_inactive_operator_cannot_open_the_admin(client: Client) -> None:
    operator = User.objects.create_superuser("operator@example.com", "secret")
    client.force_login(operator)
    assert client.get("/admin/").status_code == 200
    operator.is_active = False
    operator.save()
    assert client.get("/admin/").headers["Location"] == "/accounts/login/?next=/admin/"


def test_operators_cannot_see_the_collections_of_teams(client: Client, laptops: Collection) -> None:
    client.force_login(User.objects.create_superuser("operator@example.com", "secret"))
    assert client.get("/collections/101/download").status_code == 403


@pytest.mark.parametrize(
    ("current", "afterwards"),
    [
        ("http://testserver/collections/?q=a", "/accounts/login/?next=/collections/%3Fq%3Da"),
        ("https://evil.example.com/collections/", "/accounts/login/?next=/"),
        ("nonsense", "/accounts/login/?next=/"),
        ("http://[", "/accounts/login/?next=/"),
        (None, "/accounts/login/?next=/"),
    ],
)
def test_a_fragment_redirects_the_page_to_sign_in_and_back(
    client: Client, current: str | None, afterwards: str
) -> None:
    headers = {"HX-Request": "true"} | ({"HX-Current-URL": current} if current else {})
    response = client.get("/collections/?after=1_a", headers=headers)
    assert response.headers["HX-Redirect"] == afterwards


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("referrer", "afterwards"),
    [
        ("http://testserver/collections/?archived=1", "/collections/%3Farchived%3D1"),
        ("https://evil.example.com/collections/", "/"),
        ("http://testserver//evil.example.com/", "/"),
        ("http://testserver/\\\\evil.example.com/", "/"),
        ("http://testserver", "/"),
        ("nonsense", "/"),
        ("http://[", "/"),
        (None, "/"),
    ],
)
def test_a_button_leads_back_to_its_page_after_signing_in(
    client: Client, referrer: str | None, afterwards: str
) -> None:
    headers = {"Referer": referrer} if referrer else {}
    response = client.post("/collections/101/restore", headers=headers)
    assert response.headers["Location"] == f"/accounts/login/?next={afterwards}"


@pytest.mark.django_db
def test_signing_in_never_redirects_to_another_site(client: Client, bob: User) -> None:
    for elsewhere in ("https://evil.example.com/", "//evil.example.com/", "javascript:alert(1)"):
        response = client.post(
            "/accounts/login/",
            {"login": bob.email, "password": "correct horse battery staple", "next": elsewhere},
        )
        assert response.headers["Location"] == "/"
        client.logout()


@pytest.mark.parametrize(
    ("path", "is_for_scripts"),
    [
        ("/api/v1/results/1/88/page.json", True),
        ("/api/v1/collections", True),
        ("/api/v1/docs", False),
        ("/api/v1/unknown", False),
        ("/collections/", False),
        ("/healthz", False),
    ],
)
@pytest.mark.django_db
def test_only_views_for_api_keys_run_without_sessions(path: str, is_for_scripts: bool) -> None:  # noqa: FBT001
    people, scripts = HttpResponse("for people"), access.serve_scripts(lambda _: people)
    assert (scripts(RequestFactory().get(path)) is not people) == is_for_scripts


def test_an_api_key_is_not_replaced_by_a_session(as_bob: Client, laptops: Collection) -> None:
    response = as_bob.get(f"/api/v1/results/{laptops.pk}/1/page.json")
    assert response.status_code == 401
    assert "sessionid" not in response.cookies
    assert response["X-Frame-Options"] == "DENY"


def test_templates_get_no_permissions_for_anonymous_users() -> None:
    assert access.context(RequestFactory().get("/")) == {
        "membership": None,
        "memberships": [],
        "in_no_team": False,
        "may": {},
        "theme": "system",
    }


def test_templates_get_the_members_permissions(bob: User) -> None:
    request = RequestFactory().get("/")
    request.membership = membership(bob)  # type: ignore[attr-defined]
    assert access.context(request)["may"] == {
        "see": True,
        "acknowledge": True,
        "pin_runs": True,
        "overrule_verdicts": True,
        "manage_collections": False,
        "manage_accounts": False,
        "revoke_any_key": False,
        "manage_channels": False,
        "manage_members": False,
        "manage_team": False,
    }
