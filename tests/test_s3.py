"""Errors and interruptions of an object store. See also test_results_storage.py."""

import errno
import os
import runpy
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ReadTimeoutError
from django.core.exceptions import ImproperlyConfigured
from django.core.files.storage import storages
from django.test import Client
from pytest_django import Settings

from collections_app.files.storage import bucket as s3
from collections_app.files.storage import storage_url
from collections_app.files.storage.base import results
from collections_app.models import Collection, FileKind, ResultFile
from collections_app.runs.repair import repair_runs
from collections_app.runs.writer import ResultSetWriter
from collections_app.sources import ResultNotFound, SourceTimeout, SourceUnavailable, deliverable
from collections_app.system.disk import free_space
from tests.support.faults import random_bytes
from tests.support.object_store import BUCKET, SECRET_KEY, ObjectStore
from tests.support.results import (
    abandon,
    make_ready_run,
    records,
    store_bytes,
    stored_bytes,
    stored_keys,
    stored_records,
)
from tests.support.server import free_port

KEY = "101/1/0123456789abcdef-page-0001.json"
CONTENT = random_bytes(400_000)


@pytest.fixture
def use(settings: Settings, object_store: ObjectStore, tmp_path: Any) -> Callable[..., str]:
    """Use a folder of the bucket for this test, and return it."""

    def use(**changes: Any) -> str:
        folder = str(tmp_path.parent.name + tmp_path.name)
        entry = storage_url.parse(object_store.url(folder, **changes)).entry
        settings.STORAGES = settings.STORAGES | {"results": entry}
        return folder

    return use


@pytest.fixture
def bucket(use: Callable[..., str]) -> str:
    return use()


@pytest.fixture
def page(bucket: str, laptops: Collection) -> ResultFile:
    run = make_ready_run(laptops, records(3))
    return run.files.select_related("run__collection").get(kind=FileKind.PAGE)


def test_a_bucket_has_no_limit(bucket: str) -> None:
    assert free_space() is None


def test_a_wrong_secret_is_not_a_missing_file(
    use: Callable[..., str], page: ResultFile, as_bob: Client, caplog: pytest.LogCaptureFixture
) -> None:
    use(secret="wrong/secret")
    with pytest.raises(SourceUnavailable, match="is not available"):
        deliverable(page).body.open(0, 1)
    answer = as_bob.get(f"/collections/101/runs/1/files/{page.name}")
    assert answer.status_code == 502
    assert "wrong/secret" not in caplog.text + answer.content.decode()
    with pytest.raises(OSError, match="The object storage refused the request: "):
        store_bytes(KEY, b"[]")
    with pytest.raises(OSError, match="The object storage refused the request: "):
        results().listdir("")


def test_a_server_that_is_down(use: Callable[..., str], page: ResultFile, as_bob: Client) -> None:
    use(port=free_port())
    with pytest.raises(SourceUnavailable):
        deliverable(page).body.open(0, 1)
    with pytest.raises(OSError, match="can't be reached"):
        results().contents("101")


def test_a_server_that_takes_too_long(page: ResultFile, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(*args: object, **kwargs: object) -> None:
        raise ReadTimeoutError(endpoint_url="http://key:secret@host")

    monkeypatch.setattr(storages["results"].connection.meta.client, "head_object", slow)  # type: ignore[attr-defined]
    with pytest.raises(SourceTimeout, match="took too long"):
        deliverable(page).body.open(0, 1)


def test_a_deleted_file_is_not_found(page: ResultFile, as_bob: Client) -> None:
    results().delete(page.key)
    with pytest.raises(ResultNotFound):
        deliverable(page).body.open(0, 1)
    assert as_bob.get(f"/collections/101/runs/1/files/{page.name}").status_code == 404


def test_a_file_deleted_during_a_download_interrupts_it(page: ResultFile) -> None:
    with deliverable(page).body.open(0, page.size or 0) as stream:
        results().delete(page.key)
        with pytest.raises(OSError, match="No such object"):
            stream.read(10)


def test_parts_of_a_replaced_file_are_not_mixed(bucket: str) -> None:
    store_bytes(KEY, b"a" * 400_000)
    with results().open_part(KEY, 0, 400_000) as stream:
        assert stream.read(10) == b"a" * 10
        stream.seek(200_000)
        store_bytes(KEY, b"b" * 400_000)
        with pytest.raises(OSError, match="PreconditionFailed"):
            stream.read(10)


class Breaking:
    """A body that is interrupted after some bytes."""

    def __init__(self, body: Any, after: int) -> None:
        self._body, self._left = body, after

    def read(self, size: int) -> bytes:
        if self._left <= 0:
            raise ReadTimeoutError(endpoint_url="http://host")
        data: bytes = self._body.read(min(size, self._left))
        self._left -= len(data)
        return data

    def close(self) -> None:
        self._body.close()


def break_off(monkeypatch: pytest.MonkeyPatch, after: int) -> list[str]:
    """Interrupt each body after this many bytes. Return the list of requests."""
    client, asked = storages["results"].connection.meta.client, []  # type: ignore[attr-defined]
    original = client.get_object

    def get_object(**arguments: Any) -> Any:
        asked.append(arguments["Range"])
        answer = original(**arguments)
        return answer | {"Body": Breaking(answer["Body"], after)}

    monkeypatch.setattr(client, "get_object", get_object)
    return asked


def test_an_interrupted_body_is_resumed(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store_bytes(KEY, CONTENT)
    asked = break_off(monkeypatch, 150_000)
    with results().open(KEY) as stored:
        assert stored.read() == CONTENT
    assert asked == ["bytes=0-399999", "bytes=150000-399999", "bytes=300000-399999"]


def test_a_body_without_progress_is_given_up(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store_bytes(KEY, CONTENT)
    asked = break_off(monkeypatch, 0)
    with pytest.raises(TimeoutError), results().open_part(KEY, 0, 10) as stream:
        stream.read(10)
    assert asked == ["bytes=0-9"] * 4


def test_the_server_rejects_a_corrupted_upload(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3, "_md5", lambda data: "AAAAAAAAAAAAAAAAAAAAAA==")
    with pytest.raises(OSError, match="The object storage refused the request: BadDigest"):
        store_bytes(KEY, CONTENT)
    assert stored_keys() == []


def test_a_corrupted_object_is_deleted(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    put = s3.NewObject._put
    monkeypatch.setattr(s3.NewObject, "_put", lambda file: put(file).replace('"', '"0', 1))
    with pytest.raises(OSError, match="stored different data than was sent"):
        store_bytes(KEY, CONTENT)
    assert stored_keys() == []


def test_the_upload_of_a_killed_writer_is_aborted_by_a_repair(bucket: str, laptops: Collection) -> None:
    kept = [file.key for file in make_ready_run(laptops).files.order_by("key")]
    writer = ResultSetWriter.start(laptops)
    writer.add_record({"text": "x" * s3.PART_SIZE})
    assert [key.startswith(f"101/2/{writer.run.attempt}-") for key in stored_keys()] == [False, False, True]
    assert not repair_runs().was_needed  # its writer is alive
    abandon(writer)
    writer.run.delete()
    assert len(repair_runs().removed_files) == 1
    assert stored_keys() == kept
    assert not repair_runs().was_needed


def test_a_run_is_written_and_downloaded(bucket: str, laptops: Collection, as_bob: Client) -> None:
    run = make_ready_run(laptops, records(501))
    assert stored_records(run) == records(501)
    for file in run.files.all():
        answer = as_bob.get(f"/collections/101/runs/1/files/{file.name}")
        assert answer.getvalue() == stored_bytes(file)
        assert answer.headers["ETag"] == file.etag
        part = as_bob.get(f"/collections/101/runs/1/files/{file.name}", headers={"Range": "bytes=5-104"})
        assert (part.status_code, part.getvalue()) == (206, stored_bytes(file)[5:105])
        head = as_bob.head(f"/collections/101/runs/1/files/{file.name}")
        assert head.headers["Content-Length"] == str(file.size)


def test_check_reports_an_unusable_bucket(use: Callable[..., str], bucket: str) -> None:
    storages["results"].check()  # type: ignore[attr-defined]
    use(secret="wrong")
    with pytest.raises(OSError, match="The object storage refused the request"):
        storages["results"].check()  # type: ignore[attr-defined]


def test_threads_share_a_connection_but_a_forked_process_does_not(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = storages["results"]
    first = storage.connection  # type: ignore[attr-defined]
    assert storage.connection is first  # type: ignore[attr-defined]
    monkeypatch.setattr("os.getpid", lambda: 1)
    assert storage.connection is not first  # type: ignore[attr-defined]


# --- what RESULTS_STORAGE_URL says --------------------------------------------------------------------------


class TestAddress:
    def test_a_bucket_over_https(self) -> None:
        found = storage_url.parse("s3://KEY:a%2Fb%2Bc@s3.example.com/results/team-1/x?region=eu-central-1")
        assert found.entry["OPTIONS"] == {
            "access_key": "KEY",
            "secret_key": "a/b+c",
            "bucket_name": "results",
            "endpoint_url": "https://s3.example.com",
            "location": "team-1/x",
            "region_name": "eu-central-1",
            "connections": 10,
        }
        assert found.name == "the bucket results/team-1/x at s3.example.com"

    def test_a_bucket_over_http_without_a_key(self) -> None:
        options = storage_url.parse("s3+http://127.0.0.1:8333/results").entry["OPTIONS"]
        assert options["endpoint_url"] == "http://127.0.0.1:8333"
        assert not {"access_key", "secret_key"} & options.keys()

    def test_a_folder(self) -> None:
        assert (
            str(storage_url.parse("file:///srv/my%20results").entry["OPTIONS"]["location"])
            == "/srv/my results"
        )

    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            ("results", "Its scheme isn't known"),
            ("https://K:hidden@s3.example.com/bucket", "Its scheme isn't known"),
            ("file://host/folder", "Its scheme isn't known"),
            ("s3://K:hidden@/bucket", "It has no valid host"),
            ("s3://K:hid/den@s3.example.com/bucket", "Its host or port isn't valid"),
            ("s3://K:hidden@s3.example.com", "It has no valid bucket"),
            ("s3://K:hidden@s3.example.com/B_", "It has no valid bucket"),
            ("s3://K:hidden@s3.example.com:port/bucket", "Its host or port isn't valid"),
            ("s3://K@s3.example.com/bucket", "It needs both a key and a secret"),
            ("s3://K:hidden@s3.example.com/bucket/../x", "Its folder isn't valid"),
            ("s3://K:hidden@s3.example.com/bucket/a b", "Its folder isn't valid"),
            ("s3://K:hidden@s3.example.com/bucket?tls=no", "Only region=name can follow"),
            ("s3://K:hidden@s3.example.com/bucket?region=", "Only region=name can follow"),
            ("s3://K:hidden@s3.example.com/bucket#hidden", "It can't contain a #"),
        ],
    )
    def test_an_error_does_not_contain_the_secret(self, text: str, problem: str) -> None:
        with pytest.raises(storage_url.InvalidAddress, match=problem) as caught:
            storage_url.parse(text)
        assert "Use s3://KEY:SECRET@host/bucket" in str(caught.value)
        assert "hid" not in str(caught.value)


def test_the_settings_report_an_invalid_address(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    from tests.test_settings import SETTINGS  # noqa: PLC0415

    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("RESULTS_STORAGE_URL", f"s3://K:{SECRET_KEY}@host")
    with pytest.raises(ImproperlyConfigured, match="RESULTS_STORAGE_URL is invalid") as caught:
        runpy.run_path(SETTINGS)
    assert SECRET_KEY not in str(caught.value)
    monkeypatch.setenv("RESULTS_STORAGE_URL", f"s3://K:s@host/{BUCKET}")
    assert runpy.run_path(SETTINGS)["STORAGES"]["results"]["OPTIONS"]["connections"] == 300


def test_seeking_before_the_beginning_is_an_os_error() -> None:
    storage = results()
    with storage.open(KEY, "wb") as file:
        file.write(b"short")
    with storage.open(KEY, "rb") as file, pytest.raises(OSError) as caught:  # noqa: PT011
        file.seek(-22, os.SEEK_END)
    assert caught.value.errno == errno.EINVAL
