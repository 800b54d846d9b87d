"""GET and HEAD /api/v1/collections/{collection_id}/runs/{runner_id}/records.{file_format}."""

import json
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import storages
from django.http import HttpResponse
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from collections_app.models import Collection, Export, Run
from collections_app.records.exports import create
from collections_app.records.exports.build import build_next
from collections_app.records.formats.records_file import Format
from tests.conftest import content
from tests.support.openapi import api_error, check_schema
from tests.support.results import make_failed_run, make_processing_run, make_ready_run, records

pytestmark = pytest.mark.django_db(transaction=True)

Fetch = Callable[..., HttpResponse]


@pytest.fixture
def run(laptops: Collection) -> Run:
    return make_ready_run(laptops, records(3), page_size=2)


@pytest.fixture
def fetch(client: Client, bobs_key: str, laptops: Collection) -> Iterator[Fetch]:
    """Fetch what is below the run's address with Bob's key."""
    answers = []

    def fetched(path: str, method: str = "GET", number: int = 1, **headers: str) -> HttpResponse:
        address = f"/api/v1/collections/{laptops.pk}/runs/{number}/{path}"
        headers = {"x-api-key": bobs_key, **headers}
        answer: HttpResponse = client.generic(method, address, headers=headers)
        answers.append(answer)
        return answer

    yield fetched
    for answer in answers:
        answer.close()


@pytest.fixture
def slowly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(create, "_QUICK", dict.fromkeys(Format, -1))


def test_the_records_in_one_file(run: Run, fetch: Fetch) -> None:
    answer = fetch("records.csv")
    assert answer.status_code == 200
    assert content(answer).splitlines()[1] == b"B000000001,Laptop 1,100"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="AU Laptops_1_Records.csv"'


def test_chosen_columns_and_the_option_for_spreadsheets(run: Run, fetch: Fetch) -> None:
    answer = fetch("records.csv?columns=price_cents,asin&excel=1")
    assert content(answer).startswith(b"\xef\xbb\xbfprice_cents,asin\r\n100,B000000001\r\n")
    assert "_1_Records_chosen_columns.csv" in answer.headers["Content-Disposition"]


def test_it_is_a_file_like_any_other(run: Run, fetch: Fetch) -> None:
    whole = fetch("records.jsonl")
    etag, size = whole.headers["ETag"], int(whole.headers["Content-Length"])
    head = fetch("records.jsonl", "HEAD")
    assert (head.status_code, head.headers["Content-Length"], head.headers["ETag"]) == (200, str(size), etag)
    part = fetch("records.jsonl", Range="bytes=10-", If_Range=etag)
    assert part.status_code == 206
    assert content(part) == content(whole)[10:]
    assert fetch("records.jsonl", If_None_Match=etag).status_code == 304
    code, reason = api_error(fetch("records.jsonl", Range=f"bytes={size}-"))
    assert (code, reason) == (416, "The range is outside the file. Request its size with HEAD.")


def test_what_is_not_made_yet(run: Run, fetch: Fetch, slowly: None) -> None:
    answer = fetch("records.xlsx")
    assert (answer.status_code, answer.headers["Retry-After"]) == (202, "2")
    assert answer.headers["Cache-Control"] == "no-store"
    envelope = json.loads(answer.content)
    check_schema("BuildStatus", envelope)
    assert envelope["data"] == {"state": "queued", "done": 0, "total": 3}
    assert build_next()
    assert fetch("records.xlsx").status_code == 200


def test_too_many_are_waited_for(
    run: Run, fetch: Fetch, slowly: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(create, "MOST_QUEUED", 1)
    assert fetch("records.csv").status_code == 202
    answer = fetch("records.xlsx")
    assert (api_error(answer)[0], answer.headers["Retry-After"]) == (429, "2")


def test_what_failed_is_an_error_and_is_tried_again_after_a_while(run: Run, fetch: Fetch) -> None:
    file = run.files.get(position=2)
    storage = storages["results"]
    with storage.open(file.key) as stored:
        whole = stored.read()
    storage.delete(file.key)
    for _ in range(2):
        failed = fetch("records.csv")
        assert api_error(failed) == (500, "The file is missing from the results storage. Tell the operator.")
        assert "Retry-After" not in failed.headers
    storage.save(file.key, ContentFile(whole))
    assert fetch("records.csv").status_code == 500
    Export.objects.update(failed_at=timezone.now() - timedelta(seconds=11))
    assert fetch("records.csv").status_code == 200


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (
            "records.csv?columns=asn",
            (400, "No record has a column “asn”. The columns are: asin, title, price_cents."),
        ),
        (
            "records.csv?excel=maybe",
            (400, "Invalid “excel” parameter. Use 1 for a CSV that is safe for spreadsheets, or 0."),
        ),
        (
            "records.xml",
            (404, "Unknown format. The formats are json, jsonl, csv, xlsx, parquet."),
        ),
    ],
)
def test_what_can_not_be_had(run: Run, fetch: Fetch, path: str, expected: tuple[int, str]) -> None:
    assert api_error(fetch(path)) == expected


def test_a_run_that_is_not_ready(laptops: Collection, fetch: Fetch) -> None:
    make_processing_run(laptops, records(1))
    make_failed_run(laptops)
    assert api_error(fetch("records.csv", number=1))[0] == 404
    assert api_error(fetch("records.csv", number=2)) == (409, "Run 2 failed, so it has no files.")
    assert api_error(fetch("records.csv", number=3)) == (404, "This collection has no run 3.")


def test_queries_do_not_grow_with_the_run(
    laptops: Collection, fetch: Fetch, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    make_ready_run(laptops, records(40), page_size=1)
    fetch("records.jsonl")
    with django_assert_num_queries(4):  # the key, the collection, the run, the export
        fetch("records.jsonl")


def test_the_newest_run(laptops: Collection, client: Client, bobs_key: str) -> None:
    make_ready_run(laptops, records(1))
    make_ready_run(laptops, records(2))
    make_processing_run(laptops)
    address = f"/api/v1/collections/{laptops.pk}/latest/records.csv?columns=asin"
    answer = client.get(address, headers={"x-api-key": bobs_key})
    assert content(answer) == b"asin\r\nB000000001\r\nB000000002\r\n"
    assert answer.headers["Content-Location"] == "/api/v1/collections/101/runs/2/records.csv?columns=asin"
    assert answer.headers["Repr-Digest"].startswith("sha-256=:")
