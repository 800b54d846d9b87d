from collections.abc import Callable
from typing import Any, BinaryIO
from urllib.parse import quote, urlencode

import pytest
from django.core.files.storage import storages
from django.test import Client

from collections_app.models import Collection, ResultFile
from collections_app.sources.base import SourceBusy, SourceTimeout, SourceUnavailable
from tests.support.html import links
from tests.support.results import make_failed_run, make_processing_run, make_ready_run, records, stored_bytes

FILES = "/collections/101/runs/1/files/"


@pytest.fixture
def page(laptops: Collection) -> ResultFile:
    return make_ready_run(laptops, records(3)).files.get(kind="page")


def test_a_member_gets_the_stored_bytes_under_the_files_name(as_bob: Client, page: ResultFile) -> None:
    response = as_bob.get(FILES + quote(page.name))
    assert response.status_code == 200
    assert response.getvalue() == stored_bytes(page)
    assert response["Content-Type"] == "application/octet-stream"
    assert response["Content-Disposition"] == f'attachment; filename="{page.name}"'


def test_a_range_is_returned(as_bob: Client, page: ResultFile) -> None:
    response = as_bob.get(FILES + quote(page.name), headers={"Range": "bytes=2-5"})
    assert response.status_code == 206
    assert response.getvalue() == stored_bytes(page)[2:6]


def test_head_returns_no_body(as_bob: Client, page: ResultFile) -> None:
    response = as_bob.head(FILES + quote(page.name))
    assert response["Content-Length"] == str(page.size)
    assert response.getvalue() == b""


def test_a_visitor_signs_in_first(client: Client, page: ResultFile) -> None:
    response = client.get(FILES + quote(page.name))
    assert response.status_code == 302
    assert response["Location"] == "/accounts/login/?next=/collections/101/download"


def test_signing_in_returns_to_the_page_with_the_file(client: Client, page: ResultFile) -> None:
    here = "/collections/101/download?before=2026-06-20T12:00:00.000000Z_7"
    response = client.get(FILES + quote(page.name), headers={"Referer": f"http://testserver{here}"})
    assert response["Location"] == f"/accounts/login/?{urlencode({'next': here}, safe='/')}"


def test_a_stranger_gets_403_for_existing_and_unknown_files(as_carol: Client, page: ResultFile) -> None:
    assert as_carol.get(FILES + quote(page.name)).status_code == 403
    assert as_carol.get(FILES + "other.json").status_code == 403
    assert as_carol.get("/collections/999/runs/1/files/other.json").status_code == 403


@pytest.mark.parametrize(
    "name",
    [
        "other.json",
        "../1/AU Laptops_1_Results_Page_1.json",
        "..%2f..%2fdb.sqlite3",
        "%00",
        "a%00b",
        "/etc/passwd",
        "x" * 10_000,
        "%ff",
        "AU LAPTOPS_1_RESULTS_PAGE_1.JSON",
    ],
)
def test_an_unknown_name_is_not_found(as_bob: Client, page: ResultFile, name: str) -> None:
    response = as_bob.get(FILES + name)
    assert response.status_code == 404
    assert "Run 1 has no file with that name." in response.content.decode()


@pytest.mark.parametrize("number", ["2", str(10**18), str(10**30)])
def test_an_unknown_run_is_not_found(as_bob: Client, page: ResultFile, number: str) -> None:
    response = as_bob.get(f"/collections/101/runs/{number}/files/{quote(page.name)}")
    assert response.status_code == 404
    assert f"This collection has no run {number}." in response.content.decode()
    assert links(response)["Back to AU Laptops"] == "/collections/101/download"


def test_a_run_of_another_collection_is_not_found(
    as_bob: Client, page: ResultFile, headphones: Collection
) -> None:
    response = as_bob.get(f"/collections/{headphones.pk}/runs/1/files/{quote(page.name)}")
    assert response.status_code == 404


def test_a_run_that_is_not_ready_says_so(as_bob: Client, laptops: Collection) -> None:
    make_processing_run(laptops, records(3), page_size=2)
    make_failed_run(laptops)
    assert "still processing" in as_bob.get(FILES + "any").content.decode()
    response = as_bob.get("/collections/101/runs/2/files/any")
    assert response.status_code == 404
    assert "Run 2 failed, so it has no files." in response.content.decode()


def test_a_file_missing_from_the_storage_is_a_404_with_the_reason(as_bob: Client, page: ResultFile) -> None:
    storages["results"].delete(page.key)
    response = as_bob.get(FILES + quote(page.name))
    assert response.status_code == 404
    assert "missing from the results storage" in response.content.decode()


@pytest.mark.parametrize(
    ("error", "status"),
    [(SourceUnavailable("It responses nonsense."), 502), (SourceTimeout("It sleeps."), 504)],
)
def test_a_failing_source_differs_from_a_missing_file(
    as_bob: Client, page: ResultFile, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int
) -> None:
    monkeypatch.setattr("collections_app.sources.local.StoredBody.open", _raising(error))
    response = as_bob.get(FILES + quote(page.name))
    assert response.status_code == status
    assert str(error) in response.content.decode()
    assert "Content-Disposition" not in response


def test_a_busy_account_is_a_503_with_retry_after(
    as_bob: Client, page: ResultFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = SourceBusy("It is busy. Try again in 30 seconds.", 30)
    monkeypatch.setattr("collections_app.sources.local.StoredBody.open", _raising(error))
    response = as_bob.get(FILES + quote(page.name))
    assert (response.status_code, response["Retry-After"]) == (503, "30")
    assert str(error) in response.content.decode()
    assert "The account is busy" in response.content.decode()


def _raising(error: Exception) -> Callable[..., BinaryIO]:
    def open_(*args: Any) -> BinaryIO:
        raise error

    return open_


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete", "options"])
def test_other_methods_are_refused(as_bob: Client, page: ResultFile, method: str) -> None:
    response = getattr(as_bob, method)(FILES + quote(page.name))
    assert response.status_code == 405
    assert response["Allow"] == "GET, HEAD"
