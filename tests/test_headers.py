"""Headers of every response, unless a view sets others."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from django.test import Client
from pytest_django import Settings

from collections_app.models import Collection
from tests.support.responses import Response
from tests.support.results import make_ready_run

FILE = "AU%20Laptops_1_Results_Page_1.json"
FOR_ONE_PERSON = "private, no-cache"


@pytest.fixture
def responses(
    settings: Settings, as_bob: Client, client: Client, laptops: Collection, bobs_key: str
) -> Iterator[dict[str, Response]]:
    """One response of each kind."""
    make_ready_run(laptops)
    sheet = Path(settings.STATIC_ROOT, "sheet.css")
    sheet.touch()
    key = {"x-api-key": bobs_key}
    found = {
        "page": as_bob.get("/collections/"),
        "fragment": as_bob.get("/collections/", headers={"hx-request": "true"}),
        "redirect": as_bob.get("/"),
        "missing page": as_bob.get("/nowhere"),
        "refused form": as_bob.get("/team"),
        "pull.py": as_bob.get("/profile/pull.py"),
        "file": as_bob.get(f"/collections/101/runs/1/files/{FILE}"),
        "secret": as_bob.post("/profile/keys", {"name": "cron"}),
        "file for a script": client.get(f"/api/v1/results/101/1/{FILE}", headers=key),
        "refused script": client.get("/api/v1/results/101/1/nothing", headers=key),
        "static file": client.get("/static/sheet.css"),
        "refused host": client.get("/", headers={"host": "evil.example"}),
        "health": client.get("/healthz"),
    }
    yield found
    sheet.unlink()
    for response in found.values():
        response.close()


def test_each_response_is_cached_only_by_its_recipient(responses: dict[str, Response]) -> None:
    """The pages of signed-in people are always revalidated, including error pages."""
    said = {name: response.get("Cache-Control") for name, response in responses.items()}
    never = "max-age=0, no-cache, no-store, must-revalidate, private"
    assert said == {
        "page": FOR_ONE_PERSON,
        "fragment": FOR_ONE_PERSON,
        "redirect": FOR_ONE_PERSON,
        "missing page": FOR_ONE_PERSON,
        "refused form": FOR_ONE_PERSON,
        "pull.py": "private",
        "file": "private",
        "secret": never,
        "file for a script": "private",
        "refused script": "no-store",
        "static file": "max-age=60, public",
        "refused host": None,
        "health": None,
    }


def test_other_sites_may_not_embed_responses(responses: dict[str, Response]) -> None:
    assert {response["Cross-Origin-Resource-Policy"] for response in responses.values()} == {"same-origin"}


def test_pages_may_not_use_the_camera_and_similar_features(responses: dict[str, Response]) -> None:
    (policy,) = {response["Permissions-Policy"] for response in responses.values()}
    assert {"camera=()", "geolocation=()", "microphone=()", "payment=()"} <= set(policy.split(", "))
