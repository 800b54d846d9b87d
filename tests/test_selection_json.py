"""All records of several runs as one JSON list, joined while it is read."""

import json

import pytest
from django.test import Client

from collections_app.models import Collection, ResultFile, Team
from tests.support import responses
from tests.support.ranges import check_ranges
from tests.support.responses import Response
from tests.support.results import make_ready_run, make_run_of_pages, records, stored_records
from tests.support.upstream import make_account, make_remote_collection, make_remote_run

pytestmark = pytest.mark.django_db(transaction=True)

ADDRESS = "/collections/101/selection.json"


def content(response: Response) -> bytes:
    assert response.status_code in {200, 206}, responses.content(response)
    return responses.content(response)


def test_the_records_of_all_runs_are_one_list(as_bob: Client, laptops: Collection) -> None:
    runs = [make_ready_run(laptops, records(count, 10 * count), page_size=2) for count in (5, 1, 4)]
    response = as_bob.get(f"{ADDRESS}?runs=1-3")
    body = content(response)
    assert json.loads(body) == [record for run in reversed(runs) for record in stored_records(run)]
    assert response["Content-Length"] == str(len(body))
    assert response["Content-Disposition"] == (
        'attachment; filename="AU Laptops_3_Runs_1_to_3_Selection.json"'
    )
    assert json.loads(content(as_bob.get(f"{ADDRESS}?pages=1.2-3"))) == stored_records(runs[0])[2:]


def test_the_api_sends_it_too(client: Client, bobs_key: str, laptops: Collection) -> None:
    run = make_ready_run(laptops, records(3))
    response = client.get(f"/api/v1{ADDRESS}?runs=1", headers={"x-api-key": bobs_key})
    assert json.loads(content(response)) == stored_records(run)


def test_pages_of_any_formatting_are_joined(as_bob: Client, laptops: Collection) -> None:
    pages = {
        "a.json": b"\xef\xbb\xbf \n[ ]\n",
        "b.json": b'\r\n\t[{"a": "]"} , \n {"b": "["}\t]\n\n',
        "c.json": b"[]",
        "d.json": b'[{"c":[]}]',
        "e.json": b"[{" + b" " * 5000 + b'"d": 1' + b" " * 5000 + b"}]",
    }
    make_run_of_pages(laptops, pages)
    for _ in range(2):  # the positions of the brackets are stored once
        assert json.loads(content(as_bob.get(f"{ADDRESS}?runs=1"))) == [
            *({"a": "]"}, {"b": "["}, {"c": []}, {"d": 1})
        ]
    assert not ResultFile.objects.filter(kind="page", list_start=None).exists()


def test_numbers_are_as_in_the_pages(as_bob: Client, laptops: Collection) -> None:
    numbers = b'{"p":1299.00,"q":0.1234567890123456789,"e":1E5,"n":12345678901234567890123,"z":-0}'
    make_run_of_pages(laptops, {"a.json": b"[%b]" % numbers, "b.json": b"[%b]" % numbers})
    assert content(as_bob.get(f"{ADDRESS}?runs=1")) == b"[\n%b,\n%b\n]\n" % (numbers, numbers)


def test_without_records_the_list_is_empty(as_bob: Client, laptops: Collection) -> None:
    for _ in range(2):
        make_ready_run(laptops, [])
    assert json.loads(content(as_bob.get(f"{ADDRESS}?runs=1-2"))) == []


def test_category_lists_are_joined(as_bob: Client, headphones: Collection) -> None:
    runs = [make_ready_run(headphones, records(count)) for count in (1, 2)]
    body = content(as_bob.get(f"/collections/{headphones.pk}/selection.json?runs=1-2"))
    assert json.loads(body) == [record for run in reversed(runs) for record in stored_records(run)]


@pytest.mark.no_cover
def test_any_range_equals_that_part_of_the_file(as_bob: Client, laptops: Collection) -> None:
    for count in (3, 0, 2):
        make_ready_run(laptops, records(count), page_size=1)
    check_ranges(as_bob, f"{ADDRESS}?runs=1-3", 40)


def test_a_file_that_is_not_a_plain_list_is_named(as_bob: Client, headphones: Collection) -> None:
    make_run_of_pages(headphones, {"list.json": b'{"asins": [{"asin": "B1"}]}'})
    response = as_bob.get(f"/collections/{headphones.pk}/selection.json?runs=1")
    assert response.status_code == 404
    assert "category_asins.json of run 1 isn&#x27;t a plain list" in response.content.decode()


def test_runs_only_at_an_account_are_refused(as_bob: Client, crawlers: Team) -> None:
    collection = make_remote_collection(make_account(crawlers))
    make_remote_run(collection, 7)
    response = as_bob.get(f"/collections/{collection.pk}/selection.json?runs=7")
    assert response.status_code == 404
    assert "Copy results here" in response.content.decode()


def test_an_empty_selection_is_a_bad_request(as_bob: Client, laptops: Collection) -> None:
    assert as_bob.get(ADDRESS).status_code == 400
