"""The manifest of a run, for people and scripts, and the stable URLs of the latest run."""

import base64
import hashlib
import json

import pytest
from django.test import Client

from collections_app.models import Collection, FileKind, Run, Team
from collections_app.sources import sync
from tests.conftest import Get
from tests.support.responses import content
from tests.support.results import (
    make_failed_run,
    make_many_pages,
    make_processing_run,
    make_ready_run,
    records,
    stored_bytes,
)
from tests.support.upstream import make_account, make_remote_collection, make_remote_run, refreshed_just_now

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def run(laptops: Collection) -> Run:
    return make_ready_run(laptops, records(5), page_size=2)


def digest(data: bytes) -> str:
    return f"sha-256=:{base64.b64encode(hashlib.sha256(data).digest()).decode()}:"


# --- the manifest -------------------------------------------------------------------------------


def test_it_lists_each_file_with_its_digest(get: Get, run: Run, bobs_key: str, client: Client) -> None:
    manifest = json.loads(content(get("101/runs/1/manifest.json")))
    files = manifest.pop("files")
    assert manifest == {
        "collection": 101,
        "collection_name": "AU Laptops",
        "run": 1,
        "state": "completed",
        "created_at": f"{run.created_at:%Y-%m-%dT%H:%M:%SZ}",
        "updated_at": f"{run.updated_at:%Y-%m-%dT%H:%M:%SZ}",
        "extracted": 5,
        "total": 5,
    }
    assert [(file["kind"], file["records"]) for file in files] == [
        *[("page", 2), ("page", 2), ("page", 1), ("archive", None)]
    ]
    for file in files:
        response = client.get(file["url"], headers={"x-api-key": bobs_key})
        assert response["Content-Disposition"] == f'attachment; filename="{file["name"]}"'
        data = response.getvalue()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (file["size"], file["sha256"])


def test_a_category_has_its_list_and_csv(get: Get, headphones: Collection) -> None:
    make_ready_run(headphones, records(3))
    files = json.loads(content(get(f"{headphones.pk}/runs/1/manifest.json")))["files"]
    assert [(file["name"], file["kind"], file["records"]) for file in files] == [
        ("category_asins.json", "category_list", 3),
        ("category_asins.csv", "category_csv", 3),
    ]


def test_a_person_gets_urls_of_the_dashboard(as_bob: Client, run: Run) -> None:
    response = as_bob.get("/collections/101/runs/1/manifest.json")
    assert response["Content-Disposition"] == 'attachment; filename="manifest.json"'
    urls = [file["url"] for file in json.loads(response.getvalue())["files"]]
    assert urls[0] == "http://testserver/collections/101/runs/1/files/AU%20Laptops_1_Results_Page_1.json"
    assert [as_bob.head(url).status_code for url in urls] == [200] * 4


def test_it_is_delivered_like_a_file(get: Get, run: Run) -> None:
    response = get("101/runs/1/manifest.json")
    body = content(response)
    assert response["Content-Length"] == str(len(body))
    assert response["Repr-Digest"] == digest(body)
    part = get("101/runs/1/manifest.json", range="bytes=5-9", **{"if-range": response["ETag"]})
    assert (part.status_code, content(part)) == (206, body[5:10])
    assert get("101/runs/1/manifest.json", **{"if-none-match": response["ETag"]}).status_code == 304
    outside = get("101/runs/1/manifest.json", range="bytes=100000-")
    assert (outside.status_code, outside.json()["code"]) == (416, 416)


def test_unknown_facts_about_a_file_at_an_account_are_null(get: Get, crawlers: Team) -> None:
    collection = make_remote_collection(make_account(crawlers))
    make_remote_run(collection, 7)
    Run.objects.update(extracted=None, total=None)
    manifest = json.loads(content(get(f"{collection.pk}/runs/7/manifest.json")))
    assert (manifest["extracted"], manifest["total"]) == (None, None)
    file = manifest["files"][0]
    assert (file["size"], file["sha256"], file["records"]) == (None, None, None)


@pytest.mark.parametrize(
    ("group", "of_one_that_failed"), [("/collections", 404), ("/api/v1/collections", 409)]
)
def test_a_run_that_is_not_ready_has_no_manifest(
    as_bob: Client, bobs_key: str, laptops: Collection, group: str, of_one_that_failed: int
) -> None:
    make_processing_run(laptops)
    make_failed_run(laptops)
    expected = [(404, "still processing"), (of_one_that_failed, "failed"), (404, "no run 3")]
    for number, (status, reason) in enumerate(expected, 1):
        response = as_bob.get(
            f"{group}/101/runs/{number}/manifest.json", headers={"x-api-key": bobs_key, "accept": "*/*"}
        )
        assert response.status_code == status
        assert reason in response.content.decode()


# --- Repr-Digest --------------------------------------------------------------------------------


def test_every_response_with_a_file_has_its_digest(client: Client, bobs_key: str, run: Run) -> None:
    file = run.files.get(kind=FileKind.ARCHIVE)
    address = "/api/v1/results/101/1/AU%20Laptops_1_Results_All_Pages.zip"
    key = {"x-api-key": bobs_key}
    responses = [
        client.get(address, headers=key),
        client.head(address, headers=key),
        client.get(address, headers=key | {"range": "bytes=0-3"}),
    ]
    assert [response["Repr-Digest"] for response in responses] == [digest(stored_bytes(file))] * 3
    for response in responses:
        response.close()


# --- the run's page ----------------------------------------------------------------------------


def test_the_page_shows_every_file_with_its_digest(as_bob: Client, run: Run) -> None:
    page = as_bob.get("/collections/101/runs/1/").content.decode()
    for file in run.files.all():
        assert file.name in page
        assert file.sha256 in page


def test_many_pages_are_folded(as_bob: Client, laptops: Collection) -> None:
    make_many_pages(laptops, 1, pages=520)
    page = as_bob.get("/collections/101/runs/1/").content.decode()
    assert page[page.index('id="files"') :].count("<tr") == 14  # the heads, the ZIP and twelve pages
    assert "+508 more pages" in page


# --- latest -------------------------------------------------------------------------------------


def test_latest_redirects_to_the_newest_completed_run(as_bob: Client, laptops: Collection, run: Run) -> None:
    make_ready_run(laptops)
    make_failed_run(laptops)
    make_processing_run(laptops)
    for rest in ["", "manifest.json", "all.zip", "files/a%20b.json", "records.csv?columns=a,b&excel=1"]:
        response = as_bob.get(f"/collections/101/latest/{rest}")
        assert (response.status_code, response["Location"]) == (302, f"/collections/101/runs/2/{rest}")


def test_a_script_gets_the_latest_run_and_its_location(get: Get, laptops: Collection, run: Run) -> None:
    response = get("101/latest/manifest.json")
    assert json.loads(content(response))["run"] == 1
    assert response["Content-Location"] == "/api/v1/collections/101/runs/1/manifest.json"
    make_ready_run(laptops)
    resumed = get("101/latest/manifest.json", range="bytes=100-", **{"if-range": response["ETag"]})
    assert resumed.status_code == 200
    assert json.loads(content(resumed))["run"] == 2


def test_without_a_completed_run_there_is_no_latest(as_bob: Client, get: Get, laptops: Collection) -> None:
    make_processing_run(laptops)
    response = as_bob.get("/collections/101/latest/")
    assert response.status_code == 404
    assert "no completed run yet" in response.content.decode()
    assert get("101/latest/manifest.json").json() == {
        "code": 404,
        "data": "This collection has no completed run yet.",
        "status": 0,
    }


def test_the_latest_run_of_an_account_that_never_responded_is_unknown(
    as_bob: Client, get: Get, crawlers: Team
) -> None:
    collection = make_remote_collection(make_account(crawlers))
    refreshed_just_now(collection)
    Collection.objects.update(refreshed_at=None, refresh_problem="The account is not responding.")
    assert as_bob.get(f"/collections/{collection.pk}/latest/").status_code == 502
    assert get(f"{collection.pk}/latest/manifest.json").json()["code"] == 502


def test_the_latest_run_of_a_busy_account_is_a_503_with_retry_after(
    as_bob: Client, get: Get, crawlers: Team
) -> None:
    collection = make_remote_collection(make_account(crawlers))
    sync.note_problem(collection, "It is busy. Try again in 30 seconds.", retry_after=30)
    for response in (
        as_bob.get(f"/collections/{collection.pk}/latest/"),
        get(f"{collection.pk}/latest/manifest.json"),
    ):
        assert response.status_code == 503
        assert response.headers["Retry-After"] in {"29", "30"}
        assert "It is busy. Try again in 30 seconds." in response.content.decode()
