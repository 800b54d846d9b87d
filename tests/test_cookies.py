"""Cookie names: over HTTPS they begin with __Host-, and the old names still work."""

import re
from collections.abc import Callable

import pytest
from django.test import Client
from pytest_django import Settings

from collections_app.models import User
from tests.support.responses import Response

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
    """Switch to the new names. Return the same browser, which still has its old cookies."""

    def upgraded(browser: Client) -> Client:
        for name, value in OF_HTTPS.items():
            setattr(settings, name, value)
        after = Client(enforce_csrf_checks=True)
        after.cookies = browser.cookies
        return after

    return upgraded


def token_in(page: Response) -> str:
    found = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.content.decode())
    assert found
    return found[1]


def rename(browser: Client, token: str) -> Response:
    """Submit a form from a page that the browser has open."""
    form = {"csrfmiddlewaretoken": token, "name": "Robert"}
    response: Response
    response = browser.post(
        "/profile/", form, secure=True, headers={"referer": "https://testserver/profile/"}
    )
    return response


def test_other_hosts_cannot_set_our_cookies(upgrade: Upgrade, bob: User) -> None:
    browser = upgrade(Client())
    browser.get("/accounts/login/", secure=True)
    browser.force_login(bob)
    browser.get("/profile/", secure=True)
    assert set(browser.cookies) == {SESSION, CSRF}
    for cookie in browser.cookies.values():
        assert (bool(cookie["secure"]), cookie["path"], cookie["domain"] or "") == (True, "/", "")


def test_people_stay_signed_in(upgrade: Upgrade, as_bob: Client) -> None:
    browser = upgrade(as_bob)
    assert browser.get("/profile/", secure=True).status_code == 200
    assert {SESSION, CSRF} <= set(browser.cookies)
    assert browser.cookies[SESSION]["max-age"]
    del browser.cookies["sessionid"]
    assert browser.get("/profile/", secure=True).status_code == 200


def test_concurrent_requests_with_the_old_name_still_work(upgrade: Upgrade, as_bob: Client) -> None:
    """A page that polls sends several requests at once."""
    old = as_bob.cookies["sessionid"].value
    browser = upgrade(as_bob)
    browser.get("/profile/", secure=True)
    late = Client()
    late.cookies["sessionid"] = old
    assert late.get("/profile/", secure=True).status_code == 200


def test_an_open_form_can_be_submitted(upgrade: Upgrade, as_bob: Client, bob: User) -> None:
    token = token_in(as_bob.get("/profile/"))
    browser = upgrade(as_bob)
    assert rename(browser, token).status_code == 302
    assert rename(browser, token).status_code == 302  # the session cookie has its new name by now
    bob.refresh_from_db()
    assert bob.name == "Robert"


def test_signing_out_ends_the_session_under_both_names(upgrade: Upgrade, as_bob: Client) -> None:
    browser = upgrade(as_bob)
    page = browser.get("/profile/", secure=True)
    form = {"csrfmiddlewaretoken": token_in(page)}
    browser.post("/accounts/logout/", form, secure=True, headers={"referer": "https://testserver/"})
    assert browser.get("/profile/", secure=True).status_code == 302


@pytest.mark.parametrize("planted", ["session", "nonsense"])
def test_a_cookie_set_by_another_host_signs_no_one_in(upgrade: Upgrade, carol: User, planted: str) -> None:
    """Carol signs in after the upgrade and plants her session in another browser."""
    attacker = upgrade(Client())
    attacker.force_login(carol)
    key = attacker.cookies[SESSION].value if planted == "session" else planted
    victim = Client()
    victim.cookies["sessionid"] = key
    response = victim.get("/profile/", secure=True)
    assert response["Location"].startswith("/accounts/login/")
    assert SESSION not in victim.cookies


def test_the_new_name_wins(upgrade: Upgrade, as_bob: Client, as_carol: Client) -> None:
    browser = upgrade(as_bob)
    browser.get("/profile/", secure=True)
    browser.cookies["sessionid"] = as_carol.cookies["sessionid"].value
    assert "bob@example.com" in browser.get("/profile/", secure=True).content.decode()


def test_names_do_not_change_over_plain_http(as_bob: Client) -> None:
    as_bob.get("/profile/")
    assert set(as_bob.cookies) == {"sessionid", "csrftoken"}
