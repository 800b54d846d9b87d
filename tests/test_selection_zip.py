"""ZIPs that are joined while they are read: of a selection of runs and pages, and of a run."""

import io
import random
import zipfile
import zlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import storages
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import DjangoAssertNumQueries

from collections_app.files.bundles.pieces import JoinedBody, Part
from collections_app.files.bundles.selection import InvalidSelection, Selection, files_of, parse
from collections_app.files.bundles.zip_body import Member, zip_of
from collections_app.models import Collection, FileKind, ResultFile, Run, Team
from collections_app.sources.base import Body, BytesBody
from tests.conftest import Get
from tests.support import tools
from tests.support.ranges import check_ranges
from tests.support.responses import content
from tests.support.results import (
    make_failed_run,
    make_many_pages,
    make_processing_run,
    make_ready_run,
    make_run_of_pages,
    records,
    stored_bytes,
)
from tests.support.upstream import make_account, make_remote_collection, make_remote_run

pytestmark = pytest.mark.django_db(transaction=True)

AT = datetime(2026, 6, 20, 12, 0, 2, tzinfo=UTC)


@pytest.fixture
def runs(laptops: Collection) -> list[Run]:
    """Runs 1 to 3, with 3, 1 and 2 pages."""
    return [make_ready_run(laptops, records(count, 10 * count), page_size=2) for count in (5, 1, 4)]


def members(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def name(run: int, page: int) -> str:
    return f"Run {run}/AU Laptops_{run}_Results_Page_{page}.json"


# --- content ------------------------------------------------------------------------------------


def test_runs_are_one_zip_with_a_folder_for_each(get: Get, runs: list[Run]) -> None:
    response = get("101/selection.zip?runs=1-2,3")
    found = members(content(response))
    assert response["Content-Disposition"] == (
        'attachment; filename="AU Laptops_3_Runs_1_to_3_Selection.zip"'
    )
    assert list(found) == [name(3, 1), name(3, 2), name(2, 1), name(1, 1), name(1, 2), name(1, 3)]
    pages = ResultFile.objects.filter(kind=FileKind.PAGE)
    assert found == {f"Run {page.run.number}/{page.name}": stored_bytes(page) for page in pages}


def test_length_and_etag_are_known_in_advance(get: Get, runs: list[Run]) -> None:
    head, response = get("101/selection.zip?runs=1-3", "HEAD"), get("101/selection.zip?runs=3,2,1")
    body = content(response)
    assert head["Content-Length"] == response["Content-Length"] == str(len(body))
    assert head["ETag"] == response["ETag"]
    assert head["ETag"] != get("101/selection.zip?runs=1-2", "HEAD")["ETag"]


def test_pages_are_compressed_as_in_the_runs_zips(get: Get, runs: list[Run]) -> None:
    body = content(get("101/selection.zip?runs=1"))
    for page in runs[0].files.filter(kind=FileKind.PAGE):
        archive = stored_bytes(runs[0].files.get(kind=FileKind.ARCHIVE))
        assert page.archive_offset is not None
        assert page.archive_size is not None
        assert archive[page.archive_offset : page.archive_offset + page.archive_size] in body


def test_selected_pages_are_included_once(get: Get, runs: list[Run]) -> None:
    found = members(content(get("101/selection.zip?runs=2&pages=1.2-3,3.1&pages=1.3,2.1")))
    assert list(found) == [name(3, 1), name(2, 1), name(1, 2), name(1, 3)]


def test_one_query_finds_thousands_of_pages(
    laptops: Collection, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    make_many_pages(laptops, runs=1, pages=2_000)
    pages = parse([], [",".join(f"1.{page}" for page in range(1, 2_001))])
    with django_assert_num_queries(2):  # the run, its pages
        assert len(files_of(laptops, pages)) == 2_000


def test_a_single_run_needs_no_folder(as_bob: Client, runs: list[Run]) -> None:
    response = as_bob.get("/collections/101/selection.zip?pages=1.1-2")
    assert response["Content-Disposition"] == 'attachment; filename="AU Laptops_Run_1_Selection.zip"'
    assert list(members(content(response))) == [name(1, page).removeprefix("Run 1/") for page in (1, 2)]


def test_names_that_windows_or_macos_cannot_unpack_are_replaced(as_bob: Client, laptops: Collection) -> None:
    pages = {f"{number}.json": f'[{{"n": {number}}}]'.encode() for number in range(1, 5)}
    run = make_run_of_pages(laptops, pages)
    # Older versions stored such names.
    old = ["NUL.json", "Caf\xe9.json", "CAFE\u0301.JSON", "a. "]
    for position, stored in enumerate(old, 1):
        run.files.filter(position=position, kind=FileKind.PAGE).update(name=stored)
    response = as_bob.get(f"/collections/{laptops.pk}/selection.zip?runs=1")
    new = ["_NUL.json", "Caf\xe9.json", "CAFE\u0301 (2).JSON", "a__"]
    assert members(content(response)) == dict(zip(new, pages.values(), strict=True))
    stored_file = as_bob.get(f"/collections/{laptops.pk}/runs/1/files/NUL.json")
    assert content(stored_file) == pages["1.json"]


def test_category_lists_are_not_compressed(as_bob: Client, headphones: Collection) -> None:
    for count in (1, 2):
        make_ready_run(headphones, records(count))
    found = members(content(as_bob.get(f"/collections/{headphones.pk}/selection.zip?runs=1&runs=2")))
    assert list(found) == [
        f"Run {run}/category_asins.{ending}" for run in (2, 1) for ending in ("csv", "json")
    ]


def test_other_programs_accept_the_zip(get: Get, laptops: Collection, tmp_path: Path) -> None:
    make_run_of_pages(laptops, {"Größe 列😀.json": b"[]", "b.json": b'[{"asin": "B1"}]'})
    make_ready_run(laptops, records(600))
    path = tmp_path / "selection.zip"
    path.write_bytes(content(get("101/selection.zip?runs=1-2")))
    for test in (["unzip", "-tq"], ["7z", "t"]):
        tools.run(*test, path)


# --- ranges -------------------------------------------------------------------------------------


@pytest.mark.no_cover
def test_any_range_equals_that_part_of_the_file(as_bob: Client, runs: list[Run]) -> None:
    check_ranges(as_bob, "/collections/101/selection.zip?runs=1,3&pages=2.1", 80)


def test_a_range_is_refused_if_the_selection_has_changed(as_bob: Client, runs: list[Run]) -> None:
    etag = as_bob.head("/collections/101/selection.zip?runs=1-2")["ETag"]
    headers = {"Range": "bytes=5-", "If-Range": etag}
    assert as_bob.get("/collections/101/selection.zip?runs=1-3", headers=headers).status_code == 200


class NotedBody:
    """A body in memory that records how it was opened."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.opened: list[tuple[int, int]] = []
        self.streams: list[io.BytesIO] = []

    def open(self, start: int, length: int) -> Any:
        self.opened.append((start, length))
        self.streams.append(io.BytesIO(self.data[start : start + length]))
        return self.streams[-1]


pieces = st.lists(
    st.binary(min_size=1, max_size=9) | st.tuples(st.integers(0, 2), st.integers(0, 90), st.integers(1, 9)),
    min_size=1,
    max_size=12,
)


@pytest.mark.no_cover
@given(wanted=pieces, data=st.data())
def test_pieces_are_joined_from_any_byte(wanted: list[Any], data: st.DataObject) -> None:
    bodies = [NotedBody(bytes(range(100 * each, 100 * each + 100))) for each in (0, 1)] + [
        NotedBody(bytes(100))
    ]
    parts = [each if isinstance(each, bytes) else Part(bodies[each[0]], *each[1:]) for each in wanted]
    expected = b"".join(
        each if isinstance(each, bytes) else each.body.data[each.start : each.start + each.length]  # type: ignore[attr-defined]
        for each in parts
    )
    body = JoinedBody(parts)
    assert body.size == len(expected)
    start = data.draw(st.integers(0, len(expected) - 1))
    length = data.draw(st.integers(1, len(expected) - start))
    with body.open(start, length) as stream:
        read = b"".join(iter(lambda: stream.read(data.draw(st.integers(1, 20))), b""))
    assert read == expected[start : start + length]
    assert all(each.closed for each_body in bodies for each in each_body.streams)
    # Of each stored file, only the range between the first and last piece is read.
    for each_body in bodies:
        assert all(first + asked <= 100 for first, asked in each_body.opened)


def test_near_pieces_are_read_at_once() -> None:
    body = NotedBody(bytes(200_000))
    near = JoinedBody([b"a", Part(body, 10, 5), b"b", Part(body, 45, 5), Part(body, 150_000, 5)])
    with near.open(0, near.size) as stream:
        assert len(stream.read()) == near.size
    assert body.opened == [(10, 40), (150_000, 5)]
    body.opened.clear()
    with near.open(3, 6) as stream:
        stream.read()
    assert body.opened == [(12, 35)]


# --- the ZIP itself -----------------------------------------------------------------------------


@pytest.mark.no_cover
@given(
    contents=st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/\\"), min_size=1),
        st.binary(max_size=50),
        max_size=6,
    )
)
def test_it_equals_the_zip_that_zipfile_writes(contents: dict[str, bytes]) -> None:
    slow = io.BytesIO()
    with zipfile.ZipFile(slow, "w") as archive:
        for each, data in contents.items():
            entry = zipfile.ZipInfo(each, AT.timetuple()[:6])
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, data)
    body = zip_of(
        Member(each, AT, len(data), zlib.crc32(data), Part(BytesBody(data), 0, len(data)), False)
        for each, data in contents.items()
    ).body
    with body.open(0, body.size) as stream:
        assert b"".join(iter(lambda: stream.read(64), b"")) == slow.getvalue()


class Zeros:
    """A body of zeros that is too large for memory."""

    def open(self, start: int, length: int) -> Any:
        return open("/dev/zero", "rb", buffering=0)  # noqa: PTH123


class Seekable(io.RawIOBase):
    """A body as a seekable file for zipfile."""

    def __init__(self, body: Body, size: int) -> None:
        self.body, self.size, self.at = body, size, 0

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.at

    def seek(self, position: int, whence: int = 0) -> int:
        self.at = position + {0: 0, 1: self.at, 2: self.size}[whence]
        return self.at

    def read(self, size: int = -1) -> bytes:
        left = self.size - self.at
        left = left if size < 0 else min(left, size)
        with self.body.open(self.at, left) as stream:
            data = b""
            while len(data) < left:
                data += stream.read(left - len(data))
        self.at += left
        return data


def test_members_and_zip_may_be_larger_than_4_gigabytes() -> None:
    huge = 5 * 2**30
    small = b"after it"
    huge_zip = zip_of(
        [
            Member("huge", AT, huge, 0, Part(Zeros(), 0, huge), False),
            Member("small", AT, len(small), zlib.crc32(small), Part(BytesBody(small), 0, 8), False),
        ]
    )
    assert huge_zip.body.size > huge
    with zipfile.ZipFile(Seekable(huge_zip.body, huge_zip.body.size)) as archive:
        assert [entry.file_size for entry in archive.infolist()] == [huge, 8]
        assert archive.read("small") == small


# --- a run's ZIP --------------------------------------------------------------------------------


def test_all_files_of_a_product_run_are_its_zip(get: Get, runs: list[Run]) -> None:
    archive = runs[0].files.get(kind=FileKind.ARCHIVE)
    response = get("101/runs/1/all.zip")
    assert content(response) == stored_bytes(archive)
    assert response["ETag"] == archive.etag
    assert response["Content-Disposition"] == f'attachment; filename="{archive.name}"'


def test_a_category_run_has_no_zip(as_bob: Client, get: Get, headphones: Collection) -> None:
    make_ready_run(headphones, records(3))
    page = as_bob.get(f"/collections/{headphones.pk}/runs/1/all.zip")
    assert page.status_code == 404
    message = "Category runs have no ZIP. Download the full list as JSON or CSV."
    assert message in page.content.decode()
    for which in ("runs/1", "latest"):
        assert get(f"{headphones.pk}/{which}/all.zip").json() == {"code": 404, "data": message, "status": 0}


def test_the_zip_of_the_latest_run_contains_its_number(get: Get, runs: list[Run]) -> None:
    response = get("101/latest/all.zip")
    assert response["Content-Location"] == "/api/v1/collections/101/runs/3/all.zip"
    assert len(members(content(response))) == 2


def test_a_file_without_a_crc_is_read_once_for_it(
    as_bob: Client, headphones: Collection, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    run = make_ready_run(headphones, records(3))
    noted = list(run.files.order_by("pk").values_list("crc32", flat=True))
    run.files.update(crc32=None)
    address = f"/collections/{headphones.pk}/selection.zip?runs=1"
    assert len(members(content(as_bob.get(address)))) == 2
    assert list(run.files.order_by("pk").values_list("crc32", flat=True)) == noted


# --- what can't be sent -------------------------------------------------------------------------


def test_a_run_that_is_not_ready_is_named(
    as_bob: Client, get: Get, runs: list[Run], laptops: Collection
) -> None:
    make_processing_run(laptops)
    make_failed_run(laptops)
    for query, reason in [
        ("runs=1-4", "Run 4 is still processing."),
        ("runs=1&pages=5.1", "Run 5 failed, so it has no files."),
        ("runs=77", "This collection has no run 77."),
        ("pages=1.2-4", "Run 1 has no page 4."),
    ]:
        page = as_bob.get(f"/collections/101/selection.zip?{query}")
        assert page.status_code == 404
        assert reason in page.content.decode()
        envelope = get(f"101/selection.zip?{query}").json()
        assert envelope["code"] == 404
        assert envelope["data"].startswith(reason)


def test_runs_only_at_an_account_are_refused(as_bob: Client, crawlers: Team) -> None:
    collection = make_remote_collection(make_account(crawlers))
    make_remote_run(collection, 7)
    response = as_bob.get(f"/collections/{collection.pk}/selection.zip?runs=7")
    assert response.status_code == 404
    assert "Copy results here" in response.content.decode()


def test_a_missing_first_file_is_reported_before_the_first_byte(as_bob: Client, runs: list[Run]) -> None:
    storages["results"].delete(runs[2].files.get(kind=FileKind.ARCHIVE).key)
    response = as_bob.get("/collections/101/selection.zip?runs=1-3")
    assert response.status_code == 404
    assert "missing from the results storage" in response.content.decode()


def test_a_missing_later_file_breaks_off_the_download(as_bob: Client, runs: list[Run]) -> None:
    # The bytes before it are more than is read before the response.
    make_ready_run(runs[0].collection, [{"noise": random.Random(1).randbytes(200_000).hex()}])
    storages["results"].delete(runs[0].files.get(kind=FileKind.ARCHIVE).key)
    response = as_bob.get("/collections/101/selection.zip?runs=1-4")
    assert response.status_code == 200
    with pytest.raises(ConnectionError):
        content(response)
    response.close()


def test_another_teams_runs_are_refused(as_carol: Client, get: Get, secret_plans: Collection) -> None:
    assert as_carol.get("/collections/101/selection.zip?runs=1").status_code == 403
    assert get(f"{secret_plans.pk}/selection.zip?runs=1").json()["code"] == 403


# --- the address --------------------------------------------------------------------------------


def test_runs_and_pages_are_numbers_and_ranges() -> None:
    assert parse(["88-91, 95", "90"], ["92.1-3,92.7"]) == Selection(
        (95, 91, 90, 89, 88), ((92, 1, 3), (92, 7, 7))
    )


@pytest.mark.parametrize(
    ("runs", "pages", "reason"),
    [
        ([], [], "Nothing is selected"),
        (["", ","], [" "], "Nothing is selected"),
        (["x"], [], "“runs=x” is invalid"),
        (["1-"], [], "is invalid"),
        (["٣"], [], "is invalid"),
        (["9-8"], [], "is invalid"),
        ([], ["1.3-2"], "is invalid"),
        ([], ["1"], "is invalid"),
        (["1" * 19], [], "is invalid"),
        (["1-1001"], [], "At most 1,000 runs"),
        (["1-999999999999999999"], [], "At most 1,000 runs"),
        (["1-600,601-1200"], [], "At most 1,000 runs"),
    ],
    ids=str,
)
def test_other_addresses_are_refused_with_a_reason(runs: list[str], pages: list[str], reason: str) -> None:
    with pytest.raises(InvalidSelection, match=reason):
        parse(runs, pages)


@pytest.mark.parametrize("query", ["", "runs=x", "runs=1-1001", "pages=1.1-999999999"])
def test_an_invalid_selection_is_a_bad_request(as_bob: Client, get: Get, runs: list[Run], query: str) -> None:
    assert as_bob.get(f"/collections/101/selection.zip?{query}").status_code == 400
    assert get(f"101/selection.zip?{query}").json()["code"] == 400


def test_many_runs_take_as_many_queries_as_two(
    get: Get, laptops: Collection, runs: list[Run], django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    get("101/selection.zip?runs=1")  # saves the key's last use
    for _ in range(3):
        make_ready_run(laptops, records(3), page_size=1)
    with django_assert_num_queries(5) as asked:
        get("101/selection.zip?runs=1-2", "HEAD")
    with django_assert_num_queries(len(asked)):
        get("101/selection.zip?runs=1-6", "HEAD")
