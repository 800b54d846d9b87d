"""The response to a request for a file, for the dashboard and the API."""

import io
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote

import pytest
from django.db import connection
from django.http.response import HttpResponseBase
from django.test import RequestFactory
from hypothesis import example, given
from hypothesis import strategies as st

from collections_app.files.delivery import deliver
from collections_app.files.delivery.body import BoundedStream, IncompleteBody
from collections_app.files.delivery.deliver import content_disposition
from collections_app.files.delivery.ranges import Unsatisfiable, parse_range
from collections_app.sources import Deliverable, ResultNotFound, SourceTimeout, SourceUnavailable
from tests.support import responses

CONTENT = bytes(range(256)) * 4
ETAG = '"6a5b1c2d-400"'
MODIFIED = datetime(2026, 6, 20, 12, 5, tzinfo=UTC)
LAST_MODIFIED = "Sat, 20 Jun 2026 12:05:00 GMT"
BEFORE = "Sat, 20 Jun 2026 12:04:59 GMT"
AFTER = "Sat, 20 Jun 2026 12:05:01 GMT"


@dataclass
class FileBody:
    """A body that records what was opened."""

    path: Path

    def __post_init__(self) -> None:
        self.opened: list[BinaryIO] = []

    def open(self, start: int, length: int) -> BinaryIO:
        stream = self.path.open("rb")
        stream.seek(start)
        self.opened.append(stream)
        return stream


class BytesBody:
    """A body without a file."""

    def open(self, start: int, length: int) -> BinaryIO:
        return io.BytesIO(CONTENT[start:])


@pytest.fixture
def body(tmp_path: Path) -> FileBody:
    path = tmp_path / "stored"
    path.write_bytes(CONTENT)
    return FileBody(path)


Send = Callable[..., HttpResponseBase]


@pytest.fixture
def send(body: FileBody) -> Iterator[Send]:
    """Request the file with a method and headers (If_Range is If-Range)."""
    responses: list[HttpResponseBase] = []

    def request_file(
        method: str = "GET", size: int = len(CONTENT), name: str = "Page 1.json", **headers: str
    ) -> HttpResponseBase:
        request = RequestFactory().generic(
            method, "/", headers={header.replace("_", "-"): value for header, value in headers.items()}
        )
        responses.append(deliver(request, Deliverable(name, size, ETAG, MODIFIED, body)))
        return responses[-1]

    yield request_file
    for response in responses:
        response.close()


def content(response: HttpResponseBase) -> bytes:
    return responses.content(response)


# --- the entire file ----------------------------------------------------------------------------


def test_the_entire_file_has_every_header(send: Send) -> None:
    response = send()
    assert response.status_code == 200
    assert dict(response.items()) == {
        "Accept-Ranges": "bytes",
        "Cache-Control": "private",
        "Content-Disposition": 'attachment; filename="Page 1.json"',
        "Content-Length": "1024",
        "Content-Type": "application/octet-stream",
        "ETag": ETAG,
        "Last-Modified": LAST_MODIFIED,
        "X-Accel-Buffering": "no",
        "X-Content-Type-Options": "nosniff",
    }
    assert content(response) == CONTENT


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Range": "bytes=1-2", "If_Range": '"other"'},
        {"If_None_Match": ETAG},
        {"If_Match": '"other"'},
    ],
    ids=str,
)
def test_head_is_get_without_the_body(send: Send, body: FileBody, headers: dict[str, str]) -> None:
    get, head = send("GET", **headers), send("HEAD", **headers)
    assert head.status_code == get.status_code
    assert dict(head.items()) == dict(get.items())
    assert content(head) == b""
    assert all(stream.closed for stream in body.opened[1:])


@pytest.mark.parametrize("headers", [{}, {"If_Range": ETAG}, {"If_Range": LAST_MODIFIED}], ids=str)
@pytest.mark.parametrize("requested", ["bytes=100-199", "bytes=-1", "bytes=5000-", "bytes=9-5", "nonsense"])
def test_head_ignores_range(send: Send, requested: str, headers: dict[str, str]) -> None:
    head, get = send("HEAD", Range=requested, **headers), send("GET")
    assert head.status_code == 200
    assert dict(head.items()) == dict(get.items())


def test_an_empty_file_has_an_empty_body(send: Send, body: FileBody) -> None:
    body.path.write_bytes(b"")
    response = send(size=0)
    assert response.status_code == 200
    assert response.headers["Content-Length"] == "0"
    assert content(response) == b""


def test_an_error_on_opening_is_raised_before_the_response() -> None:
    class Missing:
        def open(self, start: int, length: int) -> BinaryIO:
            raise ResultNotFound("It is gone.")

    for method in ("GET", "HEAD"):
        with pytest.raises(ResultNotFound):
            deliver(RequestFactory().generic(method, "/"), Deliverable("n", 1, ETAG, MODIFIED, Missing()))


@pytest.mark.parametrize(
    ("error", "raised"),
    [(TimeoutError(), SourceTimeout), (OSError("socket 7"), SourceUnavailable), (KeyError(), KeyError)],
)
def test_an_error_in_the_first_bytes_is_raised_before_the_response(
    error: Exception, raised: type[Exception]
) -> None:
    class Failing(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise error

    stream = Failing()

    class FailingBody:
        def open(self, start: int, length: int) -> BinaryIO:
            return stream

    with pytest.raises(raised) as caught:
        deliver(RequestFactory().get("/"), Deliverable("n", 1, ETAG, MODIFIED, FailingBody()))
    assert "socket 7" not in str(caught.value)
    assert stream.closed


def test_a_body_without_a_file_descriptor_is_delivered() -> None:
    deliverable = Deliverable("name", len(CONTENT), ETAG, MODIFIED, BytesBody())
    response = deliver(RequestFactory().get("/", headers={"Range": "bytes=10-19"}), deliverable)
    assert content(response) == CONTENT[10:20]
    response.close()


# --- ranges -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "content_range", "part"),
    [
        ("bytes=0-9", "bytes 0-9/1024", CONTENT[:10]),
        ("bytes=1000-", "bytes 1000-1023/1024", CONTENT[1000:]),
        ("bytes=-24", "bytes 1000-1023/1024", CONTENT[1000:]),
        ("bytes=0-", "bytes 0-1023/1024", CONTENT),
        ("bytes=1020-9999", "bytes 1020-1023/1024", CONTENT[1020:]),
    ],
)
def test_one_range(send: Send, header: str, content_range: str, part: bytes) -> None:
    response = send(Range=header)
    assert response.status_code == 206
    assert response.headers["Content-Range"] == content_range
    assert response.headers["Content-Length"] == str(len(part))
    assert content(response) == part


@pytest.mark.parametrize("header", ["bytes=1024-", "bytes=5000-6000", "bytes=-0"])
def test_a_range_outside_the_file_gets_416(send: Send, body: FileBody, header: str) -> None:
    response = send(Range=header)
    assert response.status_code == 416
    assert response.headers["Content-Range"] == "bytes */1024"
    assert "Content-Disposition" not in response.headers  # a browser would save it as a file
    assert body.opened == []


@pytest.mark.parametrize("header", ["bytes=0-1,5-6", "bytes=x", "lines=0-1", "bytes=9-1"])
def test_other_ranges_get_the_entire_file(send: Send, header: str) -> None:
    response = send(Range=header)
    assert response.status_code == 200
    assert "Content-Range" not in response.headers
    assert content(response) == CONTENT


def test_ranges_beyond_4_gib(send: Send, body: FileBody) -> None:
    size = 5 * 2**30
    with body.path.open("r+b") as stored:
        stored.seek(2**32 + 5)
        stored.write(b"found")
        stored.truncate(size)
    response = send(size=size, Range=f"bytes={2**32 + 5}-{2**32 + 9}")
    assert response.headers["Content-Range"] == "bytes 4294967301-4294967305/5368709120"
    assert content(response) == b"found"
    assert send(size=size).headers["Content-Length"] == "5368709120"


@pytest.mark.parametrize("condition", [ETAG, LAST_MODIFIED, f" {ETAG} "])
def test_if_range_of_the_same_file_gets_the_range(send: Send, condition: str) -> None:
    assert send(Range="bytes=0-9", If_Range=condition).status_code == 206
    assert send(Range="bytes=5000-", If_Range=condition).status_code == 416


@pytest.mark.parametrize(
    "condition",
    [f"W/{ETAG}", '"other"', ETAG.strip('"'), f'{ETAG}, "other"', "*", "", BEFORE, AFTER, "nonsense"],
)
def test_if_range_of_another_file_gets_the_entire_file(send: Send, condition: str) -> None:
    assert send(Range="bytes=0-9", If_Range=condition).status_code == 200
    assert send(Range="bytes=5000-", If_Range=condition).status_code == 200


def test_if_range_without_range_is_ignored(send: Send) -> None:
    assert send(If_Range=ETAG).status_code == 200


@given(
    header=st.text(st.characters(max_codepoint=255))
    | st.from_regex(r"bytes=[0-9]{0,5}-[0-9]{0,5}", fullmatch=True)
)
@example("bytes=1023-1023")
def test_any_range_header_gets_its_range_or_the_entire_file(header: str) -> None:
    request = RequestFactory().get("/", headers={"Range": header})
    response = deliver(request, Deliverable("name", len(CONTENT), ETAG, MODIFIED, BytesBody()))
    try:
        part = parse_range(header, len(CONTENT))
    except Unsatisfiable:
        assert response.status_code == 416
        return
    sent = content(response)
    response.close()
    assert response.headers["Content-Length"] == str(len(sent))
    if part is None:
        assert (response.status_code, sent) == (200, CONTENT)
    else:
        assert (response.status_code, sent) == (206, CONTENT[part.start :][: part.length])


# --- conditions ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {"If_None_Match": ETAG},
        {"If_None_Match": f"W/{ETAG}"},
        {"If_None_Match": f'"other", {ETAG}'},
        {"If_None_Match": "*"},
        {"If_Modified_Since": LAST_MODIFIED},
        {"If_Modified_Since": AFTER},
        {"If_None_Match": ETAG, "If_Modified_Since": BEFORE},
        {"If_None_Match": ETAG, "Range": "bytes=0-9"},
    ],
    ids=str,
)
def test_an_unchanged_file_gets_304(send: Send, body: FileBody, headers: dict[str, str]) -> None:
    response = send(**headers)
    assert response.status_code == 304
    assert response.headers["ETag"] == ETAG
    assert response.headers["Last-Modified"] == LAST_MODIFIED
    assert response.headers["Cache-Control"] == "private"
    assert response.headers["Content-Length"] == "1024"  # that of the file; 0 would be untrue
    assert content(response) == b""
    assert body.opened == []


@pytest.mark.parametrize(
    "headers",
    [
        {"If_None_Match": '"other"'},
        {"If_None_Match": "nonsense"},
        {"If_Modified_Since": BEFORE},
        {"If_Modified_Since": "nonsense"},
        {"If_None_Match": '"other"', "If_Modified_Since": AFTER},
        {"If_Match": ETAG},
        {"If_Match": f'"other", {ETAG}'},
        {"If_Match": "*"},
        {"If_Unmodified_Since": LAST_MODIFIED},
        {"If_Unmodified_Since": AFTER},
        {"If_Unmodified_Since": "nonsense"},
        {"If_Match": ETAG, "If_Unmodified_Since": BEFORE},
    ],
    ids=str,
)
def test_a_true_condition_gets_the_file(send: Send, headers: dict[str, str]) -> None:
    assert send(**headers).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"If_Match": '"other"'},
        {"If_Match": f"W/{ETAG}"},
        {"If_Unmodified_Since": BEFORE},
        {"If_Match": '"other"', "Range": "bytes=0-9"},
        {"If_Match": '"other"', "If_None_Match": ETAG},
    ],
    ids=str,
)
def test_a_false_condition_gets_412(send: Send, body: FileBody, headers: dict[str, str]) -> None:
    assert send(**headers).status_code == 412
    assert body.opened == []


# --- the name -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("AU Laptops_88_Results_Page_1.json", 'filename="AU Laptops_88_Results_Page_1.json"'),
        ("a;b=c'd.json", 'filename="a;b=c\'d.json"'),
        ('say "hi".json', "filename=\"say _hi_.json\"; filename*=UTF-8''say%20%22hi%22.json"),
        ("100%.json", "filename=\"100_.json\"; filename*=UTF-8''100%25.json"),
        ("Größe.json", "filename=\"Gr__e.json\"; filename*=UTF-8''Gr%C3%B6%C3%9Fe.json"),
        ("列😀.json", "filename=\"__.json\"; filename*=UTF-8''%E5%88%97%F0%9F%98%80.json"),
        ("a\r\nSet-Cookie: b", "filename=\"a__Set-Cookie: b\"; filename*=UTF-8''a%0D%0ASet-Cookie%3A%20b"),
    ],
)
def test_the_name_has_both_forms(name: str, header: str) -> None:
    assert content_disposition(name) == f"attachment; {header}"


@given(name=st.text(st.characters(exclude_categories=["Cs"])))
def test_any_name_is_preserved(name: str) -> None:
    header = content_disposition(name)
    assert header.isascii()
    assert header.isprintable()
    _, _, exact = header.partition("; filename*=UTF-8''")
    assert (unquote(exact) if exact else header.removeprefix('attachment; filename="')[:-1]) == name


def test_a_name_with_a_lone_surrogate() -> None:
    assert content_disposition("\ud800.json") == "attachment; filename=\"_.json\"; filename*=UTF-8''%3F.json"


# --- the stream ---------------------------------------------------------------------------------


def test_the_file_is_closed_if_the_client_disconnects(send: Send, body: FileBody) -> None:
    response = send()
    next(iter(response))
    assert not body.opened[0].closed
    response.close()
    assert body.opened[0].closed


def test_a_source_that_ends_early_raises_an_error(send: Send) -> None:
    response = send(size=2000)
    with pytest.raises(IncompleteBody, match="976 bytes too early"):
        content(response)


def test_the_stream_ends_where_the_range_ends() -> None:
    stream = BoundedStream(io.BytesIO(CONTENT), 0, 10)
    assert stream.readable()
    assert stream.read(4) == CONTENT[:4]
    assert stream.read() == CONTENT[4:10]
    assert stream.read() == b""
    stream.close()
    stream.close()


class Socket:
    """The part of a connection that deliver() uses."""

    def __init__(self, *, gone: bool = False, family: socket.AddressFamily = socket.AF_INET) -> None:
        self.gone = gone
        self.family = family
        self.shut = False
        self.fills_packets: list[bool] = []

    def setsockopt(self, level: int, option: int, value: int) -> None:
        assert (level, option) == (socket.IPPROTO_TCP, socket.TCP_CORK)
        self.fills_packets.append(bool(value))
        if self.gone:
            raise OSError("Bad file descriptor")

    def shutdown(self, how: int) -> None:
        self.shut = True
        if self.gone:
            raise OSError("Transport endpoint is not connected")


@pytest.mark.parametrize("gone", [False, True])
def test_the_connection_is_closed_if_a_part_was_not_sent(body: FileBody, gone: bool) -> None:  # noqa: FBT001
    request = RequestFactory().get("/")
    request.META["gunicorn.socket"] = connection = Socket(gone=gone)
    response = deliver(request, Deliverable("name", len(CONTENT), ETAG, MODIFIED, body))
    response.close()
    assert connection.shut


def test_the_connection_stays_open_if_everything_was_sent(body: FileBody) -> None:
    request = RequestFactory().get("/")
    request.META["gunicorn.socket"] = connection = Socket()
    response = deliver(request, Deliverable("name", len(CONTENT), ETAG, MODIFIED, body))
    assert content(response) == CONTENT
    response.close()
    assert not connection.shut


def test_a_real_file_is_sent_in_full_packets(body: FileBody) -> None:
    for opens, family, said in (
        (body, socket.AF_INET, [[True], [True, False]]),
        (body, socket.AF_UNIX, [[], []]),
        (BytesBody(), socket.AF_INET, [[], [False]]),
    ):
        request = RequestFactory().get("/")
        request.META["gunicorn.socket"] = connection = Socket(family=family)
        response = deliver(request, Deliverable("name", len(CONTENT), ETAG, MODIFIED, opens))
        before = [*connection.fills_packets]
        assert content(response) == CONTENT
        response.close()
        assert [before, connection.fills_packets] == said


@pytest.mark.parametrize(("sent", "broken"), [(1024, False), (1023, True), (0, True)])
def test_sendfile_reports_how_much_it_sent(body: FileBody, sent: int, broken: bool) -> None:  # noqa: FBT001
    request = RequestFactory().get("/")
    request.META["gunicorn.socket"] = connection = Socket()
    response = deliver(request, Deliverable("name", len(CONTENT), ETAG, MODIFIED, body))
    stream = response.file_to_stream  # type: ignore[attr-defined]
    assert stream.fileno() == body.opened[0].fileno()
    if sent:  # as socket.sendfile() does
        stream.seek(sent)
    response.close()
    assert connection.shut == broken


def test_each_test_closes_the_bodies_that_it_has_not_read(body: FileBody) -> None:
    with responses.closing_unread_bodies():
        deliver(RequestFactory().get("/"), Deliverable("name", len(CONTENT), ETAG, MODIFIED, body))
        assert not body.opened[0].closed
    assert body.opened[0].closed


@pytest.mark.django_db(transaction=True)
def test_database_connections_are_released_before_the_body_is_sent(send: Send) -> None:
    connection.ensure_connection()
    send()
    assert connection.connection is None


@pytest.mark.django_db
def test_a_transaction_keeps_its_connection(send: Send) -> None:
    connection.ensure_connection()
    send()
    assert connection.connection is not None
