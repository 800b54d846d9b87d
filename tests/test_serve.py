import contextlib
import io
import runpy
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from collections_app.management.commands import serve as command
from collections_app.models import Collection, Run, State, User
from tests.server import ROOT, environment, free_port, wait_until_it_answers


class Served(BaseException):
    """Stands where the process would have become gunicorn."""


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture(autouse=True)
def place(monkeypatch: pytest.MonkeyPatch, settings: Settings, tmp_path: Path, port: int) -> list[list[str]]:
    """A free port, an empty data folder, and what the process became."""
    became: list[list[str]] = []

    def execv(path: str, arguments: list[str]) -> None:
        became.append([path, *arguments])
        raise Served

    monkeypatch.setattr("os.execv", execv)
    monkeypatch.setattr("os.chdir", lambda folder: None)
    monkeypatch.setenv("PORT", str(port))
    monkeypatch.delenv("HOST", raising=False)
    settings.DATA_DIR = settings.STATIC_ROOT = tmp_path
    (tmp_path / "staticfiles.json").touch()
    return became


def serve(*args: str) -> dict[str, str]:
    """Run the command and return the lines it prints, by what stands before the colon."""
    output = io.StringIO()
    with contextlib.suppress(Served):
        call_command("serve", *args, stdout=output)
    return dict(line.split(": ", 1) for line in output.getvalue().splitlines())


@contextlib.contextmanager
def listening(port: int) -> Iterator[None]:
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))
        other.listen()
        yield


@pytest.mark.django_db
class TestWhatItPrints:
    def test_it_says_where_it_is_and_becomes_gunicorn(self, place: list[list[str]], port: int) -> None:
        assert serve()["Address"] == f"http://127.0.0.1:{port}/"
        (arguments,) = place
        assert arguments[:4] == [sys.executable, sys.executable, "-m", "gunicorn"]
        assert arguments[4:] == ["--config", "dashboard/gunicorn_conf.py", "dashboard.wsgi"]

    def test_the_address_is_the_public_one_where_there_is_one(self, settings: Settings) -> None:
        settings.PUBLIC_URL = "https://results.example.com"
        assert serve()["Address"] == "https://results.example.com/"

    @pytest.mark.parametrize(("host", "shown"), [("0.0.0.0", "localhost"), ("localhost", "localhost")])
    def test_the_address_can_be_opened(
        self, monkeypatch: pytest.MonkeyPatch, port: int, host: str, shown: str
    ) -> None:
        monkeypatch.setenv("HOST", host)
        assert serve()["Address"] == f"http://{shown}:{port}/"

    def test_in_an_empty_database_it_says_how_to_begin(self) -> None:
        printed = serve()
        assert 'create_team "My team" --owner me@example.com' in " ".join(printed.values())
        assert not User.objects.exists()

    def test_somebody_who_is_set_up_hears_nothing_more(self, alice: User) -> None:
        assert list(serve()) == ["Address"]

    def test_a_run_whose_writer_was_killed_is_repaired_first(self, laptops: Collection) -> None:
        run = laptops.next_run(attempt="killed", lease_expires_at=laptops.created_at)
        serve()
        assert Run.objects.get(pk=run.pk).state == State.FAILED


@pytest.mark.django_db
class TestWithTheDemo:
    @pytest.fixture(autouse=True)
    def short_story(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("collections_app.demo.build.COLLECTIONS", [])

    def test_an_empty_database_is_filled_and_the_account_printed(self) -> None:
        printed = serve("--demo")
        assert list(printed) == ["Address", "E-mail", "Password", "API key"]
        assert User.objects.get(email=printed["E-mail"]).check_password(printed["Password"])

    def test_the_second_time_prints_the_same(self) -> None:
        assert serve("--demo") == serve("--demo")

    def test_a_database_with_other_data_is_left_alone_and_no_account_printed(self, alice: User) -> None:
        assert list(serve("--demo")) == ["Address"]
        assert list(User.objects.all()) == [alice]

    def test_without_asking_for_it_the_demos_account_is_not_printed(self) -> None:
        serve("--demo")
        assert list(serve()) == ["Address"]


class TestWhatIsWrong:
    """Each in one sentence, before anything slow."""

    @pytest.fixture(autouse=True)
    def nothing_slow(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(command, "call_command", lambda *args, **options: pytest.fail("too late"))

    def test_a_port_that_is_taken(self, port: int) -> None:
        with listening(port), pytest.raises(CommandError) as error:
            serve()
        assert str(error.value) == (
            f"Port {port} is taken by another program. Stop it, or choose another one: PORT={port + 1}."
        )

    def test_static_files_that_are_missing(self, tmp_path: Path) -> None:
        (tmp_path / "staticfiles.json").unlink()
        with pytest.raises(CommandError) as error:
            serve()
        assert str(error.value) == (
            "The static files are missing. Run: python manage.py collectstatic --noinput"
        )

    @pytest.mark.parametrize("text", ["http", "0", "65536", "-1", "80.5", "²"])
    def test_a_port_that_is_none(self, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
        monkeypatch.setenv("PORT", text)
        with pytest.raises(CommandError) as error:
            serve()
        assert str(error.value) == f"PORT is {text!r}; it must be a number from 1 to 65535."

    @pytest.mark.parametrize("host", ["no.such.host.invalid", "192.0.2.1"])
    def test_a_host_that_is_not_this_machine(
        self, monkeypatch: pytest.MonkeyPatch, port: int, host: str
    ) -> None:
        monkeypatch.setenv("HOST", host)
        with pytest.raises(CommandError, match=f"Can't listen on port {port} of {host} .*HOST and PORT"):
            serve()


def test_an_ipv6_address_has_brackets() -> None:
    assert command._in_url("::1") == "[::1]"


def test_gunicorn_listens_where_the_command_looked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PORT")
    bind = runpy.run_path(str(ROOT / "dashboard" / "gunicorn_conf.py"))["bind"]
    assert bind == f"{command.DEFAULT_HOST}:{command.DEFAULT_PORT}"


class TestARealProcess:
    """On a fresh data folder, as `make run` starts it."""

    @pytest.fixture
    def data_dir(self, demo_data: Path, tmp_path: Path) -> Path:
        # The static files are there already, as after collectstatic.
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / "static").symlink_to(demo_data / "static")
        return tmp_path / "data"

    def run(self, data_dir: Path, port: int) -> dict[str, str]:
        """Serve until it answers, press Ctrl-C, and return what was printed."""
        log = data_dir / "log"
        with (
            log.open("wb") as output,
            subprocess.Popen(
                [sys.executable, "manage.py", "serve", "--demo"],
                cwd=ROOT,
                env=environment(data_dir, PORT=str(port)),
                stdout=output,
                stderr=output,
            ) as process,
        ):
            wait_until_it_answers(f"http://127.0.0.1:{port}", process, log)
            process.send_signal(signal.SIGINT)
            process.wait(timeout=10)
        return dict(line.split(": ", 1) for line in log.read_text().splitlines() if ": " in line)

    def test_it_sets_itself_up_serves_and_tells_the_same_again(self, data_dir: Path, port: int) -> None:
        printed = self.run(data_dir, port)
        assert list(printed)[:4] == ["Address", "E-mail", "Password", "API key"]
        assert self.run(data_dir, port) == printed
        secret = data_dir / "secret_key"
        assert stat.S_IMODE(secret.stat().st_mode) == 0o600

    def test_a_data_folder_that_cannot_be_made_is_one_sentence(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        done = subprocess.run(
            [sys.executable, "manage.py", "serve"],
            cwd=ROOT,
            env=environment(tmp_path / "file" / "data"),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1
        assert done.stderr.count("\n") == 1
        assert done.stderr.startswith(f"Error: The data folder {tmp_path}/file/data can't be made")

    def test_a_database_that_is_none_is_one_sentence(self, data_dir: Path, port: int) -> None:
        (data_dir / "db.sqlite3").mkdir()
        done = subprocess.run(
            [sys.executable, "manage.py", "serve"],
            cwd=ROOT,
            env=environment(data_dir, PORT=str(port)),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1
        assert done.stderr == (
            f"CommandError: The database in {data_dir} can't be used: unable to open database file.\n"
        )
