"""An account's key never leaves the app: everything that the app outputs is searched for it.

The account's server repeats the key in every response, so its responses are dangerous too.
"""

import base64
import json
import logging
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import StringIO
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import pytest
import requests
from django.conf import settings as site
from django.core.management import CommandError, call_command
from django.db import connection
from django.http.response import HttpResponseBase
from django.test import Client
from pytest_django import Settings

from collections_app.management.worker import Worker
from collections_app.models import Account, Collection, ResultFile, Run, User
from collections_app.sources import account as account_source
from collections_app.sources.upstream import connection as upstream_connection
from collections_app.sources.upstream import http as transport
from collections_app.sources.upstream.server import server_of
from collections_app.views.team import account_checks
from tests.conftest import PASSWORD
from tests.support import databases, tools
from tests.support.mirrors import zip_of
from tests.support.results import records
from tests.support.server import environment, free_port, gunicorn, wait_until_it_answers
from tests.support.upstream import list_in_the_same_thread

KEYS = ["canary-one.6f1d0c9be2a7d34e5f60", "canary-two.93b85ce7d1f0a4426c18"]
LAPTOPS, HEADPHONES = 7001, 7002  # collections at the account
PAGE, ARCHIVE = "AU Laptops_88_Results_Page_1.json", "AU Laptops_88_Results_All_Pages.zip"
FILES = {PAGE: json.dumps(records(3)).encode(), "category_asins.json": json.dumps(records(3)).encode()}
FILES[ARCHIVE] = zip_of({PAGE: FILES[PAGE]})

# The responses of the account's server in its bad modes. KEY stands for the key that it received.
_REFUSAL = '{"code": 401, "data": "KEY is unknown", "status": 0, "key": "KEY"}'
BAD_RESPONSES = {
    "refuses": (401, "application/json", _REFUSAL),
    "refuses in 200": (200, "application/json", _REFUSAL),
    "html": (200, "text/html", "<h1>Sign in with KEY</h1>"),
    "redirects": (307, "text/plain", "KEY"),
    "nonsense": (200, "application/json", '{"code": 200, "data": {"KEY": "KEY"}, "status": 1}'),
    "broken": (200, "application/octet-stream", "KEY"),
    "fails": (500, "text/plain", "Traceback: KEY"),
    "gone": (404, "text/plain", "KEY"),
}
MODES = [*BAD_RESPONSES, "garbage", "silent", "good"]
if not tools.is_thorough():
    MODES = ["redirects", "broken", "good"]

# A part of a key is a leak too, but its last four characters may be shown.
_PART = 10


def _traces() -> list[bytes]:
    parts = {key[start : start + _PART] for key in KEYS for start in range(len(key) - _PART)}
    shifted = (base64.b64encode(b"-" * shift + key.encode())[4:-4] for key in KEYS for shift in range(3))
    return [*(part.encode() for part in parts), *shifted, *(key.encode().hex().encode() for key in KEYS)]


TRACES = [trace.lower() for trace in _traces()]


def assert_clean(content: bytes | str, where: object) -> None:
    """Fail if the content contains a part of a key, in any case. The message shows its surroundings."""
    content = content.encode() if isinstance(content, str) else content
    lowered = content.lower()  # searching for each trace is ten times as fast as one pattern
    for trace in TRACES:
        found = lowered.find(trace)
        assert found < 0, f"{where}: {content[max(0, found - 200) : found + 50]!r}"


def assert_clean_folder(folder: Path) -> None:
    """Fail if the names or contents of the files in a folder contain a part of a key."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    for path in files:
        assert_clean(str(path.relative_to(folder)), folder)
        assert_clean(path.read_bytes(), path)


def test_the_search_finds_what_it_searches_for() -> None:
    (key, _), basic = KEYS, base64.b64encode(f"user:{KEYS[0]}".encode())
    for leak in (key.encode(), key[3:16].encode(), key.upper().encode(), basic, key.encode().hex().encode()):
        with pytest.raises(AssertionError):
            assert_clean(b"before " + leak + b" after", "here")
    assert_clean(b"\xe2\x80\xa2\xe2\x80\xa25f60", "masked")


# --- servers ------------------------------------------------------------------------------------


@dataclass
class Vendor:
    """An account's server that repeats the key in every response. Tests set its mode."""

    elsewhere: str = ""  # the other server's address
    mode: str = "good"
    keys: set[str] = field(default_factory=set)  # those that it received
    port: int = 0
    stopped: threading.Event = field(default_factory=threading.Event)

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def base_url(self) -> str:
        return f"{self.origin}/api/v1"

    def listed(self, collection: int) -> list[dict[str, object]]:
        """Return the runs: the links of 88 are valid, those of 87 lead to another server, and so on."""
        return [
            self._run(collection, 88, self.origin),
            self._run(collection, 87, self.elsewhere),
            self._run(collection, 86, self.origin.replace("//", f"//{KEYS[0]}@")),
            self._run(collection, 85, f"{self.origin}/{KEYS[0]}"),
            {"id": 84, "created_at": KEYS[0]},
            {
                "id": 83,
                "collection": KEYS[0],
                "created_at": "2026-06-20T12:00:00Z",
                "download_links": KEYS[0],
            },
        ]

    def _run(self, collection: int, number: int, origin: str) -> dict[str, object]:
        names = ["category_asins.json"] if collection == HEADPHONES else [PAGE]
        folder = f"{origin}/api/v1/results/{collection}/{number}/"
        return {
            "id": number,
            "collection": collection,
            "is_download_generated": True,
            "download_links": {
                "pages": [folder + name for name in names],
                "all_pages": folder + ARCHIVE if collection == LAPTOPS else None,
            },
            "total_exacted_result": 3,
            "total_results": 3,
            "created_at": f"2026-06-{number - 70}T12:00:00Z",
            "updated_at": KEYS[0],
            KEYS[0]: KEYS[0],
        }


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    vendor: Vendor

    def do_POST(self) -> None:
        question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        runs = self.vendor.listed(question["collection_id"])[question["skip"] :][: question["limit"]]
        self._respond(json.dumps({"code": 200, "data": runs, "status": 1}).encode(), "application/json")

    def do_GET(self) -> None:
        self._respond(FILES[unquote(self.path.rpartition("/")[2])], "application/octet-stream")

    def do_HEAD(self) -> None:
        self.do_GET()

    def _respond(self, good: bytes, media_type: str) -> None:
        self.vendor.keys.add(self.headers["x-api-key"])
        mode = self.vendor.mode
        if mode == "silent":
            self.vendor.stopped.wait(60)
            self.close_connection = True
        elif mode == "garbage":
            self.wfile.write(self._with_key("KEY\r\nContent-Length: KEY\r\n\r\n"))
            self.close_connection = True
        elif mode == "good":
            self._send(200, media_type, good)
        else:
            status, media_type, text = BAD_RESPONSES[mode]
            self._send(status, media_type, self._with_key(text))

    def _with_key(self, text: str) -> bytes:
        return text.replace("KEY", self.headers["x-api-key"]).encode()

    def _send(self, status: int, media_type: str, body: bytes) -> None:
        key, is_broken = self.headers["x-api-key"], self.vendor.mode == "broken"
        self.send_response(status, key)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(body) + 1000 * is_broken))
        self.send_header("Set-Cookie", f"key={key}; Path=/")
        self.send_header("X-Key", key)
        self.send_header("ETag", f'"{key}"')
        if status == 307:
            self.send_header("Location", f"{self.vendor.elsewhere}{self.path}?key={key}")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.close_connection = is_broken

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Log nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore clients that disconnect."""


@dataclass
class Elsewhere:
    """Another server, which records its visitors."""

    origin: str = ""
    visits: list[bytes] = field(default_factory=list)

    @contextmanager
    def running(self) -> Iterator["Elsewhere"]:
        """Listen until the end of the block."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.origin = f"http://127.0.0.1:{listener.getsockname()[1]}"
            acceptor = threading.Thread(target=self._accept, args=[listener])
            acceptor.start()
            try:
                yield self
            finally:
                listener.shutdown(socket.SHUT_RDWR)
                acceptor.join()

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):  # the end
            while True:
                visitor, _ = listener.accept()
                with visitor:
                    visitor.settimeout(5)
                    self.visits.append(visitor.recv(10_000))


@pytest.fixture
def vendor() -> Iterator[Vendor]:
    """The account's server. It links to another server, which must receive no requests."""
    with Elsewhere().running() as elsewhere:
        vendor = Vendor(elsewhere.origin)

        class Handler(_Handler):
            pass

        Handler.vendor = vendor
        with _Server(("127.0.0.1", 0), Handler) as server:
            vendor.port = server.server_address[1]
            thread = threading.Thread(target=server.serve_forever, args=[0.01])
            thread.start()
            yield vendor
            vendor.stopped.set()
            server.shutdown()
            thread.join()
        assert elsewhere.visits == []


# --- the whole app, in this process -------------------------------------------------------------


@pytest.fixture
def impatient(settings: Settings, monkeypatch: pytest.MonkeyPatch, vendor: Vendor) -> None:
    """A site that may call both servers, with short timeouts."""
    settings.UPSTREAM_ORIGINS = [vendor.origin, vendor.elsewhere]
    monkeypatch.setattr(transport, "_PAUSES", (0, 0))
    monkeypatch.setattr(transport, "READ_SECONDS", 0.1)
    monkeypatch.setattr(upstream_connection, "MAX_IDLE_SECONDS", 0.1)
    monkeypatch.setattr(account_checks, "SECONDS_TO_TRY", 0.1)
    monkeypatch.setattr(account_source, "_SECONDS", 0.1)
    list_in_the_same_thread(monkeypatch)


@dataclass
class Watched:
    """Clients whose responses are searched, including headers and cookies."""

    count: int = 0

    def __call__(self, client: Client, address: str, fields: object = None, **more: Any) -> HttpResponseBase:
        """Request an address, or post fields to it. Return the response."""
        response: Any = (
            client.get(address, **more) if fields is None else client.post(address, fields, **more)
        )
        content = b""
        if response.streaming:
            with suppress(ConnectionError):  # the response must break off
                for piece in response:
                    content += piece
            response.close()
        else:
            content = response.content
        assert_clean(content, address)
        assert_clean(
            repr(list(response.items())) + response.cookies.output() + response.reason_phrase, address
        )
        self.count += 1
        return response  # type: ignore[no-any-return]

    def all(self, client: Client, *addresses: str) -> None:
        """Request several pages."""
        for address in addresses:
            self(client, address)


@pytest.fixture
def watched() -> Watched:
    return Watched()


@pytest.fixture
def operator(transactional_db: None) -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("oscar@example.com", PASSWORD, name="Oscar"))
    return client


def told(command: str, *args: str) -> str:
    """Call a command, and return its output, whether or not it succeeds."""
    said = StringIO()
    try:
        call_command(command, *args, stdout=said, stderr=said)
    except CommandError as error:
        said.write(str(error))
    return said.getvalue()


def connect(watched: Watched, as_adam: Client, vendor: Vendor) -> None:
    """Connect an account in every mode of its server: first with invalid forms, finally with another key."""
    form = {"name": "Main", "base_url": vendor.base_url, "key": KEYS[0]}
    connect = "/team/accounts/connect"
    watched.all(as_adam, "/team/accounts/", connect)
    mistakes = [{"name": ""}, {"base_url": "x"}, {"base_url": f"{vendor.origin}/?key={KEYS[0]}"}]
    mistakes += [
        {"base_url": f"http://{KEYS[0]}@127.0.0.1:{vendor.port}"},
        {"key": f"{KEYS[0]} é"},
        {"key": ""},
    ]
    for mistake in (mistakes[0], mistakes[1], *mistakes[4:]):
        assert watched(as_adam, connect, form | mistake).status_code == 200
    for mode in MODES:
        vendor.mode = mode
        watched(as_adam, connect, form, follow=True)
    account = Account.objects.get()
    change = f"/team/accounts/{account.pk}/change"
    for mode in MODES:
        vendor.mode = mode
        watched(as_adam, change, form | {"key": KEYS[1]}, follow=True)
        watched(as_adam, change, form | {"base_url": f"{vendor.base_url}/other", "key": ""})
    watched(as_adam, connect, form)  # the name is taken
    watched.all(as_adam, "/team/accounts/", change, f"/team/accounts/{account.pk}/disconnect")


def add_collections(watched: Watched, as_adam: Client, vendor: Vendor) -> None:
    """Add two collections of the account, in every mode."""
    form = {
        "account": Account.objects.get().pk,
        "kind": "amazon",
        "name": "AU Laptops",
        "remote_ids": LAPTOPS,
    }
    for mode in MODES:
        vendor.mode = mode
        watched(as_adam, "/collections/connect", form, follow=True)
    category = {"kind": "amazon_category_scrape", "name": "Headphones", "remote_ids": HEADPHONES}
    watched(as_adam, "/collections/connect", form | category, follow=True)
    watched(as_adam, "/collections/connect", form)


def read(watched: Watched, as_bob: Client, bobs_key: str, vendor: Vendor, modes: list[str]) -> None:
    """List and download, each time without what the account sent before."""
    listing = "/api/v1/schedules/collections/results/download/"
    api: dict[str, Any] = {"headers": {"x-api-key": bobs_key}}
    for mode in modes:
        vendor.mode = mode
        for collection in Collection.objects.all():
            names = [PAGE, ARCHIVE] if collection.remote_id == LAPTOPS else list_and_csv()
            for question in (f"download?before=2026-06-30T00:00:00.000000Z_{0}", "download"):
                Collection.objects.update(refresh_tried_at=None, refresh_problem="")
                watched(as_bob, f"/collections/{collection.pk}/{question}")
            watched(as_bob, "/collections/")
            query = {"collection_id": collection.pk, "limit": 1000}
            Collection.objects.update(refresh_tried_at=None, refresh_problem="")
            watched(as_bob, listing, query, content_type="application/json", **api)
            for name in names:
                path = f"{collection.pk}/88/{quote(name)}"
                watched(as_bob, f"/api/v1/results/{path}", **api)
                watched(as_bob, f"/collections/{collection.pk}/runs/88/files/{quote(name)}")
            ResultFile.objects.filter(key="").update(size=None)
            watched(as_bob, f"/collections/{collection.pk}/runs/88/archive-size")


def list_and_csv() -> list[str]:
    return ["category_asins.json", "category_asins.csv"]


def administer(watched: Watched, operator: Client) -> None:
    """Open every page for operators that shows something about accounts."""
    watched(operator, "/operations/")
    watched(operator, "/admin/")
    for model in (Account, Collection, Run, ResultFile):
        address = f"/admin/collections_app/{model._meta.model_name}/"
        watched.all(operator, address, f"{address}?q=a")
        for row in model._default_manager.all():
            watched.all(operator, f"{address}{row.pk}/change/", f"{address}{row.pk}/history/")


def keep(watched: Watched, as_adam: Client, vendor: Vendor) -> None:
    """Copy results in every mode, with the command and with the background worker."""
    for mode in MODES:
        vendor.mode = mode
        for collection in Collection.objects.all():
            assert_clean(told("mirror", str(collection.pk)), "mirror")
            watched(as_adam, f"/collections/{collection.pk}/keep", {"keep": "on"}, follow=True)
        Collection.objects.update(refresh_tried_at=None)
        Worker().run_once()
    assert Run.objects.filter(number=88, files__key__gt="").exists()


def break_down(
    watched: Watched,
    adam: User,
    monkeypatch: pytest.MonkeyPatch,
    vendor: Vendor,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Raise an error of our own code while the key is in use."""

    def mistake(*args: object, **kwargs: object) -> None:
        raise RuntimeError("a mistake of ours")

    client = Client(raise_request_exception=False)
    client.force_login(adam)
    form = {"name": "Second", "base_url": vendor.base_url, "key": KEYS[0]}
    collection = Collection.objects.first()
    assert collection
    with monkeypatch.context() as broken:
        broken.setattr(transport, "_send", mistake)
        Collection.objects.update(refresh_tried_at=None, refresh_problem="")
        assert watched(client, "/team/accounts/connect", form).status_code == 500
        watched(client, f"/collections/{collection.pk}/download")
    assert "a mistake of ours" in caplog.text


@pytest.mark.no_cover
@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("impatient", "results_folder")
def test_a_key_is_nowhere(
    adam: User,
    as_adam: Client,
    as_bob: Client,
    bobs_key: str,
    operator: Client,
    vendor: Vendor,
    watched: Watched,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    connect(watched, as_adam, vendor)
    add_collections(watched, as_adam, vendor)
    read(watched, as_bob, bobs_key, vendor, ["good", *MODES])
    keep(watched, as_adam, vendor)
    read(watched, as_bob, bobs_key, vendor, ["good", "broken"])
    administer(watched, operator)
    break_down(watched, adam, monkeypatch, vendor, caplog)
    assert_clean(told("rotate_encryption_keys"), "rotate_encryption_keys")
    assert vendor.keys == set(KEYS)  # both were used
    account = Account.objects.get()
    assert account.key == KEYS[1]
    for thing in (account, server_of(account), vars(account)):
        assert_clean(repr(thing), "repr")

    # The database file, the copies and the converted files.
    database = Path(str(connection.settings_dict["NAME"]))
    for path in database.parent.glob(f"{database.name}*"):
        assert_clean(path.read_bytes(), path)
    assert_clean_folder(tmp_path)
    assert_clean_folder(Path(site.DATA_DIR))

    pages = ["/collections/", "/team/accounts/", "/members/", "/profile/", "/api/v1/docs", "/nowhere"]
    watched.all(as_adam, *pages)
    watched(as_adam, f"/team/accounts/{account.pk}/disconnect", {}, follow=True)
    read(watched, as_bob, bobs_key, vendor, ["good"])
    assert watched.count > 20 * len(MODES)
    for number, record in enumerate(caplog.records):
        assert_clean(f"{record.getMessage()} {record.exc_text}", f"log record {number}")
    assert_clean(caplog.text, "logs")
    assert len(caplog.records) > 50
    assert_clean("".join(capfd.readouterr()), "output")


# --- a running site -----------------------------------------------------------------------------


@contextmanager
def served(demo_data: Path, folder: Path, vendor: Vendor) -> Iterator[tuple[str, Path, int]]:
    """Serve the demo with short timeouts for accounts. Yield its address, log and process."""
    data_dir, log, port = folder / "data", folder / "log", free_port()
    databases.copy(demo_data, data_dir)
    origins = f"{vendor.origin},{vendor.elsewhere}"
    env = environment(data_dir, PORT=str(port), UPSTREAM_ORIGINS=origins, WEB_CONCURRENCY="1")
    with tools.running(*gunicorn("tests/support/gunicorn_impatient.py"), log=log, env=env) as process:
        url = f"http://127.0.0.1:{port}"
        wait_until_it_answers(url, process, log)
        yield url, log, process.pid


@dataclass
class Browser:
    """A browser on a real server, whose responses are searched."""

    url: str
    session: requests.Session = field(default_factory=requests.Session)

    def open(self, path: str) -> requests.Response:
        """Get a page or file. If it breaks off, search the part that arrived."""
        return self._searched(
            path, lambda: self.session.get(self.url + path, stream=True, timeout=tools.PATIENCE)
        )

    def send(self, path: str, **fields: object) -> requests.Response:
        """Submit the form of a page, and follow redirects."""
        token = self.session.cookies["csrftoken"]
        data = {name: str(value) for name, value in fields.items()} | {"csrfmiddlewaretoken": token}
        return self._searched(
            path, lambda: self.session.post(self.url + path, data, stream=True, timeout=tools.PATIENCE)
        )

    def _searched(self, path: str, ask: Callable[[], requests.Response]) -> requests.Response:
        with ask() as response:
            for each in (*response.history, response):
                assert_clean(f"{each.headers} {each.reason} {each.url}", path)
            content = b""
            with suppress(requests.RequestException):
                for piece in response.iter_content(100):
                    content += piece
            assert_clean(content, path)
            return response


@pytest.mark.thorough
def test_a_key_is_in_nothing_that_a_served_site_writes(
    demo_data: Path, tmp_path: Path, vendor: Vendor
) -> None:
    with served(demo_data, tmp_path, vendor) as (url, log, pid):
        account = json.loads((tmp_path / "data" / "demo.json").read_text())
        browser = Browser(url)
        browser.open("/accounts/login/")
        browser.send("/accounts/login/", login=account["email"], password=account["password"])
        form = {"name": "Main", "base_url": vendor.base_url, "key": KEYS[0]}
        for mode in ("refuses", "html", "redirects", "garbage", "good"):
            vendor.mode = mode
            browser.send("/team/accounts/connect", **form)
        ((account_id,),) = databases.execute(tmp_path / "data", "SELECT max(id) FROM collections_app_account")
        collection = {"account": account_id, "kind": "amazon", "name": "Connected", "remote_ids": LAPTOPS}
        added = browser.send("/collections/connect", **collection)
        ours = added.url.removeprefix(url).removesuffix("download")
        assert re.fullmatch(r"/collections/\d+/", ours)
        for mode in ("good", "broken", "redirects", "garbage", "silent"):
            vendor.mode = mode
            for page in (
                "download",
                "runs/88/archive-size",
                *(f"runs/88/files/{quote(n)}" for n in (PAGE, ARCHIVE)),
            ):
                browser.open(f"{ours}{page}")
        for process in (pid, int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])):
            for part in ("cmdline", "environ"):
                assert_clean(Path(f"/proc/{process}/{part}").read_bytes(), part)
        assert_clean_folder(tmp_path)  # with the write-ahead log, which is removed when the server exits
        assert vendor.keys == {KEYS[0]}
    assert_clean_folder(tmp_path)
    said = log.read_text()
    assert "upstream" in said
    assert "Traceback" not in said
