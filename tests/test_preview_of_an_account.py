"""The page of a run whose files are at an account: its requests to the account, and their failures."""

import json
import re
from collections.abc import Iterator

import pytest
from django.core.files.storage import storages
from django.test import Client
from pytest_django import Settings

from collections_app.models import Collection, Kind, ResultFile, Run, Team
from collections_app.runs.mirror import mirror_run
from collections_app.sources.upstream import http as transport
from collections_app.system import background
from tests.support.faults import Fault, FaultProxy, FileServer, random_bytes
from tests.support.mirrors import files_of
from tests.support.previews import at_once  # noqa: F401
from tests.support.results import records
from tests.support.upstream import make_account, make_remote_collection, make_remote_run
from tests.test_view_run import HTMX, address, numbers, page, words

pytestmark = pytest.mark.django_db


def name(number: int) -> str:
    return f"AU Laptops_88_Results_Page_{number}.json"


@pytest.fixture
def server() -> Iterator[FileServer]:
    pages = {
        name(1): json.dumps(records(60)).encode(),
        name(2): json.dumps(records(60, first=61)).encode(),
        name(3): json.dumps(records(60, first=121)).encode(),
    }
    with FileServer(pages).running() as running:
        yield running


@pytest.fixture
def proxy(server: FileServer, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    monkeypatch.setattr(transport, "_PAUSES", (0, 0))
    with FaultProxy(server.port).running() as running:
        settings.UPSTREAM_ORIGINS = [f"http://127.0.0.1:{running.port}"]
        yield running


@pytest.fixture
def remote(crawlers: Team, proxy: FaultProxy) -> Collection:
    return make_remote_collection(make_account(crawlers, "Main", base_url=proxy.base_url))


@pytest.fixture
def run(remote: Collection) -> Run:
    return make_remote_run(remote, pages=3)


def test_the_first_records_are_downloaded_for_the_page(as_bob: Client, run: Run) -> None:
    text = page(as_bob, run)
    assert numbers(text) == list(range(1, 101))
    assert "load-more" in text


def test_they_are_downloaded_once(as_bob: Client, run: Run, server: FileServer) -> None:
    page(as_bob, run)
    before = len(server.asked)
    assert len(numbers(page(as_bob, run))) == 100
    assert len(server.asked) == before


def test_searching_downloads_the_entire_run(as_bob: Client, run: Run) -> None:
    text = page(as_bob, run, "?q=%22Laptop+150%22")
    assert numbers(text) == [150]
    assert "Records read 180" in words(as_bob.get(address(run, "facts?read=1")).content.decode())


def test_only_the_first_bytes_of_a_large_file_are_downloaded(
    as_bob: Client, remote: Collection, server: FileServer
) -> None:
    large = json.dumps([{"text": "x" * 1000}] * 5000).encode()
    server.contents[name(1)] = large
    run = make_remote_run(remote, size=len(large))
    assert len(numbers(page(as_bob, run))) == 100
    (entry,) = [path for path in _entries() if path.endswith(".first")]
    assert storages["converted"].size(entry) == 1024 * 1024


def _entries() -> list[str]:
    return storages["converted"].listdir("")[1]


def test_the_page_works_if_the_account_does_not_respond(
    as_bob: Client, run: Run, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "READ_SECONDS", 0.2)
    proxy.fault = lambda: Fault(delay=600)
    text = page(as_bob, run)
    assert "took too long" in words(text)
    assert "Run 88" in words(text)
    assert name(3) in text


def test_the_page_does_not_wait_for_a_slow_account(
    as_bob: Client, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting: list[object] = []
    monkeypatch.setattr(background, "in_background", lambda work, **_: waiting.append(work))
    monkeypatch.setattr("collections_app.records.preview.first_records.SECONDS", 0.01)
    text = page(as_bob, run)
    assert "MultiCartAPI is slow to respond." in words(text)
    assert 'hx-trigger="load delay:3s"' in text
    page(as_bob, run, **HTMX)
    (work,) = waiting
    assert callable(work)
    work()
    assert len(numbers(page(as_bob, run, **HTMX))) == 100


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Fault(cut_after=50), "Main"),
        (Fault(cut_after=3000), "Main"),
        (Fault(cut_after=100_000), "stopped"),
        # Bytes sent before a reset may be lost.
        (Fault(cut_after=100_000, is_reset=True), "stopped|is not responding"),
    ],
)
def test_an_interrupted_download_is_reported(
    as_bob: Client, run: Run, server: FileServer, proxy: FaultProxy, fault: Fault, said: str
) -> None:
    server.contents[name(1)] = json.dumps(records(2000)).encode()
    ResultFile.objects.filter(run=run).update(size=len(server.contents[name(1)]))
    proxy.fault = lambda: fault
    for query in ("", "?q=laptop"):
        text = words(page(as_bob, run, query))
        assert re.search(said, text)
        assert "Traceback" not in text
    assert [entry for entry in _entries() if not entry.endswith(".lock")] == []


def test_invalid_json_is_reported(as_bob: Client, remote: Collection, server: FileServer) -> None:
    server.contents[name(1)] = random_bytes(5000)
    run = make_remote_run(remote)
    for query in ("", "?q=laptop"):
        assert "The account “Main” sent something that is not a list" in words(page(as_bob, run, query))


def test_a_file_that_the_account_no_longer_has(as_bob: Client, run: Run, server: FileServer) -> None:
    server.contents.clear()
    for query in ("", "?q=laptop"):
        assert "The account no longer has this file." in words(page(as_bob, run, query))


def test_a_disconnected_account(as_bob: Client, run: Run) -> None:
    account = run.collection.account
    assert account
    account.set_key("")
    account.save()
    text = words(page(as_bob, run))
    assert "Main" in text
    assert name(1) in text


def test_a_category_run_of_an_account_has_no_zip(
    as_bob: Client, crawlers: Team, proxy: FaultProxy, server: FileServer
) -> None:
    server.contents["category_asins.json"] = json.dumps(records(3)).encode()
    account = make_account(crawlers, "Main", base_url=proxy.base_url)
    run = make_remote_run(make_remote_collection(account, kind=Kind.AMAZON_CATEGORY))
    text = page(as_bob, run)
    assert numbers(text) == [1, 2, 3]
    assert "category_asins.csv" in text
    assert "Download all as ZIP" not in text
    assert as_bob.get(address(run, "all.zip")).status_code == 404
    assert mirror_run(run, files_of(run)) == []
    assert "Download all as ZIP" not in page(as_bob, run)
    assert as_bob.get(address(run, "all.zip")).status_code == 404
