from urllib.parse import quote

import pytest
from django.test import Client

from collections_app.models import Collection, Membership, Role, Team, User
from tests.support.html import links, rows
from tests.support.results import make_ready_run


@pytest.fixture
def bob_in_both(bob: User, strangers: Team) -> User:
    Membership.objects.create(user=bob, team=strangers, role=Role.ADMIN)
    return bob


def test_switching_shows_the_other_teams_collections(
    bob_in_both: User, as_bob: Client, laptops: Collection, secret_plans: Collection
) -> None:
    assert [row[1] for row in rows(as_bob.get("/collections/"))] == ["AU Laptops"]
    page = {"Referer": "http://testserver/collections/?q=lap"}
    response = as_bob.post("/team", {"team": secret_plans.team_id}, follow=True, headers=page)
    assert [row[1] for row in rows(response)] == ["Secret plans"]
    assert "Add collection" in response.content.decode()


@pytest.mark.parametrize(
    ("page", "shown"),
    [
        ("http://testserver/collections/?q=lap", "/collections/"),
        ("http://testserver/members/", "/members/"),
        ("http://testserver/collections/101/download", "/"),
        ("http://testserver/team/accounts/", "/"),  # not all members may open it
        ("http://elsewhere.example/members/", "/"),
        ("http://testserver/nothing", "/"),
        ("", "/"),
    ],
)
def test_switching_shows_the_same_page_or_the_overview(
    bob_in_both: User, as_bob: Client, strangers: Team, page: str, shown: str
) -> None:
    response = as_bob.post("/team", {"team": strangers.pk}, headers={"Referer": page})
    assert response["Location"] == shown


def test_a_page_of_another_teams_collection_switches_to_that_team(
    bob_in_both: User, as_bob: Client, laptops: Collection, secret_plans: Collection
) -> None:
    assert "Strangers" in as_bob.get(f"/collections/{secret_plans.pk}/download").content.decode()
    assert [row[1] for row in rows(as_bob.get("/collections/"))] == ["Secret plans"]


def test_a_file_of_another_team_does_not_switch(
    bob_in_both: User, as_bob: Client, laptops: Collection, secret_plans: Collection
) -> None:
    file = make_ready_run(secret_plans).files.get(kind="page")
    response = as_bob.get(f"/collections/{secret_plans.pk}/runs/1/files/{quote(file.name)}")
    assert response.getvalue()
    assert [row[1] for row in rows(as_bob.get("/collections/"))] == ["AU Laptops"]


def test_only_users_in_several_teams_can_switch(bob: User, as_bob: Client, strangers: Team) -> None:
    assert 'action="/team"' not in as_bob.get("/collections/").content.decode()
    Membership.objects.create(user=bob, team=strangers)
    assert 'action="/team"' in as_bob.get("/collections/").content.decode()


@pytest.mark.parametrize("team", ["", "x", "-1", "0", "1" * 30, "\0", "\u0661"])
def test_it_refuses_an_invalid_team(as_bob: Client, team: str) -> None:
    assert as_bob.post("/team", {"team": team}).status_code == 403


def test_it_refuses_another_users_team(as_bob: Client, strangers: Team) -> None:
    assert as_bob.post("/team", {"team": strangers.pk}).status_code == 403


def test_a_user_without_a_team_is_told_what_to_do(eve: User, client: Client) -> None:
    client.force_login(eve)
    for address in ("/collections/", "/members/"):
        response = client.get(address)
        assert response.status_code == 403
        assert "Ask a team&#x27;s owner to add you" in response.content.decode()
        assert "eve@example.com" in response.content.decode()
        assert links(response)["Go to your profile"] == "/profile/"


@pytest.mark.parametrize("address", ["/profile/", "/collections/", "/nowhere"])
def test_a_user_without_a_team_sees_no_dead_links(eve: User, client: Client, address: str) -> None:
    client.force_login(eve)
    assert not {"/collections/", "/members/"} & set(links(client.get(address)).values())


def test_an_operator_without_a_team_is_redirected_to_the_admin(eve: User, client: Client) -> None:
    User.objects.filter(pk=eve.pk).update(is_staff=True)
    client.force_login(eve)
    assert links(client.get("/collections/"))["Go to the admin site"] == "/admin/"
    assert "You can use the admin site." in client.get("/profile/").content.decode()


def test_a_user_removed_from_the_current_team_falls_back_to_another(
    bob_in_both: User, as_bob: Client, laptops: Collection, secret_plans: Collection
) -> None:
    as_bob.post("/team", {"team": secret_plans.team_id})
    bob_in_both.memberships.get(team=secret_plans.team).remove()
    assert [row[1] for row in rows(as_bob.get("/collections/"))] == ["AU Laptops"]


@pytest.mark.parametrize(
    "address", ["/collections/add", "/members/add", "/team/accounts/connect", "/team/settings"]
)
def test_a_form_acts_on_the_team_that_it_was_shown_for(
    as_alice: Client, alice: User, crawlers: Team, strangers: Team, address: str
) -> None:
    strangers.memberships.create(user=alice, role=Role.OWNER)
    form = f'name="for_team" value="{crawlers.pk}"'
    assert form in as_alice.get(address).content.decode()
    as_alice.post("/team", {"team": strangers.pk})  # in another tab
    assert form in as_alice.post(address, {"for_team": crawlers.pk}).content.decode()


def test_a_form_for_a_team_that_the_user_has_left_is_refused(
    as_alice: Client, alice: User, crawlers: Team, strangers: Team
) -> None:
    strangers.memberships.create(user=alice, role=Role.OWNER)
    crawlers.memberships.filter(user=alice).delete()
    response = as_alice.post("/team/settings", {"for_team": crawlers.pk, "name": "Mine", "time_zone": "UTC"})
    assert response.status_code == 403
    strangers.refresh_from_db()
    assert strangers.name != "Mine"
