"""pull.py over real HTTP, against a fake of the vendor's API and against the site."""

import ast
import base64
import contextlib
import errno
import hashlib
import io
import json
import os
import re
import resource
import shlex
import signal
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from collections_app.client import pull
from tests.support import tools
from tests.support.faults import Fault, FaultProxy, random_bytes
from tests.support.results_api import (
    COLLECTION,
    KEY,
    ListedRun,
    ReceivedRequest,
    ResultsApi,
    envelope,
    etag_of,
)
from tests.support.server import DemoServer
from tests.support.tools import ROOT, all_or_few

PAGE = "AU Laptops_88_Results_Page_{}.json"
ZIP = "AU Laptops_88_Results_All_Pages.zip"
MIB = 1024 * 1024
LARGE = random_bytes(3 * MIB)
DOCUMENTATION = (ROOT / "docs" / "scripts.md").read_text()
PULL = ROOT / "collections_app" / "client" / "pull.py"


def page(number: int) -> bytes:
    return json.dumps([{"asin": f"B{number:09}", "title": "Ünïcode"}]).encode()


def zip_of(pages: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in pages.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def run_88() -> ListedRun:
    pages = {PAGE.format(number): page(number) for number in (1, 2)}
    return ListedRun(88, pages, {ZIP: zip_of(pages)})


def run_of(number: int, content: bytes, name: str = "large.bin") -> ListedRun:
    return ListedRun(number, {name: content})


def run_of_many(pages: int) -> ListedRun:
    return ListedRun(88, {PAGE.format(number): page(number) for number in range(1, pages + 1)})


@pytest.fixture
def api() -> Iterator[ResultsApi]:
    """The vendor's API: run 89 is processing, run 88 is ready, run 87 is from the day before."""
    older = ListedRun(87, {"AU Laptops_87_Results_Page_1.json": page(3)}, created_at="2026-06-19T12:00:00Z")
    with ResultsApi([ListedRun(89, is_ready=False), run_88(), older]).running() as api:
        yield api


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait only briefly, save the state after each piece, and split small files too."""
    monkeypatch.setenv(pull.KEY_VARIABLE, KEY)
    monkeypatch.delenv(pull.URL_VARIABLE, raising=False)
    monkeypatch.setattr(pull, "RETRY_DELAYS", (0.01,) * 5)
    monkeypatch.setattr(pull, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(pull, "FOLLOW_SECONDS", 0.01)
    monkeypatch.setattr(pull, "SAVE_EVERY", (0.0, 0))
    monkeypatch.setattr(pull, "MIN_PART_SIZE", MIB)


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "output"


@pytest.fixture
def do_pull(api: ResultsApi, output: Path) -> Callable[..., int]:
    """Pull in this process."""

    def do(*arguments: object, base_url: str = "") -> int:
        more = ["--output", output, "--base-url", base_url or api.base_url]
        return pull.main([str(COLLECTION), *map(str, [*arguments, *more])])

    return do


Reply = tuple[int, dict[str, str], bytes]
Pull = Callable[..., int]


def pulled(output: Path) -> dict[str, bytes]:
    """Return all downloaded files, without those that pull.py itself uses."""
    folder = output / str(COLLECTION)
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(".pull.")
    }


def is_later_part(request: ReceivedRequest) -> bool:
    """Whether the request is for a part of the list of runs, but not the first one."""
    return bool(request.body and (request.body.get("skip") or "before" in request.body))


def files_of(run: ListedRun) -> dict[str, bytes]:
    return {f"{run.number}/{name}": content for name, content in run.pages.items()}


class TestSelection:
    def test_latest_is_the_newest_completed_run(self, api: ResultsApi, do_pull: Pull, output: Path) -> None:
        assert do_pull() == 0
        assert pulled(output) == files_of(api.runs[1])
        assert api.requests[0].body == {"collection_id": 101, "skip": 0, "limit": 50, "with_state": True}

    def test_a_run_by_its_number(self, api: ResultsApi, do_pull: Pull, output: Path) -> None:
        assert do_pull("--run", 87) == 0
        assert pulled(output) == files_of(api.runs[2])

    def test_runs_since_a_date(self, api: ResultsApi, do_pull: Pull, output: Path) -> None:
        assert do_pull("--since", "2026-06-20") == 0
        assert pulled(output) == files_of(api.runs[1])
        assert do_pull("--since", "2026-06-19T12:00:00Z") == 0
        assert pulled(output) == files_of(api.runs[1]) | files_of(api.runs[2])

    @pytest.mark.parametrize("is_dashboard", [True, False])
    def test_all_runs_while_newer_ones_arrive(
        self, api: ResultsApi, do_pull: Pull, output: Path, *, is_dashboard: bool
    ) -> None:
        api.runs = [run_of(number, b"[]", f"{number}.json") for number in range(120, 0, -1)]
        api.is_dashboard = is_dashboard

        def arrive(request: ReceivedRequest) -> None:
            if is_later_part(request):
                api.runs.insert(0, run_of(len(api.runs) + 1, b"[]", "late.json"))

        api.override = arrive
        assert do_pull("--all") == 0
        assert set(pulled(output)) == {f"{number}/{number}.json" for number in range(1, 121)}

    def test_all_other_runs_while_one_is_deleted(self, api: ResultsApi, do_pull: Pull, output: Path) -> None:
        api.runs = [run_of(number, b"[]", f"{number}.json") for number in range(120, 0, -1)]
        api.is_dashboard = True

        def delete(request: ReceivedRequest) -> None:
            if is_later_part(request):
                api.runs = [run for run in api.runs if run.number != 120]

        api.override = delete
        assert do_pull("--all") == 1  # run 120
        assert set(pulled(output)) == {f"{number}/{number}.json" for number in range(1, 120)}
        lists = [request.body for request in api.requests if request.body]
        assert [body.get("before") for body in lists] == [None, 71, 21, 1]

    def test_a_server_that_ignores_before_gets_skip(self, api: ResultsApi, do_pull: Pull) -> None:
        api.runs = [run_of(number, b"[]", f"{number}.json") for number in range(120, 0, -1)]
        assert do_pull("--all") == 0
        lists = [request.body for request in api.requests if request.body]
        assert [(body.get("skip"), body.get("before")) for body in lists] == [
            (0, None),
            (None, 71),
            (50, None),
            (100, None),
            (120, None),
        ]

    def test_a_server_that_sends_404_after_the_last_run(
        self, api: ResultsApi, do_pull: Pull, output: Path
    ) -> None:
        error: Reply = (200, {}, envelope(404, "No more."))
        api.override = lambda request: error if is_later_part(request) else None
        assert do_pull("--all") == 0
        assert pulled(output) == files_of(api.runs[1]) | files_of(api.runs[2])

    def test_an_unknown_run(self, do_pull: Pull, output: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert do_pull("--run", 999) == 2
        assert capsys.readouterr().err == "pull: Collection 101 has no run 999.\n"
        assert not output.exists()

    def test_a_run_that_is_not_ready(self, do_pull: Pull, capsys: pytest.CaptureFixture[str]) -> None:
        assert do_pull("--run", 89) == 4
        assert capsys.readouterr().out == "Run 89 of collection 101 is not ready yet.\n"

    def test_wait_stops_if_the_run_failed(
        self, api: ResultsApi, do_pull: Pull, capsys: pytest.CaptureFixture[str]
    ) -> None:
        api.is_dashboard = True
        api.runs = [ListedRun(89, is_ready=False, state="failed", failure_reason="The shop blocked it.")]
        assert do_pull("--run", 89, "--wait") == 1
        assert capsys.readouterr().err == "pull: Run 89 of collection 101 failed: The shop blocked it.\n"

    def test_a_stalled_run_says_so(
        self, api: ResultsApi, do_pull: Pull, capsys: pytest.CaptureFixture[str]
    ) -> None:
        api.is_dashboard = True
        api.runs = [ListedRun(89, is_ready=False, state="stalled")]
        assert do_pull("--run", 89) == 4
        assert capsys.readouterr().out == "Run 89 of collection 101 has stalled. It may continue.\n"

    @pytest.mark.parametrize(("extracted", "note"), [(231, " (19 of 250 records missing)"), (None, "")])
    def test_missing_records_are_reported(
        self,
        api: ResultsApi,
        do_pull: Pull,
        output: Path,
        capsys: pytest.CaptureFixture[str],
        extracted: int | None,
        note: str,
    ) -> None:
        api.runs[1].extracted = extracted
        assert do_pull() == 0
        assert capsys.readouterr().out == (
            f"Collection 101, run 88{note}: 2 new files (108 bytes), in {output}/101/88\n"
        )

    def test_no_run_since_a_date(self, do_pull: Pull, capsys: pytest.CaptureFixture[str]) -> None:
        assert do_pull("--since", "2027-01-01") == 4
        assert capsys.readouterr().out == "No run of collection 101 has started since 2027-01-01 00:00 UTC.\n"

    @pytest.mark.parametrize("which", [["--run", 89], ["--latest"], ["--all"]])
    def test_wait_until_a_run_is_ready(
        self, api: ResultsApi, do_pull: Pull, output: Path, which: list[object]
    ) -> None:
        api.runs = [ListedRun(89, is_ready=False)]

        def finish(request: ReceivedRequest) -> None:
            if len(api.requests) == 6:
                api.runs[0] = run_of(89, b"[]", "new.json")

        api.override = finish
        assert do_pull(*which, "--wait", 60) == 0
        assert pulled(output) == {"89/new.json": b"[]"}

    def test_wait_has_a_limit(self, do_pull: Pull, output: Path) -> None:
        assert do_pull("--run", 89, "--wait", "0.05") == 4
        assert not output.exists()


class TestExistingFiles:
    def test_existing_files_are_not_downloaded_again(
        self, api: ResultsApi, do_pull: Pull, capsys: pytest.CaptureFixture[str], output: Path
    ) -> None:
        assert do_pull() == 0
        assert capsys.readouterr().out == (
            f"Collection 101, run 88: 2 new files (108 bytes), in {output}/101/88\n"
        )
        api.requests.clear()
        assert do_pull() == 3
        assert [request.method for request in api.requests] == ["POST"]
        assert capsys.readouterr().out == (
            f"Collection 101, run 88: nothing new, 2 already here, in {output}/101/88\n"
        )

    def test_a_truncated_file_is_downloaded_again(self, api: ResultsApi, do_pull: Pull, output: Path) -> None:
        do_pull()
        (output / "101/88" / PAGE.format(1)).write_bytes(b"[")
        assert do_pull() == 0
        assert pulled(output) == files_of(api.runs[1])

    def test_an_updated_run_is_downloaded_again(self, api: ResultsApi, do_pull: Pull, output: Path) -> None:
        do_pull()
        api.runs[1] = ListedRun(88, {PAGE.format(1): page(9)}, updated_at="2026-06-21T00:00:00Z")
        assert do_pull() == 0
        assert pulled(output)[f"88/{PAGE.format(1)}"] == page(9)

    def test_only_one_pull_of_a_collection_runs_at_a_time(
        self, do_pull: Pull, output: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pull.lock_collection(output, COLLECTION):
            assert do_pull() == 1
        assert (
            capsys.readouterr().err
            == "pull: Another pull of collection 101 is using this folder. Try again later.\n"
        )
        assert do_pull() == 0


class TestVerification:
    def test_by_the_sha_256_in_the_manifest(self, api: ResultsApi, do_pull: Pull, output: Path) -> None:
        api.is_dashboard = True
        assert do_pull("--verify") == 0
        assert do_pull("--verify") == 3
        damaged = output / "101/88" / PAGE.format(1)
        damaged.write_bytes(damaged.read_bytes().replace(b"1", b"2"))
        assert do_pull() == 3  # only --verify reads the content
        assert do_pull("--verify") == 0
        assert pulled(output) == files_of(api.runs[1])

    def test_a_file_that_is_always_damaged_is_discarded(
        self, api: ResultsApi, do_pull: Pull, output: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        api.is_dashboard = True

        def damage(request: ReceivedRequest) -> tuple[int, dict[str, str], bytes] | None:
            return (200, {}, page(2)) if request.path.endswith("Page_1.json") else None

        api.override = damage
        assert do_pull("--verify") == 1
        assert list(pulled(output)) == [f"88/{PAGE.format(2)}"]
        assert "the SHA-256 doesn't match the server's" in capsys.readouterr().err
        api.override = lambda request: None
        assert do_pull("--verify") == 0

    def test_a_size_that_differs_from_the_manifest(
        self, api: ResultsApi, do_pull: Pull, output: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        files = [{"name": PAGE.format(1), "size": 1, "sha256": None}, {"name": None}, "x"]
        manifest: Reply = (200, {}, json.dumps({"files": files}).encode())
        api.override = lambda request: manifest if request.path.endswith("manifest.json") else None
        assert do_pull("--verify") == 1
        assert list(pulled(output)) == [f"88/{PAGE.format(2)}"]
        assert "the file has 54 bytes instead of 1" in capsys.readouterr().err

    @pytest.mark.parametrize("form", ["pages", "zip"])
    def test_by_the_format_without_a_manifest(
        self, api: ResultsApi, do_pull: Pull, output: Path, form: str
    ) -> None:
        assert do_pull("--verify", "--format", form) == 0
        name, content = next(iter((api.runs[1].pages if form == "pages" else api.runs[1].archive).items()))
        broken = content[:45] + b"\xff" + content[46:]
        api.runs[1] = ListedRun(88, {name: broken}, {name: broken}, updated_at="later")
        assert do_pull("--verify", "--format", form) == 1
        assert pulled(output)[f"88/{name}"] == content

    def test_by_the_repr_digest_header(self, api: ResultsApi, do_pull: Pull, output: Path) -> None:
        right, digest = LARGE[:5000], hashlib.sha256(LARGE[:5000]).digest()
        headers = {"Repr-Digest": f"sha-256=:{base64.b64encode(digest).decode()}:"}
        responses = iter([LARGE[1:5001], right])
        api.runs = [run_of(88, right)]
        api.override = lambda request: (
            (200, headers, next(responses)) if request.path.endswith("bin") else None
        )
        assert do_pull("--verify") == 0
        assert pulled(output) == {"88/large.bin": right}


class TestFormats:
    @pytest.mark.parametrize("form", ["json", "jsonl", "csv", "xlsx", "parquet"])
    def test_wait_until_a_converted_file_is_built(
        self, api: ResultsApi, do_pull: Pull, output: Path, form: str
    ) -> None:
        api.is_dashboard = True
        name, waiting = f"records.{form}", {"state": "running", "done": 1, "total": 2}
        api.converted = {name: waiting}
        assert do_pull("--format", form) == 4
        assert pulled(output) == {}

        built = {"json": b"[]", "xlsx": b"PK\x05\x06" + bytes(18)}.get(form, b"built")

        def build(request: ReceivedRequest) -> None:
            if len(api.requests_for(name)) == 4:
                api.converted = {name: built}

        api.override = build
        assert do_pull("--format", form, "--wait") == 0
        assert pulled(output) == {f"88/{name}": built}

    def test_selected_columns(self, api: ResultsApi, do_pull: Pull, output: Path) -> None:
        api.is_dashboard = True
        api.converted = {"records.csv": b"asin\n"}
        assert do_pull("--format", "csv", "--columns", "asin,a b") == 0
        assert api.requests[-1].path.endswith("/records.csv?columns=asin,a%20b")
        assert do_pull("--format", "csv", "--columns", "asin,a b") == 3
        assert do_pull("--format", "csv") == 0  # a file with other columns

    def test_a_saved_export(self, api: ResultsApi, do_pull: Pull, output: Path) -> None:
        api.is_dashboard = True
        api.converted = {"exports/prices.csv": b"title\n"}
        assert do_pull("--export", "prices.csv") == 0
        assert api.requests[-1].path.endswith("/runs/88/exports/prices.csv")
        assert pulled(output) == {"88/prices.csv": b"title\n"}

    def test_what_changed_since_the_previous_run(self, api: ResultsApi, do_pull: Pull, output: Path) -> None:
        api.is_dashboard = True
        api.converted = {
            "changes.json": envelope(200, {"since": 87, "changes": [{}]}),
            "changes.csv": b"key\n",
            "changes.jsonl": b"{}\n",
        }
        assert do_pull("--changes") == 0
        assert api.requests[-1].path.endswith("/runs/88/changes.csv?since=87")
        assert do_pull("--changes") == 3  # already here
        assert do_pull("--changes", "--format", "jsonl") == 0
        files = {"88/changes-since-87.csv": b"key\n", "88/changes-since-87.jsonl": b"{}\n"}
        assert pulled(output) == files

    @pytest.mark.parametrize(
        ("status", "reply", "code"),
        [
            (200, {"since": 87, "changes": []}, 3),
            (404, "There is no earlier run to compare run 88 with.", 3),
            (202, {"state": "queued"}, 4),
            (409, "Choose a key.", 1),
            (200, {"since": 87}, 1),
        ],
    )
    def test_without_changes_the_exit_code_says_why(
        self, api: ResultsApi, do_pull: Pull, output: Path, status: int, reply: object, code: int
    ) -> None:
        api.is_dashboard = True
        answer: Reply = (status, {}, envelope(status, reply))
        api.override = lambda request: answer if "/changes.json" in request.path else None
        assert do_pull("--changes") == code
        assert pulled(output) == {}

    def test_multicartapi_can_not_compare_runs(self, api: ResultsApi, do_pull: Pull) -> None:
        assert do_pull("--changes") == 2

    def test_a_run_without_the_column_does_not_stop_the_others(
        self, api: ResultsApi, do_pull: Pull, output: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        api.is_dashboard = True
        api.converted = {"records.csv": b"asin\n"}
        error: Reply = (400, {}, envelope(400, "No record has a column “asin”."))
        api.override = lambda request: error if "/runs/88/records" in request.path else None
        assert do_pull("--all", "--format", "csv", "--columns", "asin") == 1
        assert pulled(output) == {"87/records.csv": b"asin\n"}
        printed = capsys.readouterr()
        assert printed.err == (
            "pull: Run 88, records.csv: The server rejected the request (code 400). "
            "It says: No record has a column “asin”.\n"
        )
        assert printed.out.startswith("Collection 101, 2 runs: 1 new file (5 bytes), 1 failed, in ")

    def test_a_build_that_fails(
        self, api: ResultsApi, do_pull: Pull, capsys: pytest.CaptureFixture[str]
    ) -> None:
        api.is_dashboard = True
        api.converted = {"records.csv": {"state": "running", "done": 1, "total": 2}}
        failure: Reply = (500, {}, envelope(500, "The disk is full."))
        api.override = lambda request: failure if len(api.requests_for("records.csv")) == 2 else None
        assert do_pull("--format", "csv", "--wait") == 1
        assert capsys.readouterr().err == (
            "pull: Run 88, records.csv: The server failed (code 500). It says: The disk is full.\n"
        )

    @pytest.mark.parametrize("form", ["json", "csv", "xlsx"])
    def test_the_vendor_does_not_convert(
        self, do_pull: Pull, capsys: pytest.CaptureFixture[str], form: str
    ) -> None:
        assert do_pull("--format", form) == 2
        assert capsys.readouterr().err == (
            f"pull: This server can't convert run 88 to {form}. "
            "Use the results dashboard, or --format pages.\n"
        )


class TestFollow:
    """--follow ends with 2 when the key is revoked, which these tests do after some readings of the feed."""

    @pytest.fixture(autouse=True)
    def dashboard(self, api: ResultsApi) -> None:
        api.is_dashboard = True
        api.events = [event(1, 87), event(2, 88)]

    @pytest.fixture
    def follow(self, api: ResultsApi, do_pull: Pull) -> Callable[..., int]:
        """Follow, and call each function before a further reading of the feed."""

        def do(*steps: Callable[[], object]) -> int:
            waiting = [lambda: None, *steps]

            def before(request: ReceivedRequest) -> Reply | None:
                if "/events" in request.path:
                    if not waiting:
                        return 401, {}, envelope(401, "Unknown key.")
                    waiting.pop(0)()
                return None

            api.override = before
            return do_pull("--follow")

        return do

    def test_the_newest_run_and_then_each_new_one_is_pulled(
        self, api: ResultsApi, follow: Callable[..., int], output: Path
    ) -> None:
        def complete() -> None:
            api.runs[0] = run_of(89, b"[]", "page.json")
            api.events += [event(3, 90, "run.failed"), event(4, 89), event(5, 1, collection=102)]

        assert follow(lambda: None, complete) == 2
        assert pulled(output) == files_of(api.runs[1]) | {"89/page.json": b"[]"}

    def test_another_process_continues_where_the_first_one_stopped(
        self, api: ResultsApi, follow: Callable[..., int], output: Path
    ) -> None:
        follow(lambda: None)
        api.runs[:1] = [run_of(90, b"[1]", "page.json"), run_of(89, b"[]", "page.json")]
        api.events += [event(3, 89, "run.incomplete"), event(4, 90, "run.empty")]
        follow(lambda: None)
        assert pulled(output) == files_of(api.runs[2]) | {"89/page.json": b"[]", "90/page.json": b"[1]"}

    def test_a_run_that_fails_is_retried_and_a_deleted_one_is_not(
        self, api: ResultsApi, follow: Callable[..., int], output: Path
    ) -> None:
        follow()
        api.runs[:1] = [ListedRun(89, {"page.json": b"<html>"})]
        api.events += [event(3, 80), event(4, 89)]

        def repair() -> None:
            api.runs[0].pages["page.json"] = b"[]"

        follow(lambda: None, repair, lambda: None)
        assert pulled(output)["89/page.json"] == b"[]"
        assert len([each for each in api.requests if "after=2" in each.path]) == 3  # the first one had a 401

    def test_a_restored_server_starts_again(
        self, api: ResultsApi, follow: Callable[..., int], output: Path
    ) -> None:
        def restore() -> None:
            api.events = [event(1, 87)]
            api.runs[0] = run_of(89, b"[]", "page.json")

        follow(lambda: None, restore, lambda: api.events.append(event(2, 87)))
        assert pulled(output) == files_of(api.runs[1]) | files_of(api.runs[2]) | {"89/page.json": b"[]"}

    def test_a_server_that_is_away_for_a_while_does_not_end_it(
        self, api: ResultsApi, do_pull: Pull, output: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        replies: list[Reply] = [(503, {}, b"")] * 6
        replies += [(200, {}, b"[]"), (200, {}, b'{"events": [{}], "newest": 1}')]
        replies.append((401, {}, envelope(401, "Unknown key.")))
        api.override = lambda request: replies.pop(0) if "limit=1000" in request.path else None
        assert do_pull("--follow") == 2
        assert capsys.readouterr().err.count("invalid list of events") == 2
        assert pulled(output) == files_of(api.runs[1])

    def test_multicartapi_has_no_events(self, api: ResultsApi, do_pull: Pull) -> None:
        api.is_dashboard = False
        assert do_pull("--follow") == 2


def event(
    sequence: int, run: int, kind: str = "run.completed", *, collection: int = 101
) -> dict[str, object]:
    """Return an event in the feed."""
    return {"sequence": sequence, "type": kind, "collection": {"id": collection, "name": "X"}, "run": run}


class TestResuming:
    @pytest.mark.parametrize("connections", all_or_few([1, 4], 4))
    @pytest.mark.parametrize(
        "end", all_or_few([signal.SIGKILL, signal.SIGINT, signal.SIGTERM], signal.SIGKILL, signal.SIGINT)
    )
    def test_a_killed_pull_resumes(
        self, api: ResultsApi, do_pull: Pull, output: Path, connections: int, end: signal.Signals
    ) -> None:
        api.runs = [run_of(88, LARGE)]
        go_on = threading.Event()

        def hold(request: ReceivedRequest, position: int) -> None:
            # Send each connection half of a part.
            if position % MIB >= MIB // 2:
                go_on.wait(tools.PATIENCE)

        api.before_piece = hold
        impatient = "pull.SAVE_EVERY = (0, 0); pull.MIN_PART_SIZE = 1024 * 1024; pull.command()"
        arguments = ["101", "--parallel", str(connections), "--output", str(output)]
        code = f"from collections_app.client import pull; {impatient}"
        command = [sys.executable, "-c", code, *arguments, "--base-url", api.base_url]
        with tools.start(*command, stderr=tools.PIPE) as process:
            half = 512 * 1024 if connections == 1 else 3 * 512 * 1024
            wait_until(lambda: saved_bytes(output) >= half)
            process.send_signal(end)
            _, printed = process.communicate(timeout=tools.PATIENCE)
        assert process.returncode == (-end if end == signal.SIGKILL else 130)
        assert end == signal.SIGKILL or b"Run the same command again to resume." in printed
        assert not (output / "101/88/large.bin").exists()
        go_on.set()
        api.requests.clear()
        assert do_pull() == 0
        assert pulled(output) == {"88/large.bin": LARGE}
        again = api.requests_for("large.bin")
        assert all(request.range and request.if_range == etag_of(LARGE) for request in again)
        assert requested_bytes(again) == len(LARGE) - half

    def test_no_resume_restarts_the_download(self, api: ResultsApi, do_pull: Pull, output: Path) -> None:
        leave_a_part(api, do_pull, output)
        assert do_pull("--no-resume") == 0
        assert api.requests_for("large.bin")[0].range is None
        assert pulled(output) == {"88/large.bin": LARGE}

    def test_a_changed_file_is_downloaded_from_the_start(
        self, api: ResultsApi, do_pull: Pull, output: Path
    ) -> None:
        leave_a_part(api, do_pull, output)
        changed = random_bytes(3 * MIB, seed=2)
        api.runs = [run_of(88, changed)]
        assert do_pull() == 0
        assert [request.range is None for request in api.requests_for("large.bin")][:2] == [False, True]
        assert pulled(output) == {"88/large.bin": changed}

    def test_an_updated_run_is_not_resumed(self, api: ResultsApi, do_pull: Pull, output: Path) -> None:
        leave_a_part(api, do_pull, output)
        api.runs = [replace(run_of(88, LARGE), updated_at="2026-07-01T00:00:00Z")]
        assert do_pull() == 0
        assert api.requests_for("large.bin")[0].range is None
        assert pulled(output) == {"88/large.bin": LARGE}

    @pytest.mark.parametrize("damage", ["", "[]", '{"size": 5}', '{"missing": [[5, 1]]}'])
    def test_an_invalid_state_file_restarts_the_download(
        self, api: ResultsApi, do_pull: Pull, output: Path, damage: str
    ) -> None:
        leave_a_part(api, do_pull, output)
        (output / "101/88/large.bin.part.json").write_text(damage)
        assert do_pull() == 0
        assert pulled(output) == {"88/large.bin": LARGE}


class TestParallel:
    def test_a_large_file_is_downloaded_in_parts(self, api: ResultsApi, do_pull: Pull, output: Path) -> None:
        api.runs = [run_of(88, LARGE + b"end")]
        assert do_pull("--parallel", 3) == 0
        assert pulled(output) == {"88/large.bin": LARGE + b"end"}
        ranges = [request.range for request in api.requests_for("large.bin")]
        assert sorted(filter(None, ranges)) == ["bytes=1048577-2097153", "bytes=2097154-3145730"]
        assert ranges.count(None) == 1  # for the first part

    def test_a_small_file_is_one_request(self, api: ResultsApi, do_pull: Pull) -> None:
        do_pull("--parallel", 16)
        assert [request.range for request in api.requests_for(".json")] == [None, None]

    def test_one_connection_is_kept_open(self, api: ResultsApi, do_pull: Pull) -> None:
        api.runs = [run_of_many(50)]
        assert do_pull("--parallel", 1) == 0
        assert api.connections == 1

    @pytest.mark.parametrize("connections", [2, 5])
    def test_several_small_files_are_downloaded_at_once(
        self, api: ResultsApi, do_pull: Pull, output: Path, connections: int
    ) -> None:
        api.runs = [run_of_many(4 * connections)]
        together, under_way, most = threading.Barrier(connections), 0, 0
        lock = threading.Lock()

        def count(request: ReceivedRequest) -> None:
            nonlocal under_way, most
            if request.method == "GET":
                with lock:
                    under_way += 1
                    most = max(most, under_way)
                together.wait(tools.PATIENCE)
                with lock:
                    under_way -= 1

        api.override = count
        assert do_pull("--parallel", connections) == 0
        assert pulled(output) == files_of(api.runs[0])
        assert most == connections == api.connections

    def test_the_record_of_many_files_is_written_rarely(
        self, api: ResultsApi, do_pull: Pull, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        api.runs = [run_of_many(50)]
        monkeypatch.setattr(pull, "SAVE_EVERY", (3600.0, MIB))
        written: list[Path] = []
        write_json = pull.write_json

        def note(path: Path, value: object) -> None:
            written.append(path)
            write_json(path, value)

        monkeypatch.setattr(pull, "write_json", note)
        assert do_pull() == 0
        assert len(written) == 1
        assert do_pull() == 3
        assert len(written) == 1

    def test_after_an_error_the_complete_files_are_known(
        self, api: ResultsApi, do_pull: Pull, output: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        api.runs = [run_of_many(300)]
        monkeypatch.setattr(pull, "SAVE_EVERY", (3600.0, MIB))
        rejected: Reply = (401, {}, envelope(401, "This API key was revoked."))
        api.override = lambda request: rejected if request.path.endswith("_12.json") else None
        assert do_pull() == 2
        complete = set(pulled(output))
        assert 0 < len(complete) < 300
        requested = {request.path for request in api.requests_for(".json")}
        assert len(requested) < 300  # the error stopped the others
        api.override = lambda request: None
        api.requests.clear()
        assert do_pull() == 0
        assert len(api.requests_for(".json")) == 300 - len(complete)
        assert pulled(output) == files_of(api.runs[0])

    def test_parts_of_different_versions_are_never_mixed(
        self, api: ResultsApi, do_pull: Pull, output: Path
    ) -> None:
        changed = random_bytes(3 * MIB, seed=2)
        api.runs = [run_of(88, LARGE)]

        def change(request: ReceivedRequest) -> None:
            if request.range:
                api.runs = [run_of(88, changed)]

        api.override = change
        assert do_pull("--parallel", 3) == 0
        assert pulled(output) == {"88/large.bin": changed}

    @pytest.mark.parametrize("what", ["has_ranges", "has_etags"])
    def test_a_server_without_ranges_or_etags(
        self, api: ResultsApi, do_pull: Pull, output: Path, what: str
    ) -> None:
        setattr(api, what, False)
        api.runs = [run_of(88, LARGE)]
        assert do_pull("--parallel", 3) == 0
        assert pulled(output) == {"88/large.bin": LARGE}


class TestNetworks:
    def test_interrupted_connections_are_resumed(self, api: ResultsApi, do_pull: Pull, output: Path) -> None:
        api.runs = [run_of(88, LARGE)]
        cuts = iter([Fault(cut_after=MIB), Fault(cut_after=MIB, is_reset=True), Fault(cut_after=100)])
        with FaultProxy(api.port, lambda: next(cuts, Fault())).running() as proxy:
            assert do_pull("--parallel", 1, base_url=proxy.base_url) == 0
            assert proxy.connections == 4
        assert [request.range is None for request in api.requests_for("large.bin")] == [
            True,
            False,
            False,
            False,
        ]
        assert pulled(output) == {"88/large.bin": LARGE}

    def test_the_received_part_stays_if_the_download_fails(
        self, api: ResultsApi, do_pull: Pull, output: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        leave_a_part(api, do_pull, output)
        assert "Run 88, large.bin: The server is busy or unavailable (code 503)." in capsys.readouterr().err
        assert saved_bytes(output) == 2 * MIB

    @pytest.mark.parametrize("status", [429, 502, 503, 504])
    @pytest.mark.parametrize("what", ["download/", "Page_1.json"])
    def test_busy_servers_are_retried(self, api: ResultsApi, do_pull: Pull, status: int, what: str) -> None:
        left = [1, 1]

        def busy(request: ReceivedRequest) -> tuple[int, dict[str, str], bytes] | None:
            return (status, {"Retry-After": "0"}, b"") if request.path.endswith(what) and left.pop() else None

        left.insert(0, 0)
        api.override = lambda request: busy(request) if left else None
        assert do_pull() == 0

    def test_retry_after_is_respected(
        self, api: ResultsApi, do_pull: Pull, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        waited: list[float] = []
        monkeypatch.setattr("collections_app.client.pull.time.sleep", waited.append)
        error = json.dumps({"code": 503, "data": "Try again in 5 seconds.", "status": 0}).encode()
        responses = iter(
            [
                (200, {"Retry-After": "5"}, error),  # how the list reports errors
                (429, {"Retry-After": "7"}, b""),
                (503, {"Retry-After": "99999"}, b""),
                (503, {"Retry-After": "Fri, 31 Dec 2100 23:59:59 GMT"}, b""),
            ]
        )
        api.override = lambda request: next(responses, None)
        assert do_pull() == 0
        assert waited == [5, 7, 120, 120]

    @pytest.mark.parametrize("what", ["has_lengths", "has_etags", "has_ranges"])
    def test_a_server_that_can_not_resume_restarts_the_download(
        self, api: ResultsApi, do_pull: Pull, output: Path, what: str
    ) -> None:
        setattr(api, what, False)
        api.runs = [run_of(88, LARGE)]
        cuts = iter([Fault(cut_after=MIB)])
        with FaultProxy(api.port, lambda: next(cuts, Fault())).running() as proxy:
            assert do_pull("--parallel", 1, base_url=proxy.base_url) == 0
        assert pulled(output) == {"88/large.bin": LARGE}

    @pytest.mark.parametrize(("scheme", "exit_code"), [("https://127.0.0.1", 1), ("http://a..b", 2)])
    def test_an_invalid_address(
        self,
        api: ResultsApi,
        do_pull: Pull,
        capsys: pytest.CaptureFixture[str],
        scheme: str,
        exit_code: int,
    ) -> None:
        assert do_pull(base_url=f"{scheme}:{api.port}/api/v1") == exit_code
        assert len(capsys.readouterr().err.splitlines()) == 1

    def test_an_address_without_the_api_path(
        self, api: ResultsApi, do_pull: Pull, capsys: pytest.CaptureFixture[str]
    ) -> None:
        site = api.base_url.removesuffix("/api/v1")
        page = (404, {"Content-Type": "text/html"}, b"<!doctype html>")
        api.override = lambda request: page
        assert do_pull(base_url=site) == 1
        assert capsys.readouterr().err == (
            f"pull: There is no API at {site}. Check --base-url, which usually ends in /api/v1.\n"
        )

    def test_a_server_that_can_not_be_reached(
        self, do_pull: Pull, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert do_pull(base_url="http://127.0.0.1:1/api/v1") == 1
        assert capsys.readouterr().err == (
            "pull: Can't connect to http://127.0.0.1:1/api/v1. Check it, or try again later.\n"
        )


class TestErrorResponses:
    def test_a_wrong_key(
        self,
        do_pull: Pull,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        output: Path,
    ) -> None:
        monkeypatch.setenv(pull.KEY_VARIABLE, "wrong-key")
        assert do_pull() == 2
        assert capsys.readouterr().err == ("pull: The server rejected the API key. It says: Unknown key.\n")
        assert not output.exists()

    @pytest.mark.parametrize("key", ["", "two words", "sécret", "a\tb"])
    def test_an_invalid_key(
        self, api: ResultsApi, do_pull: Pull, monkeypatch: pytest.MonkeyPatch, key: str
    ) -> None:
        monkeypatch.setenv(pull.KEY_VARIABLE, key)
        assert do_pull() == 2
        assert not api.requests

    def test_a_key_in_a_file(self, do_pull: Pull, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.delenv(pull.KEY_VARIABLE)
        assert do_pull("--key-file", tmp_path / "none") == 2
        (tmp_path / "key").write_text(f"{KEY}\n")
        assert do_pull("--key-file", tmp_path / "key") == 0

    @pytest.mark.parametrize(
        ("code", "exit_code"), [(400, 2), (402, 2), (403, 2), (404, 2), (409, 2), (500, 1), (418, 2)]
    )
    def test_errors_of_the_list_with_http_200(
        self,
        api: ResultsApi,
        do_pull: Pull,
        capsys: pytest.CaptureFixture[str],
        code: int,
        exit_code: int,
    ) -> None:
        api.override = lambda request: (200, {}, envelope(code, "Because.\x1b[31m"))
        assert do_pull() == exit_code
        assert "Because.?[31m" in capsys.readouterr().err

    def test_errors_of_a_file_with_http_200(
        self, api: ResultsApi, do_pull: Pull, output: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        error = (200, {"Content-Type": "application/json"}, envelope(404, "Gone."))
        api.override = lambda request: error if request.path.endswith("Page_1.json") else None
        assert do_pull() == 1
        assert list(pulled(output)) == [f"88/{PAGE.format(2)}"]
        assert capsys.readouterr().err == f"pull: Run 88, {PAGE.format(1)}: Gone.\n"

    @pytest.mark.parametrize(
        "response",
        [
            (200, {}, b"<!doctype html>"),
            (200, {}, b'{"code": 200, "data": {}, "status": 1}'),
            (200, {}, b'{"code": 200, "data": [{"id": "x"}], "status": 1}'),
            (200, {}, b"[" * 100_000),
            (500, {}, b"Traceback"),
        ],
    )
    def test_invalid_responses_are_reported_in_one_line(
        self,
        api: ResultsApi,
        do_pull: Pull,
        capsys: pytest.CaptureFixture[str],
        response: tuple[int, dict[str, str], bytes],
    ) -> None:
        api.override = lambda request: response
        assert do_pull() == 1
        printed = capsys.readouterr().err
        assert printed.startswith("pull: The server")
        assert len(printed.splitlines()) == 1

    @pytest.mark.parametrize(
        ("headers", "body"),
        [({"Content-Type": "text/html; charset=utf-8"}, b"Sign in"), ({"Content-Encoding": "gzip"}, b"x")],
    )
    def test_a_response_that_is_not_the_file(
        self, api: ResultsApi, do_pull: Pull, output: Path, headers: dict[str, str], body: bytes
    ) -> None:
        api.override = lambda request: (200, headers, body) if request.path.endswith(".json") else None
        assert do_pull() == 1
        assert pulled(output) == {}

    @pytest.mark.parametrize("form", ["pages", "zip"])
    @pytest.mark.parametrize("body", [b"", b"<!doctype html>", b'[{"asin": "B1"}, {"asi', b"PK\x03\x04cut"])
    def test_wrong_content_is_discarded(
        self, api: ResultsApi, do_pull: Pull, output: Path, form: str, body: bytes
    ) -> None:
        instead = (200, {"Content-Type": "application/octet-stream"}, body)
        api.override = lambda request: instead if request.path.endswith((".json", ".zip")) else None
        assert do_pull("--format", form) == 1
        assert pulled(output) == {}

    @pytest.mark.parametrize("status", [206, 416])
    def test_an_unrequested_part(self, api: ResultsApi, do_pull: Pull, output: Path, status: int) -> None:
        api.override = lambda request: (status, {}, b"[]") if request.path.endswith(".json") else None
        assert do_pull("--wait") == 1
        assert pulled(output) == {}

    @pytest.mark.parametrize("what", ["download/", "Page_1.json"])
    def test_the_key_is_not_sent_to_redirects(
        self, api: ResultsApi, do_pull: Pull, capsys: pytest.CaptureFixture[str], what: str
    ) -> None:
        with ResultsApi([]).running() as elsewhere:
            headers = {"Location": f"{elsewhere.base_url}/x"}
            api.override = lambda request: (302, headers, b"") if request.path.endswith(what) else None
            assert do_pull() == 2
        assert "Redirects are not followed" in capsys.readouterr().err
        assert not elsewhere.requests

    def test_the_key_is_never_printed(
        self, api: ResultsApi, do_pull: Pull, capsys: pytest.CaptureFixture[str], output: Path
    ) -> None:
        api.override = lambda request: (200, {}, envelope(403, f"Not with {KEY}!"))
        assert do_pull() == 2
        printed = capsys.readouterr()
        assert KEY not in printed.out + printed.err
        assert "Not with (the API key)!" in printed.err

    def test_netrc_credentials_are_not_sent(
        self, api: ResultsApi, do_pull: Pull, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        (tmp_path / "netrc").write_text("machine 127.0.0.1 login bob password secret\n")
        monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
        with contextlib.closing(pull.Server(api.base_url, KEY)) as server, server.request("/x") as response:
            assert "Authorization" not in response.request.headers


class TestDisk:
    @pytest.mark.parametrize("connections", [1, 3])
    def test_a_disk_that_is_too_small_fails_at_once(
        self, api: ResultsApi, output: Path, connections: int
    ) -> None:
        api.runs = [run_of(88, LARGE)]
        done = tools.run(
            *(sys.executable, PULL, "101", "--output", output, "--base-url", api.base_url),
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (MIB, MIB)),
            check=False,
        )
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == f"pull: {output}: File too large.\n"
        assert pulled(output) == {}

    def test_a_download_resumes_after_the_disk_was_full(
        self, api: ResultsApi, do_pull: Pull, output: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        api.runs = [run_of(88, LARGE)]
        open_file = pull.open_file

        class Full(io.FileIO):
            def write(self, data: object) -> int:
                if self.tell() >= 2 * MIB:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                return super().write(data)  # type: ignore[arg-type]

        monkeypatch.setattr(
            pull,
            "open_file",
            lambda path, mode="rb": (
                Full(path, "r+") if mode == "r+b" and path.suffix == ".part" else open_file(path, mode)
            ),
        )
        assert do_pull("--parallel", 1) == 1
        assert 0 < saved_bytes(output) < 3 * MIB
        monkeypatch.undo()
        monkeypatch.setenv(pull.KEY_VARIABLE, KEY)
        assert do_pull() == 0
        assert pulled(output) == {"88/large.bin": LARGE}

    def test_an_output_folder_that_is_not_writable(self, do_pull: Pull, output: Path) -> None:
        output.write_text("a file")
        assert do_pull() == 1

    def test_symbolic_links_are_not_followed(
        self, api: ResultsApi, do_pull: Pull, output: Path, tmp_path: Path
    ) -> None:
        precious = tmp_path / "precious"
        precious.write_text("precious")
        folder = output / "101" / "88"
        folder.mkdir(parents=True)
        for name in (
            PAGE.format(1),
            f"{PAGE.format(2)}.part",
            f"{PAGE.format(2)}.part.json",
            ".pull.json.new",
        ):
            (folder / name).symlink_to(precious)
        assert do_pull() == 0
        assert precious.read_text() == "precious"
        assert pulled(output) == files_of(api.runs[1])
        assert not any(path.is_symlink() for path in folder.iterdir())

    def test_a_folder_that_is_a_symbolic_link_is_rejected(
        self, do_pull: Pull, output: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "elsewhere").mkdir()
        (output / "101").mkdir(parents=True)
        (output / "101" / "88").symlink_to(tmp_path / "elsewhere")
        assert do_pull() == 1
        assert not list((tmp_path / "elsewhere").iterdir())


HOSTILE = {
    "../../escape.json": ".._.._escape.json",
    "/etc/passwd": "_etc_passwd",
    "..\\up.json": "__",
    ".pull.json": "_pull.json",
    "a\0b\n.json": "a_b_.json",
    "\u202egpj.json": "_gpj.json",
    "CON.json": "_CON.json",
    "nul .x.json": "_nul .x.json",
    "LPT\xb9.json": "_LPT\xb9.json",
    "conin$": "_conin$",
    f"NUL{' ' * 300}x.json": f"_NUL{' ' * 192}.json",
    "a.json.part": "a.json.part_",
    "x.PART.json": "x.PART.json_",
    "é日本👩‍💻 ok.json": "é日本👩‍💻 ok.json",
    "trailing. ": "trailing",
    "": "_",
}


class TestHostileNames:
    @pytest.mark.parametrize("name", HOSTILE)
    def test_a_name_is_never_a_path(self, name: str) -> None:
        safe = pull.safe_name(name)
        assert Path(safe).name == safe
        assert safe not in {"", ".", ".."}
        if HOSTILE[name] not in {"__", ".._.._escape.json"}:
            assert safe == HOSTILE[name]

    @pytest.mark.parametrize(
        ("first", "second"),
        [
            ("Caf\xe9.json", "CAFE\u0301.json"),
            ("stra\xdfe.json", "STRASSE.json"),
            ("a\u200bb.json", "ab.json"),
            ("\u1f80.json", "\u1f88.json"),
        ],
    )
    def test_names_of_the_same_file_on_windows_or_macos_are_numbered(self, first: str, second: str) -> None:
        items = pull.with_unique_names([pull.Item("/1", first), pull.Item("/2", second)])
        assert [item.name for item in items] == [first, f"2_{second}"]

    @pytest.mark.parametrize("name", ["x" * 1000 + ".json", "日" * 500, "." + "y" * 500])
    def test_long_names_are_shortened(self, name: str, tmp_path: Path) -> None:
        safe = pull.safe_name(name)
        (tmp_path / f"{safe}.part.json.new").touch()
        assert safe.endswith(".json") == name.endswith(".json")

    def test_files_stay_in_the_run_folder_under_unique_names(
        self, api: ResultsApi, do_pull: Pull, output: Path
    ) -> None:
        names = [
            "../../escape.json",
            "..%2F..%2Fescape.json",
            "a/b.json",
            "A_B.json",
            "a_b.json",
            "..\\b.json",
        ]
        api.runs = [ListedRun(88, {name: page(index) for index, name in enumerate(names)})]
        do_pull()
        folder = output / "101" / "88"
        assert {path for path in output.rglob("*.json") if path.name != ".pull.json"} == {
            path for path in folder.iterdir() if path.suffix == ".json" and path.name != ".pull.json"
        }
        names = [path.name for path in folder.iterdir()]
        assert len({name.casefold() for name in names}) == len(names)
        assert not list(output.parent.glob("escape*"))

    @pytest.mark.parametrize(
        "link",
        [
            "https://evil.example.com/steal/me.json",
            "https://multicartapi.com/api/v1/results/102/88/other.json",
            "https://multicartapi.com/api/v1/results/101/88/..",
            "https://multicartapi.com/api/v1/results/101/88/",
            None,
            7,
        ],
    )
    def test_a_foreign_link_is_not_requested(
        self, api: ResultsApi, do_pull: Pull, output: Path, link: object
    ) -> None:
        entry = api.entry(api.runs[1])
        entry["download_links"]["pages"] = [link]
        api.override = lambda request: (200, {}, envelope(200, [] if is_later_part(request) else [entry]))
        assert do_pull() == 1
        assert {request.method for request in api.requests} == {"POST"}


class TestCommandLine:
    @pytest.mark.parametrize(
        "arguments",
        [
            [],
            ["x"],
            ["101", "--run", "-1"],
            ["101", "--latest", "--all"],
            ["101", "--since", "yesterday"],
            ["101", "--format", "docx"],
            ["101", "--columns", "asin"],
            ["101", "--export", "prices.csv", "--format", "csv"],
            ["101", "--changes", "--format", "json"],
            ["101", "--changes", "--format", "csv", "--columns", "asin"],
            ["101", "--follow", "--run", "88"],
            ["101", "--parallel", "0"],
            ["101", "--parallel", "99"],
            ["101", "--wait", "long"],
            ["101", "--base-url", "ftp://example.com"],
            ["101", "--base-url", "http://["],
            ["101", "--base-url", "http://user:secret@example.com/api/v1"],
        ],
    )
    def test_wrong_usage(self, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit) as ended:
            pull.main(arguments)
        assert ended.value.code == 2
        printed = capsys.readouterr()
        assert "usage: pull" in printed.err
        assert "Traceback" not in printed.err

    def test_the_documented_exit_codes_are_those_of_the_help(self) -> None:
        told = dict(re.findall(r"^\| (\d+) \| (.*) \|$", DOCUMENTATION, re.MULTILINE))
        helped = dict(re.findall(r"^  (\d+)  (.*)$", pull.EXIT_CODES, re.MULTILINE))
        assert {code: text.replace("`", "") for code, text in told.items()} == helped

    def test_help_lists_the_exit_codes(self, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit):
            pull.main(["--help"])
        printed = capsys.readouterr().out
        for code in (
            pull.DONE,
            pull.FAILED,
            pull.REFUSED,
            pull.NOTHING_NEW,
            pull.NOT_READY,
            pull.INTERRUPTED,
        ):
            assert re.search(rf"^  {code}  \w", printed, re.MULTILINE)

    def test_quiet_prints_nothing(self, do_pull: Pull, capsys: pytest.CaptureFixture[str]) -> None:
        assert do_pull("--quiet") == 0
        assert do_pull("--quiet") == 3
        assert do_pull("--quiet", "--run", 89) == 4
        printed = capsys.readouterr()
        assert printed.out + printed.err == ""

    def test_a_terminal_shows_a_progress_bar(
        self,
        api: ResultsApi,
        do_pull: Pull,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        monkeypatch.setattr(pull, "REDRAW_SECONDS", 0)
        monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
        api.runs = [run_of(88, LARGE)]
        assert do_pull("--verify") == 0
        printed = capsys.readouterr().err
        assert re.search(r"\rlarge\.bin  \[#+ *\] +\d+%  [\d.]+ MB  [\d.]+ MB/s  0:00 left", printed)
        assert "\rlarge.bin  [####################] 100%  3.0 MB" in printed
        assert "\n" not in printed

    def test_the_base_url_from_the_environment(
        self, api: ResultsApi, monkeypatch: pytest.MonkeyPatch, output: Path
    ) -> None:
        monkeypatch.setenv(pull.URL_VARIABLE, f"{api.base_url}/")
        assert pull.main(["101", "--output", str(output)]) == 0
        monkeypatch.setenv(pull.URL_VARIABLE, "nonsense")
        with pytest.raises(SystemExit):
            pull.main(["101"])

    @pytest.mark.parametrize("how", [[str(PULL)], ["-m", "collections_app.client.pull"]])
    def test_it_runs_without_django(self, api: ResultsApi, output: Path, how: list[str]) -> None:
        done = tools.run(
            *(sys.executable, *how, "101", "--output", output, "--base-url", api.base_url),
            env={**os.environ, "DJANGO_SETTINGS_MODULE": "nowhere"},
        )
        assert done.stderr == ""
        assert pulled(output) == files_of(api.runs[1])

    def test_it_needs_only_requests_and_python_39(self) -> None:
        text = PULL.read_text()
        tree = ast.parse(text, feature_version=(3, 9))
        names = {
            (node.module or "").partition(".")[0] if isinstance(node, ast.ImportFrom) else name.name
            for node in ast.walk(tree)
            if isinstance(node, ast.Import | ast.ImportFrom)
            for name in node.names
        }
        assert names - sys.stdlib_module_names == {"requests", "urllib3"}
        assert re.search(r'# /// script\n# requires-python = ">=3.9"\n# dependencies = \["requests', text)


@pytest.mark.thorough
class TestSite:
    """pull.py against the demo site."""

    def test_the_documented_commands(self, demo_server: DemoServer, tmp_path: Path) -> None:
        section = DOCUMENTATION.partition("\n## pull.py\n")[2]
        commands, cron = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)
        for text, here in (
            ("YOUR_API_KEY", demo_server.api_key),
            ("http://127.0.0.1:8000", demo_server.url),
            ("python collections_app", f"{sys.executable} {ROOT}/collections_app"),
        ):
            assert text in commands
            commands = commands.replace(text, here)
        done = tools.run("sh", "-e", "-c", commands, cwd=tmp_path)
        assert done.stderr == ""
        assert re.match(r"Collection 101, run \d+: 1 new file \(", done.stdout)
        assert list((tmp_path / "results" / "101").glob("*/*.zip"))
        arguments = shlex.split(cron.partition("python pull.py ")[2].partition("&&")[0])
        assert pull.parse_options(arguments).is_latest

    @pytest.fixture(autouse=True)
    def site(self, demo_server: DemoServer, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(pull.KEY_VARIABLE, demo_server.api_key)

    def test_the_zip_contains_the_pages(self, demo_server: DemoServer, do_pull: Pull, output: Path) -> None:
        url = f"{demo_server.url}/api/v1"
        assert do_pull("--run", 88, "--verify", base_url=url) == 0
        assert do_pull("--run", 88, "--verify", "--format", "zip", base_url=url) == 0
        pages = pulled(output)
        with zipfile.ZipFile(io.BytesIO(pages.pop(f"88/{ZIP}"))) as archive:
            members = {f"88/{name}": archive.read(name) for name in archive.namelist()}
        assert members == pages
        assert do_pull("--run", 88, "--verify", base_url=url) == 3

    def test_all_runs_and_their_states(self, demo_server: DemoServer, do_pull: Pull, output: Path) -> None:
        url = f"{demo_server.url}/api/v1"
        assert do_pull("--all", base_url=url) == 0
        assert len({name.partition("/")[0] for name in pulled(output)}) > 45
        assert do_pull("--run", 91, base_url=url) == 1
        assert do_pull("--run", 89, base_url=url) == 1

    def test_a_network_that_interrupts_every_connection(
        self, demo_server: DemoServer, do_pull: Pull, output: Path
    ) -> None:
        port = int(demo_server.url.rpartition(":")[2])
        cuts = iter([Fault(cut_after=60_000)] * 4)
        with FaultProxy(port, lambda: next(cuts, Fault())).running() as proxy:
            assert do_pull("--run", 88, base_url=proxy.base_url) == 0
            assert proxy.connections == 5
        assert do_pull("--run", 88, "--verify", base_url=f"{demo_server.url}/api/v1") == 3

    def test_a_collection_of_another_team(self, demo_server: DemoServer, output: Path) -> None:
        arguments = ["999", "--base-url", f"{demo_server.url}/api/v1", "--output", str(output)]
        assert pull.main(arguments) == 2


def leave_a_part(api: ResultsApi, do_pull: Pull, output: Path) -> None:
    """Pull two of three parts of a file. The last one fails."""
    api.runs = [run_of(88, LARGE)]

    def fail(request: ReceivedRequest) -> tuple[int, dict[str, str], bytes] | None:
        if not (request.range and request.range.startswith("bytes=2097152-")):
            return None
        wait_until(lambda: saved_bytes(output) == 2 * MIB)  # the other parts are complete
        return 503, {}, b""

    api.override = fail
    assert do_pull("--parallel", 3) == 1
    api.override = lambda request: None
    api.requests.clear()


def saved_bytes(output: Path) -> int:
    """Return how many bytes of a file are saved according to its state."""
    with contextlib.suppress(OSError, ValueError):
        state = json.loads((output / "101/88/large.bin.part.json").read_text())
        return int(state["size"] - sum(end - first for first, end in state["missing"]))
    return 0


def requested_bytes(requests: list[ReceivedRequest]) -> int:
    ranges = [re.fullmatch(r"bytes=(\d+)-(\d+)", each.range or "") for each in requests]
    return sum(int(found[2]) + 1 - int(found[1]) for found in ranges if found)


def wait_until(condition: Callable[[], bool], seconds: float = tools.PATIENCE) -> None:
    assert tools.eventually(condition, seconds)
