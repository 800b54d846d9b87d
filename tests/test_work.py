"""The background worker, its command, and the process that starts it."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import time_machine
from django.core.management import call_command
from django.core.management.base import CommandError, SystemCheckError
from django.db import OperationalError
from django.utils import timezone
from pytest_django import Settings
from structlog.contextvars import bind_contextvars, get_contextvars

from collections_app import outbox
from collections_app.demo import build
from collections_app.files.storage import storage_url
from collections_app.management import worker as worker_module
from collections_app.management.worker import Announcer, BackgroundTask, Backoff, Exporter, Worker
from collections_app.models import Account, Collection, Event, EventKind, Export, Run, State, Team, User
from collections_app.people.password_links import compose_mail, queue_password_link
from collections_app.records.exports import create
from collections_app.records.formats.export_formats import ExportSpec, Format
from collections_app.runs.repair import fail_interrupted_runs
from collections_app.sources import SourceBusy, SourceUnavailable, sync
from collections_app.sources import account as account_source
from dashboard import worker_process
from tests.support import databases, tools
from tests.support.faults import EndlessServer
from tests.support.mirrors import files_of, pretend
from tests.support.results import make_failed_run, make_ready_run, records
from tests.support.server import environment, free_port, gunicorn, manage, wait_until_it_answers
from tests.support.tools import PATIENCE, ROOT
from tests.support.upstream import (
    NOON,
    ListedRuns,
    lists,
    make_account,
    make_remote_collection,
    make_remote_run,
    remote_run,
)

OLD = timedelta(minutes=5, seconds=1)


@pytest.fixture
def account(crawlers: Team) -> Account:
    return make_account(crawlers)


@pytest.fixture
def remote(account: Account) -> Collection:
    """A collection of an account, never listed."""
    return make_remote_collection(account)


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch) -> ListedRuns:
    """Accounts that list one Completed run."""
    return lists(monkeypatch, [remote_run(1)])


class Clock:
    """Replaces the clock that measures pauses."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr("collections_app.management.worker.time.monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def work() -> None:
    call_command("work", "--once")


def work_that_fails() -> None:
    with pytest.raises(CommandError, match=r"^Some of the work failed; the log says why\."):
        work()


def keep(*collections: Collection) -> None:
    """Keep the results of the collections, and don't list them now."""
    for collection in collections:
        Collection.objects.filter(pk=collection.pk).update(
            keeps_results=True, refresh_tried_at=timezone.now()
        )


def kept() -> set[int]:
    return set(Run.objects.filter(is_kept=True).values_list("number", flat=True))


@pytest.mark.django_db
class TestListing:
    def test_a_new_collection_is_listed(self, remote: Collection, listed: ListedRuns) -> None:
        work()
        assert [run.number for run in remote.runs.all()] == [1]
        remote.refresh_from_db()
        assert remote.refreshed_at
        assert remote.refresh_tried_at

    def test_a_run_that_the_account_added_among_known_ones_is_found(
        self, remote: Collection, listed: ListedRuns
    ) -> None:
        listed.runs = [remote_run(number) for number in range(1, 101)]
        sync.refresh(remote, seconds=PATIENCE)
        sync.load_older(remote, seconds=PATIENCE)
        listed.runs.append(remote_run(900, at=NOON - timedelta(days=1)))
        Collection.objects.update(refresh_tried_at=None)
        work()
        assert remote.runs.filter(number=900).exists()

    @pytest.mark.parametrize(
        ("age", "processing", "is_listed"),
        [
            (timedelta(minutes=4, seconds=50), False, False),
            (OLD, False, True),
            (timedelta(seconds=50), True, False),
            (timedelta(seconds=61), True, True),
            (timedelta(days=-1), False, True),  # the clock was put back
        ],
    )
    def test_a_collection_is_listed_again_later(
        self, remote: Collection, listed: ListedRuns, *, age: timedelta, processing: bool, is_listed: bool
    ) -> None:
        make_remote_run(remote, 1, ready=not processing)
        Collection.objects.update(refresh_tried_at=timezone.now() - age)
        work()
        assert bool(listed.calls) is is_listed

    def test_local_disconnected_and_archived_collections_are_not_listed(
        self, laptops: Collection, account: Account, crawlers: Team, listed: ListedRuns
    ) -> None:
        make_remote_collection(account).archive()
        make_remote_collection(make_account(crawlers, "Other", key=""))
        work()
        assert listed.calls == []

    def test_a_collection_that_another_worker_lists_is_skipped(
        self, remote: Collection, listed: ListedRuns
    ) -> None:
        worker = Worker()
        due = worker._due_for_refresh()
        Collection.objects.update(refresh_tried_at=timezone.now())
        for collection in due:
            worker._refresh(collection)
        assert due
        assert listed.calls == []

    def test_pauses_grow_after_repeated_failures(
        self, remote: Collection, listed: ListedRuns, clock: Clock, caplog: pytest.LogCaptureFixture
    ) -> None:
        listed.problem = SourceUnavailable("It is down.")
        worker, asked_at = Worker(), []
        for _ in range(40):
            before = len(listed.calls)
            Collection.objects.update(refresh_tried_at=timezone.now() - OLD)
            worker.run_once()
            if len(listed.calls) > before:
                asked_at.append(clock.now)
            clock.now += 30
        assert [after - before for before, after in pairwise(asked_at)] == [
            60,
            120,
            240,
            480,
        ]
        assert "work refresh account=" in caplog.text
        assert "problem=It is down." in caplog.text

    def test_a_busy_account_pauses_all_its_collections(
        self, account: Account, monkeypatch: pytest.MonkeyPatch, clock: Clock
    ) -> None:
        """Every process waits: the time is stored in the database."""
        listed = lists(monkeypatch)
        listed.problem = SourceBusy("It is busy. Try again in 5 minutes.", 300)
        collections = [make_remote_collection(account, remote_id=remote_id) for remote_id in (7001, 7002)]
        make_remote_run(collections[0], 1, ready=False)  # otherwise it would be listed again after a minute
        worker = Worker()
        with time_machine.travel(NOON, tick=False) as today:
            worker.run_once()
            assert len(listed.calls) == 1
            for passed in (61, 238):
                clock.now += passed
                today.shift(passed)
                worker.run_once()
                assert collections[0] not in Worker()._due_for_refresh()
            assert len(listed.calls) == 1
            clock.now += 400
            today.shift(400)
            listed.problem = None
            worker.run_once()
        assert len(listed.calls) == 3

    def test_a_failure_does_not_stop_other_collections(
        self,
        account: Account,
        listed: ListedRuns,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        first = make_remote_collection(account)
        second = make_remote_collection(account, remote_id=7002)
        bring = sync.refresh

        def fail(collection: Collection, *, seconds: float) -> None:
            if collection == first:
                raise ZeroDivisionError
            bring(collection, seconds=seconds)

        monkeypatch.setattr(sync, "refresh", fail)
        work_that_fails()
        assert second.runs.count() == 1
        assert "problem=unexpected" in caplog.text


@pytest.mark.django_db
class TestKeeping:
    def test_completed_runs_are_copied(
        self, remote: Collection, listed: ListedRuns, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        runs = [make_remote_run(remote, 1), make_remote_run(remote, 2)]
        make_remote_run(remote, 3, ready=False)
        pretend(monkeypatch, *runs)
        keep(remote)
        work()
        assert kept() == {1, 2}

    def test_only_kept_collections_are_copied(
        self, remote: Collection, listed: ListedRuns, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        files = pretend(monkeypatch, make_remote_run(remote))
        work()
        assert files.opened == []

    def test_older_runs_are_listed_before_copying(
        self, remote: Collection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        lists(monkeypatch, [remote_run(number) for number in range(1, 71)])
        monkeypatch.setattr(worker_module, "mirror_run", copied)
        Collection.objects.update(keeps_results=True)
        work()
        assert len(kept()) == 70

    def test_collections_take_turns(self, account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
        copies: list[tuple[int, int]] = []

        def note(run: Run, source: object, **options: Any) -> list[str]:
            copies.append((run.collection_id, run.number))
            return copied(run, source, **options)

        monkeypatch.setattr(worker_module, "mirror_run", note)
        one, other = make_remote_collection(account), make_remote_collection(account, remote_id=7002)
        for collection in (one, other):
            make_remote_run(collection, 1)
            make_remote_run(collection, 2)
        keep(one, other)
        work()
        assert copies == [(one.pk, 1), (other.pk, 1), (one.pk, 2), (other.pk, 2)]

    def test_an_incomplete_run_does_not_block_the_others(
        self,
        remote: Collection,
        monkeypatch: pytest.MonkeyPatch,
        clock: Clock,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        files = pretend(monkeypatch, make_remote_run(remote, 1), make_remote_run(remote, 2))
        there = files.contents.pop("AU Laptops_1_Results_Page_1.json")
        keep(remote)
        worker = Worker()
        while worker.run_once():
            pass
        assert kept() == {2}
        assert (
            f"work keep collection={remote.pk} run=1 problem=AU Laptops_1_Results_Page_1.json: "
            in caplog.text
        )
        files.contents["AU Laptops_1_Results_Page_1.json"] = there
        assert not worker.run_once()
        clock.now += 61
        assert worker.run_once()
        assert kept() == {1, 2}

    def test_a_busy_account_is_not_called_before_its_retry_time(
        self, account: Account, monkeypatch: pytest.MonkeyPatch, clock: Clock
    ) -> None:
        one, other = make_remote_collection(account), make_remote_collection(account, remote_id=7002)
        files = pretend(monkeypatch, make_remote_run(one, 1), make_remote_run(other, 2))

        def busy(name: str) -> None:
            raise SourceBusy("It is busy. Try again in 5 minutes.", 300)

        files.on_open = busy
        keep(one, other)
        worker = Worker()
        for _ in range(3):
            assert not worker.run_once()
            clock.now += 99
        assert len(files.opened) == 1
        files.on_open = lambda name: None
        clock.now += 300
        while worker.run_once():
            pass
        assert kept() == {1, 2}

    @pytest.mark.parametrize("error", [SourceUnavailable("It refuses."), OSError("There is no room.")])
    def test_a_run_that_can_not_be_read_or_written_does_not_block_the_others(
        self, remote: Collection, monkeypatch: pytest.MonkeyPatch, clock: Clock, error: Exception
    ) -> None:
        def refuse(name: str) -> None:
            if "_1_" in name:
                raise error

        files = pretend(monkeypatch, *(make_remote_run(remote, number) for number in (1, 2, 3)))
        files.on_open = refuse
        keep(remote)
        worker = Worker()
        assert not worker.run_once()
        clock.now += 61
        while worker.run_once():
            pass
        assert kept() == {2, 3}
        files.on_open = lambda name: None
        clock.now += 300
        assert worker.run_once()
        assert kept() == {1, 2, 3}

    def test_an_account_that_is_down_is_called_once_per_round(
        self, remote: Collection, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        def down(name: str) -> None:
            raise SourceUnavailable("It is down.")

        files = pretend(monkeypatch, make_remote_run(remote, 1), make_remote_run(remote, 2))
        files.on_open = down
        keep(remote)
        work_that_fails()
        assert len(files.opened) == 1
        assert "problem=It is down." in caplog.text

    def test_a_run_that_another_worker_copies_is_skipped(
        self, remote: Collection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        files = pretend(monkeypatch, make_remote_run(remote))
        Run.objects.update(lease_expires_at=timezone.now() + timedelta(seconds=30))
        keep(remote)
        work()
        assert files.opened == []


def copied(run: Run, source: object, **options: Any) -> list[str]:
    Run.objects.filter(pk=run.pk).update(is_kept=True)
    return []


@pytest.mark.django_db
class TestOtherWork:
    def test_runs_of_killed_writers_are_failed(self, laptops: Collection) -> None:
        Run.objects.create_next(
            laptops, attempt="killed", lease_expires_at=timezone.now() - timedelta(seconds=1)
        )
        work()
        assert Run.objects.get().state == State.FAILED

    @pytest.mark.parametrize(
        "error", [OperationalError("disk I/O error"), OSError("gone"), ValueError("odd")]
    )
    def test_errors_are_logged_and_do_not_stop_the_worker(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
    ) -> None:
        def fail() -> None:
            raise error

        monkeypatch.setattr(worker_module, "fail_interrupted_runs", fail)
        work_that_fails()
        assert "work problem=" in caplog.text
        assert str(error) in caplog.text

    def test_a_database_error_during_a_listing_is_logged(
        self, remote: Collection, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        def fail(collection: Collection, *, seconds: float) -> None:
            raise OperationalError("disk I/O error")

        monkeypatch.setattr(sync, "refresh", fail)
        work_that_fails()
        assert "work problem=disk I/O error" in caplog.text

    def test_it_starts_only_with_working_settings(
        self, settings: Settings, tmp_path: Path, laptops: Collection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "file").touch()
        settings.RESULTS_STORAGE_URL = f"file://{tmp_path}/file/results"
        entry = storage_url.parse(settings.RESULTS_STORAGE_URL).entry
        settings.STORAGES = settings.STORAGES | {"results": entry}
        monkeypatch.setattr(Worker, "run_once", lambda self: pytest.fail("It began."))
        with pytest.raises(SystemCheckError, match="Check the host, bucket, folder"):
            call_command("work", "--once", skip_checks=False)

    def test_it_sleeps_between_rounds(self, monkeypatch: pytest.MonkeyPatch) -> None:
        rests: list[float] = []

        def rest(seconds: float) -> None:
            rests.append(seconds)
            if len(rests) == 3:
                os.kill(os.getpid(), signal.SIGTERM)

        monkeypatch.setattr("collections_app.management.worker.time.sleep", rest)
        monkeypatch.setattr(worker_module, "close_old_connections", lambda: None)
        before = signal.getsignal(signal.SIGTERM)
        call_command("work")
        assert rests == [worker_module.IDLE_SECONDS] * 3
        assert signal.getsignal(signal.SIGTERM) == before

    def test_sigterm_stops_it_while_an_account_sends_nothing(
        self, crawlers: Team, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(
            BackgroundTask, "run_forever", lambda self: None
        )  # they would share the connection
        with EndlessServer().running() as server, ThreadPoolExecutor(1) as threads:
            settings.UPSTREAM_ORIGINS = [f"http://127.0.0.1:{server.port}"]
            collection = make_remote_collection(make_account(crawlers, base_url=server.base_url))
            make_remote_run(collection)
            keep(collection)

            def end_it() -> None:
                while "GET" not in server.asked:
                    time.sleep(0.01)
                os.kill(os.getpid(), signal.SIGTERM)

            ending = threads.submit(end_it)
            began = time.monotonic()
            call_command("work")
            ending.result()
            assert time.monotonic() - began < 20
            assert server.left.acquire(timeout=tools.PATIENCE)

    def test_pauses_grow_to_an_hour_and_end_with_success(self, clock: Clock) -> None:
        backoff = Backoff()
        for _ in range(100):
            backoff.failed("run", 1)
        assert backoff.paused("run") == {1}
        assert backoff.paused("refresh") == set()
        clock.now += 3601
        assert backoff.paused("run") == set()
        backoff.failed("run", 1)
        backoff.succeeded("run", 1)
        assert backoff.paused("run") == set()


def children(pid: int) -> dict[int, str]:
    """Return the command lines of the processes that a process has started, by their numbers."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            status = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(status[1]) == pid and status[0] != "Z":
                found[int(folder.name)] = (folder / "cmdline").read_text().replace("\0", " ")
    return found


def until(found: Callable[[], Any], seconds: float = tools.PATIENCE) -> Any:
    """Return the result once it is true. Fail if that takes too long."""
    deadline = time.monotonic() + seconds
    while not (result := found()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return result


CONF = """
from dashboard import gunicorn_conf
from dashboard.gunicorn_conf import *

workers = 2

def post_worker_init(worker):
    from dashboard import worker_process
    worker_process.POLL_SECONDS = 0.05
    gunicorn_conf.post_worker_init(worker)
"""

CONNECT = """
from collections_app.models import Account, Team
account = Account(team=Team.objects.first(), name="MultiCartAPI")
account.set_key("k" * 20)
account.save()
"""


@pytest.mark.thorough
class TestWithGunicorn:
    @pytest.fixture
    def site(self, demo_data: Path, tmp_path: Path) -> Iterator[tuple[tools.Process, Path]]:
        """gunicorn with two web workers and a copy of the demo."""
        data_dir, log, port = tmp_path / "data", tmp_path / "log", free_port()
        databases.copy(demo_data, data_dir)
        (tmp_path / "conf.py").write_text(CONF)
        env = environment(data_dir, PORT=str(port), PYTHONPATH=str(ROOT))
        with tools.running(*gunicorn("conf.py"), log=log, cwd=tmp_path, env=env) as process:
            wait_until_it_answers(f"http://127.0.0.1:{port}", process, log)
            yield process, data_dir

    def test_one_web_worker_runs_the_worker_and_another_takes_over(
        self, site: tuple[tools.Process, Path]
    ) -> None:
        server, data_dir = site

        def at_work() -> list[tuple[int, int]]:
            """Return the pairs of a web worker and its child process."""
            return [
                (web, each)
                for web in children(server.pid)
                for each, command in children(web).items()
                if command.endswith("manage.py work --with-parent ")
            ]

        until(lambda: len(children(server.pid)) == 2)
        assert at_work() == []
        manage(data_dir, "shell", "--no-imports", "--command", CONNECT)
        ((web, first),) = until(at_work)
        os.kill(web, signal.SIGKILL)
        ((other, second),) = until(lambda: [pair for pair in at_work() if pair[0] != web])
        assert other != web
        until(lambda: not Path(f"/proc/{first}").exists())
        server.terminate()
        assert server.wait(timeout=tools.PATIENCE) == 0
        until(lambda: not Path(f"/proc/{second}").exists())


@pytest.mark.django_db(transaction=True)
class TestExports:
    @pytest.fixture
    def export(self, laptops: Collection, monkeypatch: pytest.MonkeyPatch) -> Export:
        """A queued export."""
        monkeypatch.setattr(create, "_QUICK", dict.fromkeys(Format, -1))
        return create.create_export(make_ready_run(laptops, records(3)), ExportSpec(Format.CSV))

    def test_a_queued_export_is_created(self, export: Export) -> None:
        work()
        assert Export.objects.get().is_ready

    def test_exports_have_their_own_thread(self, export: Export, monkeypatch: pytest.MonkeyPatch) -> None:
        def wait_for_export(worker: Worker) -> None:
            until(lambda: Export.objects.get().is_ready)

        monkeypatch.setattr(Worker, "run_forever", wait_for_export)
        call_command("work")

    def test_a_slow_account_does_not_delay_exports_of_stored_files(
        self, export: Export, remote: Collection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run = make_remote_run(remote)
        files = files_of(run)
        is_reading, may_go_on = threading.Event(), threading.Event()

        def read_slowly() -> None:
            is_reading.set()
            assert may_go_on.wait(tools.PATIENCE)

        files.on_read = read_slowly
        monkeypatch.setattr(account_source, "UpstreamBody", files.body)
        monkeypatch.setattr(account_source, "size_of", files.size)
        slow = create.create_export(run, ExportSpec(Format.JSONL))

        def wait_for_both_exports(worker: Worker) -> None:
            assert is_reading.wait(tools.PATIENCE)
            quick = create.create_export(export.run, ExportSpec(Format.JSONL))
            until(lambda: Export.objects.get(pk=quick.pk).is_ready)
            assert Export.objects.get(pk=slow.pk).is_under_way
            may_go_on.set()
            until(lambda: Export.objects.get(pk=slow.pk).is_ready)

        monkeypatch.setattr(Worker, "run_forever", wait_for_both_exports)
        call_command("work")

    def test_unused_exports_are_deleted(self, export: Export) -> None:
        work()
        Export.objects.update(used_at=timezone.now() - timedelta(days=8))
        work()
        assert not Export.objects.exists()

    def test_its_log_context_does_not_leak_into_later_lines(
        self, export: Export, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        said: list[dict[str, Any]] = []

        def fail() -> None:
            said.append(get_contextvars())
            raise OperationalError("server closed the connection unexpectedly")

        monkeypatch.setattr(worker_module, "fail_interrupted_runs", fail)
        worker = Worker(Exporter())
        assert not worker.run_once()
        assert Export.objects.get().is_ready
        bind_contextvars(run=1, file=105369)
        assert not worker.run_once()
        assert said == [{}, {}]

    @pytest.mark.parametrize("error", [OperationalError("disk I/O error"), ValueError("odd")])
    def test_errors_are_logged_and_do_not_stop_the_worker(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
    ) -> None:
        def fail(*args: object, **options: object) -> bool:
            raise error

        monkeypatch.setattr(worker_module, "build_next", fail)
        work_that_fails()
        assert "work problem=" in caplog.text
        assert str(error) in caplog.text


@pytest.mark.django_db
class TestStopping:
    @pytest.fixture
    def child(self, monkeypatch: pytest.MonkeyPatch) -> worker_process.Child:
        """The background process of this test. It works until it is stopped."""
        child = worker_process.Child()
        monkeypatch.setattr(worker_process, "_child", child)
        monkeypatch.setattr("dashboard.worker_process.connections.close_all", lambda: None)
        return child

    @pytest.fixture
    def program(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
        """The program that runs as the background process."""
        program = tmp_path / "program"
        program.write_text(f"#!{tools.needs('sh')}\necho $$ >{tmp_path}/pid\nexec sleep 60\n")
        program.chmod(0o700)
        monkeypatch.setattr("dashboard.worker_process.sys.executable", str(program))
        return program

    def test_it_ends_before_its_web_worker(
        self,
        account: Account,
        child: worker_process.Child,
        program: Path,
        caplog: pytest.LogCaptureFixture,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(
            worker_process, "_needs_permanent_worker", lambda: True
        )  # asked in another thread
        monkeypatch.setattr(worker_process, "RESTART_SECONDS", 0)
        running = threading.Thread(target=worker_process._run)
        running.start()
        pid = program.with_name("pid")
        tools.eventually(lambda: pid.exists() and pid.read_text() != "")
        worker_process.stop()
        with pytest.raises(ProcessLookupError):
            os.kill(int(pid.read_text()), 0)
        running.join(tools.PATIENCE)
        assert not running.is_alive()
        assert caplog.text == ""

    def test_a_process_that_does_not_end_is_killed(
        self, child: worker_process.Child, program: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(worker_process, "STOP_SECONDS", 0.1)
        program.write_text(program.read_text().replace("echo", "trap '' TERM\necho"))
        statuses: list[int] = []
        running = threading.Thread(target=lambda: statuses.append(child.run([str(program)])))
        running.start()
        tools.eventually(program.with_name("pid").exists)
        child.stop()
        running.join(tools.PATIENCE)
        assert statuses == [-signal.SIGKILL]

    def test_no_process_starts_any_more(
        self, account: Account, child: worker_process.Child, program: Path
    ) -> None:
        worker_process.stop()
        worker_process._run()
        worker_process._run_worker()
        assert not program.with_name("pid").exists()


class Enough(Exception):
    """Stops an endless loop."""


@pytest.mark.django_db
class TestLiveDemo:
    @pytest.fixture(autouse=True)
    def started(
        self, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> list[Sequence[str]]:
        """The commands that were started. The first one stops the site."""
        settings.DATA_DIR, settings.DEMO_LIVE = tmp_path, True
        started: list[Sequence[str]] = []

        def run(command: Sequence[str]) -> int:
            started.append(command[2:])
            worker_process.stop()
            return 0

        demo = worker_process.Child()
        monkeypatch.setattr(demo, "run", run)
        monkeypatch.setattr(worker_process, "_demo", demo)
        monkeypatch.setattr(worker_process, "_child", worker_process.Child())
        monkeypatch.setattr(worker_process, "RESTART_SECONDS", 0)
        monkeypatch.setattr("dashboard.worker_process.connections.close_all", lambda: None)
        return started

    def test_runs_are_written_until_the_site_stops(
        self, started: list[Sequence[str]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        account = build.SignIn("olivia@example.com", "x")
        monkeypatch.setattr(build, "sign_in", lambda: account)
        worker_process._write_demo()
        assert started == [["demo", "--live", "--with-parent", "--verbosity=0"]]

    def test_a_site_without_the_demo_is_left_alone(self, alice: User, started: list[Sequence[str]]) -> None:
        worker_process._write_demo()
        assert started == []


@pytest.mark.django_db
class TestBackground:
    @pytest.fixture(autouse=True)
    def rests(self, monkeypatch: pytest.MonkeyPatch) -> list[int]:
        """Stop after three rounds, and keep the test's database open."""
        rests: list[int] = []

        def rest(seconds: int) -> None:
            rests.append(seconds)
            if len(rests) == 3:
                raise Enough

        monkeypatch.setattr("dashboard.worker_process.time.sleep", rest)
        monkeypatch.setattr(worker_process, "_events_checked_at", float("inf"))
        monkeypatch.setattr("dashboard.worker_process.connections.close_all", lambda: None)
        return rests

    def test_without_an_account_it_repairs_periodically(
        self, laptops: Collection, crawlers: Team, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        make_account(crawlers, key="")
        Run.objects.create_next(
            laptops, attempt="killed", lease_expires_at=timezone.now() - timedelta(seconds=1)
        )
        repairs: list[int] = []
        repair = fail_interrupted_runs
        monkeypatch.setattr(worker_process, "fail_interrupted_runs", lambda: repairs.append(len(repair())))
        with pytest.raises(Enough):
            worker_process._run()
        assert repairs == [1, 0, 0]
        assert Run.objects.get().state == State.FAILED

    def test_it_starts_the_worker_once_for_an_export(
        self, laptops: Collection, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        Export.objects.create(run=make_ready_run(laptops), format="csv", digest="x")
        Run.objects.update(needs_slice=False)
        started: list[list[str]] = []

        real = tools.Process

        def start(command: list[str], **options: Any) -> tools.Process:
            started.append(command[2:])
            Export.objects.update(state="failed", failure="It failed.")
            return real([tools.needs("true")], **options)

        monkeypatch.setattr("dashboard.worker_process.subprocess.Popen", start)
        with pytest.raises(Enough):
            worker_process._run()
        assert started == [["work", "--with-parent", "--once"]]
        assert caplog.text == ""

    def test_it_starts_the_worker_once_for_mail(
        self, bob: User, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        settings.EMAIL_URL = "smtp://mail.example.com"
        queue_password_link(bob.email, site="http://testserver")
        started: list[list[str]] = []
        real = tools.Process

        def start(command: list[str], **options: Any) -> tools.Process:
            started.append(command[2:])
            assert outbox.send_next(compose_mail)
            return real([tools.needs("true")], **options)

        monkeypatch.setattr("dashboard.worker_process.subprocess.Popen", start)
        with pytest.raises(Enough):
            worker_process._run()
        assert started == [["work", "--with-parent", "--once"]]

    def test_it_starts_the_worker_once_for_a_run_that_has_ended(
        self, laptops: Collection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        make_failed_run(laptops)
        started: list[list[str]] = []
        real = tools.Process

        def start(command: list[str], **options: Any) -> tools.Process:
            started.append(command[2:])
            Announcer().run_once()
            return real([tools.needs("true")], **options)

        monkeypatch.setattr(worker_process, "_events_checked_at", float("-inf"))
        monkeypatch.setattr("dashboard.worker_process.subprocess.Popen", start)
        with pytest.raises(Enough):
            worker_process._run()
        assert started == [["work", "--with-parent", "--once"]]
        assert Event.objects.get().kind == EventKind.RUN_FAILED

    def test_with_an_account_it_restarts_the_worker(
        self, account: Account, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr("dashboard.worker_process.sys.executable", tools.needs("false"))
        with pytest.raises(Enough):
            worker_process._run()
        assert caplog.text.count("the worker exited with status 1 and will be restarted") == 3

    def test_a_database_error_is_one_log_line(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        def fail() -> bool:
            raise OperationalError("disk I/O error")

        monkeypatch.setattr(worker_process, "_needs_permanent_worker", fail)
        with pytest.raises(Enough):
            worker_process._run()
        assert [record.getMessage() for record in caplog.records] == ["background problem=disk I/O error"] * 3

    def test_a_lock_that_can_not_be_created_is_one_log_line(
        self, settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        settings.DATA_DIR = tmp_path / "nowhere"
        worker_process._wait_for_lock()
        (record,) = caplog.records
        assert record.getMessage().startswith("background problem=can't start: ")
