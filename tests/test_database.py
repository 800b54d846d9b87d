"""Connections to the database, errors, and what is specific to PostgreSQL."""

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
import requests
import time_machine
from django.core.exceptions import ImproperlyConfigured
from django.db import OperationalError, ProgrammingError, connection

from collections_app.models import Collection, Run
from collections_app.runs import lease
from collections_app.runs.repair import repair_runs
from collections_app.runs.writer import ResultSetWriter
from collections_app.system import database
from tests.support import commands, databases, tools
from tests.support.results import records, stored_records
from tests.support.server import SERVE, DemoServer, environment, free_port, wait_until_it_answers

ADDRESS = "postgres://results:p%40ss%2Fword@db.example.com:5433/scrapes"


class TestUrl:
    def test_all_parts_of_the_url_are_used(self) -> None:
        found = database.postgresql(ADDRESS)
        assert found["ENGINE"] == "django.db.backends.postgresql"
        assert (found["HOST"], found["PORT"], found["NAME"]) == ("db.example.com", 5433, "scrapes")
        assert (found["USER"], found["PASSWORD"]) == ("results", "p@ss/word")

    def test_the_connect_timeout_is_short(self) -> None:
        options = database.postgresql(ADDRESS)["OPTIONS"]
        assert options["connect_timeout"] == 5
        assert {"keepalives_idle", "tcp_user_timeout"} <= options.keys()

    def test_query_parameters_are_options_of_libpq(self) -> None:
        options = database.postgresql(f"{ADDRESS}?sslmode=verify-full&connect_timeout=60")["OPTIONS"]
        assert (options["sslmode"], options["connect_timeout"]) == ("verify-full", 60)

    @pytest.mark.parametrize(
        "address",
        [
            "canary",
            "db.example.com:5432/results",
            "postgres://",
            "postgres://u:canary@db.example.com",
            "postgres://u:canary@db.example.com:port/results",
            "postgres://u:canary@db.example.com:99999/results",
            "postgres://u:canary/canary@db.example.com/results",
            "mysql://u:canary@db.example.com/results",
            "sqlite:///canary.sqlite3",
            "postgis://u:canary@db.example.com/results",
        ],
    )
    def test_an_invalid_url_is_reported_without_the_url(self, address: str) -> None:
        with pytest.raises(ImproperlyConfigured, match=r"^DATABASE_URL is not understood\. Use ") as error:
            database.postgresql(address)
        assert "canary" not in str(error.value)
        assert error.value.__cause__ is None


def run(data_dir: Path, *arguments: str, **knobs: str) -> str:
    """Return the error output of a command that fails."""
    done = commands.run([*arguments], environment(data_dir, **knobs))
    assert done.returncode == 1, done.stdout + done.stderr
    assert "canary" not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


@pytest.fixture
def data_dir(demo_data: Path, tmp_path: Path) -> Path:
    """An empty data folder, with static files."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "static").symlink_to(demo_data / "static")
    return tmp_path / "data"


class TestUnreachableServer:
    """No server listens at the address, so PostgreSQL isn't needed."""

    @pytest.fixture
    def address(self) -> str:
        return f"postgres://results:canary@127.0.0.1:{free_port()}/scrapes"

    def test_serve_reports_it_in_one_sentence(self, data_dir: Path, address: str) -> None:
        said = run(data_dir, "serve", PORT=str(free_port()), DATABASE_URL=address)
        server = f"127.0.0.1:{address.rsplit(':', maxsplit=1)[-1].split('/', maxsplit=1)[0]}"
        assert said.startswith(f"CommandError: The PostgreSQL database scrapes at {server} can't be used: ")
        assert "Connection refused" in said
        assert said.endswith(" Check DATABASE_URL, and that the server is running and reachable.\n")
        assert said.count("\n") == 1

    @pytest.mark.parametrize(
        "command",
        tools.all_or_few(
            [["create_api_key", "a@example.com"], ["work", "--once"], ["repair_runs"], ["migrate"]],
            ["work", "--once"],
        ),
    )
    def test_other_commands_report_it_in_one_sentence(
        self, data_dir: Path, address: str, command: list[str]
    ) -> None:
        done = commands.run(command, environment(data_dir, DATABASE_URL=address))
        assert "Connection refused" in done.stderr
        assert done.stderr.count("\n") == 1
        assert "canary" not in done.stderr

    def test_an_invalid_url_is_reported_in_one_sentence(self, data_dir: Path) -> None:
        said = run(data_dir, "serve", DATABASE_URL="mysql://results:canary@db/scrapes")
        assert said.startswith("Error: DATABASE_URL is not understood. Use the URL of a Post")
        assert said.count("\n") == 1


def test_a_leftover_sqlite_database_is_an_error(data_dir: Path) -> None:
    (data_dir / "db.sqlite3").touch()
    address = f"postgres://results:canary@127.0.0.1:{free_port()}/scrapes"
    said = run(data_dir, "serve", PORT=str(free_port()), DATABASE_URL=address)
    assert f"{data_dir}/db.sqlite3" in said
    assert "Move" in said


class TestMessages:
    @pytest.fixture(autouse=True)
    def server(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(connection, "vendor", "postgresql")
        monkeypatch.setitem(connection.settings_dict, "PASSWORD", "canary")

    def test_the_password_is_never_shown(self) -> None:
        said = database.reason(OperationalError("The password canary\nis wrong.\n"))
        assert said == "The password ***"

    def test_the_advice_fits_the_error(self) -> None:
        assert "DATABASE_URL" in database.advice(OperationalError("connection refused"))
        assert "make serve" in database.advice(ProgrammingError("no such relation"))
        assert "create tables" in database.advice(ProgrammingError("permission denied for schema public"))

    def test_a_shortened_message_ends_correctly(self) -> None:
        error = ProgrammingError(
            "Unable to create a table (permission denied for schema public\nLINE 1: ...)"
        )
        assert database.reason(error) == "Unable to create a table (permission denied for schema public)"


# --- PostgreSQL's alone -------------------------------------------------------------------------


@pytest.mark.postgresql(reason="the server's own clock")
@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("results_folder")  # an S3 server rejects requests that were signed at another time
class TestDifferingClocks:
    @pytest.mark.parametrize("hours", [-5, 5])
    def test_a_writer_keeps_its_run(self, laptops: Collection, hours: int) -> None:
        with time_machine.travel(database.now() + timedelta(hours=hours)):
            writer = ResultSetWriter.start(laptops)
            writer.add_record(records(1)[0])
        assert Run.objects.filter(lease.being_written()).exists()
        assert not repair_runs().was_needed
        with time_machine.travel(database.now() + timedelta(hours=hours)):
            run = writer.finish()
        assert stored_records(run) == records(1)

    def test_a_dead_writer_loses_its_run(self, laptops: Collection) -> None:
        ResultSetWriter.start(laptops)
        Run.objects.update(lease_expires_at=database.now() - timedelta(seconds=1))
        with time_machine.travel(database.now() - timedelta(hours=5)):
            assert repair_runs().failed_runs == [Run.objects.get()]


@pytest.mark.postgresql(reason="its encodings")
def test_an_encoding_other_than_utf8_is_an_error(data_dir: Path) -> None:
    with psycopg.connect(databases.start_server(), autocommit=True) as server:
        server.execute(
            "CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' LOCALE_PROVIDER libc TEMPLATE template0"
        )
    address = databases.start_server().replace("/postgres?", "/latin?")
    said = run(data_dir, "serve", PORT=str(free_port()), DATABASE_URL=address)
    assert "uses the encoding LATIN1" in said
    assert "createdb --encoding=UTF8" in said


@contextmanager
def served(data_dir: Path, address: str = "", **knobs: str) -> Iterator[str]:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    log = data_dir / f"log-{port}"
    knobs = {"PORT": str(port), "DATABASE_URL": address or databases.address_of(data_dir)} | knobs
    with tools.running(*SERVE, log=log, env=environment(data_dir, **knobs)) as process:
        wait_until_it_answers(url, process, log)
        yield url


@pytest.mark.postgresql(reason="several machines")
def test_machines_started_at_the_same_time_create_one_database(
    data_dir: Path, demo_data: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "static").symlink_to(demo_data / "static")
    address = databases.address_of(data_dir)

    def serve(folder: Path) -> int:
        with served(folder, address, WEB_CONCURRENCY="1") as url:
            return requests.get(f"{url}/accounts/login/", timeout=tools.PATIENCE).status_code

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(serve, [data_dir, other])) == [200, 200]
    assert databases.execute(data_dir, "SELECT count(*) FROM collections_app_team") == [(0,)]


LIST = "/api/v1/schedules/collections/results/download/"


def listed(server: DemoServer) -> dict[str, Any]:
    answer = requests.post(
        server.url + LIST,
        json={"collection_id": 101, "skip": 0, "limit": 5},
        headers={"x-api-key": server.api_key},
        timeout=tools.PATIENCE,
    )
    found: dict[str, Any] = answer.json()
    assert found["code"] == 200, found
    return found


@pytest.mark.postgresql(reason="its connections")
class TestConnections:
    def of(self, server: DemoServer) -> int:
        counted = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        ((count,),) = databases.execute(server.data_dir, counted)
        return int(count)

    def test_hundreds_of_requests_share_a_few_connections(self, demo_server: DemoServer) -> None:
        with ThreadPoolExecutor(100) as pool:
            answers = list(pool.map(lambda _: listed(demo_server), range(200)))
        assert all(answer == answers[0] for answer in answers)
        # Those of the workers, of this query, and of the background process.
        assert self.of(demo_server) <= 2 * database.MAX_CONNECTIONS + 4

    def test_downloads_hold_no_connection(self, demo_server: DemoServer) -> None:
        ready = next(run for run in listed(demo_server)["data"] if run["is_download_generated"])
        headers = {"x-api-key": demo_server.api_key}
        with ExitStack() as stack:
            for _ in range(5 * database.MAX_CONNECTIONS):
                address = ready["download_links"]["all_pages"]
                stack.enter_context(
                    requests.get(address, headers=headers, stream=True, timeout=tools.PATIENCE)
                )
            listed(demo_server)

    def test_connections_closed_by_the_server_are_replaced(self, demo_server: DemoServer) -> None:
        listed(demo_server)
        ended = """
            SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
            WHERE datname = current_database() AND pid <> pg_backend_pid()
        """
        assert databases.execute(demo_server.data_dir, ended) != [(0,)]
        # Each broken connection can make one request fail, in any of the processes.
        for _ in range(10 * database.MAX_CONNECTIONS):
            with suppress(AssertionError):
                listed(demo_server)
        for _ in range(2 * database.MAX_CONNECTIONS):
            listed(demo_server)


class Connection:
    """The part of Django's connection that _test_pool() uses."""

    def __init__(self, *, closed: bool) -> None:
        self.connection = SimpleNamespace(closed=closed)
        self.checked = threading.Event()
        self.pool = SimpleNamespace(check=self.checked.set)


@pytest.mark.parametrize("closed", [True, False])
def test_a_broken_connection_has_all_others_tested(*, closed: bool) -> None:
    def execute(*args: object) -> None:
        raise OperationalError("The server closed the connection.")

    used = Connection(closed=closed)
    with pytest.raises(OperationalError):
        database._test_pool(execute, "SELECT 1", None, False, {"connection": used})
    assert used.checked.wait(timeout=tools.PATIENCE if closed else 0.1) is closed


@pytest.mark.postgresql(reason="a server that goes away and comes back")
def test_a_site_recovers_when_the_database_is_back(demo_data: Path, tmp_path: Path) -> None:
    data_dir = databases.copy(demo_data, tmp_path / "data")
    name = databases.address_of(data_dir).split("?")[0].rpartition("/")[2]
    account = json.loads((data_dir / "demo.json").read_text())

    def ask(url: str) -> int:
        question = {"collection_id": 101, "skip": 0, "limit": 5}
        headers = {"x-api-key": account["api_key"]}
        return int(
            requests.post(url + LIST, json=question, headers=headers, timeout=tools.PATIENCE).json()["code"]
        )

    with (
        served(data_dir, WEB_CONCURRENCY="1") as url,
        psycopg.connect(databases.start_server(), autocommit=True) as server,
    ):
        assert ask(url) == 200
        server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false".encode())
        server.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
        assert ask(url) == 503
        assert requests.get(f"{url}/healthz", timeout=tools.PATIENCE).status_code == 200
        server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true".encode())
        assert tools.eventually(lambda: ask(url) == 200)
