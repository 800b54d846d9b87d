"""Exports: built once by one process, complete when they appear, limited, and deleted with their run."""

import json
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import storages
from django.db import connection
from django.utils import timezone

from collections_app.files.storage import base as storage
from collections_app.files.storage import scratch
from collections_app.models import Collection, Export, ExportState, FileKind, Run, Team
from collections_app.models.queues import TooManyQueued
from collections_app.records.column_list import encode_columns, parse_columns
from collections_app.records.exports import build, create, retention
from collections_app.records.exports.build import Queue, build_export, build_next
from collections_app.records.exports.create import (
    create_export,
    deliverable,
    parse_spec,
)
from collections_app.records.exports.subject import InvalidSpec
from collections_app.records.formats import export_formats
from collections_app.records.formats.export_formats import ExportSpec, Format, write_records
from collections_app.records.formats.parquet import Interrupted
from collections_app.runs import lease
from collections_app.runs.removal import delete_run
from collections_app.runs.strays import key_of
from collections_app.sources import SourceUnavailable, account
from collections_app.system.disk import RESERVE
from tests.support.mirrors import Files, files_of
from tests.support.results import make_ready_run, make_run_of_pages, records
from tests.support.tools import PATIENCE
from tests.support.upstream import make_account, make_remote_collection, make_remote_run

pytestmark = pytest.mark.django_db(transaction=True)

JSONL = ExportSpec(Format.JSONL)
CSV = ExportSpec(Format.CSV)


@pytest.fixture
def run(laptops: Collection) -> Run:
    """Five records on three pages."""
    return make_ready_run(laptops, records(5), page_size=2)


@pytest.fixture
def queue_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Queue every export."""
    monkeypatch.setattr(create, "_QUICK", dict.fromkeys(Format, -1))


def content(export: Export) -> bytes:
    found = deliverable(export)
    with found.body.open(0, found.size) as stream:
        return stream.read()


def lines(export: Export) -> list[dict[str, Any]]:
    return [json.loads(line) for line in content(export).splitlines()]


def stored() -> list[str]:
    try:
        return sorted(storages["results"].listdir(retention.FOLDER)[1])
    except FileNotFoundError:
        return []


class TestSpec:
    def test_each_field_and_the_version_change_the_digest(self, monkeypatch: pytest.MonkeyPatch) -> None:
        specs = [
            ExportSpec(Format.CSV),
            ExportSpec(Format.JSON),
            ExportSpec(Format.CSV, ("asin", "a\ud800")),
            ExportSpec(Format.CSV, ("a\ud800", "asin")),
            ExportSpec(Format.CSV, excel=True),
            ExportSpec(Format.CSV, separator=";"),
        ]
        digests = {spec.digest for spec in specs}
        monkeypatch.setattr(export_formats, "_VERSION", -1)
        digests |= {spec.digest for spec in specs}
        assert len(digests) == 2 * len(specs)

    def test_names_of_columns(self) -> None:
        spec = parse_spec(Format.CSV, ['a,"b,c"', "a,d"], "1")
        assert spec == ExportSpec(Format.CSV, ("a", "b,c", "d"), excel=True)
        names = ('x"', "y,z", " ", " price", "price\t", "a b", "\xa0", "two\nlines", "two\r\nlines", "\r")
        assert parse_spec(Format.CSV, [encode_columns(names)], "").columns == names
        assert parse_spec(Format.CSV, [encode_columns([name]) for name in names], "").columns == names

    @pytest.mark.parametrize(
        ("text", "names"),
        [
            ("asin, price", ("asin", "price")),
            (" asin\t,price , ", ("asin", "price")),
            ('asin, " price"', ("asin", " price")),
            ('"asin" , "a, ""b"" " ', ("asin", 'a, "b" ')),
            ('5" screen, "open', ('5" screen', '"open')),
            ('"two" words,asin', ('"two" words', "asin")),
            ("a b,\xa0c", ("a b", "\xa0c")),
        ],
    )
    def test_spaces_around_names_are_ignored_unless_they_are_quoted(
        self, text: str, names: tuple[str, ...]
    ) -> None:
        assert parse_spec(Format.CSV, [text], "").columns == names

    def test_a_list_of_quotes_is_parsed_in_linear_time(self) -> None:
        for text in ('"a"",' * 25_000, '"' * 127_999, ' " ' * 40_000, '"x""' * 30_000):
            assert list(parse_columns(text))

    def test_other_formats_ignore_the_spreadsheet_option(self) -> None:
        assert parse_spec(Format.JSON, [], "1", ";") == ExportSpec(Format.JSON)

    def test_the_separator_is_a_comma_or_a_semicolon(self) -> None:
        assert parse_spec(Format.CSV, [], "", ";") == ExportSpec(Format.CSV, separator=";")
        for same in ("", ","):
            assert parse_spec(Format.CSV, [], "", same) == ExportSpec(Format.CSV)
        for wrong in ("x", ";;", "\t", "=", '"', "\n"):
            with pytest.raises(InvalidSpec, match="Invalid “separator” parameter"):
                parse_spec(Format.JSON, [], "", wrong)

    @pytest.mark.parametrize(
        ("columns", "excel", "problem"),
        [
            ([], "yes", "Invalid “excel” parameter"),
            (["a\0b"], "", "null bytes"),
            (["a\nb"], "", "quote names that contain a line break"),
            (["\r\nX: 1"], "", "quote names that contain a line break"),
            (["x" * 140_000], "", "Choose at most 1,000 columns"),
            ([",".join(map(str, range(1001)))], "", "Choose at most 1,000 columns"),
            (["x" * 70_000], "", "Choose at most 1,000 columns"),
        ],
    )
    def test_invalid_parameters(self, columns: list[str], excel: str, problem: str) -> None:
        with pytest.raises(InvalidSpec, match=problem):
            parse_spec(Format.CSV, columns, excel)


class TestCreate:
    def test_a_small_export_is_built_within_the_request(self, run: Run) -> None:
        export = create_export(run, JSONL)
        assert export.is_ready
        assert lines(export) == records(5)
        assert (export.done, export.total, export.size) == (5, 5, len(content(export)))
        assert deliverable(export).name == "AU Laptops_1_Records.jsonl"

    @pytest.mark.parametrize("wanted", Format)
    def test_every_format(self, run: Run, wanted: Format) -> None:
        export = create_export(run, ExportSpec(wanted))
        assert export.is_ready, export.failure
        assert export.size > 0

    def test_an_export_is_built_once(self, run: Run) -> None:
        first = create_export(run, CSV)
        second = create_export(run, CSV)
        assert (first.pk, first.key) == (second.pk, second.key)
        assert create_export(run, ExportSpec(Format.CSV, ("asin",))).pk != first.pk
        assert len(stored()) == 2

    def test_a_large_export_is_queued(self, run: Run, queue_all: None) -> None:
        export = create_export(run, CSV)
        assert (export.state, export.done, export.total) == (ExportState.QUEUED, 0, 5)
        assert build_next()
        assert not build_next()
        assert create_export(run, CSV).is_ready

    def test_an_export_that_takes_too_long_is_left_to_the_background(
        self, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(create, "_PATIENCE", -1)
        export = create_export(run, CSV)
        assert (export.state, export.lease_expires_at, stored()) == (ExportState.QUEUED, None, [])
        monkeypatch.setattr(create, "_PATIENCE", 60)
        assert create_export(run, CSV).state == ExportState.QUEUED  # a second request doesn't restart it
        assert build_next()
        assert create_export(run, CSV).is_ready

    def test_requests_build_two_exports_at_a_time_and_queue_the_others(
        self, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(create, "_AT_ONCE", threading.BoundedSemaphore(1))
        with create._AT_ONCE:
            assert create_export(run, CSV).state == ExportState.QUEUED
        assert create_export(run, CSV).is_ready

    def test_an_export_of_many_small_pages_is_queued(
        self, laptops: Collection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(create, "_QUICK_FILES", 3)
        assert create_export(make_ready_run(laptops, records(3), page_size=1), CSV).is_ready
        assert (
            create_export(make_ready_run(laptops, records(4), page_size=1), CSV).state == ExportState.QUEUED
        )

    def test_a_missing_column(self, run: Run) -> None:
        export = create_export(run, ExportSpec(Format.CSV, ("asn",)))
        assert (export.state, export.is_final) == (ExportState.FAILED, True)
        assert export.failure == "No record has a column “asn”. The columns are: asin, title, price_cents."
        assert stored() == []

    def test_a_run_without_records(self, laptops: Collection) -> None:
        run = make_run_of_pages(laptops, {"a.json": b"[]"})
        assert all(create_export(run, ExportSpec(wanted)).is_ready for wanted in Format)
        assert content(create_export(run, ExportSpec(Format.CSV, ("a",)))) == b"a\r\n"

    def test_a_category(self, headphones: Collection) -> None:
        export = create_export(make_ready_run(headphones, records(3)), CSV)
        assert content(export).splitlines()[0] == b"asin,title,price_cents"

    def test_the_disk_is_full(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(size: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(retention, "check_free_space", full)
        export = create_export(run, CSV)
        assert export.state == ExportState.FAILED
        assert export.failure.startswith("The export can't be stored, perhaps because the disk is full.")

    def test_a_run_with_too_many_columns_fails(self, laptops: Collection) -> None:
        run = make_ready_run(laptops, ({f"key{number}": number} for number in range(6_000)))
        for wanted in (Format.CSV, Format.XLSX, Format.PARQUET):
            export = create_export(run, ExportSpec(wanted))
            assert (export.state, export.is_final) == (ExportState.FAILED, True)
            assert export.failure == (
                "These records have more than 5,000 columns. Choose the columns you need, or export JSON "
                "Lines."
            )
        assert content(create_export(run, ExportSpec(Format.CSV, ("key5999",)))).endswith(b"5999\r\n")
        assert len(lines(create_export(run, JSONL))) == 6_000

    def test_the_disk_fills_up_while_it_is_written(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(build, "_NOTE_AFTER_SECONDS", -1)
        monkeypatch.setattr(scratch, "RESERVE", 2**63)
        export = create_export(run, CSV)
        assert export.failure.startswith("The export can't be stored, perhaps because the disk is full.")
        assert stored() == []

    @pytest.mark.parametrize("wanted", Format)
    def test_an_export_that_is_too_large_fails(
        self, run: Run, monkeypatch: pytest.MonkeyPatch, wanted: Format
    ) -> None:
        monkeypatch.setattr(build, "MOST_BYTES", 100)
        export = create_export(run, ExportSpec(wanted))
        assert (export.state, export.is_final) == (ExportState.FAILED, True)
        assert export.failure == (
            "This export would be larger than 2 GiB. Choose the columns you need, or download the original "
            "files."
        )
        assert stored() == []

    def test_an_unexpected_error_is_logged(
        self, run: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(build, "write_records", lambda *args, **options: 1 / 0)
        assert (
            create_export(run, CSV).failure
            == "Something went wrong on our side. The error was logged. Try again later."
        )
        assert "ZeroDivisionError" in caplog.text
        assert stored() == []

    def test_an_export_whose_bytes_are_missing_is_built_again(self, run: Run) -> None:
        export = create_export(run, CSV)
        storages["results"].delete(export.key)
        with pytest.raises(Exception, match="Export the records again"):
            content(export)
        assert content(create_export(run, CSV)).startswith(b"asin")


class TestAnAccount:
    @pytest.fixture
    def files(self, crawlers: Team, monkeypatch: pytest.MonkeyPatch) -> Files:
        """Six records on three pages at an account."""
        run = make_remote_run(make_remote_collection(make_account(crawlers)), pages=3)
        files = files_of(run)
        files.missing = SourceUnavailable
        monkeypatch.setattr(account, "UpstreamBody", files.body)
        monkeypatch.setattr(account, "size_of", files.size)
        return files

    def test_records_are_downloaded_in_the_background(self, files: Files) -> None:
        run = Run.objects.get()
        assert create_export(run, JSONL).state == ExportState.QUEUED
        assert build_next()
        assert len(lines(create_export(run, JSONL))) == 6

    def test_the_number_of_records_can_be_unknown(self, files: Files) -> None:
        Run.objects.update(extracted=None)
        run = Run.objects.get()
        export = create_export(run, CSV)
        assert (export.done, export.total) == (0, None)
        assert build_next()
        export = create_export(run, CSV)
        assert (export.state, export.done, export.total) == (ExportState.READY, 6, None)

    def test_an_interrupted_download_can_be_retried(
        self, files: Files, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run = Run.objects.get()

        def cut() -> None:
            raise ConnectionError

        files.on_read = cut
        create_export(run, JSONL)
        build_next()
        failed = create_export(run, JSONL)
        assert failed.state == ExportState.FAILED
        assert failed.failure.startswith("The account stopped in the middle of “")
        assert stored() == []

        files.on_read = lambda: None
        assert create_export(run, JSONL).state == ExportState.FAILED  # a moment ago
        assert create_export(run, JSONL, again=True).state == ExportState.QUEUED
        build_next()
        assert len(lines(create_export(run, JSONL))) == 6

    def test_a_failed_export_is_retried_after_a_pause(self, files: Files) -> None:
        run = Run.objects.get()
        name = next(name for name in files.contents if name.endswith("json"))
        files.contents[name] = b'[{"a": 1'
        create_export(run, JSONL)
        build_next()
        assert "is damaged: line 1, column" in create_export(run, JSONL).failure
        Export.objects.update(failed_at=timezone.now() - timedelta(seconds=11))
        assert create_export(run, JSONL).state == ExportState.QUEUED


class TestOneAtATime:
    def test_only_one_process_builds_an_export(self, run: Run, queue_all: None) -> None:
        export = create_export(run, CSV)
        begun = threading.Barrier(3)
        built: list[bool] = []

        def one() -> None:
            begun.wait()
            try:
                built.append(build_export(Export.objects.select_related("run__collection").get(pk=export.pk)))
            finally:
                connection.close()

        threads = [threading.Thread(target=one) for _ in range(2)]
        for thread in threads:
            thread.start()
        begun.wait()
        for thread in threads:
            thread.join()
        assert sorted(built) == [False, True]
        assert create_export(run, CSV).is_ready
        assert len(stored()) == 1

    def test_a_running_export_is_left_alone_until_its_lease_expires(self, run: Run, queue_all: None) -> None:
        export = create_export(run, CSV)
        soon = timezone.now() + timedelta(seconds=30)
        Export.objects.update(state=ExportState.RUNNING, attempt="killed", lease_expires_at=soon)
        assert not build_export(export)
        assert not build_next()
        Export.objects.update(lease_expires_at=timezone.now() - timedelta(seconds=1))
        assert build_next()
        assert create_export(run, CSV).is_ready

    def test_an_export_that_has_to_stop_returns_to_the_queue(self, run: Run, queue_all: None) -> None:
        export = create_export(run, CSV)
        assert build_next(must_stop=lambda: True)
        export.refresh_from_db()
        assert (export.state, export.lease_expires_at, stored()) == (ExportState.QUEUED, None, [])
        assert build_next()
        assert create_export(run, CSV).is_ready

    def test_an_interrupted_export_returns_to_the_queue(
        self, run: Run, queue_all: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def interrupted(*args: Any, **options: Any) -> None:
            raise KeyboardInterrupt

        export = create_export(run, CSV)
        monkeypatch.setattr(build, "write_records", interrupted)
        with pytest.raises(KeyboardInterrupt):
            build_next()
        export.refresh_from_db()
        assert (export.state, export.lease_expires_at, stored()) == (ExportState.QUEUED, None, [])

    @pytest.mark.parametrize(
        ("is_stopped", "state", "failure"),
        [(True, ExportState.QUEUED, ""), (False, ExportState.FAILED, build._TOO_SLOW)],
    )
    def test_duckdb_is_interrupted_if_it_takes_too_long_or_has_to_stop(
        self,
        run: Run,
        queue_all: None,
        monkeypatch: pytest.MonkeyPatch,
        *,
        is_stopped: bool,
        state: str,
        failure: str,
    ) -> None:
        over: list[bool] = []

        def work_until_interrupted(*args: Any, is_over: Callable[[], bool], **options: Any) -> None:
            over.append(is_over())
            if is_stopped:
                stop.append(True)
            else:
                monkeypatch.setattr(build._Build, "_is_late", lambda self: True)
            over.append(is_over())
            raise Interrupted

        stop: list[bool] = []
        export = create_export(run, ExportSpec(Format.PARQUET))
        monkeypatch.setattr(build, "write_records", work_until_interrupted)
        assert build_next(must_stop=lambda: bool(stop))
        export.refresh_from_db()
        assert over == [False, True]
        assert (export.state, export.failure, stored()) == (state, failure, [])

    def test_a_process_that_lost_the_lease_leaves_no_file(
        self, run: Run, queue_all: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        export = create_export(run, CSV)
        write = write_records

        def write_and_lose(*args: Any, **options: Any) -> None:
            write(*args, **options)
            Export.objects.update(attempt="another")

        monkeypatch.setattr(build, "write_records", write_and_lose)
        assert build_export(export)
        export.refresh_from_db()
        assert (export.state, export.attempt) == (ExportState.RUNNING, "another")
        assert stored() == []

    def test_progress_is_saved(self, run: Run, queue_all: None, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(build, "_NOTE_AFTER_SECONDS", -1)
        seen: list[tuple[int, str]] = []
        note = build._Build._note

        def noted(self: build._Build, **values: Any) -> None:
            note(self, **values)
            seen.append((values["done"], values.get("state", "running")))

        monkeypatch.setattr(build._Build, "_note", noted)
        create_export(run, CSV)
        build_next()
        assert seen == sorted(seen, key=lambda each: each[0])
        assert {done for done, _ in seen} == {0, 1, 2, 3, 4, 5}  # both passes count
        assert seen[-1] == (5, "ready")

    def test_the_lease_is_renewed_during_long_library_calls(
        self, run: Run, queue_all: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(lease, "RENEW_AFTER_SECONDS", 0.01)
        export = create_export(run, CSV)
        leases: set[object] = set()

        def wait_for_two(*args: Any, **options: Any) -> None:
            until = time.monotonic() + PATIENCE
            while len(leases) < 3 and time.monotonic() < until:
                leases.add(Export.objects.get().lease_expires_at)

        monkeypatch.setattr(build, "write_records", wait_for_two)
        build_export(export)
        assert len(leases) == 3


class TestQueue:
    @pytest.fixture
    def theirs(self, strangers: Team) -> Run:
        """One record of another team."""
        return make_ready_run(Collection.objects.create(team=strangers, name="Others"), records(1))

    def order(self, queue: Queue) -> list[tuple[Run, list[str]]]:
        """Build all exports, and return the runs and columns in that order."""
        built = []
        while export := queue.next():
            assert build_export(export)
            built.append((export.run, export.columns))
        return built

    def test_teams_take_turns(self, run: Run, theirs: Run, queue_all: None) -> None:
        for name in ("asin", "title", "price_cents"):
            create_export(run, ExportSpec(Format.CSV, (name,)))
        for name in ("asin", "title"):
            create_export(theirs, ExportSpec(Format.CSV, (name,)))
        assert self.order(Queue()) == [
            (run, ["asin"]),
            (theirs, ["asin"]),
            (run, ["title"]),
            (theirs, ["title"]),
            (run, ["price_cents"]),
        ]

    def test_a_team_without_a_turn_goes_first(self, run: Run, theirs: Run, queue_all: None) -> None:
        queue = Queue()
        for name in ("asin", "title"):
            create_export(run, ExportSpec(Format.CSV, (name,)))
        assert build_next(queue)
        create_export(theirs, CSV)
        assert self.order(queue) == [(theirs, []), (run, ["title"])]

    def test_stored_files_come_before_files_at_an_account(
        self, run: Run, queue_all: None, crawlers: Team
    ) -> None:
        remote = make_remote_run(make_remote_collection(make_account(crawlers)))
        create_export(remote, CSV)
        create_export(run, CSV)
        first = Queue().next()
        assert first is not None
        assert first.run == run
        assert [(queue.next() or first).run for queue in (Queue(remote=True), Queue(remote=False))] == [
            remote,
            run,
        ]
        build_export(first)
        assert Queue(remote=False).next() is None


class TestTime:
    @pytest.fixture(autouse=True)
    def no_time(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let each attempt exceed the time limit."""
        monkeypatch.setattr(build, "_MOST_SECONDS", -1.0)

    @pytest.mark.parametrize("wanted", Format)
    def test_an_export_that_takes_more_than_ten_minutes_fails(
        self, run: Run, queue_all: None, wanted: Format
    ) -> None:
        create_export(run, ExportSpec(wanted))
        build_next()
        export = create_export(run, ExportSpec(wanted))
        assert (export.state, export.is_final, stored()) == (ExportState.FAILED, True, [])
        assert export.failure == (
            "This export takes more than 10 minutes. Choose fewer columns, or export JSON Lines."
        )

    def test_an_export_from_a_slow_account_can_be_retried(
        self, crawlers: Team, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run = make_remote_run(make_remote_collection(make_account(crawlers)))
        files = files_of(run)
        monkeypatch.setattr(account, "UpstreamBody", files.body)
        monkeypatch.setattr(account, "size_of", files.size)
        create_export(run, JSONL)
        build_next()
        export = create_export(run, JSONL)
        assert (export.state, export.is_final, stored()) == (ExportState.FAILED, False, [])
        assert export.failure == (
            "The account takes more than 10 minutes to send these records. "
            "Choose fewer columns, or try again later."
        )


class TestLimits:
    def test_a_team_can_queue_a_limited_number(
        self, run: Run, queue_all: None, strangers: Team, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(create, "MOST_QUEUED", 2)
        first, _ = (create_export(run, ExportSpec(Format.CSV, (name,))) for name in ("asin", "title"))
        with pytest.raises(TooManyQueued, match="Your team has 2 exports in the queue"):
            create_export(run, CSV)
        assert create_export(run, ExportSpec(Format.CSV, ("asin",))).pk == first.pk
        others = make_ready_run(Collection.objects.create(team=strangers, name="Others"), records(1))
        assert create_export(others, CSV).is_under_way
        build_next()
        assert create_export(run, CSV).is_under_way

    def test_an_export_that_takes_too_long_counts_towards_the_limit(
        self, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(create, "MOST_QUEUED", 1)
        monkeypatch.setattr(create, "_PATIENCE", -1)
        first = create_export(run, CSV)
        with pytest.raises(TooManyQueued):
            create_export(run, JSONL)
        assert [export.pk for export in Export.objects.all()] == [first.pk]

    def test_a_retry_counts_towards_the_limit(
        self, run: Run, queue_all: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(create, "MOST_QUEUED", 1)
        failed = create_export(run, CSV)
        Export.objects.update(state=ExportState.FAILED, failure="The disk is full.", failed_at=timezone.now())
        create_export(run, JSONL)
        assert create_export(run, CSV).failure == "The disk is full."
        with pytest.raises(TooManyQueued):
            create_export(run, CSV, again=True)
        failed.refresh_from_db()
        assert failed.state == ExportState.FAILED
        Export.objects.filter(format=Format.JSONL).delete()
        assert create_export(run, CSV, again=True).state == ExportState.QUEUED

    def test_a_run_keeps_a_limited_number_of_recently_used_exports(
        self, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(retention, "MOST_ALIKE", 3)
        used = create_export(run, CSV)
        for name in ("asin", "nothing", "title", "price_cents"):
            Export.objects.exclude(pk=used.pk).update(used_at=timezone.now() - timedelta(hours=1))
            create_export(run, ExportSpec(Format.CSV, (name,)))
        columns = [export.columns for export in Export.objects.newest_first()]
        assert columns == [["price_cents"], ["title"], []]
        assert len(stored()) == 3

    def test_an_export_that_is_created_again_moves_to_the_top(self, run: Run) -> None:
        first, second = (create_export(run, spec) for spec in (CSV, JSONL))
        create_export(run, CSV)
        assert list(run.exports.newest_first()) == [second, first]
        create_export(run, CSV, again=True)
        assert list(run.exports.newest_first()) == [first, second]

    def test_a_long_unknown_name_is_truncated(self, run: Run) -> None:
        assert (
            f"“{'x' * 100}…”. The columns"
            in create_export(run, ExportSpec(Format.CSV, ("x" * 3000,))).failure
        )


class TestRoom:
    def use(self, export: Export, days_ago: int) -> None:
        Export.objects.filter(pk=export.pk).update(used_at=timezone.now() - timedelta(days=days_ago))

    def test_the_least_recently_used_exports_are_deleted_first(
        self, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        old, older, new = (
            create_export(run, ExportSpec(Format.JSONL, (name,))) for name in ("asin", "title", "price_cents")
        )
        self.use(old, 1)
        self.use(older, 2)
        before = sum(file.size or 0 for file in run.files.filter(kind=FileKind.PAGE))
        monkeypatch.setattr(retention, "MOST_BYTES", old.size + new.size + before - 1)
        newest = create_export(run, JSONL)
        assert set(Export.objects.all()) == {new, newest}
        assert len(stored()) == 2

    def test_nothing_is_deleted_if_the_export_would_not_fit_anyway(
        self, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        old, new = create_export(run, CSV), create_export(run, JSONL)
        free = 10**9
        monkeypatch.setattr(
            storage, "free_space", lambda: free if Export.objects.filter(pk=old.pk) else free + old.size
        )
        for size in (retention.MOST_BYTES + 1, free - RESERVE + old.size + 1):
            with pytest.raises(OSError, match=r"disk is nearly full|larger than the limit for all exports"):
                retention.make_room(size, but=new)
            assert Export.objects.count() == 2
        retention.make_room(free - RESERVE + 1, but=new)
        assert list(Export.objects.all()) == [new]

    def test_no_more_space_is_freed_than_an_export_can_use(
        self, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        old = create_export(run, CSV)
        wanted: list[int] = []
        monkeypatch.setattr(retention, "make_room", lambda size, but: wanted.append(size))
        run.files.filter(kind=FileKind.PAGE).update(size=2**60)
        create_export(run, JSONL)
        build_next()
        assert wanted[0] == build.MOST_BYTES
        assert old in Export.objects.all()

    def test_a_request_counts_as_use(self, run: Run) -> None:
        export = create_export(run, CSV)
        self.use(export, 5)
        create_export(run, CSV)
        assert timezone.now() - Export.objects.get().used_at < timedelta(minutes=1)

    def test_unused_exports_are_deleted_after_a_week(self, run: Run) -> None:
        unused, used = create_export(run, CSV), create_export(run, JSONL)
        failed = create_export(run, ExportSpec(Format.CSV, ("no such",)))
        self.use(unused, 8)
        self.use(used, 6)
        self.use(failed, 2)
        retention.tidy()
        assert list(Export.objects.all()) == [used]
        assert stored() == [used.key.rpartition("/")[2]]

    def test_files_of_killed_processes_are_removed(self, run: Run, queue_all: None) -> None:
        ready, running = create_export(run, CSV), create_export(run, JSONL)
        build_next()
        soon = timezone.now() + timedelta(seconds=30)
        alive, dead = "a" * 16, "d" * 16
        running.__class__.objects.filter(pk=running.pk).update(
            state=ExportState.RUNNING, attempt=alive, lease_expires_at=soon
        )
        for attempt in (alive, dead):
            with storages["results"].open(key_of(retention.FOLDER, running, attempt), "wb") as file:
                file.write(b"x")
            retention.SCRATCH.folder_of(attempt).mkdir(parents=True)
        retention.tidy()
        ready.refresh_from_db()
        assert stored() == sorted([ready.key.rpartition("/")[2], f"{running.pk}-{alive}"])
        assert [retention.SCRATCH.folder_of(each).exists() for each in (alive, dead)] == [True, False]

    def test_temporary_files_are_removed(self, run: Run, results_folder: Path) -> None:
        create_export(run, ExportSpec(Format.XLSX))
        assert list(retention.SCRATCH.folder_of("x").parent.iterdir()) == []

    def test_deleting_a_run_deletes_its_exports(self, run: Run) -> None:
        create_export(run, CSV)
        delete_run(run)
        assert not Export.objects.exists()
        assert stored() == []


def test_a_download_continues_when_its_export_is_deleted(run: Run) -> None:
    found = deliverable(create_export(run, CSV))
    with found.body.open(0, found.size) as stream:
        begun = stream.read(1)
        retention.delete(Export.objects.get())
        assert len(begun + stream.read()) == found.size
