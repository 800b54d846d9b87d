"""What every place of results keeps to, whoever reads: our own storage, and an account over real HTTP."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO

import pytest
from django.core.files.storage import storages
from django.http.response import HttpResponseBase
from django.test import RequestFactory
from pytest_django import Settings

from collections_app.delivery import deliver
from collections_app.models import Collection, Kind, ResultFile, Run, Team
from collections_app.sources import ResultNotFound, deliverable, source_of
from tests.faults import FileServer
from tests.mirrors import csv_of
from tests.upstream import ask_in_the_same_thread, make_account, make_remote_collection

CATEGORY = Kind.AMAZON_CATEGORY
CSV = "category_asins.csv"
RECORDS = [{"asin": f"B{number:09}", "price_cents": number, "in_stock": True} for number in range(6000)]
LIST = json.dumps(RECORDS).encode()
CONTENT = csv_of(LIST)
SIZE = len(CONTENT)
EMPTY = "empty.json"
MODIFIED = datetime(2026, 6, 20, 12, 5, tzinfo=UTC)


@dataclass
class Place:
    """A place that keeps a CSV and an empty file of a run."""

    run: Run
    lose: Callable[[], object]  # the CSV goes away
    forget: Callable[[], object] = lambda: None  # what was learnt of the files is forgotten

    def file(self, name: str = CSV) -> ResultFile:
        """Return a file's row, read anew as for each request."""
        return ResultFile.objects.downloadable(self.run.collection, 88, name)


def _run(collection: Collection, **of_csv: object) -> Run:
    run: Run = collection.runs.create(number=88, state="ready", file_count=2)
    run.files.create(kind="category_csv", position=0, name=CSV, modified=MODIFIED, **of_csv)
    return run


def _stored(collection: Collection, folder: Path) -> Place:
    folder.mkdir()
    (folder / "csv").write_bytes(CONTENT)
    (folder / "empty").touch()
    run = _run(collection, key="csv", size=SIZE)
    run.files.create(kind="page", position=1, name=EMPTY, key="empty", size=0, modified=MODIFIED)
    return Place(run, (folder / "csv").unlink)


def _at_an_account(collection: Collection, server: FileServer, remote_name: str) -> Place:
    """Return a CSV that the account has, or, without a name there, one that is made of its list."""
    run = _run(collection, remote_name=remote_name)
    for position, name in enumerate([EMPTY, "list.json"]):
        run.files.create(
            kind="page" if name == EMPTY else "category_list",
            position=position,
            name=name,
            remote_name=name,
            modified=MODIFIED,
        )

    def lose() -> None:
        server.contents.clear()
        for made in Path(storages["converted"].path("")).glob("*"):
            made.unlink()

    return Place(run, lose, lambda: run.files.update(size=None))


@pytest.fixture(params=["our storage", "kept from an account", "at an account", "made of an account's list"])
def place(
    request: pytest.FixtureRequest,
    crawlers: Team,
    results_folder: Path,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Place]:
    """Each place in turn."""
    ask_in_the_same_thread(monkeypatch)
    if request.param == "our storage":
        yield _stored(crawlers.collections.create(name="Headphones", kind=CATEGORY), results_folder)
        return
    with FileServer({CSV: CONTENT, "list.json": LIST, EMPTY: b""}).running() as server:
        settings.UPSTREAM_ORIGINS = [f"http://127.0.0.1:{server.port}"]
        collection = make_remote_collection(make_account(crawlers, base_url=server.base_url), kind=CATEGORY)
        if request.param == "kept from an account":
            yield _stored(collection, results_folder)
            assert not [path for _, path, _ in server.asked if "/results/" in path]
        else:
            yield _at_an_account(collection, server, CSV if request.param == "at an account" else "")


Ask = Callable[..., HttpResponseBase]


@pytest.fixture
def ask(place: Place) -> Iterator[Ask]:
    """Ask for a file by a method and headers (If_Range is If-Range)."""
    with ExitStack() as answers:

        def asked(method: str = "GET", name: str = CSV, **headers: str) -> HttpResponseBase:
            named = {header.replace("_", "-"): value for header, value in headers.items()}
            request = RequestFactory().generic(method, "/", headers=named)
            answer = deliver(request, deliverable(place.file(name)))
            answers.callback(answer.close)
            return answer

        yield asked


def content(answer: HttpResponseBase) -> bytes:
    return b"".join(answer)  # type: ignore[arg-type]


def read(stream: BinaryIO, length: int) -> bytes:
    """Read so many bytes, in the pieces in which they come."""
    data = b""
    while len(data) < length and (piece := stream.read(length - len(data))):
        data += piece
    return data


# --- a body -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "length"),
    [(0, SIZE), (0, 1), (1, SIZE - 1), (SIZE - 1, 1), (65_535, 2), (100_000, 70_000)],
)
def test_a_body_is_opened_at_any_byte(place: Place, start: int, length: int) -> None:
    with deliverable(place.file()).body.open(start, length) as stream:
        assert read(stream, length) == CONTENT[start : start + length]


def test_a_body_is_read_in_pieces_of_any_size(place: Place) -> None:
    with deliverable(place.file()).body.open(0, SIZE) as stream:
        pieces = [stream.read(size) for size in (1, 7, 0, 1000)]
        assert [len(piece) for piece in pieces] == [1, 7, 0, 1000]
        assert b"".join(pieces) + read(stream, SIZE) == CONTENT


def test_a_body_ends_after_its_last_byte(place: Place) -> None:
    found = deliverable(place.file())
    for start in (0, SIZE - 10):
        with found.body.open(start, SIZE - start) as stream:
            assert len(read(stream, SIZE - start)) == SIZE - start
            assert stream.read(1) == b""
            assert stream.read() == b""


def test_a_body_is_opened_as_often_as_somebody_reads(place: Place) -> None:
    body = deliverable(place.file()).body
    with body.open(0, SIZE) as one, body.open(1000, 20) as other:
        assert read(one, 10) == CONTENT[:10]
        assert read(other, 20) == CONTENT[1000:1020]
        assert read(one, SIZE) == CONTENT[10:]


def test_a_body_may_be_left_before_its_end(place: Place) -> None:
    body = deliverable(place.file()).body
    for _ in range(3):
        stream = body.open(0, SIZE)
        assert read(stream, 5) == CONTENT[:5]
        stream.close()
        stream.close()
    with body.open(0, SIZE) as stream:
        assert read(stream, SIZE) == CONTENT


def test_an_empty_file_has_an_empty_body(ask: Ask) -> None:
    answer = ask(name=EMPTY)
    assert (answer.status_code, answer.headers["Content-Length"], content(answer)) == (200, "0", b"")
    assert ask(name=EMPTY, Range="bytes=0-").status_code == 416


def test_a_file_that_is_missing_is_not_found(place: Place) -> None:
    known = deliverable(place.file())
    place.lose()
    for start, length in ((0, SIZE), (5, 10)):
        with pytest.raises(ResultNotFound):
            known.body.open(start, length)
    place.forget()
    with pytest.raises(ResultNotFound):
        deliverable(place.file()).body.open(0, SIZE)


# --- what is known of it ------------------------------------------------------------------------


def test_the_size_is_that_of_the_bytes(place: Place) -> None:
    assert deliverable(place.file()).size == SIZE
    assert deliverable(place.file(EMPTY)).size == 0


def test_a_size_is_kept_once_it_is_known(place: Place) -> None:
    deliverable(place.file())
    assert place.file().size == SIZE
    place.lose()
    assert deliverable(place.file()).size == SIZE


def test_the_etag_is_strong_and_stays_when_the_size_is_learnt_again(place: Place) -> None:
    etags = set()
    for _ in range(3):
        place.forget()
        etags.add(deliverable(place.file()).etag)
    (etag,) = etags
    assert etag.startswith('"')
    assert etag != deliverable(place.file(EMPTY)).etag


def test_the_etag_and_the_time_are_those_of_the_row(place: Place) -> None:
    found = deliverable(place.file())
    file = place.file()
    assert (found.name, found.etag, found.modified) == (CSV, file.etag, MODIFIED)
    ResultFile.objects.update(modified=MODIFIED + timedelta(seconds=1))
    assert deliverable(place.file()).etag != found.etag


def test_the_rows_come_within_the_deadline_or_with_a_sentence(place: Place) -> None:
    freshness = source_of(place.run.collection).refresh(place.run.collection, deadline=timedelta(seconds=5))
    assert freshness.problem or freshness.as_of
    assert place.file().run == place.run


# --- the answer ---------------------------------------------------------------------------------


def test_the_whole_file_comes_with_every_header(place: Place, ask: Ask) -> None:
    answer = ask()
    assert answer.status_code == 200
    assert dict(answer.items()) == {
        "Accept-Ranges": "bytes",
        "Cache-Control": "private",
        "Content-Disposition": f'attachment; filename="{CSV}"',
        "Content-Length": str(SIZE),
        "Content-Type": "application/octet-stream",
        "ETag": deliverable(place.file()).etag,
        "Last-Modified": "Sat, 20 Jun 2026 12:05:00 GMT",
        "X-Content-Type-Options": "nosniff",
    }
    assert content(answer) == CONTENT


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=100-199", 100, 200),
        ("bytes=199999-", SIZE - 1, SIZE),
        ("bytes=-70000", SIZE - 70_000, SIZE),
        ("bytes=150000-999999", 150_000, SIZE),
        ("bytes=0-", 0, SIZE),
    ],
)
def test_a_range_is_that_part_of_it(ask: Ask, asked: str, start: int, end: int) -> None:
    answer = ask(Range=asked)
    assert answer.status_code == 206
    assert answer.headers["Content-Range"] == f"bytes {start}-{end - 1}/{SIZE}"
    assert answer.headers["Content-Length"] == str(end - start)
    assert content(answer) == CONTENT[start:end]


def test_a_range_outside_the_file_says_how_long_it_is(ask: Ask) -> None:
    answer = ask(Range=f"bytes={SIZE}-")
    assert (answer.status_code, answer.headers["Content-Range"]) == (416, f"bytes */{SIZE}")
    assert content(answer) == b""


def test_if_range_gives_the_part_of_that_very_file_only(ask: Ask) -> None:
    etag, modified = (ask("HEAD").headers[name] for name in ("ETag", "Last-Modified"))
    for condition in (etag, modified):
        answer = ask(Range="bytes=5-9", If_Range=condition)
        assert (answer.status_code, content(answer)) == (206, CONTENT[5:10])
    for condition in ('"other"', f"W/{etag}", "Sat, 20 Jun 2026 12:04:59 GMT"):
        answer = ask(Range="bytes=5-9", If_Range=condition)
        assert (answer.status_code, content(answer)) == (200, CONTENT)


def test_who_has_the_file_already_is_told_so_even_where_it_is_gone(place: Place, ask: Ask) -> None:
    head = ask("HEAD").headers
    place.lose()
    for condition in ({"If_None_Match": head["ETag"]}, {"If_Modified_Since": head["Last-Modified"]}):
        answer = ask(**condition)
        assert (answer.status_code, answer.headers["ETag"], content(answer)) == (304, head["ETag"], b"")
    assert ask(If_Match='"other"').status_code == 412


@pytest.mark.parametrize(
    "headers",
    [{}, {"Range": "bytes=100-199"}, {"Range": "bytes=200000-"}, {"If_Match": '"other"'}],
    ids=str,
)
def test_head_is_get_without_the_body(ask: Ask, headers: dict[str, str]) -> None:
    get, head = ask(**headers), ask("HEAD", **headers)
    assert (head.status_code, dict(head.items())) == (get.status_code, dict(get.items()))
    assert content(head) == b""


def test_no_answer_is_begun_for_a_file_that_is_missing(place: Place, ask: Ask) -> None:
    ask("HEAD")
    place.lose()
    for method in ("GET", "HEAD"):
        with pytest.raises(ResultNotFound):
            ask(method)
