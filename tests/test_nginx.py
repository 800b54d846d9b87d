"""Downloads and uploads through a real nginx with our configuration and a real gunicorn."""

import contextlib
import hashlib
import http.client
import json
import os
import random
import re
import shutil
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
import requests

from tests.support import databases, tools
from tests.support.object_store import BUCKET, ObjectStore, client_of
from tests.support.server import GUNICORN, environment, free_port, manage, wait_until_it_answers
from tests.support.tools import ROOT, eventually
from tests.test_delivery_over_http import MAKE_KEY
from tests.test_uploads_over_http import signed_in

pytestmark = pytest.mark.scaled_out

MEBIBYTE = 2**20
LARGE = "large.json"
ODD = 'Größe 列😀 "q" 50%25 a+b;c.json'
EMPTY = "empty.json"
RESTORED = "restored.json"  # its modification time isn't the one in its row
LOST = "lost.json"
SIZES = {LARGE: 8 * MEBIBYTE + 11, ODD: 100_001, EMPTY: 0, RESTORED: 5000, LOST: 5000}
KEYS = {name: f"101/88/0123456789abcdef-{number}" for number, name in enumerate(SIZES)}
ADD_FILES = f"""
import datetime
from collections_app.models import Run
run = Run.objects.get(collection=101, number=88)
for position, (name, size) in enumerate({SIZES!r}.items(), 1000):
    run.files.create(
        kind="page", position=position, name=name, key={KEYS!r}[name], size=size,
        modified=datetime.datetime(2026, 6, 20, 12, 5, tzinfo=datetime.UTC), sha256="5a" * 32,
    )
"""
MODIFIED = 1781957100  # that time
SECURITY = {
    "Cache-Control": "private",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def content(name: str) -> bytes:
    return random.Random(name).randbytes(SIZES[name])


@dataclass(frozen=True)
class Site:
    """nginx with gunicorn behind it. `behind` is the URL of gunicorn."""

    kind: str
    url: str
    behind: str
    key: str
    folder: Path
    nginx: int  # its process

    def address(self, name: str) -> str:
        return f"{self.url}/api/v1/results/101/88/{quote(name, safe='')}"

    def get(self, name: str, method: str = "GET", **headers: str) -> requests.Response:
        named = {header.replace("_", "-"): value for header, value in headers.items()}
        named |= {"x-api-key": self.key, "Accept-Encoding": "identity"}
        return requests.request(method, self.address(name), headers=named, timeout=tools.PATIENCE)

    def directly(self, name: str, method: str = "GET", **headers: str) -> requests.Response:
        """Request a path from the app directly."""
        named = {header.replace("_", "-"): value for header, value in headers.items()} | {
            "x-api-key": self.key
        }
        path = urlsplit(self.address(name)).path
        return requests.request(method, f"{self.behind}{path}", headers=named, timeout=tools.PATIENCE)

    def line(self, answer: requests.Response) -> dict[str, Any]:
        """Return nginx's log line of a response, which it writes when the response has ended."""
        request_id = answer.headers["X-Request-ID"]
        assert eventually(lambda: request_id in (self.folder / "access.log").read_text())
        lines = map(json.loads, (self.folder / "access.log").read_text().splitlines())
        (line,) = [line for line in lines if line["request_id"] == request_id]
        return dict(line)

    def logs(self) -> str:
        return "".join((self.folder / name).read_text() for name in ("access.log", "error.log"))


def render(folder: Path, data_dir: Path, port: int, app: int, store: ObjectStore | None) -> None:
    """Write our configuration to a folder, with other ports."""
    (folder / "nginx").mkdir()
    shutil.copy(ROOT / "deploy" / "nginx.conf", folder)
    for path in (ROOT / "deploy" / "nginx").iterdir():
        text = (
            path.read_text().replace("web:8000", f"127.0.0.1:{app}").replace("listen 80;", f"listen {port};")
        )
        text = text.replace("/dev/stdout", "access.log")
        text = text.replace("gate:8333", f"127.0.0.1:{store.port if store else 8333}")
        (folder / "nginx" / path.name).write_text(text)
    (folder / "results").symlink_to(data_dir / "results")
    (folder / "static").symlink_to(data_dir / "static")


def store_files(data_dir: Path, store: ObjectStore | None, prefix: str) -> None:
    client = client_of(store) if store else None
    for name, key in KEYS.items():
        path = data_dir / "results" / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content(name))
        os.utime(path, (MODIFIED, MODIFIED + (name == RESTORED)))
        if client:
            client.upload_file(str(path), BUCKET, f"{prefix}/{key}")
            path.unlink()
    if client:
        client.close()


@pytest.fixture(scope="module", params=["folder", "s3"])
def site(
    request: pytest.FixtureRequest, demo_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    nginx = tools.needs("nginx")
    store = request.getfixturevalue("object_store") if request.param == "s3" else None
    folder = tmp_path_factory.mktemp("nginx")
    data_dir, log = folder / "data", folder / "log"
    databases.copy(demo_data, data_dir)
    port, app = free_port(), free_port()
    render(folder, data_dir, port, app, store)
    store_files(data_dir, store, folder.parent.name + folder.name)
    manage(data_dir, "shell", "--no-imports", "--command", ADD_FILES)
    key = manage(data_dir, "shell", "--no-imports", "--command", MAKE_KEY).split()[-1]
    more = {"PORT": str(app), "WEB_CONCURRENCY": "1", "WEB_THREADS": "20", "DELIVERY": "nginx"}
    if store is not None:
        more["RESULTS_STORAGE_URL"] = store.url(folder.parent.name + folder.name)
    # Only root can use its default folders for temporary files.
    here = "".join(f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy"))
    upstreams = folder / "nginx" / "upstreams.conf"
    upstreams.write_text(f"{upstreams.read_text()}\n{here}\n")
    options = f"daemon off; pid {folder}/pid; error_log {folder}/error.log info;"
    if Path("/proc/self").stat().st_uid == 0:
        options += " user root;"
    command = [nginx, "-e", str(folder / "error.log"), "-p", str(folder), "-c", str(folder / "nginx.conf")]
    with (
        tools.running(*GUNICORN, log=log, env=environment(data_dir, **more)) as behind,
        tools.running(*command, "-g", options, log=log) as front,
    ):
        wait_until_it_answers(f"http://127.0.0.1:{app}", behind, log)
        wait_until_it_answers(f"http://127.0.0.1:{port}", front, log)
        yield Site(
            request.param, f"http://127.0.0.1:{port}", f"http://127.0.0.1:{app}", key, folder, front.pid
        )


def test_the_configuration_is_valid(site: Site) -> None:
    command = ["nginx", "-t", "-e", "/dev/null", "-p", site.folder, "-c", site.folder / "nginx.conf"]
    done = tools.run(*command, check=False)
    assert "[warn]" not in done.stderr.replace('the "user" directive', "")
    assert "syntax is ok" in done.stderr


@pytest.mark.parametrize("name", [LARGE, ODD, EMPTY])
def test_nginx_sends_the_file_with_every_header_of_the_app(site: Site, name: str) -> None:
    told = site.directly(name)
    assert told.headers["X-Accel-Redirect"].startswith("/_delivered/")
    assert told.content == b""
    answer = site.get(name)
    assert (answer.status_code, answer.content) == (200, content(name))
    by_the_app = site.directly(name, "HEAD").headers
    expected = {
        header: value
        for header, value in by_the_app.items()
        if header not in {"Date", "Connection", "X-Request-ID", "X-Accel-Buffering"}
    }
    given = dict(answer.headers)
    for header in ("Date", "Connection", "Server", "X-Request-ID"):
        given.pop(header, None)
    expected.pop("Server", None)
    assert {header.lower(): value for header, value in given.items()} == {
        header.lower(): value for header, value in expected.items()
    }
    assert answer.headers["Server"] == "nginx"
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert SECURITY.items() <= dict(answer.headers).items()
    assert f"filename*=UTF-8''{quote(name, safe='')}" in answer.headers["Content-Disposition"] or name != ODD


@pytest.mark.parametrize(
    "asked", ["bytes=0-0", "bytes=10-19", "bytes=-5", "bytes=70000-", "bytes=5-999999999"]
)
def test_nginx_sends_a_range(site: Site, asked: str) -> None:
    assert "X-Accel-Redirect" in site.directly(ODD, Range=asked).headers
    answer, by_the_app = site.get(ODD, Range=asked), site.directly(ODD, Range=asked, X_Delivery_Failed="1")
    complete = content(ODD)
    first, last = map(int, re.findall(r"\d+", by_the_app.headers["Content-Range"])[:2])
    assert (answer.status_code, answer.content) == (206, complete[first : last + 1])
    for header in ("Content-Range", "Content-Length", "ETag", "Last-Modified", "Repr-Digest", *SECURITY):
        assert answer.headers[header] == by_the_app.headers[header], header


@pytest.mark.parametrize(
    "headers",
    [
        {"Range": "bytes=0-4,10-14"},
        {"Range": "bytes=9-5"},
        {"Range": "lines=1-2"},
        {"Range": "bytes=0-99999999999999999999999"},
        {"Range": "bytes=999999-"},
        {"Range": "bytes=5-9", "If_Range": '"another"'},
        {"Range": "bytes=5-9", "If_Range": "SAME"},
        {"If_None_Match": "SAME"},
        {"If_None_Match": '"another"'},
        {"If_Match": "SAME"},
        {"If_Match": '"another"'},
        {"If_Modified_Since": "Sat, 20 Jun 2026 12:05:00 GMT"},
        {"If_Modified_Since": "Sat, 20 Jun 2026 12:04:00 GMT"},
        {"If_Unmodified_Since": "Sat, 20 Jun 2026 12:04:00 GMT"},
        {"If_Unmodified_Since": "Sat, 20 Jun 2026 12:05:00 GMT"},
    ],
    ids=str,
)
def test_conditions_and_unusual_ranges_work_as_in_the_app(site: Site, headers: dict[str, str]) -> None:
    etag = site.directly(ODD, "HEAD").headers["ETag"]
    headers = {name: etag if value == "SAME" else value for name, value in headers.items()}
    by_the_app = site.directly(ODD, X_Delivery_Failed="1", **headers)
    answer = site.get(ODD, **headers)
    assert (answer.status_code, answer.content) == (by_the_app.status_code, by_the_app.content)
    for header in ("ETag", "Last-Modified", "Content-Range", "Content-Length", "Accept-Ranges"):
        assert answer.headers.get(header) == by_the_app.headers.get(header), header


@pytest.mark.parametrize("headers", [{}, {"Range": "bytes=3-7"}, {"Range": "bytes=999999-"}], ids=str)
def test_head_is_get_without_the_body_for_any_range(site: Site, headers: dict[str, str]) -> None:
    got, head = site.get(ODD), site.get(ODD, "HEAD", **headers)
    assert (head.status_code, head.content) == (got.status_code, b"")
    changing = {"Date", "X-Request-ID"}
    assert {name: value for name, value in head.headers.items() if name not in changing} == {
        name: value for name, value in got.headers.items() if name not in changing
    }


def test_curl_resumes(site: Site, tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_bytes(content(LARGE)[: 3 * MEBIBYTE + 1])
    command = ["curl", "--silent", "--show-error", "--fail", "--continue-at", "-", "--output", target]
    tools.run(*command, "--header", f"x-api-key: {site.key}", site.address(LARGE))
    assert hashlib.sha256(target.read_bytes()).digest() == hashlib.sha256(content(LARGE)).digest()


def test_signed_in_users_can_download(site: Site) -> None:
    session = requests.Session()
    page = session.get(f"{site.url}/accounts/login/").text
    token = page.split('name="csrfmiddlewaretoken" value="')[1].split('"')[0]
    account = (site.folder / "data" / "demo.json").read_text()
    email, password = (re.search(rf'"{field}": "([^"]+)"', account)[1] for field in ("email", "password"))  # type: ignore[index]
    form = {"csrfmiddlewaretoken": token, "login": email, "password": password}
    session.post(f"{site.url}/accounts/login/", form, headers={"Referer": site.url})
    answer = session.get(f"{site.url}/collections/101/runs/88/files/{quote(ODD, safe='')}")
    assert (answer.status_code, answer.content) == (200, content(ODD))


def test_a_file_with_a_changed_time_is_sent_by_the_app(site: Site) -> None:
    if site.kind == "folder":
        assert "X-Accel-Redirect" not in site.directly(RESTORED).headers
    answer = site.get(RESTORED)
    assert (answer.status_code, answer.content) == (200, content(RESTORED))
    assert answer.headers["ETag"] == site.directly(RESTORED, "HEAD").headers["ETag"]


@pytest.mark.parametrize("scheme", ["Bearer", "Token"])
def test_the_key_can_be_in_the_authorization_header(site: Site, scheme: str) -> None:
    headers = {"Authorization": f"{scheme} {site.key}"}
    answer = requests.get(site.address(ODD), headers=headers, timeout=tools.PATIENCE)
    assert (answer.status_code, answer.content) == (200, content(ODD))
    assert site.key not in site.logs()


def test_rejections_are_those_of_the_app(site: Site) -> None:
    path = urlsplit(site.address(ODD)).path
    refused = requests.get(f"{site.url}{path}")
    assert (refused.status_code, refused.json()["code"]) == (401, 401)
    assert refused.headers["WWW-Authenticate"].startswith("Bearer ")
    other = f"{site.url}/api/v1/results/999999/88/a.json"
    assert requests.get(other, headers={"x-api-key": site.key}).json()["code"] == 403
    assert site.get("no such file").json()["code"] == 404
    page = requests.get(f"{site.url}/nothing/here")
    assert page.status_code == 404
    assert "<title>" in page.text
    assert "nginx" not in page.text


def test_the_app_reports_files_that_nginx_can_not_send(site: Site) -> None:
    told = site.directly(LOST).headers
    assert "X-Accel-Redirect" in told
    if site.kind == "folder":
        # nginx looks for the file in another folder.
        link = site.folder / "results"
        target = link.readlink()
        link.unlink()
        link.symlink_to(site.folder / "nothing")
        try:
            answer = site.get(LOST)
            assert (answer.status_code, answer.content) == (200, content(LOST))
            for name in ("Content-Disposition", "Cache-Control", "X-Content-Type-Options", "X-Request-ID"):
                assert len(answer.raw.headers.getlist(name)) == 1
        finally:
            link.unlink()
            link.symlink_to(target)
        (site.folder / "data" / "results" / KEYS[LOST]).unlink()
        answer = site.get(LOST)
        assert (answer.status_code, answer.json()["code"]) == (404, 404)
        assert "Content-Disposition" not in answer.headers
    else:
        with changed(site, "object_storage", free_port()):  # no server listens
            for _ in range(100):
                answer = site.get(LOST)
                assert (answer.status_code, answer.content) == (200, content(LOST))
                assert len(answer.raw.headers.getlist("Content-Disposition")) == 1
                if "Connection refused" in site.logs():
                    break
            else:
                pytest.fail("nginx has asked the other port never.")


@pytest.mark.parametrize("path", ["results/KEY", "objects/results/KEY", "", "results/../results/KEY"])
def test_files_can_not_be_reached_without_the_app(site: Site, path: str) -> None:
    path = path.replace("KEY", KEYS[ODD])
    for start in ("/_delivered/", "//_delivered/", "/%5Fdelivered/"):
        answer = requests.get(f"{site.url}{start}{path}", headers={"x-api-key": site.key})
        assert answer.status_code == 404
        assert content(ODD) not in answer.content


def test_no_internal_header_reaches_clients_or_logs(site: Site) -> None:
    for headers in ({}, {"Range": "bytes=1-2"}):
        answer = site.get(LARGE, **headers)
        names = " ".join(answer.headers).lower()
        for secret in ("x-accel", "x-delivery", "x-object", "amz", "seaweed", "authorization"):
            assert secret not in names
    logs = site.logs()
    assert "/api/v1/results/101/88/" in logs
    assert "Signature" not in logs
    assert "AWS4" not in logs
    assert site.key not in logs


def test_its_log_line_has_the_bytes_that_were_sent(site: Site) -> None:
    line = site.line(site.get(ODD, Range="bytes=10-19"))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d", line.pop("time"))
    assert re.fullmatch("[0-9a-f]{32}", line.pop("request_id"))
    assert 0 <= line.pop("seconds") < 60
    assert line == {
        "method": "GET",
        "path": urlsplit(site.address(ODD)).path,
        "status": 206,
        "bytes": 10,
        "complete": True,
        "client": "127.0.0.1",
    }


def test_its_log_line_has_the_bytes_sent_before_a_client_disconnects(site: Site) -> None:
    headers = {"x-api-key": site.key}
    with requests.get(site.address(LARGE), headers=headers, stream=True, timeout=tools.PATIENCE) as answer:
        answer.raw.read(1)
    line = site.line(answer)
    assert line["complete"] is False
    assert 0 < line["bytes"] < SIZES[LARGE]


LINK = "/accounts/password/reset/key/1-canary-0123456789/"


@pytest.mark.parametrize(
    "asked",
    [
        LINK,
        f"{LINK}canary",
        LINK.replace("key", "%6Bey").replace("reset/", "reset//"),
        "/collections/?secret=canary",
        "/%7Fcanary-of-a-name/?x=%63anary",
    ],
)
def test_its_logs_contain_no_password_links_and_no_queries(site: Site, asked: str) -> None:
    line = site.line(requests.get(f"{site.url}{asked}", allow_redirects=False))
    if "name" in asked:
        assert line["path"] == "/%7Fcanary-of-a-name/"
    else:
        assert "canary" not in line["path"]
    assert line["path"].startswith("/")
    assert "1-canary" not in site.logs()


def test_an_invalid_request_has_a_json_log_line(site: Site) -> None:
    for sent in (b"nonsense\r\n\r\n", b'GET /\xff"\\canary HTTP/1.0\r\n\r\n', b"\x16\x03\x01\r\n\r\n"):
        with socket.create_connection((urlsplit(site.url).hostname, urlsplit(site.url).port)) as connection:
            connection.sendall(sent)
            while connection.recv(65536):
                pass
    for line in (site.folder / "access.log").read_text().splitlines():
        assert json.loads(line)["client"] == "127.0.0.1"


def test_nginx_sends_static_files_compressed_and_cacheable_forever(site: Site) -> None:
    page = requests.get(f"{site.url}/accounts/login/").text
    (sheet,) = re.findall(r'href="(/static/[^"]+\.css)"', page)[:1]
    answer = requests.get(f"{site.url}{sheet}", headers={"Accept-Encoding": "gzip"})
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/css")
    assert answer.headers["Content-Encoding"] == "gzip"
    assert "immutable" in answer.headers["Cache-Control"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert requests.get(f"{site.url}/static/../data/db.sqlite3").status_code == 404


def test_the_manifest_of_static_files_is_not_served(site: Site) -> None:
    assert (site.folder / "static" / "staticfiles.json").exists()
    answer = requests.get(f"{site.url}/static/staticfiles.json")
    assert answer.status_code == 404
    assert "immutable" not in answer.headers.get("Cache-Control", "")


def said_by(site: Site, request: bytes) -> http.client.HTTPResponse:
    """Send a raw request, return its response, and close the connection."""
    with socket.create_connection((urlsplit(site.url).hostname, urlsplit(site.url).port)) as connection:
        connection.sendall(request)
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        answer.body = answer.read()  # type: ignore[attr-defined]
        return answer


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ("GET / HTTP/1.1", 400),
        ("GET /static/nothing HTTP/1.0", 404),
        ("GET /metrics HTTP/1.0", 404),
        ("GET /static/ HTTP/1.0", 403),
        ("POST /static/css/SHEET HTTP/1.0", 405),
        (f"GET /{'x' * 40_000} HTTP/1.0", 414),
        ("POST / HTTP/1.0\r\nContent-Length: 99999999", 413),
    ],
    ids=lambda value: str(value)[:20],
)
def test_its_error_pages_have_the_security_headers_of_the_app(site: Site, asked: str, status: int) -> None:
    sheet = next((site.folder / "static" / "css").glob("*.css"))
    answer = said_by(site, f"{asked}\r\n\r\n".replace("SHEET", sheet.name).encode())
    assert answer.status == status
    assert answer.headers.get_all("X-Content-Type-Options") == ["nosniff"]
    assert answer.headers.get_all("Content-Security-Policy") == ["default-src 'none'; frame-ancestors 'none'"]
    assert len(answer.headers.get_all("X-Request-ID", [])) == 1
    assert "Retry-After" not in answer.headers
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert b"<h1>" in answer.body  # type: ignore[attr-defined]
    assert b"nginx" not in answer.body  # type: ignore[attr-defined]


def test_scripts_get_nginx_errors_as_json(site: Site) -> None:
    answer = said_by(site, f"GET /api/{'x' * 40_000} HTTP/1.0\r\n\r\n".encode())
    assert answer.status == 414
    answer = said_by(site, b"TRACE /api/v1/x HTTP/1.0\r\n\r\n")
    assert (answer.status, answer.headers["Content-Type"]) == (405, "application/json")
    assert json.loads(answer.body)["code"] == 405  # type: ignore[attr-defined]


def test_responses_of_the_app_have_no_duplicate_headers(site: Site) -> None:
    for path in ("/accounts/login/", "/nothing/here", "/api/v1/results/1/1/x"):
        headers = requests.get(f"{site.url}{path}").raw.headers
        assert [name for name in headers if len(headers.getlist(name)) > 1 and name != "Set-Cookie"] == []
        assert headers["X-Request-ID"]


@pytest.mark.parametrize("body", ["Content-Length: 10485761", "Transfer-Encoding: chunked\r\n\r\nA00001"])
def test_a_body_that_is_too_large_gets_our_error_page(site: Site, body: str) -> None:
    for path, kind in (("/accounts/login/", "text/html; charset=utf-8"), ("/api/v1/x", "application/json")):
        start = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
        answer = said_by(site, f"{start}{body}\r\n\r\n".encode())
        assert (answer.status, answer.headers["Content-Type"]) == (413, kind)
        assert "Retry-After" not in answer.headers
        assert b"larger than 10 MB" in answer.body  # type: ignore[attr-defined]
    assert json.loads(answer.body)["code"] == 413  # type: ignore[attr-defined]


def test_permission_is_checked_before_nginx_has_the_body(site: Site) -> None:
    start = (
        "POST /collections/101/upload HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
        "Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 2147483648\r\n\r\n"
    )
    answer = said_by(site, start.encode())
    assert answer.status == 302
    assert answer.headers["Location"].startswith("/accounts/login/")


def test_an_upload_may_be_larger_than_other_requests(site: Site) -> None:
    session = signed_in(site.url, site.folder / "data")
    form = session.get(f"{site.url}/collections/101/upload").text
    token = form.partition('action="?token=')[2].partition('"')[0]
    page = b"[" + b" " * 11 * MEBIBYTE + b"{}]"
    answer = session.post(
        f"{site.url}/collections/101/upload?token={token}",
        files={"files": ("page_1.json", page)},
        allow_redirects=False,
    )
    assert answer.status_code == 302
    assert answer.headers["Location"].startswith("/collections/101/download#run-")


def test_too_many_connections_get_our_error_page(site: Site) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        edited(site, "nginx.conf", {"limit_conn addresses 600": "limit_conn addresses 1"}),
        changed(site, "app", silent.getsockname()[1]),
        contextlib.ExitStack() as waiting,
    ):
        address = (urlsplit(site.url).hostname, urlsplit(site.url).port)
        while True:  # until nginx has read it and waits for the app
            held = waiting.enter_context(socket.create_connection(address))
            held.sendall(b"GET / HTTP/1.0\r\n\r\n")
            held.settimeout(0.2)
            with contextlib.suppress(TimeoutError):
                held.recv(1)
                continue
            break
        page = requests.get(f"{site.url}/accounts/login/")
        script = site.get(ODD)
    for answer in (page, script):
        assert (answer.status_code, answer.headers["Retry-After"]) == (429, "5")
        assert "600 requests running" in answer.text
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert (script.json()["code"], script.json()["status"]) == (429, 0)
    assert eventually(lambda: requests.get(f"{site.url}/healthz").status_code == 200)


def test_metrics_are_not_served_by_nginx(site: Site) -> None:
    for path in ("/metrics", "//metrics", "/%6Detrics"):
        assert requests.get(f"{site.url}{path}").status_code == 404


def test_responses_have_the_request_id_of_nginx(site: Site) -> None:
    for answer in (site.get(ODD), requests.get(f"{site.url}/accounts/login/")):
        given = answer.headers["X-Request-ID"]
        assert re.fullmatch("[0-9a-f]{32}", given)
        assert eventually(lambda given=given: given in site.logs())  # type: ignore[misc]  # nginx writes its line later
        assert site.get(ODD, X_Request_ID="forged-by-a-client").headers["X-Request-ID"] != given


def reload(site: Site) -> None:
    """Reload nginx. Return once no process uses the old configuration."""

    def takes_requests(pid: str) -> bool:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            return b"shutting down" not in Path(f"/proc/{pid}/cmdline").read_bytes()
        return False

    def workers() -> set[str]:
        children = Path(f"/proc/{site.nginx}/task/{site.nginx}/children").read_text().split()
        return {pid for pid in children if takes_requests(pid)}

    before = workers()
    os.kill(site.nginx, signal.SIGHUP)
    assert eventually(lambda: bool(workers()) and not workers() & before), site.logs()


@contextlib.contextmanager
def edited(site: Site, name: str, changes: dict[str, str]) -> Iterator[None]:
    """Change a file of nginx's configuration and reload it."""
    path = site.folder / name
    before = after = path.read_text()
    for pattern, text in changes.items():
        after, count = re.subn(pattern, text, after)
        assert count
    path.write_text(after)
    reload(site)
    try:
        yield
    finally:
        path.write_text(before)
        reload(site)


def changed(site: Site, upstream: str, port: int) -> contextlib.AbstractContextManager[None]:
    """Change the port of the app or of the object storage."""
    where = rf"(upstream {upstream} \{{\s+server 127.0.0.1:)\d+"
    return edited(site, "nginx/upstreams.conf", {where: rf"\g<1>{port}"})


@contextlib.contextmanager
def answering(status: int) -> Iterator[tuple[int, list[str]]]:
    """An object storage that rejects all requests: its port and its requests."""
    asked: list[str] = []

    class Refusing(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            asked.append(self.path)
            body = b"<Error><Code>Refused</Code><Message>canary</Message></Error>"
            self.send_response(status)
            self.send_header("Content-Type", "application/xml")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server.server_port, asked
        server.shutdown()
        thread.join()


@contextlib.contextmanager
def app_that_tells(site: Site) -> Iterator[Callable[..., dict[str, str]]]:
    """Let nginx use an app that echoes requests. Yield a function that sends one from an address."""

    class Telling(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps({name.lower(): value for name, value in self.headers.items()}).encode()
            self.send_response(200)
            self.send_header("X-Told", "1")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    def told(origin: str, headers: dict[str, str]) -> dict[str, str]:
        url = urlsplit(site.url)
        connection = http.client.HTTPConnection(
            url.netloc, timeout=tools.PATIENCE, source_address=(origin, 0)
        )
        with contextlib.closing(connection):
            named = {header.replace("_", "-"): value for header, value in headers.items()}
            connection.request("GET", "/", headers=named)
            with connection.getresponse() as answer:
                return dict(json.load(answer)) if answer.headers["X-Told"] else {}

    def ask(origin: str = "127.0.0.1", **headers: str) -> dict[str, str]:
        # Old workers of nginx accept connections for a moment after new ones have started.
        found: dict[str, str] = {}
        assert eventually(lambda: bool(found.update(told(origin, headers)) or found)), site.logs()[-3000:]
        return found

    with ThreadingHTTPServer(("127.0.0.1", 0), Telling) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        with changed(site, "app", server.server_port):
            yield ask
        server.shutdown()
        thread.join()


FORGED = {"X_Forwarded_Proto": "https", "X_Forwarded_For": "198.51.100.7"}


def test_clients_can_not_forge_forwarded_headers(site: Site) -> None:
    with app_that_tells(site) as ask:
        told = ask(**FORGED)
    assert told["x-forwarded-proto"] == "http"
    assert told["x-forwarded-for"] == "198.51.100.7, 127.0.0.1"  # the last one counts


def test_only_the_configured_load_balancer_sets_forwarded_headers(site: Site) -> None:
    address = "127.0.0.9"
    as_said = {r"# (.*)192.0.2.0/28": rf"\g<1>{address}", "# real_ip_header": "real_ip_header"}
    with edited(site, "nginx/balancer.conf", as_said), app_that_tells(site) as ask:
        by_https, by_http = ask(address, **FORGED), ask(address, X_Forwarded_Proto="http")
        silent, stranger = ask(address), ask("127.0.0.10", **FORGED)
    assert by_https["x-forwarded-proto"] == "https"
    assert by_https["x-forwarded-for"].split(", ")[-1] == "198.51.100.7"
    assert by_http["x-forwarded-proto"] == silent["x-forwarded-proto"] == "http"
    assert stranger["x-forwarded-proto"] == "http"
    assert stranger["x-forwarded-for"].split(", ")[-1] == "127.0.0.10"


def test_with_a_certificate_it_serves_http_and_https(site: Site, tmp_path: Path) -> None:
    certificate, port = tmp_path / "fullchain.pem", free_port()
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    make += ["-nodes", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    pair = ["-keyout", tmp_path / "privkey.pem", "-out", certificate]
    tools.run(*make, *pair)
    as_said = {r"(?m)^# (listen|ssl)": r"\1", "/etc/nginx/tls": str(tmp_path), "listen 443": f"listen {port}"}
    with edited(site, "nginx/listen.conf", as_said), app_that_tells(site) as ask:
        assert ask()["x-forwarded-proto"] == "http"
        answer = requests.get(f"https://127.0.0.1:{port}/", verify=str(certificate))
    assert answer.json()["x-forwarded-proto"] == "https"


@pytest.mark.parametrize("status", [307, 403, 404, 416, 500, 503])
def test_errors_of_the_object_storage_are_hidden(site: Site, status: int) -> None:
    if site.kind == "folder":
        return  # nginx uses no other server
    with answering(status) as (port, asked), changed(site, "object_storage", port):
        for _ in range(100):
            answer = site.get(ODD)
            assert (answer.status_code, answer.content) == (200, content(ODD))
            assert "filename" in answer.headers["Content-Disposition"]
            assert "Location" not in answer.headers
            if asked:
                break
    assert asked


def test_password_links_are_not_in_the_error_log_while_the_app_is_down(site: Site) -> None:
    with changed(site, "app", free_port()):
        for _ in range(100):
            answer = requests.get(f"{site.url}{LINK}")
            if answer.status_code == 503:
                break
    assert answer.status_code == 503
    assert site.line(answer)["path"] == "/accounts/password/reset/key/..."
    assert "1-canary" not in site.logs()
    for _ in range(100):  # until nginx has read the old configuration
        if requests.get(f"{site.url}/healthz").status_code == 200:
            break


def test_without_the_app_people_and_scripts_are_asked_to_try_again(site: Site) -> None:
    with changed(site, "app", free_port()):
        for _ in range(100):
            page = requests.get(f"{site.url}/accounts/login/")
            script = site.get(ODD)
            if page.status_code == script.status_code == 503:
                break
    for answer in (page, script):
        assert answer.status_code == 503
        assert int(answer.headers["Retry-After"]) > 0
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "nginx" not in answer.text
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "<h1>Back in a moment</h1>" in page.text
    assert script.headers["Content-Type"] == "application/json"
    assert (script.json()["code"], script.json()["status"]) == (503, 0)
    for _ in range(100):  # until nginx has read the old configuration
        if requests.get(f"{site.url}/accounts/login/").status_code == 200:
            break
