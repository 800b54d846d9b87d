import contextlib
import io
import json
import os
import resource
import signal
import socket
import stat
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import requests
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.migrations import Migration
from django.utils import timezone
from pytest_django import Settings

from collections_app.management import upgrade
from collections_app.management.commands import serve as command
from collections_app.models import Collection, Run, State, User
from collections_app.system.observability.processes import has_orphans
from tests.support import commands, databases, tools
from tests.support.server import SERVE, environment, free_port, manage, wait_until_it_answers
from tests.support.tools import children, eventually


class Served(BaseException):
    """Raised where the process would become gunicorn."""


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture(autouse=True)
def executed(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, tmp_path: Path, port: int
) -> list[list[str]]:
    """Use a free port and an empty data folder. Return what the process executes."""
    became: list[list[str]] = []

    def execv(path: str, arguments: list[str]) -> None:
        became.append([path, *arguments])
        raise Served

    monkeypatch.setattr("os.execv", execv)
    monkeypatch.setattr("os.chdir", lambda folder: None)
    monkeypatch.setenv("WEB_CONCURRENCY", "")
    settings.HOST, settings.PORT = "127.0.0.1", port
    settings.DATA_DIR = settings.STATIC_ROOT = tmp_path
    (tmp_path / "staticfiles.json").touch()
    return became


def lines_of(*args: str) -> list[str]:
    """Run the command and return the lines it prints."""
    output = io.StringIO()
    with contextlib.suppress(Served):
        call_command("serve", *args, stdout=output)
    return output.getvalue().splitlines()


def serve(*args: str) -> dict[str, str]:
    """Run the command and return the lines it prints, keyed by the text before the colon."""
    return dict(line.split(": ", 1) for line in lines_of(*args) if ": " in line)


@contextlib.contextmanager
def listening(port: int) -> Iterator[None]:
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))
        other.listen()
        yield


@pytest.mark.django_db
class TestOutput:
    def test_it_prints_its_address_and_becomes_gunicorn(self, executed: list[list[str]], port: int) -> None:
        assert serve()["Address"] == f"http://127.0.0.1:{port}/"
        (arguments,) = executed
        assert arguments[:4] == [sys.executable, sys.executable, "-m", "gunicorn"]
        assert arguments[4:] == ["--config", "dashboard/gunicorn_conf.py", "dashboard.wsgi"]

    def test_it_prints_the_public_url_if_it_is_set(self, settings: Settings) -> None:
        settings.PUBLIC_URL = "https://results.example.com"
        assert serve()["Address"] == "https://results.example.com/"

    @pytest.mark.parametrize(("host", "shown"), [("0.0.0.0", "localhost"), ("localhost", "localhost")])
    def test_the_address_can_be_opened(self, settings: Settings, port: int, host: str, shown: str) -> None:
        settings.HOST = host
        assert serve()["Address"] == f"http://{shown}:{port}/"

    def test_with_an_empty_database_it_says_how_to_start(self) -> None:
        printed = serve()
        assert 'create_team "My team" --owner me@example.com' in " ".join(printed.values())
        assert not User.objects.exists()

    def test_with_a_user_it_prints_no_hint(self, alice: User) -> None:
        assert list(serve()) == ["Address"]

    def test_a_run_whose_writer_was_killed_is_repaired_first(self, laptops: Collection) -> None:
        run = Run.objects.create_next(laptops, attempt="killed", lease_expires_at=laptops.created_at)
        assert "Run 1 of AU Laptops was interrupted. It is now Failed." in lines_of()
        assert Run.objects.get(pk=run.pk).state == State.FAILED

    def test_a_run_whose_writer_may_be_alive_is_named_and_not_repaired(self, laptops: Collection) -> None:
        Run.objects.create_next(
            laptops, attempt="alive", lease_expires_at=timezone.now() + timedelta(seconds=30)
        )
        printed = serve()
        assert "run repair_runs again in a minute" in " ".join(printed.values())


def test_an_upgrade_reports_each_step_and_how_long_it_has_been_running(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said: list[str] = []
    now = 5.0
    monkeypatch.setattr("collections_app.management.upgrade.time.monotonic", lambda: now)
    step = upgrade.Step(said.append)
    step.report()
    command = upgrade.Migrate(step, 2)
    for name in ("0001_runs", "0002_files"):
        command.migration_progress_callback("apply_start", Migration(name, "collections_app"))
        now += 20
        step.report()
        command.migration_progress_callback("apply_success")
        step.report()
    assert said == [
        "Updating the database, step 1 of 2 (0001_runs)",
        "Updating the database, step 1 of 2 (0001_runs): running for 20 s",
        "Updating the database, step 2 of 2 (0002_files)",
        "Updating the database, step 2 of 2 (0002_files): running for 20 s",
    ]


@pytest.mark.django_db
class TestWithTheDemo:
    @pytest.fixture(autouse=True)
    def short_story(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("collections_app.demo.build.COLLECTIONS", [])

    def test_it_prints_progress_and_how_to_stop(self) -> None:
        steps = ["Updating the database", "Creating the demo"]
        first, second, *account, last = lines_of("--demo")
        assert [first, second] == steps
        assert account[0].startswith("Address: ")
        assert last == "Press Ctrl+C to stop."
        assert steps[1] not in lines_of("--demo")

    def test_on_a_later_day_it_adds_runs(self, monkeypatch: pytest.MonkeyPatch) -> None:
        serve("--demo")
        monkeypatch.setattr("collections_app.demo.build.count_missing", lambda day=None: 1)
        assert "Adding the demo's runs since the last start" in lines_of("--demo")
        assert "Adding the demo's runs since the last start" not in lines_of()

    def test_it_fills_an_empty_database_and_prints_how_to_sign_in(self) -> None:
        printed = serve("--demo")
        assert list(printed) == ["Address", "Email", "Password", "API key"]
        assert User.objects.get(email=printed["Email"]).check_password(printed["Password"])

    def test_the_second_time_prints_the_same(self) -> None:
        assert serve("--demo") == serve("--demo")

    def test_a_database_with_other_data_is_not_changed(self, alice: User) -> None:
        assert list(serve("--demo")) == ["Address"]
        assert list(User.objects.all()) == [alice]

    def test_without_the_option_it_does_not_print_how_to_sign_in(self) -> None:
        serve("--demo")
        assert list(serve()) == ["Address"]


class TestErrors:
    """Errors are reported in one sentence, before anything slow."""

    @pytest.fixture(autouse=True)
    def nothing_slow(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(command, "call_command", lambda *args, **options: pytest.fail("too late"))

    def test_a_port_in_use_is_reported(self, port: int) -> None:
        with listening(port), pytest.raises(CommandError) as error:
            serve()
        assert str(error.value) == (
            f"Port {port} is used by another program. Stop it, or choose another port: PORT={port + 1}."
        )

    def test_missing_static_files_are_reported(self, tmp_path: Path) -> None:
        (tmp_path / "staticfiles.json").unlink()
        with pytest.raises(CommandError) as error:
            serve()
        assert str(error.value) == (
            f"The static files are missing. Run: {sys.executable} manage.py collectstatic --noinput"
        )

    @pytest.mark.parametrize("host", ["no.such.host.invalid", "192.0.2.1"])
    def test_a_host_of_another_machine_is_reported(self, settings: Settings, port: int, host: str) -> None:
        settings.HOST = host
        with pytest.raises(CommandError, match=f"Can't listen on {host}, port {port} .*Change HOST or PORT"):
            serve()


def test_an_ipv6_address_has_brackets() -> None:
    assert command._in_url("::1") == "[::1]"


ON_THE_DISK = pytest.mark.sqlite(reason="it lies on the disk that is full")

NO_KEY_WAS_USED = """
from collections_app.models import ApiKey
ApiKey.objects.update(last_used_at=None)
"""


@pytest.mark.thorough
class TestARealProcess:
    """On a fresh data folder, as `make run` starts it."""

    @pytest.fixture
    def data_dir(self, demo_data: Path, tmp_path: Path) -> Path:
        # Static files exist, as after collectstatic.
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / "static").symlink_to(demo_data / "static")
        return tmp_path / "data"

    @pytest.fixture
    def used(self, demo_data: Path, tmp_path: Path) -> Path:
        """A data folder that needs no migrations, which take most of the time of a start."""
        return databases.copy(demo_data, tmp_path / "used")

    def run(self, data_dir: Path, port: int, *arguments: str, **knobs: str) -> dict[str, str]:
        """Serve until it responds, press Ctrl+C, and return the output."""
        with self.server(data_dir, port, *arguments, **knobs) as (_, log):
            pass
        return dict(line.split(": ", 1) for line in log.read_text().splitlines() if ": " in line)

    @contextlib.contextmanager
    def server(
        self, data_dir: Path, port: int, *arguments: str, **knobs: str
    ) -> Iterator[tuple[tools.Process, Path]]:
        """Serve, and press Ctrl+C at the end."""
        log = data_dir / "log"
        env = environment(data_dir, PORT=str(port), **knobs)
        with tools.running(*SERVE, *arguments, log=log, env=env) as process:
            wait_until_it_answers(f"http://127.0.0.1:{port}", process, log)
            yield process, log

    def test_it_sets_everything_up_and_prints_the_same_the_next_time(self, data_dir: Path, port: int) -> None:
        printed = self.run(data_dir, port, "--demo")
        said = ["Address", "Email", "Password", "API key"]
        assert [name for name in printed if name in said] == said
        assert self.run(data_dir, port, "--demo") == printed

    def test_it_waits_for_the_workers_of_a_killed_server(self, used: Path, port: int) -> None:
        with self.server(used, port, WEB_CONCURRENCY="2") as (killed, _):
            workers = children(killed.pid)
            for worker in workers:
                os.kill(worker, signal.SIGSTOP)  # it can't stop yet
            killed.kill()
        log, env = used / "next.log", environment(used, PORT=str(port), WEB_CONCURRENCY="1")
        with tools.running(sys.executable, "manage.py", "serve", log=log, env=env) as process:
            try:
                waits = f"Waiting for port {port}. Its server was killed, and its workers are still stopping."
                assert eventually(lambda: waits in log.read_text())
            finally:
                for worker in workers:
                    os.kill(worker, signal.SIGCONT)
            assert eventually(lambda: "Address: " in log.read_text())
            wait_until_it_answers(f"http://127.0.0.1:{port}", process, log)
        assert eventually(lambda: not has_orphans(port))

    def test_empty_settings_are_ignored(self, data_dir: Path, port: int) -> None:
        knobs = ("DEBUG", "DEFAULT_FROM_EMAIL", "EMAIL_URL", "HOST", "PUBLIC_URL", "SECRET_KEY")
        empty = dict.fromkeys((*knobs, "WEB_CONCURRENCY", "WEB_THREADS"), "")
        assert self.run(data_dir, port, **empty)["Address"] == f"http://127.0.0.1:{port}/"
        assert stat.S_IMODE((data_dir / "secret_key").stat().st_mode) == 0o600

    def error(self, data_dir: Path, *arguments: str, **knobs: str) -> str:
        """Return the output of a server that can't start."""
        done = commands.run(["serve", *arguments], environment(data_dir, **knobs))
        assert done.returncode == 1
        assert "Address: " not in done.stdout
        return done.stderr

    @pytest.mark.main_case
    def test_a_data_folder_that_can_not_be_created_is_reported(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        said = self.error(tmp_path / "file" / "data")
        assert said.count("\n") == 1
        assert said.startswith(f"Error: The data folder {tmp_path}/file/data can't be created")

    @pytest.mark.parametrize(
        ("knobs", "said"),
        [
            ({"WEB_CONCURRENCY": "abc"}, "WEB_CONCURRENCY is 'abc'; it must be a number from 1 to 1000."),
            ({"WEB_THREADS": "0"}, "WEB_THREADS is '0'; it must be a number from 1 to 10000."),
            ({"PORT": "abc"}, "PORT is 'abc'; it must be a number from 1 to 65535."),
        ],
    )
    def test_an_invalid_number_is_reported(self, data_dir: Path, knobs: dict[str, str], said: str) -> None:
        assert self.error(data_dir, **knobs) == f"Error: {said}\n"

    @pytest.mark.sqlite(reason="a file that is no database")
    def test_an_invalid_database_is_reported(self, data_dir: Path, port: int) -> None:
        database = data_dir / "db.sqlite3"
        start = f"CommandError: The database in {data_dir} can't be used:"
        database.mkdir()
        assert self.error(data_dir, PORT=str(port)) == f"{start} unable to open database file.\n"
        database.rmdir()
        database.write_bytes(b"This is no database. " * 1000)
        assert self.error(data_dir, PORT=str(port)) == f"{start} file is not a database.\n"

    def test_a_newer_database_is_reported_without_a_traceback(self, used: Path, port: int) -> None:
        databases.execute(
            used,
            "INSERT INTO django_migrations (app, name, applied) VALUES (?, ?, '2030-01-01')",
            *("collections_app", "9999_later"),
        )
        assert self.error(used, PORT=str(port)) == (
            "CommandError: The database is newer than this version of the site. Start the newer version, or "
            "restore the backup from before the upgrade.\n"
        )
        done = commands.run(["work", "--once"], environment(used))
        assert done.returncode == 1
        assert "(results.E006) The database is newer" in done.stderr

    def test_a_results_path_that_is_not_a_folder_is_reported(self, used: Path, port: int) -> None:
        (used / "results").rename(used / "moved")
        (used / "results").touch()
        # On PostgreSQL, a warning about secrets comes first.
        assert self.error(used, PORT=str(port)).endswith(
            f"CommandError: The results storage can't be used: Not a directory ({used}/results). "
            "Fix the problem and run repair_runs again.\n"
        )

    # A limit on file sizes simulates a full disk without special rights.
    @pytest.mark.parametrize(
        ("kibibytes", "said"),
        [
            (0, "Error: The file {}/secret_key can't be created or read"),
            pytest.param(100, "CommandError: The database in {} can't be used", marks=ON_THE_DISK),
            pytest.param(1000, "CommandError: The database in {} can't be used", marks=ON_THE_DISK),
        ],
    )
    def test_a_full_disk_is_reported(self, data_dir: Path, port: int, kibibytes: int, said: str) -> None:
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (kibibytes * 1024, limits[1]))
        try:
            done = tools.run(*SERVE, "--demo", env=environment(data_dir, PORT=str(port)), check=False)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert done.returncode == 1
        assert done.stderr.startswith(said.format(data_dir))
        assert done.stderr.count("\n") == 1

    @ON_THE_DISK
    def test_results_can_be_read_while_the_disk_is_full(self, used: Path, port: int) -> None:
        manage(used, "shell", "--no-imports", "--command", NO_KEY_WAS_USED)
        headers = {"x-api-key": json.loads((used / "demo.json").read_text())["api_key"]}
        address = f"http://127.0.0.1:{port}/api/v1/schedules/collections/results/download/"
        with self.server(used, port, WEB_CONCURRENCY="1") as (process, log):
            worker = int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text())
            # The log can grow, but the database and the files next to it can't.
            resource.prlimit(worker, resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
            for _ in range(2):
                listed = requests.post(address, json={"collection_id": 101, "limit": 5}, headers=headers)
                assert listed.status_code == 200, log.read_text()
                runs = [run for run in listed.json()["data"] if run["is_download_generated"]]
                assert requests.get(runs[0]["download_links"]["pages"][0], headers=headers).status_code == 200
        assert log.read_text().count("Can't record the use of key ") == 4
        assert "Traceback" not in log.read_text()


def test_a_command_on_a_data_folder_without_a_database_says_what_to_do(tmp_path: Path) -> None:
    done = commands.run(["create_team", "T", "--owner", "a@example.com"], environment(tmp_path))
    assert done.returncode == 1
    said = {
        "sqlite": "no such table: collections_app_user",
        "postgresql": 'relation "collections_app_user" does not exist',
    }
    assert done.stderr == (
        f"Error: the database can't be used ({said[connection.vendor]}). "
        "`make serve` creates and migrates it.\n"
    )
