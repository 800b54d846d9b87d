"""How scripts send their API key to every endpoint."""

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
    answer: Any = Client().generic(method, address, b'{"collection_id": 101}', headers=headers, **options)
    body = answer.getvalue()
    is_envelope = answer["Content-Type"] == "application/json"
    assert is_envelope or body
    return answer.status_code, answer.json()["code"] if is_envelope else 200


@pytest.mark.parametrize("scheme", ["Bearer", "Token", "bearer", "TOKEN"])
@pytest.mark.parametrize("address", [LIST, FILE, MANIFEST])
def test_the_authorization_header_may_contain_the_key(address: str, scheme: str, bobs_key: str) -> None:
    assert call(address, {"Authorization": f"{scheme} {bobs_key}"}) == (200, 200)


@pytest.mark.parametrize(
    "form", ["{key}", "Basic {key}", "Bearer", "Bearer ", "Bearer{key}", "Bearer x{key}"]
)
def test_other_authorization_schemes_are_ignored(form: str, bobs_key: str) -> None:
    assert call(FILE, {"Authorization": form.format(key=bobs_key)}) == (401, 401)


def test_x_api_key_wins_if_both_headers_are_sent(bobs_key: str) -> None:
    """For example, behind a proxy that has its own password."""
    assert call(FILE, {"x-api-key": bobs_key, "Authorization": "Bearer another"}) == (200, 200)
    assert call(FILE, {"x-api-key": "another", "Authorization": f"Bearer {bobs_key}"}) == (401, 401)


class TestOverHttps:
    @pytest.fixture(autouse=True)
    def https(self, settings: Settings) -> None:
        settings.SECURE_SSL_REDIRECT = True

    @pytest.mark.parametrize(
        "header", ["x-api-key: {key}", "Authorization: Bearer {key}", "x-api-key: wrong"]
    )
    @pytest.mark.parametrize("address", [LIST, FILE, MANIFEST])
    def test_a_key_sent_unencrypted_is_refused_without_a_redirect(
        self, address: str, header: str, bobs_key: str
    ) -> None:
        name, _, value = header.format(key=bobs_key).partition(": ")
        status = 200 if address == LIST else 403
        assert call(address, {name: value}) == (status, 403)
        assert call(address, {name: value}, secure=True)[1] == (401 if value == "wrong" else 200)

    def test_the_error_says_what_to_do(self, client: Client, bobs_key: str) -> None:
        answer = client.get(FILE, headers={"x-api-key": bobs_key})
        assert answer.json()["data"] == (
            "Use https:// for this address. "
            "If you sent an API key over http://, revoke it and create a new one."
        )
        assert bobs_key not in str(answer.headers)

    def test_unknown_api_addresses_do_not_redirect_either(self, client: Client, bobs_key: str) -> None:
        assert client.get("/api/v2/anything", headers={"x-api-key": bobs_key}).status_code == 404

    def test_pages_still_redirect_to_https(self, client: Client) -> None:
        assert client.get("/collections/")["Location"] == "https://testserver/collections/"
