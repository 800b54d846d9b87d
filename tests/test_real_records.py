"""Real, messy records stay unchanged from the import to a script's download."""

import io
import json
import zipfile
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.core.management import call_command
from django.test import Client

from collections_app.models import Collection
from tests.support import responses
from tests.support.tools import ROOT

SHARED = ROOT.parent / "shared" / "data"

pytestmark = [pytest.mark.shared, pytest.mark.django_db]


@pytest.fixture(params=["lazada", "shein"])
def scraped(request: pytest.FixtureRequest, laptops: Collection) -> list[dict[str, Any]]:
    """A shop's records, imported as run 1 of AU Laptops."""
    path = SHARED / f"{request.param}-products.jsonl"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    call_command("import_run", "101", str(path), stdout=io.StringIO())
    return [json.loads(line) for line in path.read_bytes().splitlines()]


@pytest.fixture
def run(client: Client, bobs_key: str, scraped: object) -> dict[str, Any]:
    """Run 1 as the API lists it."""
    response = client.post(
        "/api/v1/schedules/collections/results/download/",
        '{"collection_id": 101}',
        content_type="application/json",
        headers={"x-api-key": bobs_key},
    )
    (run,) = response.json()["data"]
    listed: dict[str, Any] = run
    return listed


def content(client: Client, key: str, link: str) -> bytes:
    """Return the bytes behind a link of the API."""
    response = client.get(urlsplit(link).path, headers={"x-api-key": key})
    assert response.status_code == 200
    return responses.content(response)


def test_the_pages_contain_every_record(
    client: Client, bobs_key: str, scraped: list[dict[str, Any]], run: dict[str, Any]
) -> None:
    assert (run["total_results"], run["total_exacted_result"]) == (1000, 1000)
    pages = [json.loads(content(client, bobs_key, link)) for link in run["download_links"]["pages"]]
    assert [len(page) for page in pages] == [250] * 4
    assert [record for page in pages for record in page] == scraped


def test_the_zip_contains_the_same_pages_byte_for_byte(
    client: Client, bobs_key: str, run: dict[str, Any]
) -> None:
    with zipfile.ZipFile(
        io.BytesIO(content(client, bobs_key, run["download_links"]["all_pages"]))
    ) as archive:
        assert archive.testzip() is None
        zipped = {name: archive.read(name) for name in archive.namelist()}
    pages = {Path(link).name: content(client, bobs_key, link) for link in run["download_links"]["pages"]}
    assert list(zipped.items()) == list(pages.items())


def test_the_dashboard_and_the_api_send_the_same_file(
    client: Client, as_bob: Client, bobs_key: str, run: dict[str, Any]
) -> None:
    for link in [*run["download_links"]["pages"], run["download_links"]["all_pages"]]:
        response = as_bob.get(f"/collections/101/runs/1/files/{Path(link).name}")
        assert responses.content(response) == content(client, bobs_key, link)
