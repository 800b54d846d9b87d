"""The ZIP that grows with a run's pages always contains exactly these pages."""

import io
import zipfile
import zlib
from contextlib import closing
from pathlib import Path

import pytest
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collections_app.files import zip as zip_format
from collections_app.files.zip import Deflated, GrowingZip, location_of
from collections_app.models import Collection, FileKind, Run
from collections_app.records.formats.json_records import InvalidRecords
from collections_app.runs import archive
from collections_app.runs.archive import RunArchive
from collections_app.runs.new_file import NewFile
from collections_app.runs.writer import ResultSetWriter
from tests.support import tools
from tests.support.results import make_processing_run, make_ready_run, records, stored_bytes

CHECKS = (["unzip", "-tq"], ["7z", "t"], ["python3", "-m", "zipfile", "-t"])


def zip_of(run: Run) -> bytes:
    return stored_bytes(run.files.get(kind=FileKind.ARCHIVE))


def check(run: Run) -> None:
    """Check that the ZIP contains the pages in order, and that each page's row has its location."""
    content = zip_of(run)
    pages = list(run.files.filter(kind=FileKind.PAGE).order_by("position"))
    with zipfile.ZipFile(io.BytesIO(content)) as found:
        assert found.testzip() is None
        assert {name: found.read(name) for name in found.namelist()} == {
            page.name: stored_bytes(page) for page in pages
        }
        assert found.namelist() == [page.name for page in pages]
    for page in pages:
        assert page.archive_offset is not None
        assert page.archive_size is not None
        packed = content[page.archive_offset : page.archive_offset + page.archive_size]
        assert zlib.decompress(packed, wbits=-15) == stored_bytes(page)
        assert page.crc32 == zlib.crc32(stored_bytes(page))


def never(*args: object) -> None:
    raise AssertionError("The pages must not be read again.")


def test_the_zip_grows_without_reading_pages_again(
    laptops: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RunArchive, "_add_stored", never)
    check(make_ready_run(laptops, records(5), page_size=2))


def test_a_paused_run_gets_a_zip_of_all_its_pages(
    laptops: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "_PAGES_AT_ONCE", 2)
    run = make_processing_run(laptops, records(5), page_size=1)
    with ResultSetWriter.resume(run, page_size=1) as resumed:
        for record in records(2, first=6):
            resumed.add_record(record)
    assert resumed.run.files.filter(kind=FileKind.PAGE).count() == 7
    check(resumed.run)


def test_a_refused_page_is_not_in_the_zip(laptops: Collection) -> None:
    with ResultSetWriter.start(laptops) as writing:
        for content in (b"[{}]", b'[{"a": 1}, oops]', b'[{"a": 2}]'):
            try:
                writing.add_page(f"{len(content)}.json", io.BytesIO(content))
            except InvalidRecords:
                assert content.endswith(b"oops]")
    assert writing.run.files.filter(kind=FileKind.PAGE).count() == 2
    check(writing.run)


def test_a_zip_that_failed_is_built_again(laptops: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    with ResultSetWriter.start(laptops) as writing:
        writing.add_page("1.json", io.BytesIO(b'[{"n": 1}]'))
        with monkeypatch.context() as patch:
            patch.setattr(GrowingZip, "add", full)
            with pytest.raises(OSError, match="No space left"):
                writing.add_page("2.json", io.BytesIO(b"[]"))  # no records, so none is lost
        writing.add_page("3.json", io.BytesIO(b'[{"n": 3}]'))
    assert writing.run.files.filter(kind=FileKind.PAGE).count() == 2
    check(writing.run)


@pytest.mark.parametrize("in_memory", [1, 10_000_000])
@pytest.mark.parametrize("limit", [50, zipfile.ZIP64_LIMIT])
def test_pages_of_any_size_go_into_a_zip_that_other_programs_accept(
    laptops: Collection, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, in_memory: int, limit: int
) -> None:
    monkeypatch.setattr(zip_format, "_IN_MEMORY", in_memory)
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", limit)
    run = make_ready_run(laptops, records(1000), page_size=600)
    path = tmp_path / "pages.zip"
    path.write_bytes(zip_of(run))
    for command in CHECKS:
        done = tools.run(*command, path)
        assert "warning" not in (done.stdout + done.stderr).lower()
    with zipfile.ZipFile(path) as found:
        assert found.infolist()[0].extract_version == (45 if limit == 50 else 20)
    check(run)


@pytest.mark.no_cover
@given(st.lists(st.lists(st.binary(max_size=200), max_size=4), max_size=5))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_come_back(results_folder: Path, pages: list[list[bytes]]) -> None:
    file = NewFile("any.zip", lambda: None)
    growing = GrowingZip(file, timezone.now())
    names = [f"{number}.json" for number in range(len(pages))]
    locations = []
    for name, pieces in zip(names, pages, strict=True):
        with closing(Deflated()) as compressed:
            for piece in pieces:
                compressed.write(piece)
            locations.append(growing.add(name, compressed))
    growing.finish()
    file.close()
    content = (results_folder / "any.zip").read_bytes()
    with zipfile.ZipFile(io.BytesIO(content)) as found:
        assert [found.read(name) for name in names] == [b"".join(pieces) for pieces in pages]
        assert [location_of(found.getinfo(name), io.BytesIO(content)) for name in names] == locations
    for location, pieces in zip(locations, pages, strict=True):
        deflated = content[location.offset : location.offset + location.size]
        assert zlib.decompress(deflated, wbits=-15) == b"".join(pieces)
