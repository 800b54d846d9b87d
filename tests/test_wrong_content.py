"""Wrong content from an account is never copied, delivered, counted or stored as the file."""

import gzip
import importlib
import io
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from django.apps import apps
from django.core.management import CommandError, call_command
from django.test import Client
from pytest_django import Settings

from collections_app.files.verification.verify import Verifier
from collections_app.models import Collection, FileKind, Kind, ResultFile, Run, Team
from collections_app.runs.mirror import mirror_run
from collections_app.sources import (
    NotTheFile,
    ResultNotFound,
    SourceBusy,
    SourceTimeout,
    SourceUnavailable,
    deliverable,
)
from collections_app.sources.account import AccountSource
from collections_app.sources.base import IncompleteBody
from collections_app.sources.upstream import http as transport
from tests.support.faults import FileServer, page_bytes
from tests.support.mirrors import zip_of
from tests.support.results import records, store_bytes, stored_bytes
from tests.support.tools import all_or_few
from tests.support.upstream import lists, make_account, make_remote_collection, make_remote_run, remote_run

pytestmark = pytest.mark.django_db

PAGE_1 = "AU Laptops_88_Results_Page_1.json"
PAGE_2 = "AU Laptops_88_Results_Page_2.json"
ZIP = "AU Laptops_88_Results_All_Pages.zip"
LIST = "category_asins.json"
GOOD = {PAGE_1: json.dumps(records(2)).encode(), PAGE_2: json.dumps(records(2, first=3)).encode()}
GOOD[ZIP] = zip_of(GOOD)


def envelope(code: object) -> bytes:
    return json.dumps({"code": code, "data": "canary of theirs", "status": 0}).encode()


NO_PAGES = [
    b"",
    b" \n",
    envelope(500),
    b"\xef\xbb\xbf \n" + envelope(200),
    b"<!DOCTYPE html><html><body>Sign in</body></html>",
    b"Internal Server Error",
    b'{"asins": [{}]}',
    b"null",
    b"17",
    b"[1, 2]",
    b'[{"asin": "B1"}',
    b'[{"asin": "B1"}] more',
    gzip.compress(GOOD[PAGE_1], mtime=0),
    GOOD[ZIP],
    # Longer than the part that is checked first, with an error in that part.
    page_bytes(100_000).replace(b'{"asin"', b'{"asin" 1', 1),
    b"<html>" + b" " * 100_000,
]
NO_ZIPS = [b"", envelope(500), b"<html></html>", b"[]", GOOD[ZIP][:-1], GOOD[ZIP] + b"\n", b"\n" + GOOD[ZIP]]


def shortly(content: object) -> str:
    return repr(content)[:40]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> Iterator[FileServer]:
    """The account's server, with the files of run 88."""
    monkeypatch.setattr(transport, "_PAUSES", (0, 0))
    with FileServer(dict(GOOD)).running() as running:
        settings.UPSTREAM_ORIGINS = [f"http://127.0.0.1:{running.port}"]
        yield running


@pytest.fixture
def remote(crawlers: Team, server: FileServer) -> Collection:
    return make_remote_collection(make_account(crawlers, "Main", base_url=server.base_url))


@pytest.fixture
def run(remote: Collection) -> Run:
    return make_remote_run(remote, pages=2)


def named(run: Run, name: str) -> ResultFile:
    """Return a file of the run, read from the database again."""
    return ResultFile.objects.select_related("run__collection__account").get(run=run, name=name)


def address(run: Run, name: str) -> str:
    return f"/collections/{run.collection_id}/runs/{run.number}/files/{quote(name)}"


def mirror(run: Run) -> list[str]:
    run = Run.objects.select_related("collection__account").get(pk=run.pk)
    return mirror_run(run, AccountSource())


# --- a page -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "has_ranges"),
    all_or_few(
        [*((content, True) for content in NO_PAGES), *((content, False) for content in NO_PAGES[:3])],
        *((NO_PAGES[0], True), (NO_PAGES[2], True), (NO_PAGES[4], True), (NO_PAGES[2], False)),
    ),
    ids=shortly,
)
def test_invalid_pages_are_not_delivered(
    server: FileServer,
    run: Run,
    as_bob: Client,
    content: bytes,
    has_ranges: bool,  # noqa: FBT001
    caplog: pytest.LogCaptureFixture,
) -> None:
    server.contents[PAGE_1], server.has_ranges = content, has_ranges
    for known in (None, len(GOOD[PAGE_1])):
        for asked in ({}, {"Range": "bytes=0-9"}, {"Range": "bytes=5-9"}):
            run.files.filter(name=PAGE_1).update(size=known)
            for answer in (
                as_bob.get(address(run, PAGE_1), headers=asked),
                as_bob.head(address(run, PAGE_1), headers=asked),
            ):
                assert answer.status_code == 502
                assert named(run, PAGE_1).size in {None, known}
    assert "canary" not in caplog.text


@pytest.mark.parametrize("content", all_or_few(NO_PAGES, *NO_PAGES[:3], NO_PAGES[10]), ids=shortly)
def test_invalid_pages_are_retried_and_not_kept(server: FileServer, run: Run, content: bytes) -> None:
    server.contents[PAGE_1] = content
    (problem,) = mirror(run)
    assert problem.startswith(f"{PAGE_1}: The account “Main” sent ")
    assert {file.name for file in run.files.exclude(key="")} == {PAGE_2}
    assert not Run.objects.get(pk=run.pk).is_kept
    server.contents[PAGE_1] = GOOD[PAGE_1]
    assert mirror(run) == []
    assert {file.name: stored_bytes(file) for file in run.files.all()} == GOOD


@pytest.mark.parametrize("content", all_or_few(NO_PAGES[:5], NO_PAGES[2]), ids=shortly)
def test_invalid_pages_are_reported_everywhere_on_the_runs_page(
    server: FileServer, run: Run, as_bob: Client, bobs_key: str, content: bytes
) -> None:
    server.contents[PAGE_1] = content
    said = "The account “Main” sent "
    here = f"/collections/{run.collection_id}/runs/88"
    for path in ("/", "/?q=laptop"):
        shown = as_bob.get(f"{here}{path}")
        assert shown.status_code == 200
        assert said in shown.content.decode()
    (problem,) = Verifier(named(run, PAGE_1).run).verify()
    assert problem.startswith(f"{PAGE_1}: The file can't be read now. {said}")
    answer = as_bob.get(
        f"/api/v1/results/{run.collection_id}/88/{quote(PAGE_1)}", headers={"x-api-key": bobs_key}
    )
    assert (answer.status_code, answer.json()["status"]) == (502, 0)
    assert answer.json()["data"].startswith(said)
    assert as_bob.get(f"{here}/records.jsonl").status_code != 200
    assert "canary" not in as_bob.get(address(run, PAGE_1)).content.decode()


@pytest.mark.parametrize(
    ("code", "status", "error"),
    [
        (404, 404, ResultNotFound),
        ("404", 404, ResultNotFound),
        (200, 502, NotTheFile),
        (400, 502, NotTheFile),
        (500, 502, NotTheFile),
        (None, 502, NotTheFile),
        ("no code", 502, NotTheFile),
        ([404], 502, NotTheFile),
        (401, 502, SourceUnavailable),
        (429, 503, SourceBusy),
        (503, 502, SourceUnavailable),
        (504, 504, SourceTimeout),
    ],
)
def test_a_code_in_an_envelope_means_the_same_as_a_status(
    server: FileServer, run: Run, as_bob: Client, code: object, status: int, error: type[Exception]
) -> None:
    server.contents[PAGE_1] = envelope(code)
    assert as_bob.get(address(run, PAGE_1)).status_code == status
    with pytest.raises(error) as raised:
        deliverable(named(run, PAGE_1))
    assert raised.type is error


def test_wrong_content_does_not_change_a_known_size(server: FileServer, run: Run) -> None:
    size = deliverable(named(run, PAGE_1)).size
    server.contents[PAGE_1], server.has_ranges = envelope(500), False
    for start, length in ((0, size), (5, 10)):
        with pytest.raises(NotTheFile):
            deliverable(named(run, PAGE_1)).body.open(start, length)
    assert named(run, PAGE_1).size == size


def test_an_empty_list_is_a_page(server: FileServer, run: Run, as_bob: Client) -> None:
    server.contents = {PAGE_1: b"[]", PAGE_2: b" [\n]\n"}
    server.contents[ZIP] = zip_of(server.contents)
    answer: Any = as_bob.get(address(run, PAGE_1))
    assert answer.getvalue() == b"[]"
    assert mirror(run) == []


# --- ZIPs and categories ------------------------------------------------------------------------


@pytest.mark.parametrize("content", all_or_few(NO_ZIPS, NO_ZIPS[1], NO_ZIPS[4]), ids=shortly)
def test_invalid_zips_are_neither_delivered_nor_kept(
    server: FileServer, run: Run, as_bob: Client, content: bytes
) -> None:
    server.contents[ZIP] = content
    for answer in (as_bob.get(address(run, ZIP)), as_bob.head(address(run, ZIP))):
        assert answer.status_code == 502
    assert as_bob.get(f"/collections/{run.collection_id}/runs/88/all.zip").status_code == 502
    (problem,) = mirror(run)
    assert problem.startswith(f"{ZIP}: The account “Main” sent ")
    assert (named(run, ZIP).key, named(run, ZIP).size) == ("", None)


@pytest.mark.parametrize(
    "content",
    all_or_few([b"", envelope(500), b"<html></html>", b"[1]", b'{"data": []}'], envelope(500), b"[1]"),
    ids=shortly,
)
def test_invalid_lists_are_not_converted_to_csv(
    crawlers: Team, server: FileServer, as_bob: Client, content: bytes
) -> None:
    account = make_account(crawlers, "Main", base_url=server.base_url)
    run = make_remote_run(make_remote_collection(account, kind=Kind.AMAZON_CATEGORY))
    server.contents[LIST] = content
    for name in (LIST, "category_asins.csv"):
        for answer in (as_bob.get(address(run, name)), as_bob.head(address(run, name))):
            assert answer.status_code == 502
    assert len(mirror(run)) == 1
    assert set(run.files.values_list("key", "size")) == {("", None)}


# --- a wrong end --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (PAGE_1, page_bytes(300_000)[:-1] + b"}"),
        (PAGE_1, page_bytes(300_000) + b"more"),
        (PAGE_1, page_bytes(300_000) + envelope(500)),
        (ZIP, zip_of({"a": page_bytes(300_000)}, 0)[:-1]),
        (ZIP, zip_of({"a": page_bytes(300_000)}, 0)[:250_000]),
    ],
    ids=["wrong bracket", "more", "an envelope at the end", "no end", "cut"],
)
def test_a_wrong_end_is_not_delivered(
    server: FileServer, run: Run, name: str, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    server.contents[name] = content
    found = deliverable(named(run, name))
    for start in (0, 100_000):
        got = io.BytesIO()
        with found.body.open(start, found.size - start) as stream, pytest.raises(IncompleteBody):
            got.writelines(iter(lambda stream=stream: stream.read(10_000), b""))  # type: ignore[misc]
        assert content[start:].startswith(got.getvalue())
        assert 0 < len(got.getvalue()) < found.size - start - 60_000
        assert "the account sent a damaged " in caplog.messages[-1]
    assert [problem for problem in mirror(run) if problem.startswith(name)]
    assert not named(run, name).key


def test_every_range_of_a_large_file_is_delivered(server: FileServer, run: Run) -> None:
    for name, content in ((PAGE_1, page_bytes(300_000)), (ZIP, zip_of({"a": page_bytes(300_000)}, 0))):
        server.contents[name] = content
        found = deliverable(named(run, name))
        for start, length in ((0, found.size), (1, found.size - 1), (found.size - 9, 9), (5, 200_000)):
            with found.body.open(start, length) as stream:
                assert (
                    b"".join(iter(lambda stream=stream: stream.read(7777), b""))  # type: ignore[misc]
                    == (content[start : start + length])
                )


# --- the command, and copies from earlier versions ----------------------------------------------


def test_the_command_copies_the_rest_fails_and_retries_next_time(
    monkeypatch: pytest.MonkeyPatch,
    remote: Collection,
    server: FileServer,
    capsys: pytest.CaptureFixture[str],
) -> None:
    lists(monkeypatch, [remote_run(88, pages=2), remote_run(89)])
    server.contents[PAGE_1] = envelope(500)
    server.contents |= {
        name.replace("_88_", "_89_"): content for name, content in GOOD.items() if name != ZIP
    }
    page = "AU Laptops_89_Results_Page_1.json"
    server.contents[ZIP.replace("_88_", "_89_")] = zip_of({page: server.contents[page]})
    with pytest.raises(CommandError, match=r"^Some files could not be copied\. To try again"):
        call_command("mirror", "AU Laptops", stdout=io.StringIO())
    assert capsys.readouterr().err == (
        f"Run 88: {PAGE_1}: The account “Main” sent an error (code 500) instead of this file. "
        "Try again later.\n"
    )
    assert list(Run.objects.filter(is_kept=True).values_list("number", flat=True)) == [89]
    server.contents[PAGE_1] = GOOD[PAGE_1]
    call_command("mirror", "AU Laptops", stdout=io.StringIO())
    assert Run.objects.filter(is_kept=True).count() == 2


def test_invalid_pages_kept_by_earlier_versions_are_copied_again(
    server: FileServer, run: Run, as_bob: Client
) -> None:
    assert mirror(run) == []
    page = named(run, PAGE_1)
    store_bytes(page.key, envelope(500))
    # As earlier versions recorded it: kept without a count, as it isn't a list.
    ResultFile.objects.filter(pk=page.pk).update(size=len(envelope(500)), sha256="", records=None)
    upgrade = importlib.import_module("collections_app.migrations.0012_damaged_copies")
    upgrade.mark_invalid_lists(apps, None)
    assert list(run.files.filter(is_damaged=True)) == [page]
    assert as_bob.get(address(run, PAGE_1)).status_code == 502
    assert Run.objects.to_keep().get() == run
    assert mirror(run) == []
    assert {file.name: stored_bytes(file) for file in run.files.all()} == GOOD
    assert Run.objects.get(pk=run.pk).is_kept
    assert named(run, PAGE_1).kind == FileKind.PAGE


def test_a_damaged_copy_is_not_converted_to_csv(crawlers: Team, server: FileServer, as_bob: Client) -> None:
    account = make_account(crawlers, "Main", base_url=server.base_url)
    run = make_remote_run(make_remote_collection(account, kind=Kind.AMAZON_CATEGORY))
    server.contents[LIST] = b'[{"asin": "B1"}]'
    assert mirror(run) == []
    run.files.filter(name=LIST).update(is_damaged=True)
    run.files.exclude(name=LIST).update(key="", size=None)
    assert as_bob.get(address(run, "category_asins.csv")).status_code == 502
