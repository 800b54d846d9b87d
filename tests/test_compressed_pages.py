"""Pages are compressed for browsers that accept it. Files and API responses never are."""

import gzip
from urllib.parse import quote

from django.test import Client

from collections_app.models import Collection, ResultFile
from tests.support.results import make_ready_run, records, stored_bytes

GZIP = {"Accept-Encoding": "gzip, deflate, br"}
PAGE = "/collections/101/download"


def test_a_page_is_compressed_on_request(as_bob: Client, laptops: Collection) -> None:
    make_ready_run(laptops, records(3))
    response = as_bob.get(PAGE, headers=GZIP)
    plain = as_bob.get(PAGE)
    assert response["Content-Encoding"] == "gzip"
    assert "Accept-Encoding" in response["Vary"]
    assert int(response["Content-Length"]) == len(response.content) < len(plain.content) / 3
    assert b"Runs of AU Laptops" in gzip.decompress(response.content)
    assert "Content-Encoding" not in plain


def test_the_compressed_size_is_random(as_bob: Client, laptops: Collection) -> None:
    assert len({len(as_bob.get(PAGE, headers=GZIP).content) for _ in range(20)}) > 1


def test_a_file_is_not_compressed(as_bob: Client, laptops: Collection) -> None:
    page: ResultFile = make_ready_run(laptops, records(3)).files.get(kind="page")
    response = as_bob.get(f"/collections/101/runs/1/files/{quote(page.name)}", headers=GZIP)
    assert "Content-Encoding" not in response
    assert response["Content-Length"] == str(page.size)
    assert response["ETag"].startswith('"')
    assert response.getvalue() == stored_bytes(page)


def test_an_api_response_is_not_compressed(client: Client, bobs_key: str, laptops: Collection) -> None:
    make_ready_run(laptops, records(3))
    response = client.post(
        "/api/v1/schedules/collections/results/download/",
        {"collection_id": 101},
        content_type="application/json",
        headers=GZIP | {"x-api-key": bobs_key},
    )
    assert "Content-Encoding" not in response
    assert response.json()["code"] == 200
