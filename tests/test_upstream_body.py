"""A file at an account: its size, its bytes, and invalid responses."""

import io
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import pytest
import requests
import responses
from pytest_django import Settings

from collections_app.models import Account, ResultFile, Team
from collections_app.sources.base import (
    IncompleteBody,
    NotTheFile,
    ResultNotFound,
    SourceBusy,
    SourceTimeout,
    SourceUnavailable,
)
from collections_app.sources.upstream import http
from collections_app.sources.upstream.files import UpstreamBody, size_of
from tests.support.faults import FileServer, page_bytes
from tests.support.upstream import KEY, make_account, make_remote_collection, make_remote_run

NAME = "AU Laptops_88_Results_Page_1.json"
URL = f"https://multicartapi.com/api/v1/results/7001/88/{quote(NAME)}"
CONTENT = page_bytes(300_000)
SIZE = len(CONTENT)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "_PAUSES", (0, 0))


@pytest.fixture
def vendor() -> Iterator[responses.RequestsMock]:
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        yield mock


@pytest.fixture
def file(crawlers: Team) -> ResultFile:
    """A page at an account, whose size is known."""
    run = make_remote_run(make_remote_collection(make_account(crawlers, "Main")), size=SIZE)
    return run.files.select_related("run__collection__account").get(name=NAME)


@pytest.fixture
def server(settings: Settings, file: ResultFile) -> Iterator[FileServer]:
    """A real server of an account."""
    with FileServer({NAME: CONTENT}).running() as running:
        settings.UPSTREAM_ORIGINS = [f"http://127.0.0.1:{running.port}"]
        account = file.run.collection.account
        assert account is not None
        account.base_url = running.base_url
        yield running


def opened(file: ResultFile, start: int = 0, length: int = SIZE) -> Any:
    return UpstreamBody(file).open(start, length)


def response(status: int = 200, body: bytes = CONTENT, **headers: str) -> dict[str, Any]:
    """Return a response of the vendor. Content_Range means Content-Range."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    named.setdefault("Content-Length", str(len(body)))
    return {
        "status": status,
        "body": body,
        "content_type": named.pop("Content-Type", "application/octet-stream"),
        "headers": named,
    }


def shortly(value: object) -> str | None:
    """Name a test after a response without its body."""
    if not isinstance(value, dict):
        return None
    return f"{value.get('status') or value['body']!r} {value.get('headers')}"


# --- requests ---------------------------------------------------------------------------------------------


def test_the_entire_file_is_requested_without_a_range(
    vendor: responses.RequestsMock, file: ResultFile
) -> None:
    vendor.get(URL, **response())
    with opened(file) as stream:
        assert stream.read(SIZE + 1) == CONTENT[: 64 * 1024]
    (call,) = vendor.calls
    assert call.request.headers["Accept-Encoding"] == "identity"
    assert call.request.headers["x-api-key"] == KEY
    assert "Range" not in call.request.headers


def test_a_part_is_requested_as_a_range(vendor: responses.RequestsMock, file: ResultFile) -> None:
    vendor.get(URL, **response(206, CONTENT[10:30], Content_Range=f"bytes 10-29/{SIZE}"))
    with opened(file, 10, 20) as stream:
        assert stream.read() == CONTENT[10:30]
        assert stream.read() == b""
    assert vendor.calls[0].request.headers["Range"] == "bytes=10-29"


@pytest.mark.parametrize(
    "name", ["100% #1?.json", "%2e%2e", "Größe 列😀.json", "a&b+c;d=e.json", "~'()*!.json"]
)
def test_any_name_is_a_single_part_of_the_path(server: FileServer, file: ResultFile, name: str) -> None:
    file.remote_name = name
    server.contents = {name: CONTENT}
    assert size_of(file) == SIZE
    (asked,) = server.asked
    assert asked[1].startswith("/api/v1/results/7001/88/")
    assert asked[1].count("/") == 6


@pytest.mark.parametrize("name", ["..", "."])
def test_a_name_that_would_change_the_path_is_not_requested(
    vendor: responses.RequestsMock, file: ResultFile, name: str
) -> None:
    file.remote_name = name
    for ask in (size_of, opened):
        with pytest.raises(SourceUnavailable, match="invalid address"):
            ask(file)
    assert len(vendor.calls) == 0


def test_a_disconnected_account_gets_no_request(vendor: responses.RequestsMock, file: ResultFile) -> None:
    account = file.run.collection.account
    assert isinstance(account, Account)
    account.set_key("")
    for ask in (size_of, opened):
        with pytest.raises(SourceUnavailable, match="“Main” is disconnected"):
            ask(file)
    assert len(vendor.calls) == 0


# --- responses ----------------------------------------------------------------------------------------------


def test_if_the_range_is_ignored_the_bytes_before_it_are_skipped(
    vendor: responses.RequestsMock, file: ResultFile
) -> None:
    vendor.get(URL, **response())
    with opened(file, 200_000, 70_000) as stream:
        assert stream.read() == CONTENT[200_000:270_000]


@pytest.mark.parametrize(
    ("refusal", "error"),
    [
        (response(401), SourceUnavailable),
        (response(403), SourceUnavailable),
        (response(404), ResultNotFound),
        (response(301, Location="https://evil.example/"), SourceUnavailable),
        (response(307, Location=URL), SourceUnavailable),
        (response(416), SourceUnavailable),
        (response(429), SourceBusy),
        (response(429, Retry_After="30"), SourceBusy),
        (response(500), SourceUnavailable),
        (response(502), SourceUnavailable),
        (response(503), SourceUnavailable),
        (response(503, Retry_After="30"), SourceBusy),
        (response(504), SourceTimeout),
        (response(201), SourceUnavailable),
        (response(206, Content_Range=f"bytes 0-{SIZE - 1}/{SIZE}"), SourceUnavailable),
        (response(Content_Encoding="gzip"), NotTheFile),
        (response(Content_Encoding="GZIP, identity"), NotTheFile),
        (response(Content_Type="text/html; charset=utf-8"), NotTheFile),
        (response(Content_Length="many"), SourceUnavailable),
        (response(Content_Length="-1"), SourceUnavailable),
        ({"body": requests.ConnectionError(KEY)}, SourceUnavailable),
        ({"body": requests.exceptions.SSLError(KEY)}, SourceUnavailable),
        ({"body": requests.ReadTimeout(KEY)}, SourceTimeout),
        ({"body": requests.ConnectTimeout(KEY)}, SourceTimeout),
    ],
    ids=shortly,
)
def test_wrong_responses_are_rejected_before_anything_is_sent(
    vendor: responses.RequestsMock,
    file: ResultFile,
    refusal: dict[str, Any],
    error: type[Exception],
    caplog: pytest.LogCaptureFixture,
) -> None:
    vendor.get(URL, **refusal)
    with pytest.raises(error) as raised:
        opened(file)
    assert raised.type is error
    assert {call.request.url for call in vendor.calls} == {URL}
    assert KEY not in f"{raised.value}{caplog.text}"
    line = caplog.messages[-1]
    assert line.startswith(f"upstream file failed: account={file.run.collection.account_id} collection=")
    assert f"file={file.pk} problem={raised.value} cause=" in line


@pytest.mark.parametrize(
    ("refusal", "calls"),
    [
        (response(500), 1),
        (response(429, Retry_After="30"), 1),
        (response(503, Retry_After="30"), 1),
        (response(502), 3),
        (response(503), 3),
        (response(504), 3),
        ({"body": requests.ConnectionError()}, 3),
    ],
    ids=shortly,
)
@pytest.mark.parametrize("ask", [size_of, opened])
def test_only_temporary_errors_are_retried(
    vendor: responses.RequestsMock,
    file: ResultFile,
    ask: Callable[[ResultFile], object],
    refusal: dict[str, Any],
    calls: int,
) -> None:
    vendor.head(URL, **refusal)
    vendor.get(URL, **refusal)
    with pytest.raises(SourceUnavailable):
        ask(file)
    assert len(vendor.calls) == calls


def test_a_busy_account_says_when_to_try_again(vendor: responses.RequestsMock, file: ResultFile) -> None:
    vendor.get(URL, **response(429, Retry_After="30"))
    with pytest.raises(SourceBusy) as raised:
        opened(file)
    assert str(raised.value) == (
        "The account “Main” is receiving too many requests. Try again in 30 seconds."
    )
    assert raised.value.retry_after == 30


@pytest.mark.parametrize("encoding", ["identity", "Identity", ""])
def test_identity_encoding_is_accepted(
    vendor: responses.RequestsMock, file: ResultFile, encoding: str
) -> None:
    vendor.get(URL, **response(Content_Encoding=encoding))
    with opened(file) as stream:
        assert stream.read() == CONTENT


@pytest.mark.parametrize(
    "content_range",
    [
        "",
        "bytes",
        f"bytes 10-29/{SIZE + 1}",
        "bytes 10-29/*",
        f"bytes 11-30/{SIZE}",
        f"bytes 10-28/{SIZE}",
        f"bytes 10-30/{SIZE}",
        f"lines 10-29/{SIZE}",
        f"bytes */{SIZE}",
    ],
)
def test_another_part_than_requested_is_rejected(
    vendor: responses.RequestsMock, file: ResultFile, content_range: str
) -> None:
    vendor.get(URL, **response(206, CONTENT[10:30], Content_Range=content_range))
    with pytest.raises(SourceUnavailable):
        opened(file, 10, 20)


def test_a_part_with_another_length_than_declared_is_rejected(
    vendor: responses.RequestsMock, file: ResultFile
) -> None:
    vendor.get(URL, **response(206, CONTENT[10:29], Content_Range=f"bytes 10-29/{SIZE}"))
    with pytest.raises(SourceUnavailable):
        opened(file, 10, 20)


@pytest.mark.parametrize(
    "other",
    [
        response(body=CONTENT[:-1]),
        response(body=CONTENT + b"x"),
        response(416),
        response(206, CONTENT[10:30], Content_Range=f"bytes 10-29/{SIZE + 1}"),
    ],
    ids=["shorter", "longer", "416", "range"],
)
def test_if_the_size_has_changed_the_stored_size_is_deleted(
    vendor: responses.RequestsMock, file: ResultFile, other: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    vendor.get(URL, **other)
    with pytest.raises(SourceUnavailable, match="has changed at the account"):
        opened(file, 10, 20)
    file.refresh_from_db()
    assert file.size is None
    assert caplog.messages[0].startswith("upstream size changed: account=")


def test_the_size_of_a_copied_file_is_kept(vendor: responses.RequestsMock, file: ResultFile) -> None:
    ResultFile.objects.filter(pk=file.pk).update(key="kept/meanwhile")
    vendor.get(URL, **response(body=b"other"))
    with pytest.raises(SourceUnavailable):
        opened(file)
    file.refresh_from_db()
    assert file.size == SIZE


def test_a_part_of_a_file_over_the_limit_is_rejected(
    vendor: responses.RequestsMock, file: ResultFile
) -> None:
    file.size = 10**17
    vendor.get(URL, **response(206, CONTENT[10:30], Content_Range=f"bytes 10-29/{file.size}"))
    with pytest.raises(NotTheFile, match="exceeds the 64 GiB limit"):
        opened(file, 10, 20)


# --- the size -----------------------------------------------------------------------------------------------


def test_the_size_comes_with_the_first_bytes(server: FileServer, file: ResultFile) -> None:
    assert size_of(file) == SIZE
    assert [(method, asked) for method, _, asked in server.asked] == [("GET", "bytes=0-65535")]


def test_only_the_first_bytes_are_read_if_ranges_are_ignored(server: FileServer, file: ResultFile) -> None:
    server.has_ranges = False
    server.contents = {NAME: page_bytes(50_000_000)}
    assert size_of(file) == 50_000_000
    assert server.answered == 0


@pytest.mark.parametrize(
    ("refusal", "error"),
    [
        (response(401), SourceUnavailable),
        (response(404), ResultNotFound),
        (response(302), SourceUnavailable),
        (response(416), NotTheFile),
        (response(429, Retry_After="30"), SourceBusy),
        (response(503, Retry_After="30"), SourceBusy),
        (response(500), SourceUnavailable),
        (response(503), SourceUnavailable),
        (response(504), SourceTimeout),
        (response(Content_Encoding="br"), NotTheFile),
        (response(Content_Type="text/html"), NotTheFile),
        (response(Content_Length="9" * 19), SourceUnavailable),
        (response(Content_Length=str(10**17)), NotTheFile),
        (response(206, CONTENT[:100], Content_Range=f"bytes 0-99/{10**17}"), NotTheFile),
        (response(206, CONTENT[:100], Content_Range="bytes 0-99/*"), SourceUnavailable),
        (response(206, CONTENT[1:100], Content_Range=f"bytes 1-99/{SIZE}"), SourceUnavailable),
        (response(206, CONTENT[:100], Content_Range=f"bytes 0-99/{SIZE}", Content_Encoding="br"), NotTheFile),
        ({"body": requests.ReadTimeout()}, SourceTimeout),
    ],
    ids=shortly,
)
def test_wrong_responses_have_no_size(
    vendor: responses.RequestsMock, file: ResultFile, refusal: dict[str, Any], error: type[Exception]
) -> None:
    vendor.get(URL, **refusal)
    with pytest.raises(error) as raised:
        size_of(file)
    assert raised.type is error


def test_a_body_without_a_length_is_counted(server: FileServer, file: ResultFile) -> None:
    server.has_lengths = False
    assert size_of(file) == SIZE
    assert len(server.asked) == 1


def test_a_body_that_ends_with_its_connection_is_not_counted(
    vendor: responses.RequestsMock, file: ResultFile
) -> None:
    unknown = {"status": 200, "body": CONTENT, "content_type": "application/octet-stream"}
    vendor.get(URL, **unknown)
    with pytest.raises(SourceUnavailable, match="doesn't report the size"):
        size_of(file)


# --- the stream ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("has_lengths", [True, False])
@pytest.mark.parametrize("has_ranges", [True, False])
def test_every_part_has_the_right_bytes(
    server: FileServer,
    file: ResultFile,
    has_lengths: bool,  # noqa: FBT001
    has_ranges: bool,  # noqa: FBT001
) -> None:
    server.has_lengths, server.has_ranges = has_lengths, has_ranges
    parts = [(0, SIZE), (0, 1), (SIZE - 1, 1), (1, SIZE - 1), (100_000, 100_000)]
    for start, length in parts:
        with opened(file, start, length) as stream:
            assert b"".join(iter(lambda: stream.read(50_000), b"")) == CONTENT[start : start + length]
    assert file.size == SIZE


def test_the_stream_has_no_file_descriptor(server: FileServer, file: ResultFile) -> None:
    with opened(file) as stream:
        assert stream.readable()
        with pytest.raises(io.UnsupportedOperation):
            stream.fileno()
        assert stream.read(0) == b""
        assert io.BufferedReader(stream).read() == CONTENT


def test_a_connection_is_reused_after_reading_to_the_end(server: FileServer, file: ResultFile) -> None:
    for _ in range(3):
        with opened(file) as stream:
            assert stream.read() == CONTENT
    assert server.connections == 1


def test_the_connection_is_closed_if_the_client_leaves(server: FileServer, file: ResultFile) -> None:
    file.size = 100_000_000
    server.contents = {NAME: page_bytes(file.size)}
    stream = opened(file, 0, file.size)
    stream.read(10)
    stream.close()
    stream.close()
    # The server stops as well, before it has sent everything.
    with opened(file, 0, 10) as other:
        other.read()
    assert server.answered <= 1


def test_a_body_longer_than_the_known_size_is_an_error(
    server: FileServer, file: ResultFile, caplog: pytest.LogCaptureFixture
) -> None:
    server.has_lengths = False
    server.contents = {NAME: CONTENT + b"x"}
    with opened(file) as stream, pytest.raises(IncompleteBody):
        stream.read()
    (line,) = caplog.messages
    assert line.startswith("upstream body incomplete: account=")
    assert line.endswith("problem=it is too long")


def test_a_body_shorter_than_the_known_size_is_an_error(
    server: FileServer, file: ResultFile, caplog: pytest.LogCaptureFixture
) -> None:
    server.has_lengths = False
    server.contents = {NAME: CONTENT[:-1]}
    with opened(file) as stream, pytest.raises(IncompleteBody):
        stream.read()
    (line,) = caplog.messages
    assert line.endswith("problem=it ended early")


def test_chunks_grow_for_quick_clients_and_shrink_for_slow_ones(
    vendor: responses.RequestsMock, file: ResultFile
) -> None:
    file.size = 40 * 2**20
    vendor.get(URL, **response(body=page_bytes(file.size)))
    with opened(file, 0, file.size) as stream:
        quick = [len(stream.read(2**20)) for _ in range(45)]
        assert quick[:16] == [2**16] * 16
        assert quick == sorted(quick)
        assert quick[-1] == 2**20
        stream._returned_at -= 0.1
        assert len(stream.read(2**20)) == 2**20
        stream._returned_at -= 1
        assert len(stream.read(2**20)) == 2**16
        assert len(stream.read(1000)) == 1000
