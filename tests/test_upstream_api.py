"""The list of runs that an account sends, and how it is read."""

import json
import logging
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import requests
import responses
import time_machine
from django.conf import settings as django_settings
from pytest_django import Settings

from collections_app.models import Account, Collection, FileKind, Kind, Team
from collections_app.sources.base import SourceBusy, SourceTimeout, SourceUnavailable
from collections_app.sources.upstream import http, runs
from collections_app.sources.upstream.runs import (
    Listing,
    RemoteFile,
    RemoteRun,
    UnreadableRun,
    list_runs,
    try_key,
)
from tests.support.upstream import KEY

BASE = "https://multicartapi.com/api/v1"
LIST = f"{BASE}/schedules/collections/results/download/"
FOLDER = f"{BASE}/results/101/88/"

# As in the vendor's documentation.
RUN = {
    "id": 88,
    "collection": 101,
    "is_download_generated": True,
    "download_links": {
        "pages": [f"{FOLDER}AU Laptops_88_Results_Page_1.json"],
        "all_pages": f"{FOLDER}AU Laptops_88_Results_All_Pages.zip",
    },
    "total_exacted_result": 250,
    "total_results": 251,
    "created_at": "2026-06-20T12:00:00Z",
    "updated_at": "2026-06-20T12:05:00Z",
}
PAGE = RemoteFile(FileKind.PAGE, 1, "AU Laptops_88_Results_Page_1.json")
ARCHIVE = RemoteFile(FileKind.ARCHIVE, 0, "AU Laptops_88_Results_All_Pages.zip")
MISSING = object()


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "_PAUSES", (0, 0))


@pytest.fixture
def vendor() -> Iterator[responses.RequestsMock]:
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        yield mock


def collection(kind: Kind = Kind.AMAZON, base_url: str = BASE, key: str = KEY) -> Collection:
    """Return a connected collection that isn't saved."""
    account = Account(team=Team(name="Crawlers"), name="Main", base_url=base_url)
    account.set_key(key)
    return Collection(team=account.team, account=account, remote_id=101, name="AU Laptops", kind=kind)


def envelope(*runs: object, **changes: Any) -> dict[str, Any]:
    return {"code": 200, "data": list(runs), "status": 1} | changes


def runs_of(vendor: responses.RequestsMock, *runs: object, kind: Kind = Kind.AMAZON) -> list[RemoteRun]:
    vendor.post(LIST, json=envelope(*runs))
    return list_runs(collection(kind), skip=0, limit=50, seconds=5).runs


def changed(**changes: Any) -> dict[str, Any]:
    return {name: value for name, value in (RUN | changes).items() if value is not MISSING}


def problem_of(vendor: responses.RequestsMock, **response: Any) -> str:
    vendor.post(LIST, **response)
    with pytest.raises(SourceUnavailable) as raised:
        list_runs(collection(), skip=0, limit=50, seconds=5)
    return str(raised.value)


# --- the call -----------------------------------------------------------------------------------------------


def test_the_request_is_the_documented_one(vendor: responses.RequestsMock) -> None:
    vendor.post(LIST, json=envelope())
    assert list_runs(collection(), skip=50, limit=5, seconds=5) == Listing([])
    (call,) = vendor.calls
    assert json.loads(call.request.body or "") == {"collection_id": 101, "skip": 50, "limit": 5}
    assert call.request.headers["x-api-key"] == KEY
    assert call.request.headers["Content-Type"] == "application/json"
    assert call.request.headers["User-Agent"] == "scrape-results-dashboard"


def test_a_base_url_may_end_with_a_slash(vendor: responses.RequestsMock) -> None:
    vendor.post(LIST, json=envelope(RUN))
    (run,) = list_runs(collection(base_url=f"{BASE}/"), skip=0, limit=5, seconds=5).runs
    assert run.files == (PAGE, ARCHIVE)


@pytest.mark.parametrize(
    "base_url",
    [
        "https://evil.example/api/v1",
        "http://multicartapi.com/api/v1",
        "https://multicartapi.com:444/api/v1",
        "https://multicartapi.com@evil.example/api/v1",
        "https://key@multicartapi.com/api/v1",
        "https://multicartapi.com.evil.example/api/v1",
        "https://multicartapi.com\\@evil.example/",
        "https://multicartapi.com/api/v1?a=b",
        "https://multicartapi.com/../api/v1",
        "https://multicartapi.com/a/%2e%2e/v1",
        "ftp://multicartapi.com/api/v1",
        "https:///api/v1",
        "nonsense",
    ],
)
def test_no_other_server_is_ever_called(vendor: responses.RequestsMock, base_url: str) -> None:
    with pytest.raises(SourceUnavailable):
        list_runs(collection(base_url=base_url), skip=0, limit=5, seconds=5)
    with pytest.raises(SourceUnavailable):
        try_key(base_url, KEY, seconds=5)
    assert len(vendor.calls) == 0


@pytest.mark.parametrize("origin", ["https://MultiCartAPI.com", "https://multicartapi.com:443"])
def test_the_same_origin_can_be_spelled_differently(
    vendor: responses.RequestsMock, settings: Settings, origin: str
) -> None:
    settings.UPSTREAM_ORIGINS = [origin]
    assert runs_of(vendor, RUN)


def test_a_disconnected_account_is_not_called(vendor: responses.RequestsMock) -> None:
    with pytest.raises(SourceUnavailable, match="“Main” is disconnected"):
        list_runs(collection(key=""), skip=0, limit=5, seconds=5)
    assert len(vendor.calls) == 0


@pytest.mark.parametrize("key", ["two\nlines", " spaced", "Schlüssel", ""])
def test_an_invalid_key_is_not_sent(vendor: responses.RequestsMock, key: str) -> None:
    with pytest.raises(SourceUnavailable, match="isn't a valid API key"):
        try_key(BASE, key, seconds=5)
    assert len(vendor.calls) == 0


def test_each_process_has_its_own_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = http._adapter(os.getpid())
    assert http._adapter(os.getpid()) is ours
    assert http._adapter(-1) is not ours


# --- a run --------------------------------------------------------------------------------------------------


def test_a_run_as_documented(vendor: responses.RequestsMock) -> None:
    assert runs_of(vendor, RUN) == [
        RemoteRun(
            number=88,
            is_ready=True,
            extracted=250,
            total=251,
            created_at=datetime(2026, 6, 20, 12, 0, tzinfo=UTC),
            updated_at=datetime(2026, 6, 20, 12, 5, tzinfo=UTC),
            files=(PAGE, ARCHIVE),
        )
    ]


def test_a_category_run_has_only_a_list(vendor: responses.RequestsMock) -> None:
    links = {"pages": [f"{FOLDER}category_asins.json"], "all_pages": None, "csv": f"{FOLDER}x.csv"}
    (run,) = runs_of(vendor, changed(download_links=links), kind=Kind.AMAZON_CATEGORY)
    assert run.files == (RemoteFile(FileKind.CATEGORY_LIST, 0, "category_asins.json"),)


def test_pages_are_numbered_by_position(vendor: responses.RequestsMock) -> None:
    links = {"pages": [f"{FOLDER}{name}.json" for name in ("c", "a", "b")], "all_pages": None}
    (run,) = runs_of(vendor, changed(download_links=links))
    assert [(file.position, file.remote_name) for file in run.files] == [
        (1, "c.json"),
        (2, "a.json"),
        (3, "b.json"),
    ]


@pytest.mark.parametrize("links", [None, MISSING, {"pages": [], "all_pages": None}, {}])
@pytest.mark.parametrize("flag", [False, None, MISSING, 0, "false", "", "no", [], 2])
def test_a_run_that_is_not_ready_has_no_files(vendor: responses.RequestsMock, links: Any, flag: Any) -> None:
    (run,) = runs_of(vendor, changed(is_download_generated=flag, download_links=links))
    assert not run.is_ready
    assert run.files == ()


def test_links_of_an_unfinished_run_are_ignored(vendor: responses.RequestsMock) -> None:
    (run,) = runs_of(vendor, changed(is_download_generated=False))
    assert (run.is_ready, run.files) == (False, ())


@pytest.mark.parametrize("flag", [True, 1, "true", "True", "1"])
def test_ready_can_be_spelled_in_several_ways(vendor: responses.RequestsMock, flag: Any) -> None:
    (run,) = runs_of(vendor, changed(is_download_generated=flag))
    assert run.is_ready


@pytest.mark.parametrize(
    "links",
    [
        None,
        MISSING,
        {},
        [],
        "https://multicartapi.com/",
        {"pages": None},
        {"pages": []},
        {"pages": f"{FOLDER}1.json"},
        {"pages": {"1": f"{FOLDER}1.json"}},
        {"pages": [None, 5, {}, []]},
        {"pages": ["https://evil.example/1.json"], "all_pages": 7},
    ],
)
def test_a_ready_run_without_valid_links_is_logged(
    vendor: responses.RequestsMock, links: Any, caplog: pytest.LogCaptureFixture
) -> None:
    (run,) = runs_of(vendor, changed(download_links=links))
    assert (run.is_ready, run.files) == (True, ())
    (line,) = caplog.messages
    assert "run=88 problem=ready with 0 valid and " in line
    assert line.endswith(" invalid links")


@pytest.mark.parametrize(
    ("fields", "extracted", "total"),
    [
        ({"total_exacted_result": "250", "total_results": " 0251 "}, 250, 251),
        ({"total_exacted_result": None, "total_results": None}, None, None),
        ({"total_exacted_result": MISSING, "total_results": MISSING}, None, None),
        ({"total_exacted_result": MISSING, "total_extracted_result": 7}, 7, 251),
        ({"total_exacted_result": None, "total_extracted_result": "7"}, 7, 251),
        ({"total_exacted_result": 250.0, "total_results": "251.0"}, 250, 251),
        ({"total_exacted_result": -1, "total_results": 2**63}, None, None),
        ({"total_exacted_result": 2**63 - 1, "total_results": 1e300}, 2**63 - 1, None),
        ({"total_exacted_result": True, "total_results": "many"}, None, None),
        ({"total_exacted_result": 2.5, "total_results": [1]}, None, None),
        ({"total_exacted_result": float("nan"), "total_results": "٣"}, None, None),
    ],
)
def test_counts_are_numbers_or_unknown(
    vendor: responses.RequestsMock, fields: dict[str, Any], extracted: int | None, total: int | None
) -> None:
    (run,) = runs_of(vendor, changed(**fields))
    assert (run.extracted, run.total) == (extracted, total)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-06-20T12:00:00Z", datetime(2026, 6, 20, 12, tzinfo=UTC)),
        ("2026-06-20T12:00:00+10:00", datetime(2026, 6, 20, 2, tzinfo=UTC)),
        ("2026-06-20T12:00:00", datetime(2026, 6, 20, 12, tzinfo=UTC)),
        ("2026-06-20 12:00:00.123456789Z", datetime(2026, 6, 20, 12, 0, 0, 123456, tzinfo=UTC)),
    ],
)
def test_times_are_in_utc_by_default(vendor: responses.RequestsMock, text: str, moment: datetime) -> None:
    (run,) = runs_of(vendor, changed(created_at=text))
    assert run.created_at == moment


NO_TIMES = [None, MISSING, "", "yesterday", 1781956800, "0001-01-01T00:00:00Z", "9999-12-31T23:59:59-10:00"]


@pytest.mark.parametrize("nothing", NO_TIMES)
def test_if_one_time_is_missing_the_other_is_used(vendor: responses.RequestsMock, nothing: Any) -> None:
    created, updated = runs_of(vendor, changed(id=1, created_at=nothing), changed(id=2, updated_at=nothing))
    assert created.created_at == created.updated_at == datetime(2026, 6, 20, 12, 5, tzinfo=UTC)
    assert updated.created_at == updated.updated_at == datetime(2026, 6, 20, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        (None, "it isn't an object"),
        ("88", "it isn't an object"),
        ([RUN], "it isn't an object"),
        *((changed(id=number), "it has no ID") for number in (None, MISSING, "x", True, -1, 2**63, 1.5)),
        *((changed(created_at=no, updated_at=no), "it has no time") for no in NO_TIMES),
        (changed(collection=102), "it belongs to collection 102"),
        (changed(download_links={"pages": ["1.json"] * 10_001}), "it has 10001 pages"),
    ],
)
def test_an_unreadable_run_does_not_affect_the_others(
    vendor: responses.RequestsMock, entry: Any, problem: str, caplog: pytest.LogCaptureFixture
) -> None:
    processing = {"is_download_generated": False}
    runs = runs_of(vendor, changed(id="90", **processing), entry, changed(id=80, **processing))
    assert [run.number for run in runs] == [90, 80]
    (line,) = caplog.messages
    assert line.startswith("upstream run not understood: account=None collection=None run=")
    assert line.endswith(f"problem={problem}")


def test_a_run_may_have_as_many_pages_as_the_limit(
    vendor: responses.RequestsMock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "MAX_PAGES", 3)
    links = {"pages": [f"{FOLDER}{page}.json" for page in range(1, 5)]}
    (run,) = runs_of(vendor, changed(download_links={"pages": links["pages"][:3]}))
    assert len(run.files) == 3
    vendor.reset()
    vendor.post(LIST, json=envelope(changed(download_links=links)))
    listing = list_runs(collection(), skip=0, limit=5, seconds=5)
    assert listing.entries == [UnreadableRun(88, "more than 3 pages")]


@pytest.mark.parametrize("value", [None, MISSING, "101", [], "x"])
def test_the_collection_of_a_run_is_optional(vendor: responses.RequestsMock, value: Any) -> None:
    assert runs_of(vendor, changed(collection=value))


def test_unknown_keys_are_ignored(vendor: responses.RequestsMock) -> None:
    vendor.post(LIST, json=envelope(changed(secret={"a": 1}), more="of it"))
    assert len(list_runs(collection(), skip=0, limit=5, seconds=5).runs) == 1


def test_a_run_listed_twice_counts_once(vendor: responses.RequestsMock) -> None:
    first, *others = runs_of(vendor, RUN, changed(total_results=9))
    assert (first.total, others) == (251, [])


def test_no_more_runs_are_returned_than_requested(
    vendor: responses.RequestsMock, caplog: pytest.LogCaptureFixture
) -> None:
    vendor.post(LIST, json=envelope(*(changed(id=number) for number in range(9, 0, -1))))
    listing = list_runs(collection(), skip=0, limit=2, seconds=5)
    assert [run.number for run in listing.runs] == [9, 8]
    assert "9 runs were sent, 2 were requested" in caplog.text


# --- links --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("link", "name"),
    [
        (f"{FOLDER}AU Laptops.json", "AU Laptops.json"),
        (f"{FOLDER}AU%20Laptops.json", "AU Laptops.json"),
        ("https://MULTICARTAPI.com:443/api/v1/results/101/88/a.json", "a.json"),
        (f"{FOLDER}Größe 列😀.json", "Größe 列😀.json"),
        (f"{FOLDER}Gr%C3%B6%C3%9Fe.json", "Größe.json"),
        (f"{FOLDER}100%25.json", "100%.json"),
        (f"{FOLDER}100% cotton.json", "100% cotton.json"),
        (f"{FOLDER}%252e%252e", "%2e%2e"),
        (f"{FOLDER}%23%3F.json", "#?.json"),
        (f"{FOLDER}..json", "..json"),
        (f"{FOLDER}{'x' * 1000}", "x" * 1000),
    ],
)
def test_a_name_is_the_last_part_of_the_link_decoded_once(
    vendor: responses.RequestsMock, link: str, name: str
) -> None:
    (run,) = runs_of(vendor, changed(download_links={"pages": [link]}))
    assert [file.remote_name for file in run.files] == [name]


@pytest.mark.parametrize(
    "link",
    [
        "https://evil.example/api/v1/results/101/88/a.json",
        "http://multicartapi.com/api/v1/results/101/88/a.json",
        "https://multicartapi.com:8443/api/v1/results/101/88/a.json",
        "https://multicartapi.com:/api/v1/results/101/88/a.json",
        "https://multicartapi.com:443443/api/v1/results/101/88/a.json",
        "https://multicartapi.com@evil.example/api/v1/results/101/88/a.json",
        "https://evil.example@multicartapi.com/api/v1/results/101/88/a.json",
        "https://multicartapi.com.evil.example/api/v1/results/101/88/a.json",
        "https://multicartapi.com\\.evil.example/api/v1/results/101/88/a.json",
        "https://multicartapi.com\n.evil.example/api/v1/results/101/88/a.json",
        "//multicartapi.com/api/v1/results/101/88/a.json",
        "/api/v1/results/101/88/a.json",
        "a.json",
        "",
        f"{BASE}/results/102/88/a.json",
        f"{BASE}/results/101/89/a.json",
        f"{BASE}/results/0101/88/a.json",
        f"{BASE}/results/101/88",
        f"{BASE}/results/101/x/../88/a.json",
        f"{BASE}/results/101%2F88/a.json",
        "https://multicartapi.com/api/v2/results/101/88/a.json",
        "https://multicartapi.com/results/101/88/a.json",
        FOLDER,
        f"{FOLDER}..",
        f"{FOLDER}.",
        f"{FOLDER}%2e%2E",
        f"{FOLDER}b/a.json",
        f"{FOLDER}../89/a.json",
        f"{FOLDER}..%2F89%2Fa.json",
        f"{FOLDER}b%5Ca.json",
        f"{FOLDER}b\\a.json",
        f"{FOLDER}a.json?b=c",
        f"{FOLDER}a.json#b",
        f"{FOLDER}a%00.json",
        f"{FOLDER}a%0D%0Ab.json",
        f"{FOLDER}a\nb.json",
        f"{FOLDER}%FF.json",
        f"{FOLDER}\ud800.json",
        f"{FOLDER}{'x' * 1001}",
        f" {FOLDER}a.json",
        7,
    ],
)
def test_any_other_link_is_rejected_and_logged(
    vendor: responses.RequestsMock, link: Any, caplog: pytest.LogCaptureFixture
) -> None:
    links = {"pages": [f"{FOLDER}good.json"], "all_pages": link}
    (run,) = runs_of(vendor, changed(download_links=links))
    assert run.files == (RemoteFile(FileKind.PAGE, 1, "good.json"),)
    (line,) = caplog.messages
    assert line.endswith("run=88 problem=ready with 1 valid and 1 invalid links")


@pytest.mark.parametrize("link", [None, 7, "https://evil.example/1.json", f"{FOLDER}b/a.json"])
def test_if_one_page_is_rejected_the_run_has_no_files(
    vendor: responses.RequestsMock, link: Any, caplog: pytest.LogCaptureFixture
) -> None:
    links = {"pages": [f"{FOLDER}1.json", link, f"{FOLDER}3.json"], "all_pages": f"{FOLDER}all.zip"}
    (run,) = runs_of(vendor, changed(download_links=links))
    assert (run.is_ready, run.files) == (True, ())
    (line,) = caplog.messages
    assert line.endswith("run=88 problem=ready with 0 valid and 1 invalid links")


@pytest.mark.parametrize(
    "links",
    [
        {"pages": [f"{FOLDER}1.json", f"{FOLDER}2.json"], "all_pages": None},
        {"pages": [f"{FOLDER}1.json"], "all_pages": f"{FOLDER}all.zip"},
    ],
)
def test_a_page_of_products_is_not_accepted_as_a_category_list(
    vendor: responses.RequestsMock, links: Any, caplog: pytest.LogCaptureFixture
) -> None:
    (run,) = runs_of(vendor, changed(download_links=links), kind=Kind.AMAZON_CATEGORY)
    assert (run.is_ready, run.files) == (True, ())
    assert len(caplog.messages) == 1


# --- what goes wrong ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (400, "didn't understand the request"),
        (401, "rejected the API key"),
        (402, "requires payment"),
        (403, "has no access to this collection"),
        (404, "doesn't have this collection"),
        (409, "didn't send a list of runs"),
        (429, "too many requests"),
        (500, "reports an internal error (code 500)"),
        (599, "reports an internal error (code 599)"),
        ("401", "rejected the API key"),
        (None, "didn't send a list of runs"),
        (True, "didn't send a list of runs"),
        ("secret words of the vendor", "didn't send a list of runs"),
    ],
)
def test_an_error_code_with_http_200_has_our_message(
    vendor: responses.RequestsMock, code: Any, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    refusal = {"code": code, "data": "secret words of the vendor", "status": 0}
    sentence = problem_of(vendor, json=refusal)
    assert sentence.startswith("The account “Main” ")
    assert words in sentence
    assert len(sentence) <= 300
    assert "secret words" not in caplog.text
    assert caplog.messages == [
        f"upstream list failed: account=None collection=None problem={sentence} cause=None"
    ]


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (400, "didn't understand"),
        (401, "rejected the API key"),
        (403, "has no access"),
        (404, "Check its base address"),
        (429, "too many requests"),
        (500, "reports an internal error"),
        (503, "reports an internal error"),
        (301, "redirects to another address"),
        (307, "redirects to another address"),
    ],
)
def test_an_http_error_has_our_message_with_or_without_an_envelope(
    vendor: responses.RequestsMock, status: int, words: str
) -> None:
    headers = {"Location": "https://evil.example/"}
    assert words in problem_of(vendor, status=status, body="<h1>secret</h1>", headers=headers)
    if status != 404:  # a 404 means that the collection is missing
        assert words in problem_of(vendor, status=status, json=envelope(RUN), headers=headers)
    assert {call.request.url for call in vendor.calls} == {LIST}


@pytest.mark.parametrize(
    "body",
    [
        "",
        "<!doctype html><title>Sign in</title>",
        "[]",
        "null",
        "1",
        '"text"',
        "{}",
        '{"code": 200, "data": []}',
        '{"code": 200, "status": 1}',
        '{"code": 200, "data": null, "status": 1}',
        '{"code": 200, "data": {"88": {}}, "status": 1}',
        '{"code": 200, "data": "none", "status": 1}',
        '{"code": 200, "data": [], "status": "error"}',
        '{"code": 200, "data": [',
        "[" * 100_000,
        '{"id": ' + "9" * 5000 + "}",
        b"\xff\xfe\x00{",
    ],
)
def test_an_invalid_response_with_http_200_is_reported(
    vendor: responses.RequestsMock, body: str | bytes
) -> None:
    assert "didn't send a list of runs" in problem_of(vendor, body=body)


def test_a_response_is_read_up_to_the_limit(
    vendor: responses.RequestsMock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "MAX_JSON_BYTES", 1000)
    assert "too much data" in problem_of(vendor, json=envelope("x" * 1000))


@pytest.mark.parametrize(
    ("retry_after", "seconds", "wait"),
    [
        ("30", 30, "30 seconds"),
        (" 1 ", 1, "1 second"),
        ("0", 1, "1 second"),
        ("300", 300, "5 minutes"),
        ("Sat, 20 Jun 2026 12:00:45 GMT", 45, "45 seconds"),
        ("Saturday, 20-Jun-26 12:02:01 GMT", 121, "3 minutes"),
        ("Sat, 20 Jun 2026 11:00:00 GMT", 1, "1 second"),
        ("Sat, 20 Jun 2099 11:00:00 GMT", 3600, "60 minutes"),
        ("86400", 3600, "60 minutes"),
        ("9" * 18, 3600, "60 minutes"),
    ],
)
@pytest.mark.parametrize(
    ("busy", "words"),
    [
        ({"status": 429}, "is receiving too many requests"),
        ({"json": {"code": 429, "data": "slow down", "status": 0}}, "is receiving too many requests"),
        ({"status": 503}, "is unavailable"),
        ({"json": {"code": 503, "data": "later", "status": 0}}, "is unavailable"),
    ],
    ids=str,
)
def test_a_response_with_retry_after_is_not_retried(
    vendor: responses.RequestsMock,
    busy: dict[str, Any],
    words: str,
    retry_after: str,
    seconds: int,
    wait: str,
) -> None:
    vendor.post(LIST, **busy, headers={"Retry-After": retry_after})
    with (
        time_machine.travel(datetime(2026, 6, 20, 12, tzinfo=UTC), tick=False),
        pytest.raises(SourceBusy) as raised,
    ):
        list_runs(collection(), skip=0, limit=5, seconds=5)
    assert raised.value.retry_after == seconds
    assert str(raised.value) == f"The account “Main” {words}. Try again in {wait}."
    assert len(vendor.calls) == 1


@pytest.mark.parametrize(
    "nonsense", [None, "", "soon", "-1", "1.5", "1e3", "9" * 19, "²", "Sat, 99 Jun 2026"]
)
def test_without_a_valid_time_429_waits_a_minute_and_503_is_an_error(
    vendor: responses.RequestsMock, nonsense: str | None
) -> None:
    headers = {} if nonsense is None else {"Retry-After": nonsense}
    vendor.post(LIST, status=429, headers=headers)
    with pytest.raises(SourceBusy, match="Try again in 60 seconds") as raised:
        list_runs(collection(), skip=0, limit=5, seconds=5)
    assert raised.value.retry_after == 60
    vendor.reset()
    assert "reports an internal error" in problem_of(vendor, status=503, headers=headers)
    assert len(vendor.calls) == 3


@pytest.mark.parametrize(
    "trouble", [{"status": 500}, {"json": {"code": 500, "data": "no", "status": 0}}], ids=str
)
def test_an_internal_error_is_not_retried(vendor: responses.RequestsMock, trouble: dict[str, Any]) -> None:
    assert "reports an internal error (code 500)" in problem_of(vendor, **trouble)
    assert len(vendor.calls) == 1


def test_temporary_errors_are_tried_three_times(vendor: responses.RequestsMock) -> None:
    vendor.post(LIST, body=requests.ConnectionError("secret"))
    vendor.post(LIST, status=503)
    vendor.post(LIST, json=envelope(RUN))
    assert len(list_runs(collection(), skip=0, limit=50, seconds=5).runs) == 1
    assert len(vendor.calls) == 3


@pytest.mark.parametrize(
    ("error", "sentence", "tries"),
    [
        (requests.ConnectionError(KEY), "The account “Main” is not responding. Try again later.", 3),
        (
            requests.exceptions.SSLError(KEY),
            (
                "The account “Main” can't be reached securely: its certificate isn't valid. "
                "Check its base address."
            ),
            1,
        ),
        (requests.ReadTimeout(KEY), "The account “Main” took too long to respond. Try again later.", 1),
        (requests.ConnectTimeout(KEY), "The account “Main” took too long to respond. Try again later.", 1),
        (OSError(KEY), "The account “Main” is not responding. Try again later.", 1),
    ],
)
def test_connection_errors_have_a_message_without_the_key(
    vendor: responses.RequestsMock,
    error: Exception,
    sentence: str,
    tries: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    assert problem_of(vendor, body=error) == sentence
    assert len(vendor.calls) == tries
    assert caplog.messages == [
        f"upstream list failed: account=None collection=None problem={sentence} cause={type(error).__name__}"
    ]
    assert KEY not in caplog.text


@pytest.mark.parametrize(
    "response",
    [
        {"body": requests.ReadTimeout()},
        {"status": 504},
        {"json": {"code": 504, "data": "late", "status": 0}},
    ],
    ids=str,
)
def test_a_late_response_is_a_timeout(vendor: responses.RequestsMock, response: dict[str, Any]) -> None:
    vendor.post(LIST, **response)
    with pytest.raises(SourceTimeout):
        list_runs(collection(), skip=0, limit=50, seconds=5)


def test_nothing_is_retried_shortly_before_the_deadline(
    vendor: responses.RequestsMock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "_PAUSES", (10, 10))
    problem_of(vendor, status=503)
    assert len(vendor.calls) == 1


def test_the_repr_of_a_server_has_no_key() -> None:
    assert KEY not in repr(http.Server("The account", BASE, {"x-api-key": KEY}))


# --- trying a key -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "response",
    [
        envelope(),
        envelope(RUN),
        *({"code": code, "data": "words", "status": 0} for code in (400, 403, 404)),
    ],
)
def test_a_valid_key_is_accepted(vendor: responses.RequestsMock, response: dict[str, Any]) -> None:
    vendor.post(LIST, json=response)
    try_key(BASE, KEY, seconds=5)
    (call,) = vendor.calls
    assert json.loads(call.request.body or "") == {"collection_id": 1, "skip": 0, "limit": 1}
    assert call.request.headers["x-api-key"] == KEY


@pytest.mark.parametrize(
    ("response", "words"),
    [
        ({"json": {"code": 401, "data": "no", "status": 0}}, "rejected the API key"),
        ({"json": {"code": 402, "data": "no", "status": 0}}, "requires payment"),
        ({"json": {"code": 429, "data": "no", "status": 0}}, "too many requests"),
        ({"json": {"code": 500, "data": "no", "status": 0}}, "reports an internal error"),
        ({"json": {"data": "no", "status": 0}}, "didn't send a list of runs"),
        ({"status": 401, "body": "no"}, "rejected the API key"),
        ({"status": 403, "json": {"code": 403, "data": "no", "status": 0}}, "rejected the API key"),
        ({"status": 404, "body": "no"}, "Check its base address"),
        ({"body": "<html>"}, "didn't send a list of runs"),
        ({"json": []}, "didn't send a list of runs"),
        ({"status": 302, "headers": {"Location": LIST}}, "redirects to another address"),
        ({"body": requests.ReadTimeout()}, "took too long"),
        ({"body": requests.ConnectionError()}, "is not responding"),
    ],
    ids=str,
)
def test_other_responses_to_a_key_are_reported(
    vendor: responses.RequestsMock, response: dict[str, Any], words: str, caplog: pytest.LogCaptureFixture
) -> None:
    vendor.post(LIST, **response)
    with pytest.raises(SourceUnavailable, match=f"^The server multicartapi.com .*{words}"):
        try_key(BASE, KEY, seconds=5)
    (line,) = caplog.messages
    assert line.startswith("upstream key failed: server=https://multicartapi.com:443 problem=")
    assert KEY not in line


def test_the_vendor_is_the_only_server_unless_the_operator_allows_more() -> None:
    assert django_settings.UPSTREAM_ORIGINS == ["https://multicartapi.com"]
