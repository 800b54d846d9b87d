"""Download a result file: /api/v1/results/{collection_id}/{runner_id}/{file_name}."""

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.db import OperationalError
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from collections_app.api import download_file
from collections_app.api.authentication import CHALLENGES
from collections_app.models import ApiKey, Collection, FileKind, ResultFile, Run, User
from collections_app.people.access import NOT_YOURS
from collections_app.sources import SourceBusy, SourceTimeout, SourceUnavailable
from tests.support.openapi import api_error
from tests.support.responses import Response, content
from tests.support.results import (
    make_failed_run,
    make_processing_run,
    make_ready_run,
    records,
    stored_bytes,
)
from tests.support.tools import all_or_few, all_or_some

pytestmark = pytest.mark.django_db(transaction=True)

Fetch = Callable[..., Response]
PAGE = "AU%20Laptops_1_Results_Page_1.json"
ARCHIVE = "AU%20Laptops_1_Results_All_Pages.zip"


@pytest.fixture
def run(laptops: Collection) -> Run:
    return make_ready_run(laptops, records(3), page_size=2)


@pytest.fixture
def fetch(client: Client, bobs_key: str) -> Iterator[Fetch]:
    """Fetch a path below /api/v1/results/ with Bob's key."""
    responses = []

    def fetched(path: str, key: str = bobs_key, method: str = "GET", **headers: str) -> Response:
        headers = {"x-api-key": key, **headers}
        response: Response = client.generic(method, f"/api/v1/results/{path}", headers=headers)
        responses.append(response)
        return response

    yield fetched
    for response in responses:
        response.close()


# --- the bytes ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "name"), [(FileKind.PAGE, PAGE), (FileKind.ARCHIVE, ARCHIVE)])
def test_the_raw_bytes_are_sent(fetch: Fetch, run: Run, kind: FileKind, name: str) -> None:
    file = run.files.filter(kind=kind).order_by("position").first()
    assert file
    response = fetch(f"101/1/{name}")
    assert response.status_code == 200
    assert response.headers["Content-Type"] == "application/octet-stream"
    assert response.headers["Content-Disposition"] == f'attachment; filename="{file.name}"'
    assert content(response) == stored_bytes(file)


@pytest.mark.parametrize("name", ["category_asins.json", "category_asins.csv"])
def test_a_category_run_has_a_list_and_a_csv(fetch: Fetch, headphones: Collection, name: str) -> None:
    run = make_ready_run(headphones, records(3))
    assert content(fetch(f"{headphones.pk}/1/{name}")) == stored_bytes(run.files.get(name=name))


def test_head_sends_only_the_headers(fetch: Fetch, run: Run) -> None:
    response = fetch(f"101/1/{PAGE}", method="HEAD")
    assert response.status_code == 200
    assert response.headers["Content-Length"] == str(run.files.get(kind=FileKind.PAGE, position=1).size)
    assert content(response) == b""


def test_renaming_the_collection_keeps_the_file_name(fetch: Fetch, run: Run, laptops: Collection) -> None:
    laptops.name = "Other laptops"
    laptops.save()
    assert fetch(f"101/1/{PAGE}").status_code == 200


def test_files_of_an_archived_collection_are_sent(fetch: Fetch, run: Run, laptops: Collection) -> None:
    laptops.archive()
    assert fetch(f"101/1/{PAGE}").status_code == 200


def test_leading_zeros_are_ignored(fetch: Fetch, run: Run) -> None:
    assert fetch(f"{'0' * 5000}101/01/{PAGE}").status_code == 200


@pytest.mark.parametrize("path", [f"101/1/{PAGE}", "101/1/nothing.json", "101/2/x", "999/1/x", "x/1/x"])
def test_the_key_and_the_file_take_one_query(
    fetch: Fetch, run: Run, path: str, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    fetch(f"101/1/{PAGE}")  # updates the key's last use
    with django_assert_num_queries(1):
        fetch(path, method="HEAD")


@pytest.mark.parametrize(
    "headers",
    [{}, {"Range": "bytes=1-2"}, {"If-None-Match": "*"}],
    ids=str,
)
def test_the_dashboard_sends_the_same_response(
    as_bob: Client, run: Run, bobs_key: str, headers: dict[str, str]
) -> None:
    ours = as_bob.get(f"/api/v1/results/101/1/{PAGE}", headers={"x-api-key": bobs_key, **headers})
    theirs = as_bob.get(f"/collections/101/runs/1/files/{PAGE}", headers=headers)
    alone = {"Vary": "Cookie", "X-Request-ID": theirs.headers["X-Request-ID"]}
    assert dict(theirs.headers) == dict(ours.headers) | alone
    assert (theirs.status_code, content(theirs)) == (ours.status_code, content(ours))


# --- permissions ----------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["", "nonsense", "a.b", "ä" * 20, "k" * 5000])
def test_an_unknown_key_is_rejected(fetch: Fetch, run: Run, key: str) -> None:
    response = fetch(f"101/1/{PAGE}", key=key)
    assert api_error(response)[0] == 401
    assert response.headers["WWW-Authenticate"] == CHALLENGES


def test_a_revoked_key_is_rejected(fetch: Fetch, run: Run) -> None:
    ApiKey.objects.get().revoke()
    assert api_error(fetch(f"101/1/{PAGE}"))[0] == 401


def test_the_key_of_a_removed_member_is_rejected(fetch: Fetch, run: Run, bob: User) -> None:
    bob.memberships.get().remove()
    assert api_error(fetch(f"101/1/{PAGE}"))[0] == 401


def test_a_session_does_not_replace_the_key(as_alice: Client, run: Run) -> None:
    assert as_alice.get(f"/api/v1/results/101/1/{PAGE}").status_code == 401


def test_collections_of_other_teams_look_like_unknown_ones(
    fetch: Fetch, run: Run, secret_plans: Collection
) -> None:
    secret = make_ready_run(secret_plans)
    name = secret.files.get(kind=FileKind.PAGE).name
    assert api_error(fetch(f"{secret_plans.pk}/{secret.number}/{name}")) == (403, NOT_YOURS)
    assert api_error(fetch(f"999999/1/{PAGE}")) == (403, NOT_YOURS)
    assert api_error(fetch(f"{2**63 - 1}/1/{PAGE}")) == (403, NOT_YOURS)


# --- not found ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "number", ["x", "-1", "+1", "1.0", "1e2", " 1", "0x1", "\uff11", "\u0661", "%00", str(2**63), "9" * 5000]
)
@pytest.mark.parametrize("path", all_or_few(["{}/1/x.json", "101/{}/x.json"], "101/{}/x.json"))
def test_ids_that_are_not_integers_are_not_found(fetch: Fetch, run: Run, path: str, number: str) -> None:
    assert api_error(fetch(path.format(number)))[0] == 404
    assert api_error(fetch(path.format(number), key="wrong"))[0] == 401


def test_an_unknown_run_is_not_found(fetch: Fetch, run: Run) -> None:
    assert api_error(fetch(f"101/2/{PAGE}")) == (404, "This collection has no run 2.")
    assert api_error(fetch(f"101/{2**63 - 1}/{PAGE}"))[0] == 404


def test_a_run_of_another_collection_is_not_found(fetch: Fetch, run: Run, headphones: Collection) -> None:
    assert api_error(fetch(f"{headphones.pk}/1/{PAGE}"))[0] == 404


@pytest.mark.parametrize(
    "name",
    all_or_some(
        [
            "AU%20Laptops_1_Results_Page_3.json",
            "au%20laptops_1_results_page_1.json",
            f"{PAGE}/",
            f"./{PAGE}",
            f"x/../{PAGE}",
            f"..%2F1%2F{PAGE}",
            "..",
            "..%2F..%2F..%2Fetc%2Fpasswd",
            "%2Fetc%2Fpasswd",
            "%00",
            f"{PAGE}%00",
            f"{PAGE}%0A",
            "%0A",
            "%ED%A0%80",
            "%FF%FE",
            "a" * 10_000,
            "%F0%9F%98%80" * 10_000,
            "%",
            "%25",
            "*",
            "?",
        ],
        8,
    ),
    ids=lambda name: name[:40],
)
def test_an_unknown_name_is_not_found(fetch: Fetch, run: Run, name: str) -> None:
    assert api_error(fetch(f"101/1/{name}"))[0] == 404


def test_pages_of_a_processing_run_are_not_found(fetch: Fetch, laptops: Collection) -> None:
    run = make_processing_run(laptops, records(2), page_size=1)
    assert run.files.exists()
    code, reason = api_error(fetch(f"101/1/{PAGE}"))
    assert code == 404
    assert "still processing" in reason


def test_a_failed_run_has_no_files(fetch: Fetch, laptops: Collection) -> None:
    make_failed_run(laptops)
    assert api_error(fetch(f"101/1/{PAGE}")) == (404, "Run 1 failed, so it has no files.")


# --- other errors ---------------------------------------------------------------------------------


def test_a_file_missing_from_the_storage_is_not_found_and_logged(
    fetch: Fetch, run: Run, results_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = run.files.get(kind=FileKind.ARCHIVE)
    (results_folder / file.key).unlink()
    code, reason = api_error(fetch(f"101/1/{ARCHIVE}"))
    assert code == 404
    assert str(results_folder) not in reason
    assert file.key not in reason
    assert file.key in caplog.text


@pytest.mark.parametrize(("error", "code"), [(SourceUnavailable, 502), (SourceTimeout, 504)])
def test_a_failed_source_is_reported_in_its_own_words(
    fetch: Fetch, run: Run, error: type[Exception], code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = "The account “Main” reports an internal error (code 500). Try again later."

    def broken(file: ResultFile) -> None:
        raise error(said)

    monkeypatch.setattr(download_file, "deliverable", broken)
    assert api_error(fetch(f"101/1/{PAGE}")) == (code, said)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OperationalError("socket 7"), 503),
        (ZeroDivisionError("socket 7"), 500),
    ],
)
def test_errors_on_our_side_are_reported_without_details(
    *,
    fetch: Fetch,
    run: Run,
    error: Exception,
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken(file: ResultFile) -> None:
        raise error

    monkeypatch.setattr(download_file, "deliverable", broken)
    with caplog.at_level(logging.ERROR):
        response = api_error(fetch(f"101/1/{PAGE}"))
    assert response[0] == code
    assert "socket 7" not in response[1]
    assert ("socket 7" in caplog.text) == (code in {500, 503})


def test_a_busy_account_is_503_with_retry_after(
    fetch: Fetch, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(file: ResultFile) -> None:
        raise SourceBusy("It is busy. Try again in 30 seconds.", 30)

    monkeypatch.setattr(download_file, "deliverable", busy)
    for method in ("GET", "HEAD"):
        response = fetch(f"101/1/{PAGE}", method=method)
        assert response.headers["Retry-After"] == "30"
        assert response.status_code == 503
    assert api_error(fetch(f"101/1/{PAGE}")) == (503, "It is busy. Try again in 30 seconds.")


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"])
def test_only_get_and_head_are_allowed(fetch: Fetch, run: Run, method: str) -> None:
    response = fetch(f"101/1/{PAGE}", method=method, key="wrong")
    assert api_error(response) == (405, "This method is not allowed here. Use GET or HEAD.")
    assert response.headers["Allow"] == "GET, HEAD"


def test_caches_must_not_store_errors(fetch: Fetch, laptops: Collection) -> None:
    make_processing_run(laptops)
    assert fetch(f"101/1/{PAGE}").headers["Cache-Control"] == "no-store"


# --- unknown addresses ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/api/",
        "/api/v1",
        "/api/v1/",
        "/api/v2/results/101/1/x.json",
        "/api/v1/results/",
        "/api/v1/results//1/x.json",
        "/api/v1/schedules/collections/results/download",
        "/api/%0A",
        "/api/v1/docs/",
        "/api/..%2Fcollections",
    ],
)
@pytest.mark.parametrize("method", all_or_few(["GET", "POST", "DELETE", "OPTIONS"], "GET"))
def test_unknown_addresses_are_404_in_the_envelope(client: Client, path: str, method: str) -> None:
    client = Client(enforce_csrf_checks=True)
    response = client.generic(method, path)
    assert response.status_code == 404
    assert json.loads(response.content) == {
        "code": 404,
        "data": "This address doesn't exist. The API documentation lists all addresses.",
        "status": 0,
    }


# --- ranges and conditions ------------------------------------------------------------------------


def test_a_range_outside_the_file_is_an_error_in_the_envelope(fetch: Fetch, run: Run) -> None:
    response = fetch(f"101/1/{PAGE}", Range="bytes=1000000-")
    assert api_error(response) == (416, "The range is outside the file. Request its size with HEAD.")
    size = run.files.get(kind=FileKind.PAGE, position=1).size
    assert response.headers["Content-Range"] == f"bytes */{size}"


def test_a_failed_condition_is_an_error_in_the_envelope(fetch: Fetch, run: Run) -> None:
    response = fetch(f"101/1/{PAGE}", **{"If-Match": '"another"'})
    assert api_error(response)[0] == 412
    assert response.headers["ETag"] == run.files.get(kind=FileKind.PAGE, position=1).etag


@pytest.mark.parametrize("name", ["", "a%0Ab", "a%0D%0Ab", "%0A"])
def test_empty_names_and_names_with_line_breaks_get_the_same_checks(
    fetch: Fetch, run: Run, secret_plans: Collection, name: str
) -> None:
    assert fetch(f"101/1/{name}", method="POST").status_code == 405
    assert fetch(f"101/1/{name}", key="wrong").status_code == 401
    assert fetch(f"{secret_plans.pk}/1/{name}").status_code == 403
    assert api_error(fetch(f"101/1/{name}")) == (404, "Run 1 has no file with that name.")
