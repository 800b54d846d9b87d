"""The CSV of a category run at an account, converted from the account's list and delivered as a file."""

import errno
import io
import json
import logging
import os
import tracemalloc
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import storages
from pytest_django import Settings

from collections_app.files.storage.cache import BuildFailed
from collections_app.models import FileKind, Kind, ResultFile, Team
from collections_app.records.formats.category_csv import write_category_csv
from collections_app.sources import (
    NotTheFile,
    ResultNotFound,
    SourceTimeout,
    SourceUnavailable,
    category_csv_body,
    deliverable,
)
from collections_app.sources.category_csv_body import CategoryCsvBody
from collections_app.sources.upstream import http as transport
from tests.support.faults import Fault, FaultProxy, FileServer
from tests.support.upstream import make_account, make_remote_collection, make_remote_run

LIST = "category_asins.json"
RECORDS: list[dict[str, Any]] = [
    {"asin": "B1", "is_prime": True, "price_cents": 1299, "seller_name": "Müller, ノート", "title": "One"},
    {"asin": "B2", "parent_asin": None, "in_stock": False},
]


def csv_of(records: list[dict[str, Any]]) -> bytes:
    out = io.BytesIO()
    write_category_csv(records, out)
    return out.getvalue()


@pytest.fixture
def server() -> Iterator[FileServer]:
    with FileServer({LIST: json.dumps(RECORDS).encode()}).running() as running:
        yield running


@pytest.fixture
def proxy(server: FileServer, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    monkeypatch.setattr(transport, "_PAUSES", (0, 0))
    with FaultProxy(server.port).running() as running:
        settings.UPSTREAM_ORIGINS = [f"http://127.0.0.1:{running.port}"]
        yield running


@pytest.fixture
def file(crawlers: Team, proxy: FaultProxy) -> ResultFile:
    """The CSV of a run at an account."""
    account = make_account(crawlers, "Main", base_url=proxy.base_url)
    collection = make_remote_collection(account, name="Headphones", kind=Kind.AMAZON_CATEGORY)
    return again(make_remote_run(collection).files.get(kind=FileKind.CATEGORY_CSV))


def again(file: ResultFile) -> ResultFile:
    """Return the file as the next request reads it."""
    return ResultFile.objects.select_related("run__collection__account").get(pk=file.pk)


def content_of(file: ResultFile, start: int = 0) -> bytes:
    found = deliverable(again(file))
    with found.body.open(start, found.size - start) as stream:
        return stream.read(found.size - start)


def entries() -> list[Path]:
    folder = Path(storages["converted"].path(""))
    return [path for path in folder.iterdir() if path.suffix != ".lock"] if folder.is_dir() else []


def drop_the_entry() -> None:
    for path in entries():
        path.unlink()


# --- what it is ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrap", [lambda records: records, lambda records: {"asins": records, "page": 1}])
def test_the_csv_has_the_list_in_nine_columns(
    server: FileServer, file: ResultFile, wrap: Callable[[Any], Any]
) -> None:
    server.contents[LIST] = json.dumps(wrap(RECORDS)).encode()
    assert content_of(file) == csv_of(RECORDS)


def test_the_csv_of_an_empty_list_has_only_a_header(server: FileServer, file: ResultFile) -> None:
    server.contents[LIST] = b"[]"
    assert content_of(file) == csv_of([])


def test_the_body_is_a_real_file_at_the_requested_byte(file: ResultFile) -> None:
    expected = csv_of(RECORDS)
    found = deliverable(file)
    assert (found.name, found.size) == ("category_asins.csv", len(expected))
    with found.body.open(20, 5) as stream:
        assert os.fstat(stream.fileno()).st_size == len(expected)
        assert stream.tell() == 20
        assert stream.read(5) == expected[20:25]


def test_the_list_is_requested_once(server: FileServer, file: ResultFile) -> None:
    for start in (0, 5, 0):
        content_of(file, start)
    assert [asked for _, _, asked in server.asked] == ["bytes=0-65535", None]
    assert again(file).size == len(csv_of(RECORDS))


def test_a_list_that_was_copied_is_read_from_our_storage(
    server: FileServer, file: ResultFile, results_folder: Path
) -> None:
    results_folder.mkdir()
    (results_folder / "list").write_bytes(json.dumps(RECORDS).encode())
    size = (results_folder / "list").stat().st_size
    file.run.files.filter(kind=FileKind.CATEGORY_LIST).update(key="list", size=size)
    assert content_of(file) == csv_of(RECORDS)
    assert server.asked == []


@pytest.mark.no_cover
@pytest.mark.thorough
def test_memory_does_not_grow_with_the_list(file: ResultFile, tmp_path: Path) -> None:
    full_list = tmp_path / "list"
    full_list.write_bytes(b"[" + 50_000 * (json.dumps(RECORDS[0]).encode() + b",") + b"{}]")
    tracemalloc.start()
    try:
        assert CategoryCsvBody(file, lambda: full_list.open("rb")).size > 1_000_000
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4_000_000  # the list has 7 MB


# --- which list it is of ------------------------------------------------------------------------------------


def test_a_new_list_has_a_new_csv(server: FileServer, file: ResultFile) -> None:
    content_of(file)
    server.contents[LIST] = json.dumps(RECORDS[:1]).encode()
    ResultFile.objects.filter(run=file.run).update(size=None, modified=file.modified + timedelta(seconds=1))
    assert content_of(file) == csv_of(RECORDS[:1])


def test_each_run_has_its_own_csv(server: FileServer, file: ResultFile) -> None:
    content_of(file)
    server.contents[LIST] = json.dumps(RECORDS[:1]).encode()
    other = make_remote_run(file.run.collection, 89).files.get(kind=FileKind.CATEGORY_CSV)
    assert content_of(other) == csv_of(RECORDS[:1])


def test_a_deleted_csv_is_created_again(server: FileServer, file: ResultFile) -> None:
    etag = deliverable(file).etag
    drop_the_entry()
    assert content_of(file) == csv_of(RECORDS)
    assert deliverable(again(file)).etag == etag


def test_if_its_size_has_changed_the_new_size_is_stored(
    server: FileServer, file: ResultFile, caplog: pytest.LogCaptureFixture
) -> None:
    etag = deliverable(file).etag
    drop_the_entry()
    server.contents[LIST] = json.dumps(RECORDS[:1]).encode()
    # The size of the list differs as well, and is checked first.
    with pytest.raises(SourceUnavailable, match="has changed"):
        content_of(file)
    with pytest.raises(SourceUnavailable, match="category list at the account has changed"):
        content_of(file)
    assert "problem=the CSV has" in caplog.text
    assert content_of(file) == csv_of(RECORDS[:1])
    assert deliverable(again(file)).etag != etag


def test_the_size_of_a_copied_csv_is_kept(file: ResultFile) -> None:
    content_of(file)
    found = again(file)
    found.size = 1
    ResultFile.objects.filter(pk=file.pk).update(key="ours", size=1)
    with pytest.raises(SourceUnavailable):
        CategoryCsvBody(found, io.BytesIO).open(0, 1)
    assert again(file).size == 1


# --- what goes wrong ----------------------------------------------------------------------------------------


DAMAGES = [
    b'[{"asin": "B1"}] more',
    b'[{"asin": "B1"}, 1]',
    b'[{"asin": "B1"}, {"asin": "\xff"}]',
    b'[{"asin": "B1"}, {"price_cents": NaN}]',
    b'[{"asin": "B1"}, ' + b"[" * 100_000,
]


@pytest.mark.parametrize(
    "damage",
    [
        *DAMAGES,
        b"",
        b"<html>",
        b'[{"asin": "B1"},',
        b'{"other": []}',
        b'{"code": 500, "data": "canary of theirs", "status": 0}',
        b'{"code": 200, "asins": [], "status": 1}',
    ],
    ids=lambda damage: repr(damage[:40]),
)
def test_an_invalid_list_is_reported_in_one_sentence_and_one_log_line(
    server: FileServer, file: ResultFile, caplog: pytest.LogCaptureFixture, damage: bytes
) -> None:
    server.contents[LIST] = damage
    with pytest.raises(NotTheFile, match=r"^The account “Main” sent .* instead of this file\."):
        deliverable(file)
    (line,) = caplog.messages
    assert line.startswith(f"upstream size failed: account={file.run.collection.account_id} collection=")
    assert "canary" not in caplog.text
    assert entries() == []


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: repr(damage[:40]))
def test_a_list_damaged_near_its_end_is_reported_in_one_sentence_and_one_log_line(
    server: FileServer, file: ResultFile, caplog: pytest.LogCaptureFixture, damage: bytes
) -> None:
    # Its last byte is right, so only reading the entire list reveals the damage.
    server.contents[LIST] = json.dumps(RECORDS * 2000).encode()[:-1] + b"," + damage[1:] + b" ]"
    with pytest.raises(SourceUnavailable, match=r"^The category list at the account is damaged"):
        deliverable(file)
    (line,) = caplog.messages
    collection = file.run.collection
    assert line.startswith(
        f"upstream csv failed: account={collection.account_id} collection={collection.pk} run=88 problem=the"
    )
    assert entries() == []


@pytest.mark.parametrize("is_reset", [True, False])
@pytest.mark.parametrize("has_lengths", [True, False])
def test_an_interrupted_list_leaves_nothing_behind(
    server: FileServer,
    proxy: FaultProxy,
    file: ResultFile,
    has_lengths: bool,  # noqa: FBT001
    is_reset: bool,  # noqa: FBT001
) -> None:
    server.contents[LIST] = json.dumps(RECORDS * 5000).encode()
    server.has_lengths = has_lengths
    file.run.files.filter(kind=FileKind.CATEGORY_LIST).update(size=len(server.contents[LIST]))
    # Also at the end of a record, where only the missing `]` shows that the list is incomplete.
    proxy.fault = lambda: Fault(cut_after=500_000, is_reset=is_reset)
    # Bytes sent before a reset may be lost.
    with pytest.raises(SourceUnavailable, match=r"connection to the account was lost|is not responding"):
        deliverable(again(file))
    assert entries() == []
    proxy.fault = Fault
    assert content_of(file) == csv_of(RECORDS * 5000)


def test_a_missing_list_is_not_found(server: FileServer, file: ResultFile) -> None:
    del server.contents[LIST]
    with pytest.raises(ResultNotFound):
        deliverable(file)


def test_a_run_without_a_list_has_no_csv(file: ResultFile) -> None:
    file.run.files.filter(kind=FileKind.CATEGORY_LIST).delete()
    with pytest.raises(ResultNotFound):
        deliverable(file)


def test_an_account_that_does_not_respond_is_a_timeout(
    proxy: FaultProxy, file: ResultFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "READ_SECONDS", 0.2)
    proxy.fault = lambda: Fault(delay=600)
    with pytest.raises(SourceTimeout):
        deliverable(file)


def test_a_full_disk_is_reported_in_one_sentence_and_one_log_line(
    file: ResultFile, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def no_room(_number: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_room)
    with pytest.raises(SourceUnavailable, match=r"^The CSV can't be stored, perhaps because the disk is"):
        deliverable(file)
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert caplog.messages[0].endswith("problem=No space left on device")
    assert entries() == []


def test_threads_that_wait_for_a_failing_csv_are_told_to_try_again(
    file: ResultFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failed_meanwhile(name: str, make: object) -> None:
        raise BuildFailed

    monkeypatch.setattr(category_csv_body, "cached", failed_meanwhile)
    with pytest.raises(SourceUnavailable, match=r"a moment ago\. Try again"):
        deliverable(file)
