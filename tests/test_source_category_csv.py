"""The CSV of a category run at an account, made from the list that the account has."""

import csv
import io
import json
from typing import Any

import pytest
import responses
from django.core.files.storage import storages

from collections_app.formats.category_csv import COLUMNS
from collections_app.models import FileKind, Kind, ResultFile, Run, Team
from collections_app.sources import ResultNotFound, SourceUnavailable, deliverable
from tests.upstream import make_account, make_remote_collection, make_remote_run

LIST = "https://multicartapi.com/api/v1/results/7001/88/category_asins.json"
RECORDS: list[dict[str, Any]] = [
    {"asin": "B000000001", "title": "Hülle", "is_prime": True, "price_cents": 1999, "seller_name": "A, B"},
    {"asin": "B000000002", "in_stock": False, "unknown": {"x": 1}},
]


@pytest.fixture
def run(crawlers: Team) -> Run:
    collection = make_remote_collection(make_account(crawlers), kind=Kind.AMAZON_CATEGORY)
    return make_remote_run(collection)


@pytest.fixture
def csv_file(run: Run) -> ResultFile:
    file = ResultFile.objects.downloadable(run.collection, run.number, "category_asins.csv")
    assert file.kind == FileKind.CATEGORY_CSV
    return file


@pytest.fixture
def vendor() -> Any:
    with responses.RequestsMock(assert_all_requests_are_fired=False) as vendor:
        yield vendor


def gives(vendor: responses.RequestsMock, body: bytes) -> None:
    vendor.reset()
    vendor.head(LIST, headers={"Content-Length": str(len(body))}, auto_calculate_content_length=False)
    vendor.get(LIST, body=body, auto_calculate_content_length=True)


def read(file: ResultFile) -> bytes:
    found = deliverable(file)
    with found.body.open(0, found.size) as stream:
        return stream.read()


def test_it_has_the_nine_columns_of_every_record(
    vendor: responses.RequestsMock, csv_file: ResultFile
) -> None:
    gives(vendor, json.dumps(RECORDS).encode())
    first, second = csv.DictReader(io.StringIO(read(csv_file).decode()))
    assert list(first) == list(COLUMNS)
    assert (first["seller_name"], first["price_cents"], first["is_prime"]) == ("A, B", "1999", "true")
    assert (second["in_stock"], second["price_cents"]) == ("false", "")


def test_it_is_made_once_and_is_a_real_file(vendor: responses.RequestsMock, csv_file: ResultFile) -> None:
    gives(vendor, json.dumps(RECORDS).encode())
    whole = read(csv_file)
    vendor.reset()
    assert read(csv_file) == whole
    with deliverable(csv_file).body.open(5, 3) as stream:
        assert stream.fileno() > 0
        assert stream.read(3) == whole[5:8]
    csv_file.refresh_from_db()
    assert csv_file.size == len(whole)


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b'[{"asin": "B000000001"}, {"asin"', "is damaged; no CSV can be made of it"),
        (b"<html>", "is damaged; no CSV can be made of it"),
    ],
)
def test_of_a_damaged_list_none_is_made(
    vendor: responses.RequestsMock,
    csv_file: ResultFile,
    caplog: pytest.LogCaptureFixture,
    body: bytes,
    problem: str,
) -> None:
    gives(vendor, body)
    with pytest.raises(SourceUnavailable, match=problem):
        read(csv_file)
    assert "problem=the list is damaged: line 1" in caplog.text
    _, kept = storages["converted"].listdir("")
    assert [name for name in kept if not name.endswith(".lock")] == []


def test_a_run_without_a_list_has_no_csv(csv_file: ResultFile) -> None:
    ResultFile.objects.filter(kind=FileKind.CATEGORY_LIST).delete()
    with pytest.raises(ResultNotFound):
        read(csv_file)


def test_a_full_disk_is_a_sentence(
    vendor: responses.RequestsMock, csv_file: ResultFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(name: str, mode: str) -> None:
        raise OSError(28, "No space left on device")

    gives(vendor, json.dumps(RECORDS).encode())
    monkeypatch.setattr(storages["converted"], "open", full)
    with pytest.raises(SourceUnavailable, match="perhaps because the disk is full"):
        read(csv_file)


def test_a_list_that_has_changed_is_never_delivered_under_the_old_size(
    vendor: responses.RequestsMock, csv_file: ResultFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    gives(vendor, json.dumps(RECORDS).encode())
    old = deliverable(csv_file)
    # It was dropped from the cache, and the account has another list by now.
    for name in storages["converted"].listdir("")[1]:
        storages["converted"].delete(name)
    ResultFile.objects.filter(kind=FileKind.CATEGORY_LIST).update(size=None)
    gives(vendor, json.dumps(RECORDS[:1]).encode())
    with pytest.raises(SourceUnavailable, match="is not the one that it was"):
        old.body.open(0, old.size)
    csv_file.refresh_from_db()
    assert csv_file.size is None
    assert len(read(csv_file)) < old.size
    assert deliverable(csv_file).etag != old.etag


def test_of_a_list_that_was_copied_here_it_is_made_without_the_account(
    run: Run, csv_file: ResultFile, vendor: responses.RequestsMock
) -> None:
    body = json.dumps(RECORDS).encode()
    with storages["results"].open("kept/list.json", "wb") as file:
        file.write(body)
    run.files.filter(kind=FileKind.CATEGORY_LIST).update(key="kept/list.json", size=len(body))
    assert read(csv_file).count(b"\r\n") == 3
    assert len(vendor.calls) == 0
