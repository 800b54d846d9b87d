"""How scripts send their API key."""

from typing import Any

import pytest
from django.test import Client
from pytest_django import Settings

from collections_app.models import Collection, Run
from tests.support.results import make_ready_run

LIST = "/api/v1/schedules/collections/results/download/"
FILE = "/api/v1/results/101/1/AU%20Laptops_1_Results_Page_1.json"
MANIFEST = "/api/v1/collections/101/runs/1/manifest.json"

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def run(laptops: Collection) -> Run:
    return make_ready_run(laptops)


def call(address: str, headers: dict[str, str], **options: Any) -> tuple[int, int]:
    """Return the HTTP status of a call and the code in its envelope, or 200 for a file."""
    method = "POST" if address == LIST else "GET"
    response: Any = Client().generic(method, address, b'{"collection_id": 101}', headers=headers, **options)
    body = response.getvalue()
    is_envelope = response["Content-Type"] == "application/json"
    assert is_envelope or body
    return response.status_code, response.json()["code"] if is_envelope else 200


@pytest.mark.parametrize("scheme", ["Bearer", "Token", "bearer", "TOKEN", "Bearer\t", "Token \t "])
@pytest.mark.parametrize("address", [LIST, FILE, MANIFEST])
def test_the_authorization_header_can_contain_the_key(address: str, scheme: str, bobs_key: str) -> None:
    assert call(address, {"Authorization": f"{scheme} {bobs_key}"}) == (200, 200)


@pytest.mark.parametrize(
    "form", ["{key}", "Basic {key}", "Bearer", "Bearer ", "Bearer{key}", "Bearer x{key}"]
)
def test_other_authorization_schemes_are_ignored(form: str, bobs_key: str) -> None:
    assert call(FILE, {"Authorization": form.format(key=bobs_key)}) == (401, 401)


@pytest.mark.parametrize("address", [LIST, FILE, MANIFEST])
@pytest.mark.parametrize("scheme", ["Bearer", "token"])
def test_two_different_keys_are_rejected(address: str, scheme: str, bobs_key: str, carols_key: str) -> None:
    status = 200 if address == LIST else 401
    for other in (carols_key, "another"):
        assert call(address, {"x-api-key": bobs_key, "Authorization": f"{scheme} {other}"}) == (status, 401)
        assert call(address, {"x-api-key": other, "Authorization": f"{scheme} {bobs_key}"}) == (status, 401)


def test_the_error_for_two_keys_tells_what_to_do(client: Client, bobs_key: str) -> None:
    headers = {"x-api-key": bobs_key, "Authorization": "Bearer another"}
    assert client.get(FILE, headers=headers).json()["data"] == (
        "x-api-key and Authorization contain different API keys. Send only one of them."
    )


def test_the_same_key_can_be_sent_twice(bobs_key: str) -> None:
    assert call(FILE, {"x-api-key": bobs_key, "Authorization": f"Bearer {bobs_key}"}) == (200, 200)


def test_a_proxys_password_is_ignored(bobs_key: str) -> None:
    assert call(FILE, {"x-api-key": bobs_key, "Authorization": "Basic Ym9iOnNlY3JldA=="}) == (200, 200)


@pytest.mark.parametrize("address", [FILE, MANIFEST])
@pytest.mark.parametrize("headers", [{}, {"x-api-key": "wrong"}, {"Authorization": "Bearer wrong"}])
def test_a_401_lists_the_ways_to_send_a_key(client: Client, address: str, headers: dict[str, str]) -> None:
    response = client.get(address, headers=headers)
    assert response.headers["WWW-Authenticate"] == (
        'Bearer realm="api", Token realm="api", ApiKey header="x-api-key"'
    )


class TestOverHttps:
    @pytest.fixture(autouse=True)
    def https(self, settings: Settings) -> None:
        settings.SECURE_SSL_REDIRECT = True

    @pytest.mark.parametrize(
        "header",
        ["x-api-key: {key}", "Authorization: Bearer {key}", "Authorization: Token {key}", "x-api-key: wrong"],
    )
    @pytest.mark.parametrize("address", [LIST, FILE, MANIFEST])
    def test_a_key_sent_over_http_is_an_error_and_not_a_redirect(
        self, address: str, header: str, bobs_key: str
    ) -> None:
        name, _, value = header.format(key=bobs_key).partition(": ")
        status = 200 if address == LIST else 403
        assert call(address, {name: value}) == (status, 403)
        assert call(address, {name: value}, secure=True)[1] == (401 if value == "wrong" else 200)

    def test_the_error_tells_what_to_do(self, client: Client, bobs_key: str) -> None:
        response = client.get(FILE, headers={"x-api-key": bobs_key})
        assert response.json()["data"] == (
            "Use https:// for this address. "
            "If you sent an API key over http://, revoke it and create a new one."
        )
        assert bobs_key not in str(response.headers)

    @pytest.mark.parametrize("address", ["/api/", "/api/v1/", "/api/v1/nothing", "/api/v2/anything"])
    @pytest.mark.parametrize("method", ["GET", "POST", "HEAD"])
    def test_an_unknown_api_address_is_an_error_too(
        self, client: Client, bobs_key: str, address: str, method: str
    ) -> None:
        response = client.generic(method, address, headers={"x-api-key": bobs_key})
        assert response.status_code == 403
        if method != "HEAD":
            assert response.json()["data"].startswith("Use https:// for this address. ")
        assert client.generic(method, address, secure=True).status_code == 404

    @pytest.mark.parametrize("address", ["/api/v1/docs", "/api/v1/openapi.json"])
    def test_the_documentation_redirects_to_https(self, client: Client, address: str) -> None:
        assert client.get(address)["Location"] == f"https://testserver{address}"

    def test_pages_redirect_to_https(self, client: Client) -> None:
        assert client.get("/collections/")["Location"] == "https://testserver/collections/"
