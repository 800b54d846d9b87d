"""Faults of networks and servers in an account's responses, over real connections."""

import gzip
import http.client
import io
import json
import random
import shutil
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest
from pytest_django import Settings

from collections_app.models import Account, Collection, Kind, Team
from collections_app.sources.base import IncompleteBody, SourceTimeout, SourceUnavailable
from collections_app.sources.upstream import http as transport
from collections_app.sources.upstream.files import UpstreamBody, size_of
from collections_app.sources.upstream.runs import list_runs, try_key
from tests.support import databases, tools
from tests.support.faults import Fault, FaultProxy, FileServer, page_bytes, random_bytes
from tests.support.server import SERVE, environment, free_port, manage, wait_until_it_answers
from tests.support.tools import all_or_few, is_thorough
from tests.support.upstream import KEY, make_account, make_remote_collection, make_remote_run

NAME = "AU Laptops_88_Results_Page_1.json"
CONTENT = page_bytes(200_000)
SIZE = len(CONTENT)
FOR_EVER = 3600.0
NO_RUNS = b'{"code": 200, "data": [], "status": 1}'


def response_of(body: bytes, head: str = "", *, status: str = "200 OK") -> bytes:
    """Return the bytes of a response. The proxy closes the connection after it."""
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n{head}\r\n"
    return head.encode() + body


@pytest.fixture
def proxy(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    """A proxy without faults in front of a server with one file."""
    monkeypatch.setattr(transport, "_PAUSES", (0, 0))
    with FileServer({NAME: CONTENT}).running() as server, FaultProxy(server.port).running() as running:
        settings.UPSTREAM_ORIGINS = [f"http://127.0.0.1:{running.port}"]
        yield running


def request_runs(proxy: FaultProxy, seconds: float = 10) -> list[object]:
    account = Account(name="Main", base_url=proxy.base_url)
    account.set_key(KEY)
    collection = Collection(account=account, remote_id=7001, name="AU Laptops", kind=Kind.AMAZON)
    return [*list_runs(collection, skip=0, limit=5, seconds=seconds).runs]


def set_faults(proxy: FaultProxy, *faults: Fault) -> None:
    """Give each connection one of these faults. Later connections have the last one."""
    left = [*faults]
    proxy.fault = lambda: left.pop(0) if len(left) > 1 else left[0]


# --- the list -----------------------------------------------------------------------------------------------


def test_a_list_can_be_compressed(proxy: FaultProxy) -> None:
    set_faults(proxy, Fault(instead=response_of(NO_RUNS)))
    assert request_runs(proxy) == []
    set_faults(proxy, Fault(instead=response_of(gzip.compress(NO_RUNS), "Content-Encoding: gzip\r\n")))
    assert request_runs(proxy) == []


@pytest.mark.parametrize(
    "fault",
    [
        Fault(instead=b"garbage\r\n\r\n"),
        Fault(instead=random_bytes(5000)),
        Fault(instead=b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 200 + b"\r\n"),
        Fault(instead=b"HTTP/1.1 200 OK\r\na: " + b"b" * 100_000 + b"\r\n\r\n"),
        Fault(instead=b"HTTP/1.1 99999 OK\r\n\r\n"),
        Fault(instead=b"HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\nab"),
        Fault(instead=response_of(NO_RUNS, "Broken header\r\nno colon\r\n")[:-5]),
        Fault(instead=response_of(NO_RUNS), cut_after=10),
        Fault(instead=response_of(NO_RUNS), cut_after=60),
        Fault(instead=response_of(b"not gzip", "Content-Encoding: gzip\r\n")),
        Fault(instead=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
        Fault(instead=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n[1"),
        Fault(cut_after=0),
        Fault(cut_after=0, is_reset=True),
        Fault(cut_after=30, is_reset=True),
    ],
    ids=lambda fault: repr(fault)[:90],
)
def test_a_broken_response_is_reported_in_one_sentence_and_one_log_line(
    proxy: FaultProxy, fault: Fault, caplog: pytest.LogCaptureFixture
) -> None:
    set_faults(proxy, fault)
    with pytest.raises(SourceUnavailable, match=r"^The account “Main” is not responding"):
        request_runs(proxy)
    (line,) = caplog.messages
    assert line.startswith(
        "upstream list failed: account=None collection=None problem=The account “Main” is not"
    )
    assert KEY not in caplog.text


def test_a_server_that_is_down_is_reported_in_one_sentence(settings: Settings) -> None:
    down = FaultProxy(0, port=free_port())
    settings.UPSTREAM_ORIGINS = [f"http://127.0.0.1:{down.port}"]
    with pytest.raises(SourceUnavailable, match=r"^The account “Main” is not responding"):
        request_runs(down)
    with pytest.raises(SourceUnavailable, match=r"^The server 127\.0\.0\.1 is not responding"):
        try_key(down.base_url, KEY, seconds=5)


def test_temporary_faults_are_not_noticed(proxy: FaultProxy) -> None:
    unavailable = Fault(instead=response_of(b"", status="503 Service Unavailable"))
    set_faults(proxy, Fault(cut_after=0, is_reset=True), unavailable, Fault(instead=response_of(NO_RUNS)))
    assert request_runs(proxy) == []
    assert proxy.connections == 3


@pytest.mark.parametrize(
    "fault",
    [
        Fault(delay=FOR_EVER),
        Fault(instead=response_of(NO_RUNS), pause=0.1),
        Fault(instead=response_of(b" " * 100_000), pause=0.01),
        Fault(instead=b"HTTP/1.1 100 Continue\r\n\r\n" * 1000, pause=0.01),
        Fault(
            instead=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\n \r\n" * 999, pause=0.01
        ),
    ],
    ids=["no byte", "a slow head", "a slow body", "no end of heads", "slow chunks"],
)
def test_the_deadline_holds_whatever_the_server_does(proxy: FaultProxy, fault: Fault) -> None:
    set_faults(proxy, fault)
    began = time.monotonic()
    with pytest.raises(SourceTimeout, match="took too long"):
        request_runs(proxy, seconds=0.3)
    assert time.monotonic() - began < 5  # without a deadline, each of these takes longer


def test_the_deadline_holds_during_name_resolution(
    proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "_send", lambda _request: time.sleep(2))
    with pytest.raises(SourceTimeout):
        request_runs(proxy, seconds=0.1)


def test_a_gzip_bomb_is_not_decompressed(proxy: FaultProxy) -> None:
    bomb = gzip.compress(bytes(transport.MAX_JSON_BYTES * 2))
    set_faults(proxy, Fault(instead=response_of(bomb, "Content-Encoding: gzip\r\n")))
    with pytest.raises(SourceUnavailable, match="too much data"):
        request_runs(proxy)


def test_redirects_are_not_followed(proxy: FaultProxy) -> None:
    with FaultProxy(proxy.target).running() as other:
        moved = response_of(b"", f"Location: {other.base_url}/\r\n", status="307 Temporary Redirect")
        set_faults(proxy, Fault(instead=moved))
        with pytest.raises(SourceUnavailable, match="redirects to another address"):
            request_runs(proxy)
        assert other.connections == 0


# --- a file -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_reset", [False, True])
@pytest.mark.django_db
def test_an_interrupted_body_raises_connection_reset(
    proxy: FaultProxy,
    crawlers: Team,
    is_reset: bool,  # noqa: FBT001
    caplog: pytest.LogCaptureFixture,
) -> None:
    collection = make_remote_collection(make_account(crawlers, base_url=proxy.base_url))
    file = make_remote_run(collection, size=SIZE).files.get(name=NAME)
    begun = threading.Event()
    set_faults(proxy, Fault(cut_after=100_000, is_reset=is_reset, cut_when=begun))
    got = io.BytesIO()
    with UpstreamBody(file).open(0, SIZE) as stream:
        begun.set()
        with pytest.raises(IncompleteBody) as raised:
            shutil.copyfileobj(stream, got)
    assert isinstance(raised.value, ConnectionResetError)
    assert CONTENT.startswith(got.getvalue())
    (line,) = caplog.messages
    assert line.startswith(f"upstream body incomplete: account={collection.account_id} collection=")


@pytest.mark.parametrize("head", ["", "\r\nContent-Length: 20", "\r\nContent-Length: 200000", "\r\nA: b\r\n"])
@pytest.mark.django_db
def test_incomplete_headers_declare_no_length(
    proxy: FaultProxy, crawlers: Team, head: str, caplog: pytest.LogCaptureFixture
) -> None:
    collection = make_remote_collection(make_account(crawlers, base_url=proxy.base_url))
    file = make_remote_run(collection, size=SIZE).files.get(name=NAME)
    set_faults(proxy, Fault(instead=f"HTTP/1.1 200 OK{head}".encode()))
    with pytest.raises(SourceUnavailable, match="is not responding"):
        size_of(file)
    with pytest.raises(SourceUnavailable, match="is not responding"):
        UpstreamBody(file).open(0, SIZE)
    file.refresh_from_db()
    assert file.size == SIZE
    assert len(caplog.messages) == 2


@pytest.mark.django_db
def test_slow_headers_are_a_timeout(
    proxy: FaultProxy, crawlers: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "READ_SECONDS", 0.3)
    collection = make_remote_collection(make_account(crawlers, base_url=proxy.base_url))
    file = make_remote_run(collection, size=SIZE).files.get(name=NAME)
    set_faults(proxy, Fault(pause=0.1))
    with pytest.raises(SourceTimeout):
        UpstreamBody(file).open(0, SIZE)


# --- downloads through a running site -----------------------------------------------------------------------


@dataclass(frozen=True)
class Site:
    """A running site with an account whose server is behind a proxy."""

    port: int
    key: str
    address: str
    server: FileServer
    proxy: FaultProxy


CONNECT = f"""
from collections_app.models import ApiKey, Collection, Membership
from tests.support.upstream import make_account, make_remote_collection, make_remote_run
team = Collection.objects.get(pk=101).team
collection = make_remote_collection(make_account(team, base_url=BASE_URL), name="Behind a proxy")
run = make_remote_run(collection, size={SIZE})
run.files.filter(kind="page").update(name={NAME!r}, remote_name={NAME!r})
print(collection.pk, ApiKey.objects.issue(Membership.objects.filter(team=team).first(), "tests")[1])
"""


@pytest.fixture(scope="module")
def site(demo_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("faults")
    data_dir, log = folder / "data", folder / "log"
    databases.copy(demo_data, data_dir)
    with FileServer({NAME: CONTENT}).running() as server, FaultProxy(server.port).running() as proxy:
        command = CONNECT.replace("BASE_URL", repr(proxy.base_url))
        printed = manage(data_dir, "shell", "--no-imports", "--command", command)
        collection, key = printed.split()[-2:]
        port = free_port()
        origin = f"http://127.0.0.1:{proxy.port}"
        env = environment(data_dir, PORT=str(port), UPSTREAM_ORIGINS=origin)
        with tools.running(*SERVE, log=log, env=env) as process:
            wait_until_it_answers(f"http://127.0.0.1:{port}", process, log)
            yield Site(port, key, f"/api/v1/results/{collection}/88/{quote(NAME)}", server, proxy)
    said = log.read_text()
    assert "upstream body incomplete: account=" in said
    assert "Traceback" not in said
    assert " ERROR " not in said
    assert KEY not in said


def part_of(site: Site, start: int, etag: str) -> tuple[int, bytes, bool, str]:
    """Request the rest of the file. Return status, bytes, whether they look complete, and the ETag."""
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=tools.PATIENCE)
    headers = {"x-api-key": site.key}
    if start:
        headers |= {"Range": f"bytes={start}-", "If-Range": etag}
    try:
        connection.request("GET", site.address, headers=headers)
        try:
            response = connection.getresponse()
        except http.client.RemoteDisconnected:  # interrupted before the first byte of the file
            return 0, b"", False, etag
        with response:
            try:
                return response.status, response.read(), True, response.headers.get("ETag", "")
            except http.client.IncompleteRead as broken:
                return response.status, broken.partial, False, response.headers.get("ETag", "")
    finally:
        connection.close()


def download(site: Site) -> tuple[bytes, int]:
    """Download the file and resume as often as needed. Return it and the number of interruptions."""
    got, etag, broken = b"", "", 0
    while True:
        status, data, looks_complete, etag_now = part_of(site, len(got), etag)
        if status == 502:
            # The account's server sent no response, so the site sent an error instead of the file.
            assert json.loads(data)["status"] == 0
            broken += 1
            continue
        assert status in {0, 206 if got else 200}
        etag = etag_now
        got += data
        assert CONTENT.startswith(got)
        if looks_complete:
            return got, broken
        broken += 1


@pytest.mark.parametrize("has_lengths", all_or_few([True, False], True))
@pytest.mark.parametrize("has_ranges", all_or_few([True, False], True))
@pytest.mark.thorough
def test_interrupted_downloads_look_incomplete_and_can_be_resumed(
    site: Site,
    has_lengths: bool,  # noqa: FBT001
    has_ranges: bool,  # noqa: FBT001
) -> None:
    site.server.has_lengths, site.server.has_ranges = has_lengths, has_ranges
    chance = random.Random(f"{has_lengths} {has_ranges}")

    def fault() -> Fault:
        # Sometimes interrupt the headers, and sometimes nothing: without ranges, each attempt starts again.
        most = SIZE * 3 // 2 if chance.random() < 0.9 else 500
        return Fault(cut_after=chance.randrange(most), is_reset=chance.random() < 0.5)

    site.proxy.fault = fault
    with ThreadPoolExecutor(8) as readers:
        downloads = [readers.submit(download, site) for _ in range(125 if is_thorough() else 12)]
    results = [download.result() for download in downloads]
    assert all(content == CONTENT for content, _ in results)
    assert sum(broken for _, broken in results) > len(results) / 2
