"""Endless bodies from an account: downloads are aborted, and no thread runs on for long without a client."""

import http.client
import signal
import socket
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from pytest_django import Settings

from collections_app.models import ResultFile, Team
from collections_app.sources.base import IncompleteBody, SourceTimeout, SourceUnavailable
from collections_app.sources.upstream import connection
from collections_app.sources.upstream.connection import ReadLimits, read_deadline
from collections_app.sources.upstream.files import UpstreamBody, size_of
from collections_app.system.serving import serving
from tests.support import databases, tools
from tests.support.faults import EndlessServer, page_bytes
from tests.support.server import environment, free_port, gunicorn, manage, wait_until_it_answers
from tests.support.upstream import make_account, make_remote_collection, make_remote_run

NAME = "AU Laptops_88_Results_Page_1.json"
SIZE = 5_000_000_000
# The beginning of a page. The rest isn't checked.
BEGINNING = b"10000\r\n" + page_bytes(70_000)[: 64 * 1024] + b"\r\n"
CHUNK = b"400\r\n" + bytes(1024) + b"\r\n"
DRIBBLE: dict[str, Any] = {"piece": b"1\r\nx\r\n", "pause": 0.02}

Served = Callable[[EndlessServer], ResultFile]


@pytest.fixture
def served(settings: Settings, crawlers: Team) -> Iterator[Served]:
    """Return a function that creates a 5 GB page at an account on a server."""
    with ExitStack() as running:

        def file(server: EndlessServer) -> ResultFile:
            running.enter_context(server.running())
            settings.UPSTREAM_ORIGINS = [f"http://127.0.0.1:{server.port}"]
            account = make_account(crawlers, f"At {server.port}", base_url=server.base_url)
            run = make_remote_run(make_remote_collection(account), size=SIZE)
            return run.files.select_related("run__collection__account").get(name=NAME)

        yield file


def read(file: ResultFile, start: int = 0) -> None:
    """Read the file to its end."""
    with UpstreamBody(file).open(start, SIZE - start) as stream:
        while stream.read(64 * 1024):
            pass


def read_the_end(file: ResultFile) -> None:
    """Read the last bytes. All others come first, as this server doesn't support ranges."""
    read(file, SIZE - 10)


@contextmanager
def disconnecting_client(after: float) -> Iterator[None]:
    """Serve a client that closes its connection after this many seconds."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        leaving = threading.Timer(after, theirs.close)
        leaving.start()
        try:
            with serving(ours, lambda: False):
                yield
        finally:
            leaving.cancel()
            leaving.join()


# --- aborted downloads --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("server", "limit", "value"),
    [
        (EndlessServer(), "MAX_IDLE_SECONDS", 0.3),
        (EndlessServer(piece=CHUNK, first=CHUNK, pause=5), "MAX_IDLE_SECONDS", 0.3),
        (EndlessServer(piece=CHUNK, first=BEGINNING, pause=5), "MAX_IDLE_SECONDS", 0.3),
        (EndlessServer(**DRIBBLE), "MAX_SLOW_SECONDS", 0.3),
        (EndlessServer(first=BEGINNING, **DRIBBLE), "MAX_SLOW_SECONDS", 0.3),
    ],
    ids=["no byte", "few bytes", "no further byte", "few at a time", "few at a time later"],
)
@pytest.mark.django_db
def test_a_stalled_or_slow_body_is_aborted(
    served: Served, monkeypatch: pytest.MonkeyPatch, server: EndlessServer, limit: str, value: float
) -> None:
    monkeypatch.setattr(connection, limit, value)
    file = served(EndlessServer(server.piece, server.pause, server.first))
    with pytest.raises(SourceTimeout, match="took too long"):
        size_of(file)
    for reading in (read, read_the_end):
        with pytest.raises(IncompleteBody if server.first == BEGINNING else SourceTimeout):
            reading(file)


@pytest.mark.parametrize("server", [EndlessServer(), EndlessServer(first=BEGINNING, **DRIBBLE)])
@pytest.mark.django_db
def test_a_deadline_ends_all_reading(served: Served, server: EndlessServer) -> None:
    file = served(EndlessServer(server.piece, server.pause, server.first))
    for reading in (size_of, read):
        with read_deadline(time.monotonic() + 0.3), pytest.raises((SourceTimeout, IncompleteBody)):
            reading(file)


@pytest.mark.django_db
def test_at_most_64_gib_are_read(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    assert connection.MAX_FILE_BYTES == 64 * 1024**3
    monkeypatch.setattr(connection, "MAX_FILE_BYTES", 1024**2)
    file = served(EndlessServer(CHUNK, first=BEGINNING))
    with pytest.raises(SourceUnavailable, match="exceeds the 64 GiB limit"):
        size_of(file)
    for reading in (read, read_the_end):
        with pytest.raises(IncompleteBody):
            reading(file)


@pytest.mark.django_db
def test_a_file_with_a_larger_declared_size_is_not_started(served: Served) -> None:
    file = served(EndlessServer(head={"Content-Length": str(64 * 1024**3 + 1)}))
    with pytest.raises(SourceUnavailable, match="exceeds the 64 GiB limit"):
        size_of(file)


@pytest.mark.django_db
def test_a_chunk_with_a_negative_size_is_not_held_in_memory(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "MAX_FILE_BYTES", 32 * 1024**2)
    file = served(EndlessServer(bytes(64 * 1024), first=b"-1\r\n"))
    tracemalloc.start()
    try:
        with pytest.raises(SourceUnavailable):
            size_of(file)
        assert tracemalloc.get_traced_memory()[1] < 4 * 1024**2
    finally:
        tracemalloc.stop()


class TestReadLimits:
    """How long to wait for a response, with a simulated clock."""

    @pytest.fixture(autouse=True)
    def limits(self) -> None:
        limits = connection.MAX_IDLE_SECONDS, connection.MAX_SLOW_SECONDS, connection.MIN_SPEED
        assert limits == (60, 600, 1024)

    def test_a_5_gb_file_gets_enough_time(self) -> None:
        patience = ReadLimits()
        for _ in range(SIZE // 1_000_000):
            patience.seconds()
            patience.note(1_000_000, 59)

    def test_a_file_at_the_minimum_speed_gets_enough_time(self) -> None:
        patience = ReadLimits()
        for _ in range(1000):
            patience.seconds()
            patience.note(50 * 1024, 50)

    def test_a_fast_start_does_not_make_up_for_a_slow_rest(self) -> None:
        patience = ReadLimits()
        patience.note(SIZE, 1)
        for _ in range(20):
            patience.note(1000, 30)
        with pytest.raises(TimeoutError):
            patience.note(1000, 30)

    def test_a_minute_without_a_byte_is_too_long(self) -> None:
        patience = ReadLimits()
        for _ in range(30):
            patience.seconds()
            patience.note(0, 2)
        with pytest.raises(TimeoutError):
            patience.seconds()


@pytest.mark.django_db
def test_a_slow_client_does_not_use_up_the_servers_time(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "MAX_IDLE_SECONDS", 0.3)
    monkeypatch.setattr(connection, "MAX_SLOW_SECONDS", 0.3)
    with UpstreamBody(served(EndlessServer(CHUNK, first=BEGINNING))).open(0, SIZE) as stream:
        for _ in range(3):
            assert stream.read(1)
            time.sleep(0.4)


# --- clients that disconnect, a site that stops -------------------------------------------------------------


@pytest.mark.parametrize("piece", [b"", CHUNK], ids=["no byte comes", "bytes come"])
@pytest.mark.parametrize("work", [size_of, read_the_end], ids=["counting", "skipping"])
@pytest.mark.django_db
def test_work_stops_if_the_client_disconnects(
    served: Served,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    piece: bytes,
    work: Callable[[ResultFile], object],
) -> None:
    monkeypatch.setattr(connection, "CLIENT_CHECK_SECONDS", 0.05)
    server = EndlessServer(piece, first=BEGINNING if piece else b"")
    file = served(server)
    with (
        disconnecting_client(after=0.2),
        pytest.raises((SourceUnavailable, IncompleteBody), match="client disconnected"),
    ):
        work(file)
    assert server.left.acquire(timeout=tools.PATIENCE)
    assert caplog.messages == []  # this isn't an error of the account


@pytest.mark.django_db
def test_work_continues_while_the_client_is_connected(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "CLIENT_CHECK_SECONDS", 0.05)
    monkeypatch.setattr(connection, "MAX_IDLE_SECONDS", 0.5)
    with disconnecting_client(after=60), pytest.raises(SourceTimeout):
        size_of(served(EndlessServer()))


@pytest.mark.django_db
def test_a_stopping_site_waits_for_bytes_but_not_for_silence(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "MAX_IDLE_SECONDS_WHILE_STOPPING", 1)
    ours, theirs = socket.socketpair()
    with ours, theirs, serving(ours, lambda: True):
        server = EndlessServer(CHUNK, pause=0.15, first=BEGINNING)
        with UpstreamBody(served(server)).open(0, SIZE) as stream:
            assert len(stream.read(64 * 1024)) == 64 * 1024
            assert [len(stream.read(1024)) for _ in range(8)] == [1024] * 8
        with pytest.raises(SourceTimeout):
            size_of(served(EndlessServer()))


# --- through the entire site --------------------------------------------------------------------------------


# Thirty seconds are too long for a test.
CONF = """
from dashboard.gunicorn_conf import *

workers = 1
begin = post_worker_init

def post_worker_init(worker):
    begin(worker)
    from collections_app.sources.upstream import connection
    connection.CLIENT_CHECK_SECONDS, connection.MAX_IDLE_SECONDS_WHILE_STOPPING = 0.2, 1.0
"""

CONNECT = f"""
from collections_app.models import ApiKey, Collection, Membership
from tests.support.upstream import make_account, make_remote_collection, make_remote_run
team = Collection.objects.get(pk=101).team
collection = make_remote_collection(make_account(team, base_url=BASE_URL), name="Endless")
for number, size in [(1, None), (2, {SIZE})]:
    run = make_remote_run(collection, number, size=size)
    run.files.filter(kind="page").update(name={NAME!r}, remote_name={NAME!r})
print(collection.pk, ApiKey.objects.issue(Membership.objects.filter(team=team).first(), "tests")[1])
"""


@dataclass(frozen=True)
class Site:
    """A running site whose account has one run of unknown size and one of known size."""

    process: tools.Process
    port: int
    key: str
    collection: str
    server: EndlessServer

    def request(self, method: str, run: int) -> http.client.HTTPConnection:
        """Request a file of a run, and return when the account has received the request."""
        asked = self.server.asked.count("GET")
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=tools.PATIENCE)
        address = f"/api/v1/results/{self.collection}/{run}/{quote(NAME)}"
        client.request(method, address, headers={"x-api-key": self.key})
        assert tools.eventually(lambda: self.server.asked.count("GET") > asked)
        return client


@pytest.fixture
def site(demo_data: Path, tmp_path: Path) -> Iterator[Site]:
    data_dir, log = tmp_path / "data", tmp_path / "log"
    databases.copy(demo_data, data_dir)
    (tmp_path / "conf.py").write_text(CONF)
    with EndlessServer().running() as server:
        command = CONNECT.replace("BASE_URL", repr(server.base_url))
        collection, key = manage(data_dir, "shell", "--no-imports", "--command", command).split()[-2:]
        port = free_port()
        more = {"PORT": str(port), "UPSTREAM_ORIGINS": f"http://127.0.0.1:{server.port}"}
        command = gunicorn(str(tmp_path / "conf.py"))  # type: ignore[assignment]
        with tools.running(*command, log=log, env=environment(data_dir, **more)) as process:
            wait_until_it_answers(f"http://127.0.0.1:{port}", process, log)
            yield Site(process, port, key, collection, server)
    said = log.read_text()
    assert "Traceback" not in said
    assert "upstream body incomplete" not in said


@pytest.mark.thorough
def test_threads_stop_waiting_if_the_client_disconnects_or_the_site_stops(site: Site) -> None:
    for piece in (b"", CHUNK):
        site.server.piece, site.server.first = piece, BEGINNING if piece else b""
        for method, run in [("HEAD", 1), ("GET", 1), ("GET", 2)]:
            site.request(method, run).close()
            assert site.server.left.acquire(timeout=connection.MAX_IDLE_SECONDS / 2)
    site.server.piece = site.server.first = b""
    waiting = [site.request(method, run) for method, run in [("HEAD", 1), ("GET", 1), ("GET", 2)]]
    site.process.send_signal(signal.SIGTERM)
    assert site.process.wait(timeout=tools.PATIENCE) == 0
    statuses = []
    for client in waiting:
        statuses.append(client.getresponse().status)
        client.close()
    assert statuses == [504, 504, 504]
