"""Download records: /api/v1/collections/{collection_id}/runs/{runner_id}/records.{file_format}."""

import json
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import storages
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from collections_app.models import Collection, Export, Run
from collections_app.records.exports import create
from collections_app.records.exports.build import build_next
from collections_app.records.formats.export_formats import Format
from tests.support.openapi import api_error, check_schema
from tests.support.responses import Response, content
from tests.support.results import make_failed_run, make_processing_run, make_ready_run, records

pytestmark = pytest.mark.django_db(transaction=True)

Fetch = Callable[..., Response]


@pytest.fixture
def run(laptops: Collection) -> Run:
    return make_ready_run(laptops, records(3), page_size=2)


@pytest.fixture
def fetch(client: Client, bobs_key: str, laptops: Collection) -> Iterator[Fetch]:
    """Fetch a path below the run's address with Bob's key."""
    responses = []

    def fetched(path: str, method: str = "GET", number: int = 1, **headers: str) -> Response:
        address = f"/api/v1/collections/{laptops.pk}/runs/{number}/{path}"
        headers = {"x-api-key": bobs_key, **headers}
        response: Response = client.generic(method, address, headers=headers)
        responses.append(response)
        return response

    yield fetched
    for response in responses:
        response.close()


@pytest.fixture
def slow_builds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(create, "_QUICK", dict.fromkeys(Format, -1))


def test_all_records_in_one_file(run: Run, fetch: Fetch) -> None:
    response = fetch("records.csv")
    assert response.status_code == 200
    assert content(response).splitlines()[1] == b"B000000001,Laptop 1,100"
    assert response.headers["Content-Disposition"] == 'attachment; filename="AU Laptops_1_Records.csv"'


def test_columns_may_be_separated_by_a_comma_and_a_space(run: Run, fetch: Fetch) -> None:
    assert content(fetch("records.csv?columns=asin, price_cents")).startswith(b"asin,price_cents\r\n")
    refused = fetch('records.csv?columns=asin," price_cents"').json()
    assert refused["data"].startswith("No record has a column “ price_cents”.")


def test_columns_and_the_excel_option(run: Run, fetch: Fetch) -> None:
    response = fetch("records.csv?columns=price_cents,asin&excel=1")
    assert content(response).startswith(b"\xef\xbb\xbfprice_cents,asin\r\n100,B000000001\r\n")
    assert "_1_Records_chosen_columns.csv" in response.headers["Content-Disposition"]


@pytest.mark.parametrize("separator", [";", "%3B"])
def test_a_csv_with_semicolons(run: Run, fetch: Fetch, separator: str) -> None:
    response = fetch(f"records.csv?columns=price_cents,asin&excel=1&separator={separator}")
    assert content(response).startswith(b"\xef\xbb\xbfprice_cents;asin\r\n100;B000000001\r\n")
    assert content(fetch("records.csv?separator=,&columns=asin,title")).startswith(b"asin,title\r\n")


def test_head_ranges_and_conditions(run: Run, fetch: Fetch) -> None:
    complete = fetch("records.jsonl")
    etag, size = complete.headers["ETag"], int(complete.headers["Content-Length"])
    head = fetch("records.jsonl", "HEAD")
    assert (head.status_code, head.headers["Content-Length"], head.headers["ETag"]) == (200, str(size), etag)
    part = fetch("records.jsonl", Range="bytes=10-", If_Range=etag)
    assert part.status_code == 206
    assert content(part) == content(complete)[10:]
    assert fetch("records.jsonl", If_None_Match=etag).status_code == 304
    code, reason = api_error(fetch("records.jsonl", Range=f"bytes={size}-"))
    assert (code, reason) == (416, "The range is outside the file. Request its size with HEAD.")


def test_a_file_that_is_being_built_is_202(run: Run, fetch: Fetch, slow_builds: None) -> None:
    response = fetch("records.xlsx")
    assert (response.status_code, response.headers["Retry-After"]) == (202, "2")
    assert response.headers["Cache-Control"] == "no-store"
    envelope = json.loads(response.content)
    check_schema("BuildStatus", envelope)
    assert envelope["data"] == {"state": "queued", "done": 0, "total": 3}
    assert build_next()
    assert fetch("records.xlsx").status_code == 200


def test_too_many_queued_exports_are_429(
    run: Run, fetch: Fetch, slow_builds: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(create, "MOST_QUEUED", 1)
    assert fetch("records.csv").status_code == 202
    response = fetch("records.xlsx")
    assert (api_error(response)[0], response.headers["Retry-After"]) == (429, "2")


def test_a_failed_build_is_retried_after_a_while(run: Run, fetch: Fetch) -> None:
    file = run.files.get(position=2)
    storage = storages["results"]
    with storage.open(file.key) as stored:
        complete = stored.read()
    storage.delete(file.key)
    for _ in range(2):
        failed = fetch("records.csv")
        assert api_error(failed) == (500, "The file is missing from the results storage. Tell the operator.")
        assert "Retry-After" not in failed.headers
    storage.save(file.key, ContentFile(complete))
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
            (400, "Invalid “excel” parameter. Use 1 for a CSV that is safe for spreadsheets, otherwise 0."),
        ),
        (
            "records.csv?separator=|",
            (400, "Invalid “separator” parameter. Use a comma or a semicolon."),
        ),
        (
            "records.xml",
            (404, "Unknown format. Use one of: json, jsonl, csv, xlsx, parquet."),
        ),
    ],
)
def test_invalid_requests(run: Run, fetch: Fetch, path: str, expected: tuple[int, str]) -> None:
    assert api_error(fetch(path)) == expected


def test_a_run_that_is_not_ready(laptops: Collection, fetch: Fetch) -> None:
    make_processing_run(laptops, records(1))
    make_failed_run(laptops)
    assert api_error(fetch("records.csv", number=1))[0] == 404
    assert api_error(fetch("records.csv", number=2)) == (409, "Run 2 failed, so it has no files.")
    assert api_error(fetch("records.csv", number=3)) == (404, "This collection has no run 3.")


def test_the_number_of_queries_does_not_depend_on_the_run(
    laptops: Collection, fetch: Fetch, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    make_ready_run(laptops, records(40), page_size=1)
    fetch("records.jsonl")
    with django_assert_num_queries(4):  # the key, the collection, the run, the export
        fetch("records.jsonl")


def test_latest_is_the_newest_run(laptops: Collection, client: Client, bobs_key: str) -> None:
    make_ready_run(laptops, records(1))
    make_ready_run(laptops, records(2))
    make_processing_run(laptops)
    address = f"/api/v1/collections/{laptops.pk}/latest/records.csv?columns=asin"
    response = client.get(address, headers={"x-api-key": bobs_key})
    assert content(response) == b"asin\r\nB000000001\r\nB000000002\r\n"
    assert response.headers["Content-Location"] == "/api/v1/collections/101/runs/2/records.csv?columns=asin"
    assert response.headers["Repr-Digest"].startswith("sha-256=:")
