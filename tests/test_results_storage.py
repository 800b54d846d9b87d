"""The same tests for all results storages: a folder, and a real S3 server."""

import io
import tracemalloc
import zipfile
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.core.files.storage import storages
from django.utils import timezone

from collections_app.files.storage import bucket as s3
from collections_app.files.storage.base import WritableFile, results
from tests.support.faults import random_bytes
from tests.support.results import store_bytes, stored_keys

KEY = "101/1/0123456789abcdef-page-0001.json"
MEBIBYTE = 2**20
# More than one part of an upload, the last of which is smaller.
LARGE = s3.PART_SIZE + 3 * MEBIBYTE + 7


@pytest.fixture(scope="module")
def large() -> bytes:
    return random_bytes(LARGE)


def pieces(content: bytes, size: int = 300_000) -> Iterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


def read(key: str) -> bytes:
    with results().open(key) as stored:
        return bytes(stored.read())


def write_and_fail(file: WritableFile, content: bytes) -> None:
    file.write(content)
    file.write("text is no bytes")  # type: ignore[arg-type]


def part(key: str, start: int, length: int) -> bytes:
    """Read a part as a download does."""
    got = b""
    with results().open_part(key, start, length) as stream:
        while len(got) < length and (piece := stream.read(length - len(got))):
            got += piece
    return got


@pytest.mark.parametrize("content", [b"", b"[]", random_bytes(100_001)], ids=len)
def test_files_contain_what_was_written(content: bytes) -> None:
    store_bytes(KEY, content)
    assert read(KEY) == content
    assert stored_keys() == [KEY]
    with results().open(KEY) as stored:
        assert stored.size == len(content)


def test_a_large_file_appears_only_when_it_is_complete(large: bytes) -> None:
    with results().open(KEY, "wb") as file:
        for piece in pieces(large):
            file.write(piece)
        assert not storages["results"].exists(KEY)
        (name,) = results().listdir("101/1")[1]
        assert name.startswith("0123456789abcdef-page-0001.json")
        assert name.endswith(".part")
        assert results().listdir("101") == (["1"], [])
        assert list(results().contents("101")["1"]) == [name]
    assert stored_keys() == [KEY]
    assert read(KEY) == large
    assert results().contents("101") == {"1": {KEY.rpartition("/")[2]: LARGE}}


@pytest.mark.parametrize("size", [2, LARGE], ids=["small", "large"])
def test_an_exception_leaves_nothing_behind(size: int) -> None:
    with pytest.raises(TypeError), results().open(KEY, "wb") as file:
        write_and_fail(file, bytes(size))
    assert stored_keys() == []


def test_a_discarded_file_leaves_nothing_behind(large: bytes) -> None:
    file = results().open(KEY, "wb")
    file.write(large)
    file.discard()
    file.discard()
    file.close()
    assert file.closed
    assert stored_keys() == []


def test_deleting_an_unfinished_file_stops_the_writing(large: bytes) -> None:
    file = results().open(KEY, "wb")
    file.write(large)
    (name,) = results().listdir("101/1")[1]
    results().delete(f"101/1/{name}")
    assert stored_keys() == []
    with pytest.raises(FileNotFoundError), file:
        file.write(large)
    file.discard()
    assert stored_keys() == []


@pytest.mark.parametrize(
    ("start", "length"),
    [(0, 1), (0, LARGE), (1, 1), (LARGE - 1, 1), (MEBIBYTE - 1, 2), (70_000, 5 * MEBIBYTE)],
)
def test_a_part_is_read(large: bytes, start: int, length: int) -> None:
    store_bytes(KEY, large)
    assert part(KEY, start, length) == large[start : start + length]
    with results().open_part(KEY, start, length) as stream:
        assert stream.size == LARGE  # type: ignore[attr-defined]


def test_files_are_seekable(large: bytes) -> None:
    store_bytes(KEY, large)
    with results().open(KEY) as stored:
        for position, whence in ((5, io.SEEK_SET), (100, io.SEEK_CUR), (-7, io.SEEK_END), (0, io.SEEK_SET)):
            at = stored.seek(position, whence)
            assert stored.read(20) == large[at : at + 20]


def test_a_zip_is_read_from_its_end() -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("one.json", b"[1]" * 100_000)
        archive.writestr("two.json", b"[]")
    store_bytes(KEY, packed.getvalue())
    with results().open(KEY) as stored, zipfile.ZipFile(stored) as archive:
        assert archive.testzip() is None
        assert archive.read("two.json") == b"[]"


def test_reading_needs_little_memory() -> None:
    size = 3 * LARGE
    store_bytes(KEY, bytes(size))
    tracemalloc.start()
    try:
        with results().open_part(KEY, 0, size) as stream:
            while stream.read(MEBIBYTE):
                pass
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * MEBIBYTE


def test_a_missing_file() -> None:
    for opened in (lambda: results().open(KEY), lambda: results().open_part(KEY, 0, 1)):
        with pytest.raises(FileNotFoundError):
            opened()
    with pytest.raises(FileNotFoundError):
        results().get_modified_time(KEY)
    results().delete(KEY)
    assert not storages["results"].exists(KEY)
    assert results().contents("101") == {}


def test_a_file_is_replaced_atomically() -> None:
    store_bytes(KEY, b"old")
    with results().open(KEY, "wb") as file:
        file.write(b"new")
        assert read(KEY) == b"old"
    assert read(KEY) == b"new"
    results().delete(KEY)
    assert stored_keys() == []


def test_files_have_a_modification_time() -> None:
    before = timezone.now() - timedelta(seconds=2)
    store_bytes(KEY, b"[]")
    assert before < results().get_modified_time(KEY) < timezone.now() + timedelta(seconds=2)


def test_folders_are_listed_by_name() -> None:
    keys = ["101/1/a", "101/1/b c ä", "101/2/a", "102/1/a", "notes.txt", "101/notes.txt", "101/1/deep/file"]
    for key in keys:
        store_bytes(key, b"[]")
    folders, files = results().listdir("")
    assert (sorted(folders), files) == (["101", "102"], ["notes.txt"])
    folders, files = results().listdir("101")
    assert (sorted(folders), files) == (["1", "2"], ["notes.txt"])
    assert sorted(results().listdir("101/1")[1]) == ["a", "b c ä"]
    assert results().contents("101") == {"1": {"a": 2, "b c ä": 2}, "2": {"a": 2}}


def test_more_files_than_a_server_lists_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    original = getattr(storages["results"], "_pages", None)
    if original is not None:
        monkeypatch.setattr(
            storages["results"],
            "_pages",
            lambda operation, **arguments: original(operation, PaginationConfig={"PageSize": 2}, **arguments),
        )
    for number in range(5):
        store_bytes(f"101/1/{number}", b"")
    assert sorted(results().contents("101")["1"]) == list("01234")
    assert sorted(results().listdir("101/1")[1]) == list("01234")


@pytest.mark.parametrize("mode", ["rb", "wb"])
def test_a_key_cannot_lead_out_of_the_storage(mode: str) -> None:
    def write() -> None:
        file: Any = results().open("../secret", mode)
        if mode == "wb":
            file.close()

    with pytest.raises(Exception, match=r"outside of the base path|Attempted access to"):
        write()


def test_other_modes_are_rejected() -> None:
    with pytest.raises(ValueError, match="'rb' or 'wb', not 'ab'"):
        results().open("a.json", "ab")
