"""Pages are packed for browsers that ask for it. What has a size or an ETag of its own never is."""

import gzip
from urllib.parse import quote

from django.test import Client

from collections_app.models import Collection, ResultFile
from tests.support.results import make_ready_run, records, stored_bytes

PACKED = {"Accept-Encoding": "gzip, deflate, br"}
PAGE = "/collections/101/download"


def test_a_page_is_compressed_on_request(as_bob: Client, laptops: Collection) -> None:
    make_ready_run(laptops, records(3))
    answer = as_bob.get(PAGE, headers=PACKED)
    plain = as_bob.get(PAGE)
    assert answer["Content-Encoding"] == "gzip"
    assert "Accept-Encoding" in answer["Vary"]
    assert int(answer["Content-Length"]) == len(answer.content) < len(plain.content) / 3
    assert b"Runs of AU Laptops" in gzip.decompress(answer.content)
    assert "Content-Encoding" not in plain


def test_the_compressed_size_is_random(as_bob: Client, laptops: Collection) -> None:
    assert len({len(as_bob.get(PAGE, headers=PACKED).content) for _ in range(20)}) > 1


def test_a_file_is_not_compressed(as_bob: Client, laptops: Collection) -> None:
    page: ResultFile = make_ready_run(laptops, records(3)).files.get(kind="page")
    answer = as_bob.get(f"/collections/101/runs/1/files/{quote(page.name)}", headers=PACKED)
    assert "Content-Encoding" not in answer
    assert answer["Content-Length"] == str(page.size)
    assert answer["ETag"].startswith('"')
    assert answer.getvalue() == stored_bytes(page)


def test_an_api_response_is_not_compressed(client: Client, bobs_key: str, laptops: Collection) -> None:
    make_ready_run(laptops, records(3))
    answer = client.post(
        "/api/v1/schedules/collections/results/download/",
        {"collection_id": 101},
        content_type="application/json",
        headers=PACKED | {"x-api-key": bobs_key},
    )
    assert "Content-Encoding" not in answer
    assert answer.json()["code"] == 200
