"""Downloads from a real gunicorn with curl, wget and aria2."""

import contextlib
import hashlib
import http.client
import io
import json
import os
import random
import socket
import time
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
import requests

from collections_app.system.database import MAX_CONNECTIONS
from tests.support import databases, tools
from tests.support.server import environment, free_port, gunicorn, manage, wait_until_it_answers
from tests.support.tools import eventually

THREADS = 36  # of which one key may hold twelve
MEBIBYTE = 2**20
RANDOM = "random bytes.json"
SPARSE = "sparse.json"
FRAGILE = "fragile.json"
SIZES = {RANDOM: 20 * MEBIBYTE, SPARSE: 1024 * MEBIBYTE, FRAGILE: 64 * MEBIBYTE}
RUNS = {RANDOM: 88, SPARSE: 79, FRAGILE: 79}

pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="looks into processes by /proc")


@dataclass(frozen=True)
class Server:
    """One gunicorn worker over the demo, two of whose runs have three more files."""

    url: str
    key: str
    data_dir: Path
    log: Path
    pid: int

    def address(self, name: str) -> str:
        return f"{self.url}/api/v1/results/101/{RUNS.get(name, 88)}/{quote(name)}"

    @property
    def headers(self) -> dict[str, str]:
        return {"x-api-key": self.key}

    def stored(self, name: str) -> Path:
        return self.data_dir / "results" / name

    @property
    def worker(self) -> int:
        return int(Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()[0])

    def open_files(self) -> list[str]:
        """Return the paths of the files that the worker has open."""
        paths = []
        for link in Path(f"/proc/{self.worker}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                paths.append(str(link.readlink()))
        return paths

    def resident_kibibytes(self) -> int:
        status = Path(f"/proc/{self.worker}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0])

    def logged(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def sent_by_the_kernel(self) -> int:
        return sum(int(line) for line in (self.data_dir / "sendfile.log").read_text().split())

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=tools.PATIENCE)

    @contextlib.contextmanager
    def slow_reader(self, name: str) -> Iterator[http.client.HTTPResponse]:
        """Request a file, and read nothing of its body yet."""
        with contextlib.closing(self.connect()) as connection:
            connection.request("GET", urlsplit(self.address(name)).path, headers=self.headers)
            with connection.getresponse() as response:
                assert response.status == 200
                yield response


@pytest.fixture(scope="module")
def server(demo_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("delivery")
    data_dir, log = folder / "data", folder / "log"
    databases.copy(demo_data, data_dir)
    (data_dir / "sendfile.log").touch()
    for name, size in SIZES.items():
        with (data_dir / "results" / name).open("wb") as stored:
            stored.write(random.Random(name).randbytes(SIZES[RANDOM]))
            stored.truncate(size)
    manage(data_dir, "shell", "--no-imports", "--command", ADD_FILES)
    key = manage(data_dir, "shell", "--no-imports", "--command", MAKE_KEY).split()[-1]
    port = free_port()
    more = {"PORT": str(port), "WEB_CONCURRENCY": "1", "WEB_THREADS": str(THREADS)}
    more["SENDFILE_LOG"] = str(data_dir / "sendfile.log")
    command = gunicorn("tests/support/gunicorn_probe.py")
    with tools.running(*command, log=log, env=environment(data_dir, **more)) as process:
        url = f"http://127.0.0.1:{port}"
        wait_until_it_answers(url, process, log)
        server = Server(url, key, data_dir, log, process.pid)
        yield server
    # Readers that leave or stall are no event for the operator.
    assert [line for line in server.logged() if not is_expected(line)] == []


def is_expected(line: dict[str, object]) -> bool:
    """Whether a log line is about a request, even one that gunicorn could not parse."""
    return line["event"] == "request" or str(line["event"]).startswith("Invalid request from")


ADD_FILES = f"""
from django.utils import timezone
from collections_app.models import Run
for position, (name, size) in enumerate({SIZES!r}.items(), 1000):
    Run.objects.get(collection=101, number={RUNS!r}[name]).files.create(
        kind="page", position=position, name=name, key=name, size=size, modified=timezone.now()
    )
"""
MAKE_KEY = """
from collections_app.models import ApiKey, Membership
print(ApiKey.objects.issue(Membership.objects.filter(team__collections=101).first(), "tests")[1])
"""


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def run(*command: tools.Word) -> str:
    done = tools.run(*command)
    return done.stdout + done.stderr


def run_shell(script: str, **options: Path) -> str:
    tools.needs("curl")
    return tools.run("sh", "-c", script, **options).stdout  # type: ignore[arg-type]


# --- the vendor's examples ----------------------------------------------------------------------


FIRST_CALL = r"""
curl https://multicartapi.com/api/v1/schedules/collections/results/download/ \
-X POST \
-H "x-api-key: YOUR_API_KEY" \
-H "Content-Type: application/json" \
-d '{ "collection_id": 101, "skip": 0, "limit": 5 }'
"""
SECOND_CALL = r"""
# Use the full URL from download_links.pages[0] or download_links.all_pages
curl "https://multicartapi.com/api/v1/results/101/88/AU%20Laptops_88_Results_Page_1.json" \
-H "x-api-key: YOUR_API_KEY" \
-o "page_1.json"
"""


def as_we_are(server: Server, call: str) -> str:
    return call.replace("https://multicartapi.com", server.url).replace("YOUR_API_KEY", server.key)


def test_the_vendors_first_call_works_but_for_host_and_key(server: Server) -> None:
    response = json.loads(run_shell(as_we_are(server, FIRST_CALL)))
    assert (response["code"], response["status"]) == (200, 1)
    assert len(response["data"]) == 5
    before_89 = json.loads(run_shell(as_we_are(server, FIRST_CALL.replace('"skip": 0', '"before": 89'))))
    assert before_89["data"][0]["id"] == 88


def test_the_vendors_second_call_works_but_for_host_and_key(server: Server, tmp_path: Path) -> None:
    run_shell(as_we_are(server, SECOND_CALL), cwd=tmp_path)
    assert len(json.loads((tmp_path / "page_1.json").read_bytes())) == 250


def test_a_chunked_body_is_read(server: Server) -> None:
    response = requests.post(
        f"{server.url}/api/v1/schedules/collections/results/download/",
        data=iter([b'{"collection_id"', b': 101, "limit": 1}']),
        headers=server.headers,
    )
    assert len(response.json()["data"]) == 1


# --- resuming, and downloading in segments ------------------------------------------------------


@pytest.mark.parametrize("have", [0, 1, 7 * MEBIBYTE + 13, 20 * MEBIBYTE - 1])
def test_curl_resumes(server: Server, tmp_path: Path, have: int) -> None:
    target = tmp_path / "file"
    target.write_bytes(server.stored(RANDOM).read_bytes()[:have])
    printed = run(
        *("curl", "--silent", "--show-error", "--continue-at", "-", "--header", f"x-api-key: {server.key}"),
        *("--output", target, "--write-out", "%{http_code} %{size_download}", server.address(RANDOM)),
    )
    assert printed == f"{206 if have else 200} {SIZES[RANDOM] - have}"
    assert digest(target) == digest(server.stored(RANDOM))


def test_wget_resumes(server: Server, tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_bytes(server.stored(RANDOM).read_bytes()[: 9 * MEBIBYTE])
    printed = run(
        *("wget", "--continue", f"--header=x-api-key: {server.key}"),
        *(f"--output-document={target}", server.address(RANDOM)),
    )
    assert "206 Partial Content" in printed
    assert digest(target) == digest(server.stored(RANDOM))


def test_aria2_downloads_in_eight_segments(server: Server, tmp_path: Path) -> None:
    run(
        *("aria2c", "-x8", "-s8", "-k1M", "--no-conf", f"--header=x-api-key: {server.key}"),
        *(f"--dir={tmp_path}", "--out=file", server.address(RANDOM)),
    )
    assert digest(tmp_path / "file") == digest(server.stored(RANDOM))


def test_aria2_resumes(server: Server, tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_bytes(server.stored(RANDOM).read_bytes()[: 11 * MEBIBYTE])
    run(
        *("aria2c", "-x8", "-s8", "-k1M", "--continue", "--no-conf", f"--header=x-api-key: {server.key}"),
        *(f"--dir={tmp_path}", "--out=file", server.address(RANDOM)),
    )
    assert digest(target) == digest(server.stored(RANDOM))


# --- a ZIP that is generated while it is sent ---------------------------------------------------


def selection(server: Server) -> str:
    return f"{server.url}/api/v1/collections/101/selection.zip?runs=80-88,90"


@pytest.fixture(scope="module")
def entire(server: Server) -> bytes:
    response = requests.get(selection(server), headers=server.headers)
    assert int(response.headers["Content-Length"]) == len(response.content)
    with zipfile.ZipFile(io.BytesIO(response.content)) as archive:
        assert archive.testzip() is None
    return response.content


def test_curl_resumes_a_selection(server: Server, tmp_path: Path, entire: bytes) -> None:
    target = tmp_path / "file"
    target.write_bytes(entire[:100_001])
    printed = run(
        *("curl", "--silent", "--show-error", "--continue-at", "-", "--header", f"x-api-key: {server.key}"),
        *("--output", target, "--write-out", "%{http_code} %{size_download}", selection(server)),
    )
    assert printed == f"206 {len(entire) - 100_001}"
    assert target.read_bytes() == entire


def test_aria2_downloads_a_selection_in_eight_segments(server: Server, tmp_path: Path, entire: bytes) -> None:
    run(
        *("aria2c", "-x8", "-s8", "-k1M", "--no-conf", f"--header=x-api-key: {server.key}"),
        *(f"--dir={tmp_path}", "--out=file", selection(server)),
    )
    assert (tmp_path / "file").read_bytes() == entire


# --- the server ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "length"),
    [({}, 20 * MEBIBYTE), ({"Range": f"bytes=1000-{5 * MEBIBYTE + 999}"}, 5 * MEBIBYTE)],
)
def test_files_and_ranges_are_sent_by_the_kernel(
    server: Server, headers: dict[str, str], length: int
) -> None:
    before = server.sent_by_the_kernel()
    response = requests.get(server.address(RANDOM), headers=server.headers | headers)
    assert len(response.content) == length
    assert server.sent_by_the_kernel() - before == length


def test_a_gibibyte_takes_no_memory(server: Server) -> None:
    requests.get(server.address(RANDOM), headers=server.headers)
    before = server.resident_kibibytes()
    received = 0
    with server.slow_reader(SPARSE) as response:
        while piece := response.read(MEBIBYTE):
            received += len(piece)
    assert received == SIZES[SPARSE]
    assert server.resident_kibibytes() - before < 10 * 1024


def test_the_connection_stays_open_after_downloads(server: Server) -> None:
    path = urlsplit(server.address(RANDOM)).path
    with contextlib.closing(server.connect()) as connection:
        sockets = set()
        for headers, status in (({}, 200), ({"Range": "bytes=5-9"}, 206), ({"Range": "bytes=-1"}, 206)):
            connection.request("GET", path, headers=server.headers | headers)
            response = connection.getresponse()
            assert response.status == status
            assert len(response.read()) == int(response.headers["Content-Length"])
            sockets.add(connection.sock)
        assert len(sockets) == 1
        assert None not in sockets


def test_a_file_that_is_truncated_during_a_download_closes_the_connection(server: Server) -> None:
    stored = server.stored(FRAGILE)
    try:
        with server.slow_reader(FRAGILE) as response:
            assert len(response.read(MEBIBYTE)) == MEBIBYTE
            os.truncate(stored, 30 * MEBIBYTE)
            with pytest.raises(http.client.IncompleteRead) as broken:
                response.read()
            assert len(broken.value.partial) == 29 * MEBIBYTE
    finally:
        os.truncate(stored, SIZES[FRAGILE])


def test_no_other_response_is_taken_for_the_rest_of_an_emptied_file(server: Server) -> None:
    stored, parts = server.stored(FRAGILE), urlsplit(server.address(FRAGILE))
    two_requests = (
        f"GET {parts.path} HTTP/1.1\r\nHost: localhost\r\nx-api-key: {server.key}\r\n\r\n"
        "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    )
    try:
        with socket.create_connection((parts.hostname, parts.port), timeout=tools.PATIENCE) as connection:
            connection.sendall(two_requests.encode())
            received = connection.recv(1000)
            os.truncate(stored, 0)
            while piece := connection.recv(MEBIBYTE):
                received += piece
    finally:
        os.truncate(stored, SIZES[FRAGILE])
    assert received.startswith(b"HTTP/1.1 200 OK")
    assert f"Content-Length: {SIZES[FRAGILE]}".encode() in received
    assert b'"status"' not in received


def test_a_stalled_download_is_ended(server: Server) -> None:
    with server.slow_reader(SPARSE) as response:
        assert eventually(lambda: str(server.stored(SPARSE)) in server.open_files())
        assert eventually(lambda: str(server.stored(SPARSE)) not in server.open_files())
        with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
            response.read()


def test_a_slow_download_is_not_ended(server: Server) -> None:
    with server.slow_reader(SPARSE) as response:
        for _ in range(50):
            assert len(response.read(200_000)) == 200_000
            time.sleep(0.1)
        assert str(server.stored(SPARSE)) in server.open_files()


def test_a_file_is_closed_when_the_client_disconnects(server: Server) -> None:
    with server.slow_reader(SPARSE) as response:
        response.read(MEBIBYTE)
        assert str(server.stored(SPARSE)) in server.open_files()
    assert eventually(lambda: str(server.stored(SPARSE)) not in server.open_files())


@pytest.mark.sqlite(reason="a connection is an open file")
def test_a_download_holds_no_database_connection(server: Server) -> None:
    # Each connection has it open; the worker keeps one for itself, and those that its threads share.
    log = str(server.data_dir / "db.sqlite3-wal")
    downloads = MAX_CONNECTIONS + 2
    with contextlib.ExitStack() as readers:
        for _ in range(downloads):
            readers.enter_context(server.slow_reader(SPARSE))
        stored = str(server.stored(SPARSE))
        assert eventually(lambda: server.open_files().count(stored) >= downloads)
        assert server.open_files().count(log) < downloads


def test_a_name_of_ten_thousand_characters_is_not_found(server: Server) -> None:
    for character in "a", "\N{GRINNING FACE}":
        response = requests.get(server.address(character * 10_000), headers=server.headers)
        assert (response.status_code, response.json()["code"]) == (404, 404)


def test_head_leaves_nothing_on_the_connection(server: Server) -> None:
    found, missing = (urlsplit(server.address(name)).path for name in (RANDOM, "none"))
    with contextlib.closing(server.connect()) as connection:
        for method, path, status in (
            ("HEAD", found, 200),
            ("HEAD", missing, 404),
            ("GET", missing, 404),
            ("HEAD", "/accounts/login/", 200),
            ("GET", found, 200),
        ):
            connection.request(method, path, headers=server.headers)
            response = connection.getresponse()
            length = len(response.read())
            assert response.status == status
            assert length == (int(response.headers["Content-Length"]) if method == "GET" else 0)


@pytest.mark.parametrize(
    "request_head",
    [
        b"GET /\xff HTTP/1.1\r\nHost: localhost\r\n",
        b"GET / HTTP/9.9\r\nHost: localhost\r\n",
        b"nonsense\r\n",
        b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\nHost: localhost\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nx-api-key: " + b"k" * 10_000 + b"\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: example.com\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nx-api-key: a\0b\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n",
    ],
    ids=lambda head: repr(head[:60]),
)
def test_a_malformed_request_is_refused_without_details_of_the_server(
    server: Server, request_head: bytes
) -> None:
    response = talk(server, request_head + b"Connection: close\r\n\r\n")
    assert response.startswith(b"HTTP/1.1 4")
    assert b"Traceback" not in response
    assert b"gunicorn/" not in response


def test_a_malformed_request_is_logged_as_a_warning(server: Server) -> None:
    talk(server, b"nonsense\r\nConnection: close\r\n\r\n")
    assert eventually(
        lambda: any(
            line["level"] == "warning" and str(line["event"]).startswith("Invalid request from")
            for line in server.logged()
        )
    )


@pytest.mark.parametrize(
    "body",
    [b"zz\r\n{}\r\n0\r\n\r\n", b"2\r\n{}xx0\r\n\r\n", b"2\r\n{}\r\n0\r\nno trailer\r\n\r\n", b"ff\r\n{"],
)
def test_a_malformed_body_is_a_client_error(server: Server, body: bytes) -> None:
    head = (
        "POST /api/v1/schedules/collections/results/download/ HTTP/1.1\r\nHost: localhost\r\n"
        f"x-api-key: {server.key}\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    )
    response = talk(server, head.encode() + body)
    assert b'{"code":400,"data":"The request body' in response


def test_no_header_changes_the_path_of_the_app(server: Server) -> None:
    response = requests.get(
        f"{server.url}/healthz", headers={"SCRIPT_NAME": "/elsewhere", "PATH_INFO": "/admin/"}
    )
    assert response.json() == {"status": "ok"}


def test_no_header_changes_links_to_https(server: Server) -> None:
    response = requests.post(
        f"{server.url}/api/v1/schedules/collections/results/download/",
        json={"collection_id": 101, "limit": 5},
        headers=server.headers | {"X-Forwarded-Proto": "https", "X-Forwarded-Ssl": "on"},
    )
    links = [link for run in response.json()["data"] for link in run["download_links"]["pages"]]
    assert links
    assert all(link.startswith(server.url) for link in links)


@pytest.mark.parametrize("path", ["/", "/accounts/login/", "/api/v1/schedules/collections/results/download/"])
def test_an_unknown_host_is_refused_and_not_logged_as_an_error(server: Server, path: str) -> None:
    response = requests.get(server.url + path, headers={"Host": "evil.example"})
    assert response.status_code in {400, 405}
    assert "evil.example" not in response.text


# --- stalled clients ----------------------------------------------------------------------------


FORM = b"POST /accounts/login/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999999\r\n"
CHUNK = (
    b"POST /api/v1/schedules/collections/results/download/ HTTP/1.1\r\nHost: localhost\r\n"
    b"x-api-key: KEY\r\nTransfer-Encoding: chunked\r\n\r\nffff\r\n{"
)
STALLED = [
    b"G",
    b"GET / HTTP/1.1\r\nHost: localhost\r\n",
    FORM + b"\r\n",
    FORM + b"Cookie: csrftoken=" + b"a" * 32 + b"\r\n\r\na=b",
    CHUNK,
]


def healthy(server: Server) -> bool:
    return bool(requests.get(f"{server.url}/healthz", timeout=tools.PATIENCE).ok)


@contextlib.contextmanager
def connections(server: Server, sending: Iterable[bytes]) -> Iterator[list[socket.socket]]:
    """Open a connection for each beginning of a request, and send it."""
    parts = urlsplit(server.url)
    with contextlib.ExitStack() as stack:
        opened = []
        for piece in sending:
            connection = socket.create_connection((parts.hostname, parts.port), timeout=tools.PATIENCE)
            opened.append(stack.enter_context(connection))
            connection.sendall(piece.replace(b"KEY", server.key.encode()))
        yield opened


def test_stalled_requests_are_ended(server: Server) -> None:
    with connections(server, STALLED * 8) as stalled:
        assert len(stalled) > THREADS
        assert healthy(server)
        for connection in stalled:
            with contextlib.suppress(ConnectionResetError):
                response = b"".join(iter(lambda c=connection: c.recv(65536), b""))  # type: ignore[misc]
                assert response == b"" or response.startswith(b"HTTP/1.1 403") or b'"code":400' in response, (
                    response
                )


@pytest.mark.parametrize("sending", [b"GET / HTTP/1.1\r\nx: ", FORM + b"\r\n"], ids=["a head", "a body"])
def test_a_request_that_arrives_too_slowly_is_ended(server: Server, sending: bytes) -> None:
    def is_ended() -> bool:
        try:
            connection.sendall(b"x")
        except (BrokenPipeError, ConnectionResetError):
            return True
        return False

    with connections(server, [sending]) as (connection,):
        assert eventually(is_ended)


def test_the_time_limit_applies_to_each_request(server: Server) -> None:
    with contextlib.closing(server.connect()) as connection:
        sockets = set()
        for _ in range(3):
            connection.request("GET", "/healthz")
            assert connection.getresponse().read()
            sockets.add(connection.sock)
            time.sleep(2)
        assert len(sockets) == 1


def test_idle_connections_do_not_block_other_clients(server: Server) -> None:
    assert any(responds_within_a_second(server) for _ in range(3))  # other work on this machine may delay it


def responds_within_a_second(server: Server) -> bool:
    """Return whether the server responds at once although half of its threads have just sent a response."""
    ended = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    with connections(server, [ended] * (THREADS // 2)) as lingering:
        for connection in lingering:
            assert connection.recv(1000).startswith(b"HTTP/1.1 200")
        begun = time.monotonic()
        assert healthy(server)
        return time.monotonic() - begun < 1


def test_uploads_are_not_stored(server: Server) -> None:
    session = requests.Session()
    page = session.get(f"{server.url}/accounts/login/").text
    token = page.split('name="csrfmiddlewaretoken" value="')[1].split('"')[0]
    spooled: list[Any] = []
    before = server.resident_kibibytes()
    field = f'--x\r\nContent-Disposition: form-data; name="csrfmiddlewaretoken"\r\n\r\n{token}\r\n'
    file = '--x\r\nContent-Disposition: form-data; name="f"; filename="f"\r\n\r\n'
    size, piece = 30, b"a" * MEBIBYTE
    total = len(field) + len(file) + size * MEBIBYTE + len("\r\n--x--\r\n")

    def body() -> Iterator[bytes]:
        yield (field + file).encode()
        for _ in range(size):
            yield piece
            spooled.extend(path for path in server.open_files() if ".upload" in path)
        yield b"\r\n--x--\r\n"

    headers = {"Content-Type": "multipart/form-data; boundary=x", "Content-Length": str(total)}
    prepared = session.prepare_request(requests.Request("POST", f"{server.url}/accounts/login/"))
    connection = server.connect()
    with contextlib.closing(connection):
        headers |= {"Cookie": prepared.headers["Cookie"]}
        connection.request("POST", "/accounts/login/", body=body(), headers=headers)
        assert connection.getresponse().status == 200
    assert not spooled
    assert server.resident_kibibytes() - before < 10 * 1024


def talk(server: Server, request: bytes) -> bytes:
    """Send bytes as they are and return the entire response."""
    parts = urlsplit(server.url)
    with socket.create_connection((parts.hostname, parts.port), timeout=tools.PATIENCE) as connection:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65536), b""))
