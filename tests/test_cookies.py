"""The names of cookies: over HTTPS they begin with __Host-, and those from before still count."""

import re
from collections.abc import Callable

import pytest
from django.http import HttpResponse
from django.test import Client
from pytest_django import Settings

from collections_app.models import User

SESSION, CSRF = "__Host-sessionid", "__Host-csrftoken"
OF_HTTPS = {
    "CSRF_COOKIE_NAME": CSRF,
    "CSRF_COOKIE_SECURE": True,
    "SESSION_COOKIE_NAME": SESSION,
    "SESSION_COOKIE_SECURE": True,
}
Upgrade = Callable[[Client], Client]


@pytest.fixture
def upgrade(settings: Settings) -> Upgrade:
    """Go over to the new names; returns the same browser, which still has the cookies that it got."""

    def upgraded(browser: Client) -> Client:
        for name, value in OF_HTTPS.items():
            setattr(settings, name, value)
        after = Client(enforce_csrf_checks=True)
        after.cookies = browser.cookies
        return after

    return upgraded


def token_in(page: HttpResponse) -> str:
    found = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.content.decode())
    assert found
    return found[1]


def rename(browser: Client, token: str) -> HttpResponse:
    """Send a form that a page of the browser has shown."""
    form = {"csrfmiddlewaretoken": token, "name": "Robert"}
    answer: HttpResponse
    answer = browser.post("/profile/", form, secure=True, headers={"referer": "https://testserver/profile/"})
    return answer


def test_no_other_host_can_set_a_cookie_of_ours(upgrade: Upgrade, bob: User) -> None:
    browser = upgrade(Client())
    browser.get("/accounts/login/", secure=True)
    browser.force_login(bob)
    browser.get("/profile/", secure=True)
    assert set(browser.cookies) == {SESSION, CSRF}
    for cookie in browser.cookies.values():
        assert (bool(cookie["secure"]), cookie["path"], cookie["domain"] or "") == (True, "/", "")


def test_who_is_signed_in_stays_signed_in(upgrade: Upgrade, as_bob: Client) -> None:
    browser = upgrade(as_bob)
    assert browser.get("/profile/", secure=True).status_code == 200
    assert {SESSION, CSRF} <= set(browser.cookies)
    assert browser.cookies[SESSION]["max-age"]
    del browser.cookies["sessionid"]
    assert browser.get("/profile/", secure=True).status_code == 200


def test_requests_that_are_under_way_with_the_old_name_still_count(upgrade: Upgrade, as_bob: Client) -> None:
    """A page that asks by itself sends several at once."""
    old = as_bob.cookies["sessionid"].value
    browser = upgrade(as_bob)
    browser.get("/profile/", secure=True)
    late = Client()
    late.cookies["sessionid"] = old
    assert late.get("/profile/", secure=True).status_code == 200


def test_a_form_that_was_open_can_be_sent(upgrade: Upgrade, as_bob: Client, bob: User) -> None:
    token = token_in(as_bob.get("/profile/"))
    browser = upgrade(as_bob)
    assert rename(browser, token).status_code == 302
    assert rename(browser, token).status_code == 302  # by now the session's cookie has its new name
    bob.refresh_from_db()
    assert bob.name == "Robert"


def test_signing_out_ends_the_session_under_both_names(upgrade: Upgrade, as_bob: Client) -> None:
    browser = upgrade(as_bob)
    page = browser.get("/profile/", secure=True)
    form = {"csrfmiddlewaretoken": token_in(page)}
    browser.post("/accounts/logout/", form, secure=True, headers={"referer": "https://testserver/"})
    assert browser.get("/profile/", secure=True).status_code == 302


@pytest.mark.parametrize("planted", ["session", "nonsense"])
def test_a_cookie_that_another_host_sets_signs_nobody_in(upgrade: Upgrade, carol: User, planted: str) -> None:
    """Carol signs in after the upgrade, and puts her session into somebody else's browser."""
    attacker = upgrade(Client())
    attacker.force_login(carol)
    key = attacker.cookies[SESSION].value if planted == "session" else planted
    victim = Client()
    victim.cookies["sessionid"] = key
    answer = victim.get("/profile/", secure=True)
    assert answer["Location"].startswith("/accounts/login/")
    assert SESSION not in victim.cookies


def test_the_new_name_wins(upgrade: Upgrade, as_bob: Client, as_carol: Client) -> None:
    browser = upgrade(as_bob)
    browser.get("/profile/", secure=True)
    browser.cookies["sessionid"] = as_carol.cookies["sessionid"].value
    assert "bob@example.com" in browser.get("/profile/", secure=True).content.decode()


def test_over_plain_http_the_names_stay(as_bob: Client) -> None:
    as_bob.get("/profile/")
    assert set(as_bob.cookies) == {"sessionid", "csrftoken"}
