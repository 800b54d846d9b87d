import errno
import gzip
import hashlib
import io
import os
import zipfile
import zlib
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote

import pytest
from django.core.files.storage import storages
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.test import Client
from django.utils import timezone

from collections_app.files.storage import base as storage
from collections_app.models import Collection, FileKind, Kind, ResultFile, Run, State, Team
from collections_app.runs import lease, mirror
from collections_app.runs.lease import LeaseLost, RunIsBeingWritten
from collections_app.runs.mirror import mirror_run
from collections_app.runs.new_file import NewFile
from collections_app.runs.removal import delete_run
from collections_app.runs.repair import fail_interrupted_runs, repair_runs
from collections_app.runs.writer import ResultSetWriter, WrongUse
from collections_app.sources import SourceUnavailable
from collections_app.system.disk import RESERVE
from tests.support import responses
from tests.support.mirrors import Files, csv_of, files_of, zip_of
from tests.support.results import make_ready_run, store_bytes, stored_bytes, stored_keys
from tests.support.upstream import make_account, make_remote_collection, make_remote_run

ZIP = "AU Laptops_88_Results_All_Pages.zip"
PAGE_1 = "AU Laptops_88_Results_Page_1.json"
PAGE_2 = "AU Laptops_88_Results_Page_2.json"


@pytest.fixture
def remote(crawlers: Team) -> Collection:
    """An account's product collection."""
    return make_remote_collection(make_account(crawlers))


@pytest.fixture
def run(remote: Collection) -> Run:
    """Its Completed run 88, with two pages and a ZIP."""
    return make_remote_run(remote, pages=2)


@pytest.fixture
def category_run(crawlers: Team) -> Run:
    """A Completed category run of an account."""
    account = make_account(crawlers)
    return make_remote_run(make_remote_collection(account, kind=Kind.AMAZON_CATEGORY))


def copy(run: Run, files: Files, progress: mirror.Progress = lambda size: None) -> list[str]:
    return mirror_run(Run.objects.get(pk=run.pk), files, progress=progress)


def kept(run: Run) -> dict[str, bytes]:
    """Return the stored bytes of the run's copied files by name."""
    return {file.name: stored_bytes(file) for file in run.files.exclude(key="")}


def keys() -> set[str]:
    return set(ResultFile.objects.exclude(key="").values_list("key", flat=True))


class TestWhatIsCopied:
    def test_pages_and_zip_are_copied_byte_for_byte(self, run: Run) -> None:
        files = files_of(run)
        assert copy(run, files) == []
        assert kept(run) == files.contents
        run.refresh_from_db()
        assert (run.is_kept, run.lease_expires_at, run.state) == (True, None, State.READY)

    def test_each_row_describes_its_file(self, run: Run) -> None:
        files = files_of(run)
        copy(run, files)
        for file in run.files.all():
            content = files.contents[file.remote_name]
            assert (file.size, file.sha256) == (len(content), hashlib.sha256(content).hexdigest())
            stored_at = storages["results"].get_modified_time(file.key)
            assert file.modified == stored_at.replace(microsecond=0)
        assert [page.records for page in run.files.filter(kind=FileKind.PAGE)] == [2, 2]
        assert run.files.get(kind=FileKind.ARCHIVE).records is None

    def test_each_page_is_located_in_the_zip(self, run: Run) -> None:
        files = files_of(run)
        copy(run, files)
        archive = files.contents[ZIP]
        for page in run.files.filter(kind=FileKind.PAGE):
            assert page.archive_offset is not None
            assert page.archive_size is not None
            deflated = archive[page.archive_offset : page.archive_offset + page.archive_size]
            content = zlib.decompress(deflated, wbits=-zlib.MAX_WBITS)
            assert content == files.contents[page.remote_name]
            assert page.crc32 == zlib.crc32(content)

    def test_pages_have_no_location_in_an_uncompressed_zip(self, run: Run) -> None:
        assert copy(run, files_of(run, zip_method=zipfile.ZIP_STORED)) == []
        assert set(run.files.values_list("archive_offset", "archive_size")) == {(None, None)}
        assert not run.files.filter(crc32=None).exists()

    def test_a_category_list_is_copied_and_its_csv_created(self, category_run: Run) -> None:
        files = files_of(category_run)
        assert copy(category_run, files) == []
        (content,) = files.contents.values()
        assert kept(category_run) == {"category_asins.json": content, "category_asins.csv": csv_of(content)}
        assert set(category_run.files.values_list("records", flat=True)) == {2}
        assert Run.objects.get(pk=category_run.pk).is_kept

    def test_an_empty_list_is_a_valid_page(self, run: Run) -> None:
        files = files_of(run)
        files.contents[PAGE_1] = b"[]"
        del files.contents[ZIP]
        files.contents[ZIP] = zip_of(files.contents)
        assert copy(run, files) == []
        assert kept(run) == files.contents
        assert run.files.get(name=PAGE_1).records == 0

    def test_progress_counts_every_byte(self, run: Run) -> None:
        files = files_of(run)
        told: list[int] = []
        copy(run, files, told.append)
        assert sum(told) == sum(map(len, files.contents.values()))
        assert len(told) > 5

    def test_nothing_is_copied_twice(self, run: Run) -> None:
        files = files_of(run)
        copy(run, files)
        files.opened.clear()
        assert copy(run, files) == []
        assert files.opened == []


class TestWhatIsWrong:
    @pytest.mark.parametrize(
        ("more", "message"),
        [(5, "Only 185 of 190 bytes arrived."), (-5, "More than the announced 180 bytes arrived.")],
    )
    def test_a_page_with_another_size_than_announced(self, run: Run, more: int, message: str) -> None:
        files = files_of(run)
        files.contents[PAGE_1] = b"[]" + b" " * 183
        files.announced[PAGE_1] = 185 + more
        assert copy(run, files) == [f"{PAGE_1}: {message}"]
        # The other page is stored. The ZIP can't be compared yet.
        assert set(kept(run)) == {PAGE_2}
        assert set(stored_keys()) == keys()
        assert not Run.objects.get(pk=run.pk).is_kept

    def test_an_interrupted_page(self, run: Run) -> None:
        files = files_of(run)

        def break_off() -> None:
            if len(files.opened) == 2:
                raise ConnectionResetError("HTTP and a key")

        files.on_read = break_off
        size = len(files.contents[PAGE_2])
        assert copy(run, files) == [f"{PAGE_2}: Only 0 of {size} bytes arrived."]
        assert set(stored_keys()) == keys()
        assert len(keys()) == 1

    def test_the_next_mirror_copies_the_missing_files(self, run: Run) -> None:
        files = files_of(run)
        there = files.contents.pop(PAGE_2)
        assert copy(run, files) == [f"{PAGE_2}: The account no longer has this file."]
        files.contents[PAGE_2] = there
        files.opened.clear()
        assert copy(run, files) == []
        assert files.opened == [PAGE_2, ZIP]
        assert kept(run) == files.contents

    def test_an_unavailable_account_ends_the_copying(self, run: Run) -> None:
        files = files_of(run)

        def refuse(name: str) -> None:
            if name == PAGE_2:
                raise SourceUnavailable

        files.on_open = refuse
        with pytest.raises(SourceUnavailable):
            copy(run, files)
        assert set(kept(run)) == {PAGE_1}
        assert set(stored_keys()) == keys()
        run.refresh_from_db()
        assert (run.is_kept, run.lease_expires_at) == (False, None)

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b" ",
            b'{"code": 500, "data": "Try again", "status": 0}',
            b"<!DOCTYPE html><html></html>",
            b"{}",
            b"null",
            b"[1]",
            b'["B1"]',
            b'[{"asin": "B1"}, null]',
            b'[{"asin": B1}]' + b"\n" * 200_000,
            b'[{"asin": "B1"}',
            b'[{"asin": "B1"}] more',
            b'[{"asin": "B1"}' + b" " * 100_000,
            b'[{"asin": "\xff"}]',
            gzip.compress(b"[]", mtime=0),
            zip_of({"a.json": b"[]"}),
        ],
        ids=lambda content: repr(content)[:50],
    )
    def test_invalid_pages_are_reported_and_not_stored(self, run: Run, content: bytes) -> None:
        files = files_of(run)
        pages = {PAGE_1: content, PAGE_2: files.contents[PAGE_2]}
        files.contents = {**pages, ZIP: zip_of(pages)}
        (problem,) = copy(run, files)
        assert problem.startswith(
            f"{PAGE_1}: The account sent something that is not a list of records (line 1,"
        )
        assert set(kept(run)) == {PAGE_2}
        assert set(stored_keys()) == keys()
        run.refresh_from_db()
        assert (run.is_kept, run.files.get(name=PAGE_1).size) == (False, None)

    def test_an_invalid_page_is_copied_again_by_the_next_mirror(self, run: Run) -> None:
        files = files_of(run)
        page, files.contents[PAGE_1] = files.contents[PAGE_1], b"<html>"
        assert len(copy(run, files)) == 1
        files.contents[PAGE_1] = page
        assert copy(run, files) == []
        assert kept(run) == files.contents
        assert Run.objects.get(pk=run.pk).is_kept

    @pytest.mark.parametrize(
        "content", [b"[{]", b"", b'{"code": 200, "asins": [{}], "status": 1}', b'{"asins": [1]}'], ids=repr
    )
    def test_an_invalid_category_list_is_not_stored(self, category_run: Run, content: bytes) -> None:
        files = files_of(category_run)
        files.contents["category_asins.json"] = content
        (problem,) = copy(category_run, files)
        assert problem.startswith("category_asins.json: The account sent something that is not a list of")
        assert kept(category_run) == {}
        assert not Run.objects.get(pk=category_run.pk).is_kept

    def test_the_object_around_a_category_list_is_stored(self, category_run: Run) -> None:
        files = files_of(category_run)
        files.contents["category_asins.json"] = b'{"page": 1, "asins": [{"asin": "B1"}]}'
        assert copy(category_run, files) == []
        assert set(category_run.files.values_list("records", flat=True)) == {1}

    def test_a_copy_that_differs_from_what_was_written(
        self, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        close = NewFile.close

        def damage(file: NewFile) -> None:
            close(file)
            with storages["results"].open(file.key) as stored:
                damaged = stored.read().replace(b"B0", b"b0")
            store_bytes(file.key, damaged)

        monkeypatch.setattr(NewFile, "close", damage)
        problems = copy(run, files_of(run))
        assert problems[0] == f"{PAGE_1}: The stored copy differs from what was written. Is the disk damaged?"
        assert not kept(run)
        assert not stored_keys()

    def test_a_full_disk(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(file: NewFile, data: bytes) -> int:
            if file.key.endswith("2.json"):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return write(file, data)

        write = NewFile.write
        monkeypatch.setattr(NewFile, "write", full)
        with pytest.raises(OSError, match="No space left on device"):
            copy(run, files_of(run))
        assert set(kept(run)) == {PAGE_1}
        assert set(stored_keys()) == keys()
        assert Run.objects.get(pk=run.pk).lease_expires_at is None

    def test_a_file_that_does_not_fit_is_not_started(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        files = files_of(run)
        size = len(files.contents[PAGE_1])
        free = RESERVE + size - 1
        monkeypatch.setattr(storage, "free_space", lambda: free)
        said = f"{PAGE_1}: The disk has no room for its {size} bytes. Free up space, then try again."
        assert copy(run, files) == [said]
        assert files.opened == []
        free += 1
        copy(run, files)
        assert files.opened[0] == PAGE_1

    def test_a_nearly_full_disk(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        files = files_of(run)
        monkeypatch.setattr(storage, "free_space", lambda: RESERVE - 1)
        with pytest.raises(OSError, match="The disk is nearly full"):
            copy(run, files)
        assert files.opened == []

    def test_a_storage_without_a_disk_has_unlimited_space(
        self, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(storage, "free_space", lambda: None)
        assert copy(run, files_of(run)) == []


class TestTheZip:
    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda pages: b"no ZIP", "The ZIP is damaged."),
            (lambda pages: zip_of(pages)[:-5], "The ZIP is damaged."),
            (
                lambda pages: b"rubbish" + zip_of(pages),
                "The account sent something that is not a ZIP instead of this file.",
            ),
            (
                lambda pages: zip_of(pages) + b"rubbish",
                "The account sent a damaged ZIP instead of this file.",
            ),
            (lambda pages: pages[PAGE_1], "The ZIP is damaged."),
            (lambda pages: zip_of({}), "The ZIP doesn't contain exactly the run's pages."),
            (
                lambda pages: zip_of({**pages, "x": b""}),
                "The ZIP doesn't contain exactly the run's pages.",
            ),
            (
                lambda pages: zip_of({**pages, PAGE_2: pages[PAGE_1]}),
                f"In the ZIP, {PAGE_2} differs from the copied page.",
            ),
            (
                lambda pages: zip_of({**pages, PAGE_2: pages[PAGE_2] + b" "}),
                f"In the ZIP, {PAGE_2} differs from the copied page.",
            ),
            (
                lambda pages: zip_of(pages, zipfile.ZIP_LZMA),
                "The ZIP is encrypted or unsupported.",
            ),
        ],
    )
    def test_a_zip_that_does_not_match_the_pages_is_not_stored(
        self, run: Run, change: Callable[[dict[str, bytes]], bytes], message: str
    ) -> None:
        files = files_of(run)
        pages = {name: content for name, content in files.contents.items() if name != ZIP}
        files.contents[ZIP] = change(pages)
        assert copy(run, files) == [f"{ZIP}: {message}"]
        assert kept(run) == pages
        assert set(stored_keys()) == keys()
        assert not Run.objects.get(pk=run.pk).is_kept
        assert not run.files.exclude(archive_offset=None).exists()

    def test_a_zip_with_damaged_bytes(self, run: Run) -> None:
        files = files_of(run)
        with zipfile.ZipFile(io.BytesIO(files.contents[ZIP])) as archive:
            at = archive.infolist()[0].header_offset + 30 + len(PAGE_1) + 20
        content = files.contents[ZIP]
        files.contents[ZIP] = content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :]
        (problem,) = copy(run, files)
        assert problem == f"{ZIP}: The ZIP is damaged."

    def test_a_member_is_read_only_up_to_the_pages_size(
        self, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        files = files_of(run)
        pages = {name: content for name, content in files.contents.items() if name != ZIP}
        files.contents[ZIP] = zip_of({**pages, PAGE_2: bytes(20_000_000)})
        unpacked: list[int] = []
        read = zipfile.ZipExtFile.read

        def counted(member: zipfile.ZipExtFile, size: int | None = -1) -> bytes:
            data = read(member, size)
            unpacked.append(len(data))
            return data

        monkeypatch.setattr(zipfile.ZipExtFile, "read", counted)
        assert copy(run, files) == [f"{ZIP}: In the ZIP, {PAGE_2} differs from the copied page."]
        assert sum(unpacked) < 1_000_000


class TestTwoAtOnce:
    def test_only_one_mirror_copies_a_run(self, run: Run) -> None:
        files = files_of(run)

        def another(name: str) -> None:
            with pytest.raises(RunIsBeingWritten, match="Another process is copying it"):
                copy(run, files_of(run))

        files.on_open = another
        assert copy(run, files) == []
        assert kept(run) == files.contents

    def test_a_mirror_that_lost_its_lease_changes_nothing(self, run: Run) -> None:
        files = files_of(run)

        def another_mirror_starts(name: str) -> None:
            files.on_open = lambda name: None
            Run.objects.update(lease_expires_at=timezone.now() - timedelta(seconds=1))
            assert copy(run, files_of(run)) == []

        files.on_open = another_mirror_starts
        with pytest.raises(LeaseLost):
            copy(run, files)
        assert kept(run) == files.contents
        assert set(stored_keys()) == keys()
        assert Run.objects.get(pk=run.pk).is_kept

    def test_a_mirror_whose_file_was_removed_reports_the_lost_lease(
        self,
        run: Run,
        results_folder: Path,
    ) -> None:
        files = files_of(run)

        def repaired() -> None:
            files.on_read = lambda: None
            Run.objects.update(lease_expires_at=timezone.now() - timedelta(seconds=1))
            assert len(repair_runs().removed_files) == 1

        files.on_read = repaired
        with pytest.raises(LeaseLost):
            copy(run, files)
        assert not stored_keys()
        assert copy(run, files) == []

    def test_the_lease_is_renewed_while_bytes_arrive(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(lease, "RENEW_AFTER_SECONDS", 0)
        files = files_of(run)
        expires: set[object] = set()
        files.on_read = lambda: expires.add(Run.objects.get().lease_expires_at)
        copy(run, files)
        assert len(expires) > 5

    def test_repair_leaves_a_working_mirror_alone(self, run: Run) -> None:
        files = files_of(run)

        def repaired() -> None:
            assert not repair_runs().was_needed
            assert fail_interrupted_runs() == []

        files.on_read = repaired
        assert copy(run, files) == []
        assert kept(run) == files.contents

    def test_a_run_that_is_being_copied_cannot_be_deleted(self, run: Run) -> None:
        files = files_of(run)

        def delete(name: str) -> None:
            with pytest.raises(RunIsBeingWritten, match="Run 88 is being copied"):
                delete_run(run)

        files.on_open = delete
        assert copy(run, files) == []

    def test_a_run_that_was_deleted(self, run: Run) -> None:
        there = Run.objects.get(pk=run.pk)
        run.delete()
        with pytest.raises(LeaseLost, match="It was deleted"):
            mirror_run(there, Files({}))


class TestWhatAKilledOneLeaves:
    @pytest.fixture
    def strays(self, run: Run, results_folder: Path) -> list[Path]:
        """A complete page without a row and an unfinished one, from a killed mirror."""
        folder = results_folder / f"{run.collection_id}/88"
        folder.mkdir(parents=True)
        Run.objects.update(attempt="dead", lease_expires_at=timezone.now() - timedelta(seconds=1))
        left = [folder / "dead-page-0001.json", folder / "dead-page-0002.json.12345678.part"]
        for path in left:
            path.write_bytes(b"[")
        return left

    def test_the_next_mirror_removes_it(self, run: Run, strays: list[Path]) -> None:
        assert copy(run, files_of(run)) == []
        assert set(stored_keys()) == keys()

    def test_repair_removes_it_and_leaves_the_run_unchanged(self, run: Run, strays: list[Path]) -> None:
        report = repair_runs()
        assert len(report.removed_files) == 2
        assert report.failed_runs == []
        assert not stored_keys()
        run.refresh_from_db()
        assert (run.state, run.lease_expires_at) == (State.READY, None)
        assert not repair_runs().was_needed


class TestReaders:
    def test_a_copied_file_is_served_from_our_storage(self, run: Run, as_bob: Client) -> None:
        files = files_of(run)
        copy(run, files)
        # No account can be reached in these tests.
        for name, content in files.contents.items():
            response = as_bob.get(f"/collections/{run.collection_id}/runs/88/files/{quote(name)}")
            assert responses.content(response) == content
            assert response.headers["Content-Length"] == str(len(content))

    def test_a_download_from_the_account_is_not_interrupted(self, run: Run) -> None:
        files = files_of(run)
        file = run.files.get(name=PAGE_1)
        reading = files.body(file).open(0, files.size(file))
        begun = reading.read(10)
        copy(run, files)
        assert begun + b"".join(iter(reading.read, b"")) == files.contents[PAGE_1]
        assert file.key == ""  # according to the row that was read, it is at the account


class TestRunsOfAnAccount:
    def test_an_accounts_collection_gets_no_runs_of_our_own(self, remote: Collection) -> None:
        with pytest.raises(WrongUse, match="The runs of AU Laptops come from an account, so none can"):
            ResultSetWriter.start(remote)
        assert not Run.objects.exists()

    def test_runs_cannot_be_imported_into_it(self, remote: Collection, tmp_path: Path) -> None:
        page = tmp_path / "a.json"
        page.write_text("[]")
        with pytest.raises(CommandError, match=r"come from an account, .* Nothing was imported\."):
            call_command("import_run", str(remote.pk), str(page))

    def test_its_processing_runs_cannot_be_resumed(self, remote: Collection) -> None:
        run = make_remote_run(remote, ready=False)
        with pytest.raises(WrongUse, match="come from an account"):
            ResultSetWriter.resume(run)

    def test_our_own_runs_are_always_kept(self, laptops: Collection) -> None:
        assert make_ready_run(laptops).is_kept
        assert Run.objects.get().is_kept
        assert not laptops.runs.to_keep().exists()

    def test_the_oldest_run_is_copied_first(self, remote: Collection) -> None:
        for number in (3, 1, 2):
            make_remote_run(remote, number, at=timezone.now() + timedelta(hours=number))
        make_remote_run(remote, 4, ready=False)
        assert [run.number for run in remote.runs.to_keep()] == [1, 2, 3]

    def test_runs_to_copy_are_found_by_their_index(self, remote: Collection) -> None:
        make_remote_run(remote)
        with transaction.atomic(), connection.cursor() as cursor:
            if connection.vendor == "postgresql":  # which scans so few rows
                cursor.execute("SET LOCAL enable_seqscan = off")
                remote.runs.bulk_create(
                    Run(collection=remote, number=number, state=State.READY, is_kept=True, file_count=1)
                    for number in range(1000, 2000)
                )
                cursor.execute("ANALYZE collections_app_run")
            assert "run_to_keep" in remote.runs.to_keep()[:1].explain()
            processing = Run.objects.filter(state=State.PROCESSING, lease_expires_at=None)
            plan = processing.values_list("collection", flat=True).explain()
            # Both contain only unfinished and failed runs. With so few rows, PostgreSQL may choose either.
            assert "run_being_written" in plan or "run_unready" in plan
