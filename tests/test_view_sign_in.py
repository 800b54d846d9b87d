import re
from typing import Any

import pytest
from allauth.account.adapter import get_adapter
from django.core import mail
from django.core.mail.backends.locmem import EmailBackend
from django.core.management import call_command
from django.db import connection
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from collections_app.models import OutgoingMail, User
from tests.conftest import PASSWORD
from tests.support.html import links

LOGIN = "/accounts/login/"
RESET = "/accounts/password/reset/"
CHANGE = "/accounts/password/change/"
NEW_PASSWORD = "a violet umbrella in the rain"


def sign_in(client: Client, email: str, password: str = PASSWORD, **more: str) -> Any:
    return client.post(LOGIN, {"login": email, "password": password} | more)


# --- signing in and out -------------------------------------------------------------------------


def test_the_right_password_opens_the_collections(client: Client, bob: User) -> None:
    assert "Forgot your password?" in client.get(LOGIN).content.decode()
    response = sign_in(client, "Bob@Example.com")
    assert response["Location"] == "/"
    page = client.get("/collections/").content.decode()
    assert "bob@example.com" in page
    assert 'class="messages"' not in page


@pytest.mark.parametrize(
    ("email", "password"), [("bob@example.com", "wrong"), ("nobody@example.com", PASSWORD)]
)
def test_a_wrong_password_and_an_unknown_address_look_alike(
    client: Client, bob: User, email: str, password: str
) -> None:
    response = sign_in(client, email, password)
    assert response.status_code == 200
    assert "Wrong email address or password." in response.content.decode()


@pytest.mark.parametrize(
    "fields", [{}, {"login": "a\0@example.com", "password": "x"}, {"login": "x" * 10_000}]
)
def test_invalid_forms_are_refused(client: Client, db: None, fields: dict[str, str]) -> None:
    response = client.post(LOGIN, fields)
    assert response.status_code == 200
    assert 'class="errorlist"' in response.content.decode()


def test_an_inactive_user_is_told_so(client: Client, bob: User) -> None:
    User.objects.filter(pk=bob.pk).update(is_active=False)
    response = sign_in(client, "bob@example.com")
    assert response["Location"] == "/accounts/inactive/"
    assert "Your sign-in is disabled" in client.get("/accounts/inactive/").content.decode()


def test_a_flood_of_sign_ins_gets_a_clear_page(client: Client, db: None) -> None:
    for number in range(30):
        sign_in(client, f"user{number}@example.com", "wrong")
    response = sign_in(client, "another@example.com")
    assert response.status_code == 429
    assert "Too many attempts" in response.content.decode()


def test_signing_in_redirects_to_the_requested_page(client: Client, bob: User) -> None:
    assert 'value="/members/"' in client.get(f"{LOGIN}?next=/members/").content.decode()
    assert sign_in(client, "bob@example.com", next="/members/")["Location"] == "/members/"


@pytest.mark.parametrize(
    "address", ["https://evil.example", "//evil.example", "javascript:alert(1)", "\\\\evil"]
)
def test_signing_in_never_redirects_to_another_site(client: Client, bob: User, address: str) -> None:
    assert sign_in(client, "bob@example.com", next=address)["Location"] == "/"


def test_a_signed_in_user_skips_the_sign_in_page(as_bob: Client) -> None:
    assert as_bob.get(LOGIN)["Location"] == "/"
    assert as_bob.get(f"{LOGIN}?next=/members/")["Location"] == "/members/"


def test_signing_out_requires_post(as_bob: Client) -> None:
    assert "Sign out?" in as_bob.get("/accounts/logout/").content.decode()
    assert as_bob.get("/collections/").status_code == 200
    response = as_bob.post("/accounts/logout/", follow=True)
    assert response.redirect_chain[-1][0] == LOGIN
    assert "You are signed out." in response.content.decode()
    assert as_bob.get("/collections/").status_code == 302


@pytest.mark.parametrize(
    "address", ["signup/", "email/", "confirm-email/", "password/set/", "3rdparty/", "reauthenticate/"]
)
def test_other_allauth_pages_do_not_exist(client: Client, db: None, address: str) -> None:
    assert client.get(f"/accounts/{address}").status_code == 404


# --- changing the password ----------------------------------------------------------------------


def change(client: Client, old: str, new: str, again: str) -> Any:
    return client.post(CHANGE, {"oldpassword": old, "password1": new, "password2": again}, follow=True)


def test_a_user_changes_their_password_and_stays_signed_in(as_bob: Client, bob: User) -> None:
    assert "Change password" in as_bob.get(CHANGE).content.decode()
    response = change(as_bob, PASSWORD, NEW_PASSWORD, NEW_PASSWORD)
    assert response.redirect_chain[-1][0] == "/profile/"
    assert "Saved your new password." in response.content.decode()
    bob.refresh_from_db()
    assert bob.check_password(NEW_PASSWORD)


@pytest.mark.parametrize(
    ("passwords", "complaint"),
    [
        (("wrong", NEW_PASSWORD, NEW_PASSWORD), "That isn&#x27;t your current password."),
        ((PASSWORD, NEW_PASSWORD, "other"), "The two passwords differ."),
        ((PASSWORD, "short", "short"), "This password is too short."),
        ((PASSWORD, "bob@example.com", "bob@example.com"), "too similar to the email"),
        ((PASSWORD, "", ""), "Enter the new password twice."),
    ],
)
def test_the_password_form_shows_errors(
    as_bob: Client, bob: User, passwords: tuple[str, str, str], complaint: str
) -> None:
    assert complaint in change(as_bob, *passwords).content.decode()
    bob.refresh_from_db()
    assert bob.check_password(PASSWORD)


def test_changing_a_password_requires_signing_in(client: Client, db: None) -> None:
    assert client.get(CHANGE).status_code == 302


# --- a forgotten password -----------------------------------------------------------------------


def test_without_a_mail_server_it_says_whom_to_ask(client: Client, bob: User) -> None:
    for response in (client.get(RESET), client.post(RESET, {"email": "bob@example.com"})):
        page = response.content.decode()
        assert "Ask an owner or admin of your team" in page
        assert "<form" not in page
    assert mail.outbox == []


def work() -> None:
    call_command("work", "--once")


@pytest.fixture
def mail_server(settings: Settings) -> None:
    settings.EMAIL_URL = "smtp://mail.example.com"


def test_a_link_by_mail_sets_a_new_password(
    client: Client, bob: User, mail_server: None, settings: Settings
) -> None:
    settings.PUBLIC_URL = "http://testserver"
    response = client.post(RESET, {"email": "BOB@example.com"}, follow=True)
    assert "Check your email" in response.content.decode()
    work()
    [message] = mail.outbox
    assert message.to == ["bob@example.com"]
    assert message.subject == "Set your password for Results"
    found = re.search(r"http://testserver(/accounts/password/reset/key/\S+)", str(message.body))
    assert found
    form = client.get(found[1], follow=True)
    here = form.redirect_chain[-1][0]
    assert here.endswith("-set-password/")
    assert f'action="{here}"' in form.content.decode()
    wrong = client.post(here, {"password1": NEW_PASSWORD, "password2": "other"})
    assert "The two passwords differ. Enter the same password twice." in wrong.content.decode()
    done = client.post(here, {"password1": NEW_PASSWORD, "password2": NEW_PASSWORD}, follow=True)
    assert "Saved your new password." in done.content.decode()
    assert "_auth_user_id" in client.session
    client.logout()
    assert sign_in(client, "bob@example.com", NEW_PASSWORD)["Location"] == "/"


def test_an_unknown_address_looks_like_a_known_one_and_gets_no_mail(
    client: Client, bob: User, mail_server: None
) -> None:
    unknown = client.post(RESET, {"email": "nobody@example.com"}, follow=True)
    assert "Check your email" in unknown.content.decode()
    work()
    assert mail.outbox == []


def test_an_inactive_user_gets_no_mail(client: Client, bob: User, mail_server: None) -> None:
    User.objects.filter(pk=bob.pk).update(is_active=False)
    client.post(RESET, {"email": "bob@example.com"})
    work()
    assert mail.outbox == []


@pytest.mark.parametrize("email", ["bob@example.com", "nobody@example.com", "closed@example.com"])
def test_a_request_does_the_same_for_known_and_unknown_addresses(
    client: Client, bob: User, mail_server: None, email: str
) -> None:
    User.objects.create_user("closed@example.com", PASSWORD, is_active=False)
    client.get(RESET)
    done = []
    # The first request from an address also creates its counter.
    for address in ("anybody@example.com", email, "somebody@example.com"):
        with CaptureQueriesContext(connection) as queries:
            client.post(RESET, {"email": address})
        done.append([re.sub(r"'.*?'|\d+", "?", query["sql"]) for query in queries])
    assert done[1] == done[2]
    assert f'INSERT INTO "{OutgoingMail._meta.db_table}"' in str(done[1])
    assert User._meta.db_table not in str(done[1])


def test_a_mail_server_that_refuses_does_not_fail_the_request(
    client: Client, bob: User, mail_server: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(EmailBackend, "send_messages", refuse)
    response = client.post(RESET, {"email": "bob@example.com"}, follow=True)
    assert "Check your email" in response.content.decode()


def refuse(*args: object) -> None:
    raise ConnectionRefusedError


def test_signing_out_is_confirmed_on_a_page_with_the_sidebar(as_bob: Client) -> None:
    page = as_bob.get("/accounts/logout/").content.decode()
    assert "bob@example.com · Member" in page
    assert "Crawlers" in page
    assert as_bob.post("/accounts/logout/")["Location"] == "/accounts/login/"


def test_an_invalid_address_is_refused(client: Client, db: None, mail_server: None) -> None:
    assert "Enter a valid email address." in client.post(RESET, {"email": "x"}).content.decode()


def test_a_flood_of_links_gets_a_clear_page(client: Client, bob: User, mail_server: None) -> None:
    responses = [client.post(RESET, {"email": "bob@example.com"}) for _ in range(6)]
    assert responses[-1].status_code == 429


@pytest.mark.parametrize(
    "key",
    ["1-abc", "1-set-password", "zzzzzzzzzzzzz-abc", "0-x", "1" * 500 + "-x", "1-%00", "1-" + "x" * 5_000],
)
def test_an_invalid_link_says_so(client: Client, bob: User, key: str) -> None:
    response = client.get(f"{RESET}key/{key}/")
    assert response.status_code == 200
    assert "This link doesn't work" in response.content.decode()
    assert links(response)["Sign in"] == LOGIN


def test_sign_up_is_closed(rf: RequestFactory) -> None:
    assert get_adapter().is_open_for_signup(rf.get("/")) is False
