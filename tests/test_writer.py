import hashlib
import io
import json
import zipfile
import zlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import storages
from django.db.models import prefetch_related_objects
from django.utils import timezone

from collections_app.models import Collection, FileKind, ResultFile, Run, State
from collections_app.records.formats.json_records import InvalidRecords
from collections_app.runs import lease
from collections_app.runs.lease import LeaseLost, RunIsBeingWritten
from collections_app.runs.removal import delete_run
from collections_app.runs.writer import ResultSetWriter, WrongUse
from tests.support import tools
from tests.support.results import (
    make_failed_run,
    make_processing_run,
    make_ready_run,
    make_run_of_pages,
    records,
    stored_bytes,
    stored_keys,
    stored_records,
)

NOON = datetime(2026, 6, 20, 12, 0, tzinfo=UTC)


def names_of(run: Run) -> list[str]:
    return [file.name for file in run.files.order_by("kind", "position")]


def archive_of(run: Run) -> zipfile.ZipFile:
    return zipfile.ZipFile(io.BytesIO(stored_bytes(run.files.get(kind=FileKind.ARCHIVE))))


def interrupt(writer: ResultSetWriter, content: list[dict[str, Any]]) -> None:
    for record in content:
        writer.add_record(record)
    raise KeyboardInterrupt


class TestProductRuns:
    def test_records_are_cut_into_pages_with_a_zip_of_them(self, laptops: Collection) -> None:
        run = make_ready_run(laptops, records(501))
        assert run.state == State.READY
        assert (run.number, run.extracted, run.total, run.file_count) == (1, 501, 501, 4)
        assert names_of(run) == [
            "AU Laptops_1_Results_All_Pages.zip",
            "AU Laptops_1_Results_Page_1.json",
            "AU Laptops_1_Results_Page_2.json",
            "AU Laptops_1_Results_Page_3.json",
        ]
        pages = run.files.filter(kind=FileKind.PAGE).order_by("position")
        assert [page.records for page in pages] == [250, 250, 1]
        assert stored_records(run) == records(501)

    def test_a_full_last_page_is_not_followed_by_an_empty_one(self, laptops: Collection) -> None:
        run = make_ready_run(laptops, records(4), page_size=2)
        assert [page.records for page in run.files.filter(kind=FileKind.PAGE).order_by("position")] == [2, 2]

    def test_a_run_without_records_has_one_empty_page(self, laptops: Collection) -> None:
        run = make_ready_run(laptops, [])
        assert (run.extracted, run.total, run.file_count) == (0, 0, 2)
        page = run.files.get(kind=FileKind.PAGE)
        assert json.loads(stored_bytes(page)) == []
        assert page.records == 0

    def test_each_row_describes_its_file(self, laptops: Collection) -> None:
        run = make_ready_run(laptops, records(5), page_size=2)
        for file in run.files.all():
            content = stored_bytes(file)
            assert file.size == len(content)
            assert file.sha256 == hashlib.sha256(content).hexdigest()
            assert file.modified.microsecond == 0
            assert file.modified == storages["results"].get_modified_time(file.key).replace(microsecond=0)

    def test_the_zip_contains_exactly_the_pages(self, laptops: Collection) -> None:
        run = make_ready_run(laptops, records(5), page_size=2, at=NOON)
        pages = list(run.files.filter(kind=FileKind.PAGE).order_by("position"))
        with archive_of(run) as archive:
            assert archive.namelist() == [page.name for page in pages]
            assert archive.testzip() is None
            for page in pages:
                assert archive.read(page.name) == stored_bytes(page)
                member = archive.getinfo(page.name)
                assert member.compress_type == zipfile.ZIP_DEFLATED
                assert member.date_time == (2026, 6, 20, 12, 0, 0)

    def test_each_page_is_located_in_the_zip(self, laptops: Collection) -> None:
        run = make_ready_run(laptops, records(5), page_size=2)
        archive = stored_bytes(run.files.get(kind=FileKind.ARCHIVE))
        for page in run.files.filter(kind=FileKind.PAGE):
            assert page.archive_offset is not None
            assert page.archive_size is not None
            packed = archive[page.archive_offset : page.archive_offset + page.archive_size]
            content = zlib.decompress(packed, wbits=-15)
            assert content == stored_bytes(page)
            assert page.crc32 == zlib.crc32(content)

    @pytest.mark.parametrize(
        "command", [["unzip", "-t"], ["7z", "t"], ["python3", "-m", "zipfile", "-t"]], ids=lambda c: c[0]
    )
    @pytest.mark.parametrize("name", ["AU Laptops", "Café 日本 👩‍👩‍👧", "-rf"])
    def test_other_programs_accept_the_zip(
        self, laptops: Collection, tmp_path: Path, command: list[str], name: str
    ) -> None:
        laptops.name = name
        run = make_ready_run(laptops, records(5), page_size=2)
        path = tmp_path / "archive.zip"
        path.write_bytes(stored_bytes(run.files.get(kind=FileKind.ARCHIVE)))
        done = tools.run(*command, path)
        assert "warning" not in (done.stdout + done.stderr).lower()

    @pytest.mark.parametrize("year", [1969, 2150])
    def test_runs_of_any_date_get_a_zip(self, laptops: Collection, year: int) -> None:
        run = make_ready_run(laptops, at=datetime(year, 1, 1, tzinfo=UTC))
        with archive_of(run) as archive:
            assert archive.testzip() is None

    def test_a_member_beyond_4_gib_uses_zip64(
        self, laptops: Collection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 100)
        run = make_ready_run(laptops, records(5))
        with archive_of(run) as archive:
            assert archive.testzip() is None
            assert archive.infolist()[0].extract_version == 45

    def test_renaming_the_collection_renames_no_files(self, laptops: Collection) -> None:
        run = make_ready_run(laptops)
        laptops.name = "Other"
        laptops.save()
        assert names_of(run)[1] == "AU Laptops_1_Results_Page_1.json"
        assert names_of(make_ready_run(laptops))[1] == "Other_2_Results_Page_1.json"

    def test_the_requested_total_is_stored(self, laptops: Collection) -> None:
        with ResultSetWriter.start(laptops, total=10) as writer:
            writer.add_record({"asin": "B1"})
        assert (writer.run.extracted, writer.run.total) == (1, 10)

    def test_the_given_times_are_stored(self, laptops: Collection) -> None:
        with ResultSetWriter.start(laptops, created_at=NOON) as writer:
            writer.finish(at=NOON + timedelta(minutes=5))
        run = Run.objects.get(pk=writer.run.pk)
        assert (run.created_at, run.updated_at) == (NOON, NOON + timedelta(minutes=5))

    def test_any_json_record_is_stored_unchanged(self, laptops: Collection) -> None:
        messy = [
            {"title": "ノート 👩‍👩‍👧", "half": "\ud83d", "n": 10**30, "deep": {"a": [None, 1.5, True]}},
            {},
        ]
        run = make_ready_run(laptops, messy)
        assert stored_records(run) == messy
        page = make_ready_run(laptops, [{"title": "ノート"}]).files.get(kind=FileKind.PAGE)
        assert "ノート".encode() in stored_bytes(page)

    @pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}])
    def test_an_unserializable_record_is_refused_and_the_run_continues(
        self, laptops: Collection, value: Any
    ) -> None:
        with ResultSetWriter.start(laptops) as writer:
            writer.add_record({"a": 1})
            with pytest.raises((ValueError, TypeError)):
                writer.add_record({"a": value})
            writer.add_record({"a": 2})
        assert stored_records(writer.run) == [{"a": 1}, {"a": 2}]

    def test_a_page_holds_at_least_one_record(self, laptops: Collection) -> None:
        with pytest.raises(ValueError, match="at least one record, not 0"):
            ResultSetWriter.start(laptops, page_size=0)
        with pytest.raises(ValueError, match="at least one record, not -1"):
            ResultSetWriter.resume(Run(), page_size=-1)
        assert not Run.objects.exists()


class TestReadyPages:
    PAGES = {
        "AU Laptops_88_Results_Page_1.json": b'[ {"asin":"B1"} ]\n',
        "AU Laptops_88_Results_Page_2.json": b'\xef\xbb\xbf[{"asin":"B2"},\r\n{"asin":"B3"}]',
    }

    def test_bytes_and_names_do_not_change(self, laptops: Collection) -> None:
        run = make_run_of_pages(laptops, self.PAGES)
        pages = run.files.filter(kind=FileKind.PAGE).order_by("position")
        assert {page.name: stored_bytes(page) for page in pages} == self.PAGES
        assert [page.records for page in pages] == [1, 2]
        assert (run.extracted, run.file_count) == (3, 3)
        with archive_of(run) as archive:
            assert archive.filename is None
            assert {name: archive.read(name) for name in archive.namelist()} == self.PAGES

    def test_unsafe_characters_in_names_are_replaced(self, laptops: Collection) -> None:
        run = make_run_of_pages(laptops, {"../../etc/passwd": b"[]"})
        assert run.files.filter(name="___.._etc_passwd").exists()

    def test_the_zip_can_be_unpacked_on_windows(self, laptops: Collection) -> None:
        laptops.name = "Aux.: all"
        laptops.save()
        run = make_run_of_pages(laptops, {"NUL.json": b"[]", "lpt\xb9 .x.json": b"[]"})
        names = ["_NUL.json", "_lpt\xb9 .x.json"]
        assert (
            list(run.files.filter(kind="page").order_by("position").values_list("name", flat=True)) == names
        )
        assert run.files.get(kind="archive").name == "_Aux._ all_1_Results_All_Pages.zip"
        with archive_of(run) as archive:
            assert archive.namelist() == names

    @pytest.mark.parametrize("content", [b"", b'{"asins": []}', b"[1]", b"[{]", b'[{"a": "\xff"}]'])
    def test_an_invalid_page_is_refused_and_the_run_continues(
        self, laptops: Collection, content: bytes
    ) -> None:
        with ResultSetWriter.start(laptops) as writer:
            with pytest.raises(InvalidRecords):
                writer.add_page("broken.json", io.BytesIO(content))
            assert stored_keys() == []
            writer.add_page("valid.json", io.BytesIO(b"[{}]"))
        assert writer.run.extracted == 1

    @pytest.mark.parametrize("name", ["a.json", "AU Laptops_1_Results_All_Pages.zip"])
    def test_names_must_be_unique(self, laptops: Collection, name: str) -> None:
        with ResultSetWriter.start(laptops) as writer:
            writer.add_page("a.json", io.BytesIO(b"[]"))
            with pytest.raises(WrongUse, match="already has a file"):
                writer.add_page(name, io.BytesIO(b"[]"))
        assert writer.run.file_count == 2

    def test_records_and_pages_cannot_be_mixed(self, laptops: Collection) -> None:
        with ResultSetWriter.start(laptops) as writer:
            writer.add_record({})
            with pytest.raises(WrongUse, match="not from both"):
                writer.add_page("a.json", io.BytesIO(b"[]"))
        with ResultSetWriter.start(laptops) as writer:
            writer.add_page("a.json", io.BytesIO(b"[]"))
            with pytest.raises(WrongUse, match="not from both"):
                writer.add_record({})


class TestCategoryRuns:
    def test_a_category_run_has_a_list_and_a_csv(self, headphones: Collection) -> None:
        run = make_ready_run(headphones, [{"asin": "B1", "title": "A", "price_cents": 5}, {"asin": "B2"}])
        assert names_of(run) == ["category_asins.csv", "category_asins.json"]
        assert (run.extracted, run.total, run.file_count) == (2, 2, 2)
        assert stored_records(run) == [{"asin": "B1", "title": "A", "price_cents": 5}, {"asin": "B2"}]
        table = run.files.get(kind=FileKind.CATEGORY_CSV)
        assert stored_bytes(table).decode().splitlines()[1:] == ["B1,,,,,,,5,", "B2,,,,,,,,"]
        assert table.records == 2

    def test_there_is_one_list_of_any_length(self, headphones: Collection) -> None:
        run = make_ready_run(headphones, records(5), page_size=2)
        assert run.files.get(kind=FileKind.CATEGORY_LIST).records == 5

    def test_without_records_the_list_is_empty_and_the_csv_has_headers(self, headphones: Collection) -> None:
        run = make_ready_run(headphones, [])
        assert stored_records(run) == []
        assert stored_bytes(run.files.get(kind=FileKind.CATEGORY_CSV)).startswith(b"asin,parent_asin,")

    @pytest.mark.parametrize("content", [b'{"asins": [{"asin": "B1"}]}\n', b'[{"asin": "B1"}]'])
    def test_an_added_list_is_stored_unchanged_under_the_fixed_name(
        self, headphones: Collection, content: bytes
    ) -> None:
        run = make_run_of_pages(headphones, {"whatever.json": content})
        assert names_of(run) == ["category_asins.csv", "category_asins.json"]
        assert stored_bytes(run.files.get(kind=FileKind.CATEGORY_LIST)) == content
        assert stored_bytes(run.files.get(kind=FileKind.CATEGORY_CSV)).endswith(b"\r\nB1,,,,,,,,\r\n")
        assert run.extracted == 1

    def test_only_one_list_can_be_added(self, headphones: Collection) -> None:
        with ResultSetWriter.start(headphones) as writer:
            writer.add_page("a.json", io.BytesIO(b"[]"))
            with pytest.raises(WrongUse, match=r"already has a file named category_asins\.json"):
                writer.add_page("b.json", io.BytesIO(b"[]"))


class TestBeforeItIsReady:
    def test_readers_see_a_processing_run_with_complete_pages(self, laptops: Collection) -> None:
        with ResultSetWriter.start(laptops, total=5, page_size=2) as writer:
            for number, record in enumerate(records(5), start=1):
                writer.add_record(record)
                run = Run.objects.get()
                assert run.state == State.PROCESSING
                assert run.extracted == number // 2 * 2
                assert [len(json.loads(stored_bytes(page))) for page in run.files.all()] == [2] * (
                    number // 2
                )

    def test_a_run_that_becomes_ready_between_two_queries_shows_no_files(self, laptops: Collection) -> None:
        with ResultSetWriter.start(laptops) as writer:
            writer.add_record({})
            seen = Run.objects.get()
        prefetch_related_objects([seen], *laptops.runs.with_files()._prefetch_related_lookups)  # type: ignore[attr-defined]
        assert len(seen.ready_files) == 2
        assert not seen.is_ready
        assert (seen.pages, seen.archive) == ([], None)

    def test_an_exception_leaves_nothing_behind(self, laptops: Collection) -> None:
        with (
            pytest.raises(KeyboardInterrupt),
            ResultSetWriter.start(laptops, page_size=2) as writer,
        ):
            interrupt(writer, records(3))
        assert not Run.objects.exists()
        assert not ResultFile.objects.exists()
        assert stored_keys() == []
        assert make_ready_run(laptops).number == 2  # numbers are never used again

    @pytest.mark.parametrize("kind", ["laptops", "headphones"])
    def test_failing_to_finish_leaves_nothing_behind(
        self,
        request: pytest.FixtureRequest,
        monkeypatch: pytest.MonkeyPatch,
        kind: str,
    ) -> None:
        def full(*args: object) -> None:
            raise OSError(28, "No space left on device")

        for step in ("archive.GrowingZip.finish", "writer.convert_category_list"):
            monkeypatch.setattr(f"collections_app.runs.{step}", full)
        with (
            pytest.raises(OSError, match="No space left"),
            ResultSetWriter.start(request.getfixturevalue(kind)) as writer,
        ):
            writer.add_record({})
        assert not Run.objects.exists()
        assert stored_keys() == []

    def test_a_failed_run_has_a_reason_and_no_files(self, laptops: Collection) -> None:
        with ResultSetWriter.start(laptops, page_size=1, created_at=NOON) as writer:
            writer.add_record({})
            writer.add_record({})
            writer.fail("The shop did not response. " * 50, at=NOON)
        run = Run.objects.get()
        assert (run.state, run.extracted, run.file_count) == (State.FAILED, 2, 0)
        assert run.failure_reason.startswith("The shop did not response.")
        assert run.updated_at == NOON
        assert not run.files.exists()
        assert stored_keys() == []

    def test_failing_discards_the_page_in_progress(self, laptops: Collection) -> None:
        with ResultSetWriter.start(laptops) as writer:
            writer.add_record({})
            writer.fail("Stopped.")
        assert stored_keys() == []

    def test_nothing_can_be_added_after_the_end(self, laptops: Collection) -> None:
        with ResultSetWriter.start(laptops) as writer:
            writer.finish()
            with pytest.raises(WrongUse, match="is closed"):
                writer.add_record({})

    def test_a_run_ends_only_once(self, laptops: Collection) -> None:
        with ResultSetWriter.start(laptops) as writer:
            run = writer.finish()
            for end in (writer.finish, writer.pause, lambda: writer.fail("Stopped.")):
                with pytest.raises(WrongUse, match="is closed"):
                    end()
        run.refresh_from_db()
        assert run.is_ready


class TestPauseAndResume:
    def test_a_product_run_continues_after_its_pages(self, laptops: Collection) -> None:
        run = make_processing_run(laptops, records(3), page_size=2)
        assert Run.objects.get().state == State.PROCESSING
        assert (run.extracted, run.lease_expires_at, run.files.count()) == (3, None, 2)
        with ResultSetWriter.resume(run, page_size=2) as writer:
            for record in records(3, first=4):
                writer.add_record(record)
        assert stored_records(writer.run) == records(6)
        assert names_of(writer.run)[1:] == [f"AU Laptops_1_Results_Page_{page}.json" for page in (1, 2, 3, 4)]
        assert (writer.run.extracted, writer.run.file_count) == (6, 5)
        with archive_of(writer.run) as archive:
            assert len(archive.namelist()) == 4

    def test_a_category_run_continues_its_list(self, headphones: Collection) -> None:
        run = make_processing_run(headphones, records(3))
        assert (run.extracted, run.files.get().records) == (3, 3)
        with ResultSetWriter.resume(run) as writer:
            writer.add_record({"asin": "B4"})
        assert stored_records(writer.run) == [*records(3), {"asin": "B4"}]
        assert writer.run.extracted == 4
        assert len(stored_keys()) == 2

    def test_an_added_category_list_does_not_change(self, headphones: Collection) -> None:
        with ResultSetWriter.start(headphones) as writer:
            writer.add_page("list.json", io.BytesIO(b'{"asins": [ {} ]}'))
            writer.pause()
        writer = ResultSetWriter.resume(writer.run)
        with pytest.raises(WrongUse, match="already has a file"):
            writer.add_page("list.json", io.BytesIO(b"[]"))
        writer.finish()
        assert stored_bytes(writer.run.files.get(kind=FileKind.CATEGORY_LIST)) == b'{"asins": [ {} ]}'

    def test_a_run_may_be_paused_before_its_first_record(self, laptops: Collection) -> None:
        run = make_processing_run(laptops)
        assert not run.files.exists()
        with ResultSetWriter.resume(run) as writer:
            pass
        assert stored_records(writer.run) == []

    @pytest.mark.parametrize("kind", ["laptops", "headphones"])
    def test_an_exception_pauses_a_resumed_run_again(self, request: pytest.FixtureRequest, kind: str) -> None:
        run = make_processing_run(request.getfixturevalue(kind), records(2))
        before = stored_keys()
        with pytest.raises(KeyboardInterrupt), ResultSetWriter.resume(run) as writer:
            interrupt(writer, records(1))
        run.refresh_from_db()
        assert (run.state, run.lease_expires_at, run.extracted) == (State.PROCESSING, None, 2)
        assert stored_records(run) == records(2)
        assert stored_keys() == before

    def test_a_new_page_cannot_have_the_name_of_an_added_one(self, laptops: Collection) -> None:
        with ResultSetWriter.start(laptops) as writer:
            writer.add_page("AU Laptops_1_Results_Page_2.json", io.BytesIO(b"[]"))
            writer.pause()
        writer = ResultSetWriter.resume(writer.run)
        with pytest.raises(WrongUse, match="already has a file"):
            writer.add_record({})

    def test_a_run_with_a_writer_cannot_be_resumed(self, laptops: Collection) -> None:
        writer = ResultSetWriter.start(laptops)
        with pytest.raises(RunIsBeingWritten, match="Another process is writing run 1"):
            ResultSetWriter.resume(writer.run)

    def test_a_finished_run_cannot_be_resumed(self, laptops: Collection) -> None:
        for run in (make_ready_run(laptops), make_failed_run(laptops)):
            with pytest.raises(WrongUse, match="is finished"):
                ResultSetWriter.resume(run)

    def test_a_deleted_run_cannot_be_resumed(self, laptops: Collection) -> None:
        run = make_processing_run(laptops)
        Run.objects.all().delete()
        with pytest.raises(WrongUse, match="is finished or deleted"):
            ResultSetWriter.resume(run)


def expire(run: Run) -> None:
    Run.objects.filter(pk=run.pk).update(lease_expires_at=timezone.now() - timedelta(seconds=1))


class TestLease:
    def test_a_lease_lasts_a_minute(self, laptops: Collection) -> None:
        with ResultSetWriter.start(laptops) as writer:
            assert writer.run.lease_expires_at is not None
            left = writer.run.lease_expires_at - timezone.now()
            assert timedelta(seconds=55) < left <= timedelta(seconds=60)
        assert writer.run.lease_expires_at is None

    def test_a_lease_from_before_the_clock_was_set_back_is_ignored(self, laptops: Collection) -> None:
        killed = ResultSetWriter.start(laptops)
        Run.objects.update(lease_expires_at=timezone.now() + timedelta(days=365))
        assert not Run.objects.filter(lease.being_written()).exists()
        with ResultSetWriter.resume(killed.run) as writer:
            writer.add_record({})
            assert Run.objects.filter(lease.being_written()).exists()
        assert writer.run.is_ready

    def test_each_page_renews_the_lease(self, laptops: Collection) -> None:
        with ResultSetWriter.start(laptops, page_size=1) as writer:
            expire(writer.run)
            writer.add_record({})
            assert Run.objects.filter(lease.being_written()).exists()

    @pytest.mark.parametrize("kind", ["laptops", "headphones"])
    def test_long_operations_renew_the_lease(
        self, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, kind: str
    ) -> None:
        monkeypatch.setattr(lease, "RENEW_AFTER_SECONDS", 0)
        with ResultSetWriter.start(request.getfixturevalue(kind)) as writer:
            writer.add_record({})
            expire(writer.run)
            writer.add_record({})
            assert Run.objects.filter(lease.being_written()).exists()

    def test_a_writer_that_lost_its_lease_cannot_continue(self, laptops: Collection) -> None:
        lost = ResultSetWriter.start(laptops, page_size=1)
        lost.add_record({"by": "first"})
        expire(lost.run)
        writer = ResultSetWriter.resume(lost.run, page_size=1)
        with pytest.raises(LeaseLost):
            lost.add_record({"by": "lost"})
        with pytest.raises(WrongUse, match="is closed"):
            lost.add_record({"by": "lost"})
        writer.add_record({"by": "second"})
        run = writer.finish()
        assert stored_records(run) == [{"by": "first"}, {"by": "second"}]
        assert {file.key for file in run.files.all()} == set(stored_keys())

    @pytest.mark.parametrize("step", ["add_page", "finish", "pause", "fail", "renew"])
    def test_a_writer_notices_at_every_step_that_its_run_was_deleted(
        self, laptops: Collection, step: str
    ) -> None:
        writer = ResultSetWriter.start(laptops)
        writer.add_page("a.json", io.BytesIO(b"[{}]"))
        expire(writer.run)
        delete_run(writer.run)
        arguments = {"add_page": ("b.json", io.BytesIO(b"[]")), "fail": ("Stopped.",)}
        with pytest.raises(LeaseLost, match="The run was taken over by another process"):
            getattr(writer, step)(*arguments.get(step, ()))
        assert stored_keys() == []
        assert not Run.objects.exists()

    def test_a_writer_notices_that_the_page_in_progress_was_deleted(self, laptops: Collection) -> None:
        writer = ResultSetWriter.start(laptops, page_size=2)
        writer.add_record({})
        expire(writer.run)
        delete_run(writer.run)
        with pytest.raises(LeaseLost):
            writer.add_record({})
        assert stored_keys() == []

    def test_other_missing_files_raise_their_own_error(
        self, laptops: Collection, results_folder: Path
    ) -> None:
        writer = ResultSetWriter.start(laptops, page_size=1)
        writer.add_record({})
        (results_folder / stored_keys()[0]).unlink()
        with pytest.raises(FileNotFoundError):
            writer.finish()

    def test_discarding_a_lost_run_does_not_affect_its_new_writer(self, laptops: Collection) -> None:
        lost = ResultSetWriter.start(laptops, page_size=2)
        for record in records(3):
            lost.add_record(record)
        expire(lost.run)
        writer = ResultSetWriter.resume(lost.run)
        lost.discard()
        assert stored_records(writer.finish()) == records(2)
        assert len(stored_keys()) == 2
