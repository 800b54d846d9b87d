"""The same tests for all sources and bodies: what must hold for every file."""

import json
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from django.core.files.storage import storages
from django.http import HttpResponse, StreamingHttpResponse
from django.test import Client
from pytest_django import Settings

from collections_app.files.storage import storage_url
from collections_app.files.storage.base import results
from collections_app.models import Collection, FileKind, Kind, ResultFile, Team
from collections_app.sources import LISTING_DEADLINE, Freshness, ResultNotFound, deliverable, source_of
from tests.support.faults import FileServer, page_bytes
from tests.support.object_store import ObjectStore
from tests.support.results import make_ready_run, store_bytes
from tests.support.upstream import lists, make_account, make_remote_collection, make_remote_run, remote_run

NAME = "Größe 列😀 50%.json"
CONTENT = page_bytes(100_001)
LIST = json.dumps([{"asin": f"B{number:09}", "seller_name": "Müller"} for number in range(3000)]).encode()


@dataclass(frozen=True)
class Case:
    """A ready run's file, and a function that deletes its bytes."""

    pk: int
    content: bytes
    lose: Callable[[], object]

    @property
    def file(self) -> ResultFile:
        """The row, as each request reads it."""
        return ResultFile.objects.select_related("run__collection__account").get(pk=self.pk)

    @property
    def address(self) -> str:
        file = self.file
        return (
            f"/collections/{file.run.collection_id}/runs/{file.run.number}/files/{quote(file.name, safe='')}"
        )


@dataclass(frozen=True)
class Surroundings:
    """What is needed to create the cases."""

    team: Team
    settings: Settings
    stack: ExitStack
    bucket: Callable[[], dict[str, Any]]

    def vendor(self, contents: dict[str, bytes], **abilities: bool) -> FileServer:
        """Start an account's server."""
        server = self.stack.enter_context(FileServer(contents, **abilities).running())  # type: ignore[arg-type]
        self.settings.UPSTREAM_ORIGINS = [f"http://127.0.0.1:{server.port}"]
        return server

    def file_at(self, server: FileServer, kind: Kind, file_kind: FileKind) -> ResultFile:
        """Create the rows of a run at the account."""
        account = make_account(self.team, base_url=server.base_url)
        run = make_remote_run(make_remote_collection(account, kind=kind))
        return run.files.get(kind=file_kind)


def ours(around: Surroundings) -> Case:
    run = make_ready_run(Collection.objects.create(team=around.team, name="Ours"))
    file = run.files.get(kind=FileKind.PAGE)
    store_bytes(file.key, CONTENT)
    ResultFile.objects.filter(pk=file.pk).update(name=NAME, size=len(CONTENT))
    return Case(file.pk, CONTENT, lambda: results().delete(file.key))


def at_an_account(around: Surroundings, **abilities: bool) -> Case:
    contents = {NAME: CONTENT}
    file = around.file_at(around.vendor(contents, **abilities), Kind.AMAZON, FileKind.PAGE)
    ResultFile.objects.filter(pk=file.pk).update(name=NAME, remote_name=NAME)
    return Case(file.pk, CONTENT, contents.clear)


def at_an_account_without_ranges(around: Surroundings) -> Case:
    return at_an_account(around, has_ranges=False)


def at_an_account_without_lengths(around: Surroundings) -> Case:
    return at_an_account(around, has_ranges=False, has_lengths=False, has_head=False)


def kept_from_an_account(around: Surroundings) -> Case:
    case = at_an_account(around)
    store_bytes("kept", CONTENT)
    ResultFile.objects.filter(pk=case.pk).update(key="kept", size=len(CONTENT))
    return Case(case.pk, CONTENT, lambda: results().delete("kept"))


def converted_from_an_accounts_list(around: Surroundings) -> Case:
    contents = {"category_asins.json": LIST}
    file = around.file_at(around.vendor(contents), Kind.AMAZON_CATEGORY, FileKind.CATEGORY_CSV)
    rows = "".join(f"B{number:09},,,,,,Müller,,\r\n" for number in range(3000))
    columns = "asin,parent_asin,is_variant,is_brand,is_store,is_prime,seller_name,price_cents,in_stock\r\n"

    def lose() -> None:
        contents.clear()
        for entry in Path(storages["converted"].path("")).glob("*.csv"):
            entry.unlink()

    return Case(file.pk, (columns + rows).encode(), lose)


def ours_in_a_bucket(around: Surroundings) -> Case:
    around.settings.STORAGES = around.settings.STORAGES | {"results": around.bucket()}
    return ours(around)


@pytest.fixture(
    params=[
        ours,
        pytest.param(ours_in_a_bucket, marks=pytest.mark.scaled_out),
        at_an_account,
        at_an_account_without_ranges,
        at_an_account_without_lengths,
        kept_from_an_account,
        converted_from_an_accounts_list,
    ],
    ids=lambda make: make.__name__,
)
def case(request: pytest.FixtureRequest, crawlers: Team, settings: Settings) -> Iterator[Case]:
    def bucket() -> dict[str, Any]:
        store: ObjectStore = request.getfixturevalue("object_store")
        return storage_url.parse(store.url(uuid.uuid4().hex)).entry

    with ExitStack() as stack:
        yield request.param(Surroundings(crawlers, settings, stack, bucket))


# --- the body -----------------------------------------------------------------------------------------------


def test_the_size_is_exact_and_stored(case: Case) -> None:
    assert deliverable(case.file).size == len(case.content)
    assert case.file.size == len(case.content)


def test_the_etag_does_not_depend_on_the_stored_size(case: Case) -> None:
    first = deliverable(case.file).etag
    if not case.file.is_stored:
        ResultFile.objects.filter(pk=case.pk).update(size=None)
    assert deliverable(case.file).etag == first
    assert first.startswith('"')
    assert first.endswith('"')


def test_a_body_opens_at_any_byte(case: Case) -> None:
    size = len(case.content)
    for start, length in (
        (0, size),
        (0, 1),
        (1, 1),
        (65_535, 2),
        (1000, 30_000),
        (size - 1, 1),
        (size - 70_000, 70_000),
    ):
        with deliverable(case.file).body.open(start, length) as stream:
            got = b""
            while len(got) < length:
                piece = stream.read(length - len(got))
                assert piece, (start, length)
                got += piece
        assert got == case.content[start : start + length], (start, length)


def test_a_body_ends_with_its_file(case: Case) -> None:
    found = deliverable(case.file)
    with found.body.open(found.size - 10, 10) as stream:
        assert stream.read(10) == case.content[-10:]
        assert stream.read(10) == b""


def test_a_body_can_be_opened_again_and_closed_early(case: Case) -> None:
    found = deliverable(case.file)
    with found.body.open(0, found.size) as one, found.body.open(5, 100) as other:
        assert other.read(10) == case.content[5:15]
        assert one.read(10) == case.content[:10]


def test_a_missing_file_is_not_found(case: Case) -> None:
    body = deliverable(case.file).body
    case.lose()
    with pytest.raises(ResultNotFound):
        body.open(0, 1)


# --- delivered ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Response:
    status: int
    headers: dict[str, str]
    body: bytes


@pytest.fixture
def request_file(as_bob: Client, case: Case) -> Callable[..., Response]:
    """Request the file as a member of the team."""

    def request(method: str = "GET", **headers: str) -> Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        response: Any = as_bob.generic(method, case.address, headers=named)
        assert isinstance(response, HttpResponse | StreamingHttpResponse)
        body = response.getvalue() if response.streaming else response.content
        return Response(response.status_code, dict(response.headers), body)

    return request


def test_the_entire_file_is_sent_with_its_headers(case: Case, request_file: Callable[..., Response]) -> None:
    response = request_file()
    assert (response.status, response.body) == (200, case.content)
    assert response.headers["Content-Length"] == str(len(case.content))
    assert response.headers["Content-Type"] == "application/octet-stream"
    assert response.headers["Accept-Ranges"] == "bytes"
    assert response.headers["Cache-Control"] == "private"
    assert response.headers["ETag"] == case.file.etag
    assert response.headers["Last-Modified"].endswith(" GMT")
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    disposition = response.headers["Content-Disposition"]
    assert disposition.startswith('attachment; filename="')
    if case.file.name == NAME:
        assert disposition.endswith(f"; filename*=UTF-8''{quote(NAME, safe='')}")


def test_a_range_is_sent(case: Case, request_file: Callable[..., Response]) -> None:
    size = len(case.content)
    for value, start, end in (
        ("bytes=0-0", 0, 1),
        ("bytes=10-19", 10, 20),
        ("bytes=-5", size - 5, size),
        ("bytes=70000-", 70_000, size),
        ("bytes=5-999999999", 5, size),
    ):
        response = request_file(Range=value)
        assert (response.status, response.body) == (206, case.content[start:end]), value
        assert response.headers["Content-Range"] == f"bytes {start}-{end - 1}/{size}", value
        assert response.headers["Content-Length"] == str(end - start), value


def test_a_range_outside_of_the_file_is_refused(case: Case, request_file: Callable[..., Response]) -> None:
    response = request_file(Range=f"bytes={len(case.content)}-")
    assert (response.status, response.headers["Content-Range"]) == (416, f"bytes */{len(case.content)}")


def test_if_range_must_match_the_file(case: Case, request_file: Callable[..., Response]) -> None:
    same = request_file(Range="bytes=5-9", If_Range=request_file("HEAD").headers["ETag"])
    assert (same.status, same.body) == (206, case.content[5:10])
    another = request_file(Range="bytes=5-9", If_Range='"another"')
    assert (another.status, another.body) == (200, case.content)


def test_a_file_that_the_client_has_is_not_sent_again(
    case: Case, request_file: Callable[..., Response]
) -> None:
    head = request_file("HEAD").headers
    for condition in ({"If_None_Match": head["ETag"]}, {"If_Modified_Since": head["Last-Modified"]}):
        response = request_file(**condition)
        assert (response.status, response.body, response.headers["ETag"]) == (304, b"", head["ETag"])
    assert request_file(If_Match='"another"').status == 412


def test_head_is_get_without_the_body(case: Case, request_file: Callable[..., Response]) -> None:
    changing = {"Set-Cookie", "Content-Security-Policy", "X-Request-ID"}
    got = request_file()
    for headers in ({}, {"Range": "bytes=3-7"}, {"Range": "bytes=999999-"}):
        head = request_file("HEAD", **headers)
        assert (head.status, head.body) == (got.status, b""), headers
        assert {name: value for name, value in head.headers.items() if name not in changing} == {
            name: value for name, value in got.headers.items() if name not in changing
        }, headers


def test_the_response_for_a_missing_file_is_a_404(case: Case, request_file: Callable[..., Response]) -> None:
    assert request_file("HEAD").status == 200
    case.lose()
    assert request_file().status == 404
    assert request_file("HEAD").status == 404


def test_all_clients_get_the_same_bytes(case: Case, client: Client, bobs_key: str) -> None:
    file = case.file
    address = f"/api/v1/results/{file.run.collection_id}/{file.run.number}/{quote(file.name, safe='')}"
    response = client.get(address, headers={"x-api-key": bobs_key})
    assert response.getvalue() == case.content


# --- lists --------------------------------------------------------------------------------------------------


@pytest.fixture(params=["ours", "at an account"])
def collection(
    request: pytest.FixtureRequest, crawlers: Team, laptops: Collection, monkeypatch: pytest.MonkeyPatch
) -> Collection:
    if request.param == "ours":
        return laptops
    lists(monkeypatch, [remote_run(1)])
    return make_remote_collection(make_account(crawlers))


@pytest.mark.parametrize("question", ["refresh", "load_older"])
def test_a_source_returns_the_age_of_its_rows(collection: Collection, question: str) -> None:
    source = source_of(collection)
    source.refresh(collection, deadline=LISTING_DEADLINE)
    freshness = getattr(source, question)(collection, deadline=LISTING_DEADLINE)
    assert isinstance(freshness, Freshness)
    assert freshness.as_of is not None
    assert (freshness.problem, freshness.is_late, freshness.has_older) == ("", False, False)
