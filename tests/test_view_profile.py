import re
from datetime import UTC, datetime
from html import unescape
from typing import Any

import pytest
from django.test import Client
from pytest_django import Settings

from collections_app.models import ApiKey, Collection, Kind, Membership, Preferences, Team, User
from tests.conftest import signed_in
from tests.support.html import links, rows
from tests.support.keys import recognize
from tests.support.meanwhile import ask_meanwhile
from tests.support.results import (
    make_failed_run,
    make_processing_run,
    make_ready_run,
    make_run_of_pages,
    records,
)
from tests.support.tools import ROOT


def calls(response: Any) -> list[str]:
    """Return the example calls on the page."""
    return [
        unescape(call)
        for call in re.findall(r"<pre[^>]*><code>(.*?)</code>", response.content.decode(), re.DOTALL)
    ]


# --- the theme ---------------------------------------------------------------------------------


def test_a_theme_is_applied_by_the_server_and_only_for_its_user(
    as_bob: Client, alice: User, client: Client
) -> None:
    assert theme_of(as_bob) == ("system", "light dark")
    as_bob.post("/profile/theme", {"theme": "dark"})
    assert theme_of(as_bob) == ("dark", "dark")
    assert theme_of(as_bob, "/nowhere") == ("dark", "dark")
    assert theme_of(signed_in(alice)) == ("system", "light dark")
    assert theme_of(client, "/accounts/login/") == ("system", "light dark")


def test_a_theme_does_not_change_the_other_preferences(as_bob: Client, bob: User) -> None:
    Preferences.objects.create(user=bob, download_format="xlsx")
    as_bob.post("/profile/theme", {"theme": "light"})
    preferences = Preferences.objects.get(user=bob)
    assert (preferences.download_format, preferences.theme) == ("xlsx", "light")


def test_a_user_without_a_team_has_a_theme(client: Client, eve: User) -> None:
    client.force_login(eve)
    client.post("/profile/theme", {"theme": "dark"})
    assert theme_of(client) == ("dark", "dark")


def test_an_unknown_theme_is_refused(as_bob: Client) -> None:
    response = as_bob.post("/profile/theme", {"theme": "pink"})
    assert (response.status_code, Preferences.objects.count()) == (400, 0)


def theme_of(browser: Client, address: str = "/profile/") -> tuple[str, str]:
    """Return the theme of a page, and the color schemes that it tells the browser."""
    page = browser.get(address).content.decode()
    ((theme, schemes),) = re.findall(
        r'data-theme="(\w+)".*name="color-scheme" content="([\w ]+)"', page, re.DOTALL
    )
    return theme, schemes


# --- the name ----------------------------------------------------------------------------------


def test_a_user_changes_their_name(as_bob: Client, bob: User) -> None:
    response = as_bob.post("/profile/", {"name": "Robert"}, follow=True)
    assert "Saved your name." in response.content.decode()
    bob.refresh_from_db()
    assert bob.name == "Robert"


def test_a_name_may_be_empty(as_bob: Client, bob: User) -> None:
    as_bob.post("/profile/", {"name": ""})
    bob.refresh_from_db()
    assert (bob.name, bob.get_full_name()) == ("", "bob@example.com")


@pytest.mark.parametrize("name", ["x" * 101, "a\0b", "a\nb"])
def test_it_refuses_an_invisible_name(as_bob: Client, bob: User, name: str) -> None:
    assert 'class="errorlist"' in as_bob.post("/profile/", {"name": name}).content.decode()
    bob.refresh_from_db()
    assert bob.name == "Bob"


def test_no_other_field_of_a_user_can_be_changed(as_bob: Client, bob: User) -> None:
    as_bob.post("/profile/", {"name": "Bob", "email": "root@example.com", "is_staff": "on"})
    bob.refresh_from_db()
    assert (bob.email, bob.is_staff) == ("bob@example.com", False)


@pytest.mark.django_db(transaction=True)
def test_renaming_keeps_concurrent_changes(as_bob: Client, bob: User) -> None:
    def close() -> None:
        bob.is_active = False
        bob.set_password("another one")
        bob.save()

    assert ask_meanwhile(close, lambda: as_bob.post("/profile/", {"name": "Robert"})).status_code == 302
    bob.refresh_from_db()
    assert (bob.name, bob.is_active, bob.check_password("another one")) == ("Robert", False, True)


def test_a_user_without_a_team_has_a_name_and_no_keys(client: Client, eve: User) -> None:
    client.force_login(eve)
    response = client.get("/profile/").content.decode()
    assert "Save name" in response
    assert "You aren't in a team" in response
    assert "Create key" not in response
    assert client.post("/profile/keys", {"name": "x"}).status_code == 403


# --- keys ---------------------------------------------------------------------------------------


def test_a_new_key_is_shown_once_and_works(as_bob: Client) -> None:
    response = as_bob.post("/profile/keys", {"name": "nightly import"})
    assert response.status_code == 201
    assert "no-store" in response["Cache-Control"]
    found = re.search(r'id="new-key" type="text" readonly value="([^"]*)"', response.content.decode())
    assert found
    key = recognize(found[1])
    assert key is not None
    assert (key.name, key.membership.user.email) == ("nightly import", "bob@example.com")
    again = as_bob.get("/profile/")
    assert found[1] not in again.content.decode()
    assert rows(again)[0][:2] == ["nightly import", f"{key.prefix}…"]


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("", "Enter a name for the key"),
        ("x" * 101, "at most 100 characters"),
        ("a\0b", "Remove the null characters."),
        ("a\rb", "control characters"),
    ],
)
def test_the_form_for_a_key_shows_errors(as_bob: Client, name: str, complaint: str) -> None:
    response = as_bob.post("/profile/keys", {"name": name})
    assert response.status_code == 200
    assert complaint in response.content.decode()
    assert not ApiKey.objects.exists()


def test_it_shows_only_the_users_keys_in_the_current_team(
    as_bob: Client, bob: User, bobs_key: str, carols_key: str, strangers: Team
) -> None:
    ApiKey.objects.issue(Membership.objects.create(user=bob, team=strangers), "elsewhere")
    assert [row[0] for row in rows(as_bob.get("/profile/"))] == ["cron job"]


def test_a_key_is_revoked_after_confirmation(as_bob: Client, bobs_key: str) -> None:
    address = f"/keys/{ApiKey.objects.get().pk}/revoke"
    assert "Revoke “cron job”?" in as_bob.get(address).content.decode()
    assert recognize(bobs_key)
    response = as_bob.post(address, follow=True)
    assert response.redirect_chain[-1][0] == "/profile/"
    assert "Revoked the key “cron job”." in response.content.decode()
    assert recognize(bobs_key) is None
    assert rows(response) == []
    assert as_bob.post(address).status_code == 404


def test_an_admin_revokes_any_key_of_the_team(as_adam: Client, bobs_key: str) -> None:
    response = as_adam.post(f"/keys/{ApiKey.objects.get().pk}/revoke", follow=True)
    assert response.redirect_chain[-1][0] == "/members/"
    assert recognize(bobs_key) is None


def test_a_member_cannot_revoke_another_members_key(as_bob: Client, adam: User) -> None:
    key, text = ApiKey.objects.issue(adam.memberships.get(), "adam's")
    assert as_bob.get(f"/keys/{key.pk}/revoke").status_code == 404
    assert as_bob.post(f"/keys/{key.pk}/revoke").status_code == 404
    assert recognize(text)


def test_no_one_revokes_a_key_of_another_team(as_alice: Client, carols_key: str) -> None:
    assert as_alice.post(f"/keys/{ApiKey.objects.get().pk}/revoke").status_code == 404
    assert recognize(carols_key)


@pytest.mark.django_db(transaction=True)
def test_a_user_removed_concurrently_gets_no_key(as_bob: Client, bob: User) -> None:
    removed = bob.memberships.get().remove
    response = ask_meanwhile(removed, lambda: as_bob.post("/profile/keys", {"name": "x"}))
    assert response.status_code == 403
    assert "You are no longer in Crawlers." in response.content.decode()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("what", ["revoked", "removed"])
def test_a_key_deleted_concurrently_counts_as_revoked(
    as_adam: Client, bob: User, bobs_key: str, what: str
) -> None:
    key = ApiKey.objects.get()
    go = key.revoke if what == "revoked" else bob.memberships.get().remove
    response = ask_meanwhile(go, lambda: as_adam.post(f"/keys/{key.pk}/revoke"))
    assert response.status_code == 302
    assert recognize(bobs_key) is None


# --- examples -----------------------------------------------------------------------------------


def test_the_calls_are_filled_in_with_the_latest_ready_run(as_bob: Client, laptops: Collection) -> None:
    laptops.last_run_number = 87
    laptops.save()
    make_ready_run(laptops, records(3))
    make_processing_run(laptops)
    pull_call, list_call, file_call = calls(as_bob.get("/profile/"))
    assert list_call.splitlines() == [
        "curl http://testserver/api/v1/schedules/collections/results/download/ \\",
        "  -X POST \\",
        '  -H "x-api-key: YOUR_API_KEY" \\',
        '  -H "Content-Type: application/json" \\',
        """  -d '{ "collection_id": 101, "skip": 0, "limit": 5 }'""",
    ]
    assert file_call == (
        'curl "http://testserver/api/v1/results/101/88/AU%20Laptops_88_Results_Page_1.json" '
        '-H "x-api-key: YOUR_API_KEY" -o "page_1.json"'
    )
    assert pull_call.splitlines() == [
        "export MULTICART_API_KEY=YOUR_API_KEY",
        "python pull.py 101 --latest --verify --base-url http://testserver/api/v1",
    ]


def test_the_calls_contain_the_new_key(as_bob: Client, laptops: Collection) -> None:
    response = as_bob.post("/profile/keys", {"name": "new"})
    prefix = ApiKey.objects.get().prefix
    pull_call, list_call = calls(response)
    assert f"MULTICART_API_KEY={prefix}." in pull_call
    assert f'-H "x-api-key: {prefix}.' in list_call
    assert "YOUR_API_KEY" not in response.content.decode()


def test_the_calls_have_the_public_url(as_bob: Client, laptops: Collection, settings: Settings) -> None:
    settings.PUBLIC_URL = "https://results.example.com"
    assert calls(as_bob.get("/profile/"))[1].startswith("curl https://results.example.com/api/v1/")


def test_a_name_is_escaped_for_the_shell(as_bob: Client, laptops: Collection) -> None:
    make_run_of_pages(laptops, {"$(reboot) `x` ! é.json": b"[]"})
    assert "/%24%28reboot%29%20%60x%60%20%21%20%C3%A9.json" in calls(as_bob.get("/profile/"))[2]


def test_a_collection_with_results_is_preferred(
    as_bob: Client, laptops: Collection, headphones: Collection
) -> None:
    make_ready_run(headphones, records(1))
    _, list_call, file_call = calls(as_bob.get("/profile/"))
    assert f'"collection_id": {headphones.pk},' in list_call
    assert file_call.endswith('-o "category_asins.json"')


def test_the_example_is_found_quickly_among_many_runs(
    as_bob: Client, crawlers: Team, laptops: Collection
) -> None:
    make_ready_run(laptops, at=datetime(2026, 6, 20, tzinfo=UTC))
    for _ in range(50):
        make_failed_run(laptops)
    Collection.objects.bulk_create(Collection(team=crawlers, name=f"{number}") for number in range(50))
    make_ready_run(Collection.objects.latest("pk"))
    pull_call, list_call, file_call = calls(as_bob.get("/profile/"))
    assert '"collection_id": 101,' in list_call
    # Completed runs have their own index, so failed runs don't matter.
    assert "/results/101/1/" in file_call
    assert "pull.py 101" in pull_call


def test_without_results_there_is_no_file_call(as_bob: Client, laptops: Collection) -> None:
    response = as_bob.get("/profile/")
    assert [call.split()[0] for call in calls(response)] == ["export", "curl"]
    assert "once a run has completed" in response.content.decode()


def test_archived_collections_and_other_teams_are_not_used_as_example(
    as_bob: Client, crawlers: Team, strangers: Team
) -> None:
    Collection.objects.create(team=strangers, name="Secret plans", kind=Kind.AMAZON)
    Collection.objects.create(team=crawlers, name="Old", kind=Kind.AMAZON).archive()
    response = as_bob.get("/profile/")
    assert calls(response) == []
    assert "once Crawlers has a collection" in response.content.decode()


# --- the client ---------------------------------------------------------------------------------


def test_the_client_can_be_downloaded_completely_and_in_parts(as_bob: Client, laptops: Collection) -> None:
    content = (ROOT / "collections_app" / "client" / "pull.py").read_bytes()
    assert links(as_bob.get("/profile/"))["pull.py"] == "/profile/pull.py"
    response = as_bob.get("/profile/pull.py")
    assert response.getvalue() == content
    assert response["Content-Disposition"] == 'attachment; filename="pull.py"'
    part = as_bob.get("/profile/pull.py", headers={"Range": "bytes=9-", "If-Range": response["ETag"]})
    assert (part.status_code, part.getvalue()) == (206, content[9:])


def test_the_client_requires_signing_in(client: Client) -> None:
    assert client.get("/profile/pull.py")["Location"] == "/accounts/login/?next=/profile/pull.py"
