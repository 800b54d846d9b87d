import html
from typing import Any
from urllib.parse import urljoin

import pytest
from django.db import OperationalError, connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from collections_app.models import Collection
from tests.support.html import links


def test_an_unknown_address_shows_our_404_page(client: Client, as_bob: Client) -> None:
    to_visitor, to_bob = (each.get("/nowhere") for each in (client, as_bob))
    for response in (to_visitor, to_bob):
        assert response.status_code == 404
        assert "Page not found" in response.content.decode()
        assert "Resolver404" not in response.content.decode()
        assert "nowhere" not in response.content.decode()
    assert "Sign in" in to_visitor.content.decode()
    assert "Sign out" in to_bob.content.decode()


def test_403_says_who_is_signed_in(as_carol: Client, laptops: Collection) -> None:
    response = as_carol.get("/collections/101/download")
    assert response.status_code == 403
    assert "You are signed in as carol@example.com." in response.content.decode()


@pytest.mark.parametrize(
    ("address", "back"),
    [("/profile/keys", "/profile/"), ("/team", "/"), ("/collections/101/restore", "/collections/101/")],
)
def test_a_405_page_says_to_use_the_button(
    as_adam: Client, laptops: Collection, address: str, back: str
) -> None:
    response = as_adam.get(address)
    assert response.status_code == 405
    assert response["Allow"] == "POST"
    assert "Content-Security-Policy" in response
    assert urljoin(address, links(response)["Back to the page"]) == back


def test_an_unknown_host_is_a_400_without_details(client: Client) -> None:
    response = client.get("/", headers={"Host": "evil.example"})
    assert response.status_code == 400
    assert "Bad request" in response.content.decode()
    assert "ALLOWED_HOSTS" not in response.content.decode()


def test_a_form_without_its_token_says_what_to_do(bob: Any) -> None:
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(bob)
    response = browser.post("/team", {"team": "1"})
    assert response.status_code == 403
    assert "This form has expired" in response.content.decode()


def test_a_broken_view_is_a_500_without_details(as_bob: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr("collections_app.views.collections.list.page_of", broken)
    as_bob.raise_request_exception = False
    response = as_bob.get("/collections/")
    assert response.status_code == 500
    assert "Something went wrong" in response.content.decode()
    assert "secret detail" not in response.content.decode()


def test_an_unavailable_database_is_a_503_without_queries(as_bob: Client) -> None:
    """Not even one for the signed-in user."""
    tried: list[str] = []

    def gone(execute: object, statement: str, *args: object) -> None:
        tried.append(statement)
        raise OperationalError("The database is gone.")

    as_bob.raise_request_exception = False
    with connection.execute_wrapper(gone):
        response = as_bob.get("/collections/")
    assert response.status_code == 503
    assert int(response["Retry-After"]) > 0
    assert "The database is temporarily unavailable" in html.unescape(response.content.decode())
    assert len(tried) == 1  # by the view, none by the error page
    assert "django_session" in tried[0]


def test_the_500_page_makes_no_further_queries(as_bob: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    before: list[int] = []

    def broken(*args: object) -> None:
        before.append(len(queries))
        raise RuntimeError

    monkeypatch.setattr("collections_app.views.collections.list.page_of", broken)
    as_bob.raise_request_exception = False
    with CaptureQueriesContext(connection) as queries:
        response = as_bob.get("/collections/")
    assert response.status_code == 500
    assert len(queries) == before[0] > 0
    assert "bob@example.com" not in response.content.decode()


@pytest.mark.parametrize("who", ["client", "as_bob"])
def test_every_page_has_a_strict_content_security_policy(
    who: str, request: pytest.FixtureRequest, db: None
) -> None:
    response = request.getfixturevalue(who).get("/nowhere")
    policy = response["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    page = response.content.decode()
    assert " style=" not in page
    assert "<style" not in page
    assert " onclick=" not in page
