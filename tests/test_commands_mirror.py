import errno
import io
import os
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest
import responses
from django.core.management import CommandError, call_command
from django.db import OperationalError
from django.utils import timezone
from tqdm import tqdm

from collections_app.management.commands import mirror as command
from collections_app.models import Collection, FileKind, Run, Team
from collections_app.records.formats.recognition import BEGINNING
from collections_app.runs.new_file import NewFile
from collections_app.sources import SourceBusy, SourceUnavailable, sync
from collections_app.sources.upstream.connection import TOO_LARGE
from tests.support.faults import page_bytes
from tests.support.mirrors import Files, files_of, pretend
from tests.support.results import stored_bytes
from tests.support.upstream import (
    ListedRuns,
    lists,
    make_account,
    make_remote_collection,
    make_remote_run,
    remote_run,
)


@pytest.fixture
def remote(crawlers: Team) -> Collection:
    """A listed collection of an account."""
    return make_remote_collection(make_account(crawlers))


@pytest.fixture
def runs(remote: Collection) -> list[Run]:
    """Three Completed runs, oldest first."""
    return [make_remote_run(remote, number, at=remote_run(number).created_at) for number in (1, 2, 3)]


@pytest.fixture
def files(monkeypatch: pytest.MonkeyPatch, runs: list[Run]) -> Files:
    """Their files at the account."""
    lists(monkeypatch, [remote_run(number) for number in (1, 2, 3)])
    return pretend(monkeypatch, *runs)


def mirror(*args: str) -> str:
    out = io.StringIO()
    call_command("mirror", *args, stdout=out)
    return out.getvalue()


def refused(*args: str) -> str:
    with pytest.raises(CommandError) as caught:
        mirror(*args)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def kept() -> set[int]:
    return set(Run.objects.filter(is_kept=True).values_list("number", flat=True))


def _url(run: Run, name: str) -> str:
    return f"https://multicartapi.com/api/v1/results/7001/{run.number}/{quote(name)}"


class TestCopying:
    def test_it_copies_all_completed_runs_oldest_first(self, runs: list[Run], files: Files) -> None:
        size = sum(map(len, files.contents.values()))
        assert mirror("AU Laptops") == (
            f"Copied 3 runs ({size / 1024:.1f} KB).\nAll completed runs of AU Laptops are kept.\n"
        )
        assert [name.split("_")[1] for name in files.opened] == ["1", "1", "2", "2", "3", "3"]
        for run in runs:
            assert {
                file.name: stored_bytes(file) for file in run.files.all()
            }.items() <= files.contents.items()

    def test_the_second_time_copies_nothing(self, files: Files) -> None:
        mirror("AU Laptops")
        files.opened.clear()
        assert mirror("AU Laptops") == "All completed runs of AU Laptops are kept.\n"
        assert files.opened == []

    def test_a_terminal_shows_a_progress_bar(self, files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
        out = io.StringIO()

        class OnATerminal(tqdm):  # type: ignore[type-arg]
            def __init__(self, **options: Any) -> None:
                super().__init__(**options | {"disable": False, "file": out, "mininterval": 0})

        monkeypatch.setattr(command, "tqdm", OnATerminal)
        mirror("AU Laptops")
        shown = out.getvalue().split("\r")
        assert any(line.startswith("Run 2 (2 of 3): ") and "B/s" in line for line in shown)
        assert shown[-1] == ""  # it is cleared

    def test_one_run_can_be_selected(self, files: Files) -> None:
        out = mirror("AU Laptops", "--run", "2")
        assert kept() == {2}
        assert out.startswith("Copied 1 run (")
        assert out.endswith("2 completed runs of AU Laptops still to copy.\n")

    def test_runs_that_were_not_listed_yet_are_copied(
        self, remote: Collection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        lists(monkeypatch, [remote_run(number) for number in range(1, 121)])
        monkeypatch.setattr(command, "mirror_run", lambda run, source, *, progress: [])
        assert mirror("AU Laptops").startswith("Copied 120 runs (")
        assert remote.runs.count() == 120

    @pytest.mark.parametrize("options", [(), ("--run", "900")])
    def test_a_run_that_the_account_added_among_known_ones_is_copied(
        self, remote: Collection, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]
    ) -> None:
        listed = lists(monkeypatch, [remote_run(number) for number in range(1, 181)])
        monkeypatch.setattr(command, "mirror_run", lambda run, source, *, progress: [])
        mirror("AU Laptops")
        listed.runs.append(remote_run(900, at=remote_run(20).created_at))
        mirror("AU Laptops", *options)
        assert remote.runs.filter(number=900).exists()

    def test_if_known_runs_cannot_be_listed_again_nothing_is_copied(
        self, remote: Collection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        listed = lists(monkeypatch, [remote_run(number) for number in range(1, 101)])
        monkeypatch.setattr(command, "mirror_run", lambda run, source, *, progress: [])
        mirror("AU Laptops")
        monkeypatch.setattr(sync, "refresh", lambda *_, **__: None)
        listed.problem = SourceUnavailable("MultiCartAPI is not responding.")
        assert refused("AU Laptops") == ("The list of runs can't be updated: MultiCartAPI is not responding.")

    def test_listing_stops_at_the_selected_run(
        self, remote: Collection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        listed = lists(monkeypatch, [remote_run(number) for number in range(1, 500)])
        monkeypatch.setattr(command, "mirror_run", lambda run, source, *, progress: [])
        mirror("AU Laptops", "--run", "400")
        assert 51 <= remote.runs.count() < 200
        assert len(listed.calls) < 5


class TestRejections:
    def test_a_collection_without_an_account_is_rejected(self, laptops: Collection) -> None:
        assert (
            refused("101") == "AU Laptops isn't connected to an account. Its results are stored on this site."
        )

    def test_an_unknown_run_is_rejected(self, files: Files) -> None:
        assert refused("AU Laptops", "--run", "9") == "AU Laptops has no run 9."

    @pytest.mark.parametrize(("age", "status"), [(timedelta(), "Processing"), (timedelta(days=1), "Stalled")])
    def test_an_unfinished_run_is_rejected(
        self,
        remote: Collection,
        files: Files,
        monkeypatch: pytest.MonkeyPatch,
        age: timedelta,
        status: str,
    ) -> None:
        unfinished = remote_run(4, ready=False, at=timezone.now() - age)
        lists(monkeypatch, [unfinished, *(remote_run(number) for number in (3, 2, 1))])
        problem = f"Run 4 can't be copied because its status is {status}."
        assert refused("AU Laptops", "--run", "4") == problem

    @pytest.mark.parametrize("number", ["-1", "9" * 20, "x"])
    def test_an_invalid_run_number_is_rejected(self, files: Files, number: str) -> None:
        with pytest.raises(CommandError, match="argument --run: not a run number; use a number such as 88"):
            mirror("AU Laptops", f"--run={number}")

    def test_an_account_that_can_not_list_its_runs_is_reported(
        self, files: Files, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        listed: ListedRuns = lists(monkeypatch)
        listed.problem = SourceUnavailable("The account is not responding.")
        assert refused("AU Laptops") == ("The list of runs can't be updated: The account is not responding.")


class TestFailures:
    def test_a_missing_file_is_named_and_the_rest_is_copied(
        self, files: Files, capsys: pytest.CaptureFixture[str]
    ) -> None:
        del files.contents["AU Laptops_2_Results_Page_1.json"]
        assert refused("AU Laptops") == ("Some files could not be copied. To try again, run mirror again.")
        assert kept() == {1, 3}
        assert capsys.readouterr().err == (
            "Run 2: AU Laptops_2_Results_Page_1.json: The account no longer has this file.\n"
        )

    def test_a_file_that_is_too_large_is_named_and_the_rest_is_copied(
        self, remote: Collection, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        runs = [make_remote_run(remote, number, at=remote_run(number).created_at) for number in (1, 2)]
        lists(monkeypatch, [remote_run(number) for number in (1, 2)])
        page = runs[0].files.get(kind=FileKind.PAGE)
        with responses.RequestsMock() as vendor:
            beginning = page_bytes(BEGINNING + 1)[:BEGINNING]
            declared = {"Content-Range": f"bytes 0-{BEGINNING - 1}/{10**17}"}
            vendor.get(_url(runs[0], page.remote_name), status=206, body=beginning, headers=declared)
            for name, content in files_of(runs[1]).contents.items():
                vendor.get(_url(runs[1], name), body=content, headers={"Content-Length": str(len(content))})
            assert "Some files could not be copied" in refused("AU Laptops")
        assert capsys.readouterr().err == f"Run 1: {page.name}: {TOO_LARGE}\n"
        assert kept() == {2}
        page.refresh_from_db()
        assert page.size is None

    def test_it_gives_up_on_an_account_that_is_down(
        self, remote: Collection, runs: list[Run], files: Files, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def down(name: str) -> None:
            raise SourceUnavailable("It is down.")

        runs += [make_remote_run(remote, number) for number in (8, 9)]
        for run in runs[3:]:
            files.contents |= {file.remote_name: b"" for file in run.files.all()}
        files.on_open = down
        refused("AU Laptops")
        assert len(files.opened) == 3
        assert capsys.readouterr().err.count("It is down.") == 3

    def test_a_busy_account_is_not_called_again(
        self, files: Files, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def busy(name: str) -> None:
            raise SourceBusy("It is busy. Try again in 30 seconds.", 30)

        files.on_open = busy
        refused("AU Laptops")
        assert len(files.opened) == 1
        assert capsys.readouterr().err == "Run 1: It is busy. Try again in 30 seconds.\n"

    def test_a_run_that_another_process_copies_is_reported(
        self, files: Files, capsys: pytest.CaptureFixture[str]
    ) -> None:
        Run.objects.filter(number=1).update(lease_expires_at=timezone.now() + timedelta(seconds=30))
        refused("AU Laptops")
        assert kept() == {2, 3}
        assert capsys.readouterr().err == (
            "Run 1: Another process is copying it, or was stopped while it did. Try again in a minute.\n"
        )

    @pytest.mark.usefixtures("results_folder")  # a bucket has no limit
    def test_a_run_that_the_disk_has_no_room_for_is_reported_and_the_others_are_copied(
        self, files: Files, runs: list[Run], capsys: pytest.CaptureFixture[str]
    ) -> None:
        (page,) = runs[1].files.filter(kind=FileKind.PAGE)
        files.announced[page.remote_name] = 2**50
        assert refused("AU Laptops") == "Some files could not be copied. To try again, run mirror again."
        assert kept() == {1, 3}
        assert capsys.readouterr().err == (
            f"Run 2: {page.name}: The disk has no room for its 1.0 PB. Free up space, then try again.\n"
        )

    def test_a_deleted_run_is_reported(self, files: Files, capsys: pytest.CaptureFixture[str]) -> None:
        files.on_open = lambda name: Run.objects.filter(number=3).delete()
        refused("AU Laptops")
        assert kept() == {1, 2}
        assert "Run 3: It was deleted." in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("error", "said", "code"),
        [
            (
                OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
                "The results storage can't be used: No space left on device.",
                1,
            ),
            (
                OperationalError("disk I/O error"),
                "The database can't be used: disk I/O error. Is the disk full?",
                1,
            ),
            (KeyboardInterrupt(), "Interrupted.", 130),
        ],
    )
    def test_errors_that_stop_it_are_reported_and_the_next_time_continues(
        self, files: Files, monkeypatch: pytest.MonkeyPatch, error: BaseException, said: str, code: int
    ) -> None:
        write: Callable[[NewFile, bytes], int] = NewFile.write

        def fail(file: NewFile, data: bytes) -> int:
            if "/2/" in file.key:
                raise error
            return write(file, data)

        monkeypatch.setattr(NewFile, "write", fail)
        with pytest.raises(CommandError) as caught:
            mirror("AU Laptops")
        monkeypatch.setattr(NewFile, "write", write)
        assert str(caught.value) == f"{said} Completed copies are kept. To continue, run mirror again."
        assert caught.value.returncode == code
        assert kept() == {1}
        mirror("AU Laptops")
        assert kept() == {1, 2, 3}

    def test_a_disconnected_account_is_reported(
        self, files: Files, remote: Collection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert remote.account
        remote.account.set_key("")
        remote.account.save()
        monkeypatch.setattr(sync, "list_runs", lambda collection, **_: collection.account.key)
        assert "The account “MultiCartAPI” is disconnected." in refused("AU Laptops")
