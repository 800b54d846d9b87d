"""The scaled-out site: what works, and that nothing is lost whichever part is killed.

KILL_ROUNDS=20 has every part killed so often in a row.
"""

import contextlib
import hashlib
import json
import os
import random
import re
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from tests.support import scaled_out, tools
from tests.support.scaled_out import Part, ScaledOut, eventually
from tests.support.server import follow_handbook

pytestmark = [
    pytest.mark.scaled_out,
    pytest.mark.no_cover,
    pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="looks into processes by /proc"),
]

ROUNDS = int(os.environ.get("KILL_ROUNDS") or 1)
MEBIBYTE = 2**20
COLLECTION = 101
PASSWORD = "correct horse battery staple"
# A page of several parts of an upload, and small ones.
SIZES = {"Page_1": 20_000, "Page_2": 9 * MEBIBYTE, "Page_3": 20_000}
PREPARE = f"""
import json
from collections_app.models import *
team = Team.objects.create(name="Crawlers")
bob = User.objects.create_user("bob@example.com", {PASSWORD!r}, name="Bob")
membership = Membership.objects.create(user=bob, team=team, role=Role.MEMBER)
Collection.objects.create(pk={COLLECTION}, team=team, name="Under load", kind=Kind.AMAZON)
print(ApiKey.objects.issue(membership, "script")[1])
"""
EVERYTHING = """
import json
from collections_app.models import *
from collections_app.files.storage.base import results
runs = [
    {"number": run.number, "state": run.state, "reason": run.failure_reason,
     "files": {file.name: [file.kind, file.size, file.sha256, file.key] for file in run.files.all()}}
    for run in Run.objects.order_by("number")
]
stored = [f"101/{run}/{name}" for run, names in results().contents("101").items() for name in names]
print(json.dumps({"runs": runs, "stored": sorted(stored)}))
"""


def page(name: str) -> bytes:
    """Return a page of about the configured size, with records that compress well."""
    record = b'{"asin":"B000000001","title":"%s","price_cents":12300}' % (name.encode() * 20)
    return b"[" + b",".join([record] * (SIZES[name] // len(record) + 1)) + b"]"


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@dataclass
class Site:
    """The services, the imported pages, and an API key."""

    out: ScaledOut
    pages: dict[str, Path]
    key: str

    def file(self, run: int, name: str) -> str:
        return f"{self.out.url}/api/v1/results/{COLLECTION}/{run}/{name}"

    def get(self, url: str, **headers: str) -> requests.Response:
        return requests.get(url, headers={"x-api-key": self.key} | headers, timeout=tools.PATIENCE)

    def list_address(self) -> str:
        return f"{self.out.url}/api/v1/schedules/collections/results/download/"

    def list_request(self) -> dict[str, Any]:
        return {"json": {"collection_id": COLLECTION, "limit": 10}, "headers": {"x-api-key": self.key}}

    def listed(self) -> requests.Response:
        return requests.post(self.list_address(), timeout=tools.PATIENCE, **self.list_request())

    def signed_in(self) -> requests.Session:
        session = requests.Session()
        address = f"{self.out.url}/accounts/login/"
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', session.get(address).text)
        assert token
        form = {"csrfmiddlewaretoken": token[1], "login": "bob@example.com", "password": PASSWORD}
        answer = session.post(address, form, headers={"Referer": address})
        assert answer.status_code == 200
        assert urlsplit(answer.url).path == "/"
        return session

    def everything(self, **more: str) -> dict[str, Any]:
        """Return all runs with their files, and all stored keys."""
        found: dict[str, Any] = json.loads(
            self.out.manage("shell", "--no-imports", "--command", EVERYTHING, **more)
        )
        return found

    def importer(self) -> Part:
        """Return a process that imports the pages repeatedly. It isn't started."""
        env = self.out.environment("worker", self.out.folder / "data-of-commands")
        command = [sys.executable, "-m", "tests.support.importing", str(COLLECTION), "1"]
        command += [str(path) for path in self.pages.values()]
        return Part("importer", command, env, self.out.folder / "importer.log", lambda: True)


@pytest.fixture(scope="module")
def site(demo_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("scaled-out")
    pages = {name: folder / f"Under Load_{name}.json" for name in SIZES}
    for name, path in pages.items():
        path.write_bytes(page(name))
    with scaled_out.running(folder, demo_data / "static") as out:
        key = out.manage("shell", "--no-imports", "--command", PREPARE).split()[-1]
        out.manage("import_run", str(COLLECTION), *map(str, pages.values()))
        yield Site(out, pages, key)


def names_of(run: dict[str, Any]) -> list[str]:
    """Return the names of the files that a run in the API's list links to."""
    links = run["download_links"]
    return [link.rpartition("/")[2] for link in [*links["pages"], links["all_pages"]]]


def test_a_user_signs_in_and_downloads_through_nginx(site: Site) -> None:
    session = site.signed_in()
    shown = session.get(f"{site.out.url}/collections/{COLLECTION}/download").text
    files = [path for path in re.findall(r'href="(/collections/101/runs/[^"]+)"', shown) if "/files/" in path]
    contents = [session.get(f"{site.out.url}{path}") for path in files]
    assert all(answer.headers["Server"] == "nginx" for answer in contents)
    assert {digest(page(name)) for name in SIZES} <= {digest(answer.content) for answer in contents}
    assert any(answer.content.startswith(b"PK") for answer in contents)


def test_both_app_processes_respond_and_share_sessions(site: Site) -> None:
    cookies = site.signed_in().cookies
    for app in site.out.apps:
        shown = requests.get(
            f"{app}/collections/{COLLECTION}/download", cookies=cookies, timeout=tools.PATIENCE
        )
        assert shown.status_code == 200
        assert "Under load" in shown.text
    for _ in range(10):
        assert site.listed().json()["status"] == 1
    for name in ("web-1", "web-2"):
        assert '"route": "api:list_run_results"' in (site.out.folder / f"{name}.log").read_text()


def test_a_script_lists_runs_and_downloads_files_and_ranges_from_the_bucket(site: Site) -> None:
    (run,) = site.listed().json()["data"]
    assert len(names_of(run)) == 4
    for name, path in zip(names_of(run), site.pages.values(), strict=False):
        complete = site.get(site.file(1, name))
        assert (complete.status_code, digest(complete.content)) == (200, digest(path.read_bytes()))
        part = site.get(site.file(1, name), Range="bytes=1000-1999")
        assert (part.status_code, part.content) == (206, path.read_bytes()[1000:2000])
    log, address = site.out.folder / "nginx" / "access.log", f"/api/v1/results/{COLLECTION}/1/"
    eventually(lambda: log.read_text().count(address) >= 6, "nginx has a line for each")
    # nginx requested the file from the bucket, and logs its bytes.
    lines = [
        line
        for name in ("web-1", "web-2")
        for line in (site.out.folder / f"{name}.log").read_text().splitlines()
        if '"api:download_result_file"' in line
    ]
    assert lines
    assert not any("bytes" in json.loads(line) for line in lines)


# --- killing ----------------------------------------------------------------------------------------------


@dataclass
class Load:
    """Downloads, a viewer and a script, and the errors that they got."""

    site: Site
    expected: dict[str, str]  # the digests of the first run's files
    stop: threading.Event = field(default_factory=threading.Event)
    done: dict[str, int] = field(default_factory=dict)
    errors: list["RequestError"] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        session = self.site.signed_in()
        _, large, _, archive = self.expected
        work: dict[str, Callable[[], None]] = {
            "reader of a page": lambda: self.download(large),
            "reader of a ZIP": lambda: self.download(archive),
            "viewer": lambda: self.view(session),
            "script": self.list,
        }
        self.done = dict.fromkeys(work, 0)
        threads = [threading.Thread(target=self.repeat, args=each) for each in work.items()]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self.stop.set()
            for thread in threads:
                thread.join(timeout=tools.PATIENCE)

    def keeps_working(self) -> None:
        """Wait until each client has succeeded again. Fail if one got wrong data."""
        before = dict(self.done)
        eventually(
            lambda: bool(self.wrong) or all(self.done[who] > before[who] + 1 for who in before),
            f"all clients succeed again: {before}, {self.done}, {self.errors[-3:]}",
        )
        assert self.wrong == []

    def repeat(self, who: str, do: Callable[[], None]) -> None:
        while not self.stop.is_set():
            try:
                do()
            except requests.RequestException:
                time.sleep(0.1)
            except Exception as error:  # noqa: BLE001  # the test's thread reports it
                self.wrong.append(f"{who}: {error!r}")
                return
            else:
                self.done[who] += 1

    def request(self, method: str, url: str, **options: Any) -> requests.Response:
        """Send a request. Record and raise server errors and missing responses."""
        begun = time.monotonic()
        try:
            answer = requests.request(method, url, timeout=tools.PATIENCE, **options)
        except requests.RequestException as error:
            self.errors.append(RequestError(begun, time.monotonic(), url, 0, repr(error)))
            raise
        status = answer.status_code
        if status == 200 and "json" in answer.headers["Content-Type"]:
            status = answer.json()["code"]  # the API's list has it only in the envelope
        if status >= 500:
            self.errors.append(RequestError(begun, time.monotonic(), url, status, answer.text[:3000]))
            raise requests.RequestException
        return answer

    def download(self, name: str) -> None:
        """Download a file of the first run, resuming it until it is complete."""
        got, etag, is_complete = bytearray(), "", False
        while not is_complete and not self.stop.is_set():
            headers = {"x-api-key": self.site.key}
            if got:
                headers |= {"Range": f"bytes={len(got)}-", "If-Range": etag}
            try:
                with self.request("GET", self.site.file(1, name), headers=headers, stream=True) as answer:
                    assert answer.status_code == (206 if got else 200), (answer.status_code, answer.text)
                    assert etag in {"", answer.headers["ETag"]}
                    etag = answer.headers["ETag"]
                    for piece in answer.iter_content(MEBIBYTE // 4):
                        got += piece
                        time.sleep(0.01)
                is_complete = True
            except requests.RequestException:
                time.sleep(0.1)
        assert self.stop.is_set() or digest(bytes(got)) == self.expected[name]

    def view(self, session: requests.Session) -> None:
        address = f"{self.site.out.url}/collections/{COLLECTION}/download"
        answer = self.request("GET", address, cookies=session.cookies)
        assert (answer.status_code, "Page 1" in answer.text) == (200, True), answer.text
        time.sleep(0.05)

    def list(self) -> None:
        """List the newest runs. A run with links has all of its files."""
        answer = self.request("POST", self.site.list_address(), **self.site.list_request())
        run = random.choice([run for run in answer.json()["data"] if run["is_download_generated"]])
        assert len(names_of(run)) == 4
        link = urlsplit(run["download_links"]["pages"][0]).path
        address, headers = f"{self.site.out.url}{link}", {"x-api-key": self.site.key}
        got = self.request("GET", address, headers=headers, stream=True)
        assert (got.status_code, digest(got.content)) == (200, digest(page("Page_1"))), got.text[:500]


@dataclass
class RequestError:
    """A server error or a missing response (0), with the times of its request and its end."""

    begun: float
    ended: float
    url: str
    status: int
    text: str

    @property
    def is_clear(self) -> bool:
        """Return whether it is our own error message and asks to try again."""
        is_ours = '"status":0' in self.text.replace(" ", "") or "<title>" in self.text
        return self.status in {502, 503, 504} and is_ours and "nginx" not in self.text


# The errors that are allowed while a service is down: none if another process replaces it.
ALLOWED_ERRORS = {
    "web 1": set(),
    "web 2": set(),
    "worker": set(),
    "importer": set(),
    "nginx": {0},
    "gate": set(),
    "objects": {502, 503, 504},
    "postgresql": {502, 503, 504},
}


@pytest.fixture
def load(site: Site) -> Iterator[Load]:
    """Running clients and a writer."""
    (first,) = site.listed().json()["data"][-1:]
    digests = {name: digest(site.get(site.file(1, name)).content) for name in names_of(first)}
    load = Load(site, digests)
    site.out.parts["importer"] = importer = site.importer()
    importer.begin()
    try:
        with load.running():
            yield load
    finally:
        importer.kill()


def requests_from_nginx(part: Part) -> int:
    """Return how many requests an app process has handled. /readyz is called directly."""
    lines = part.log.read_text().splitlines()
    return sum('"event": "request"' in line and '"route": "readyz"' not in line for line in lines)


def kill_and_restart(load: Load, part: Part) -> None:
    """Kill a service under load, check the errors, and start it again. All clients succeed again."""
    since = time.monotonic()
    known = len(load.errors)
    part.kill()
    gone = time.monotonic()
    if ALLOWED_ERRORS[part.name]:
        eventually(lambda: len(load.errors) > known, f"a client fails without {part.name}")
    else:
        load.keeps_working()
    part.start()
    ready = [f"{app}/readyz" for app in load.site.out.apps]
    eventually(lambda: all(map(scaled_out.answers, ready)), "both app processes are ready again")
    until = time.monotonic()
    load.keeps_working()
    if part.name.startswith("web"):
        # nginx tries one request first, and sends more if it succeeds.
        before = requests_from_nginx(part)
        eventually(lambda: requests_from_nginx(part) > before + 2, f"nginx uses {part.name} again")
    for each in load.errors[known:]:
        # Responses that had started are interrupted.
        is_interrupted = each.status == 0 and each.begun < gone
        assert is_interrupted or each.status in ALLOWED_ERRORS[part.name], (part.name, each)
        assert each.begun < until, (part.name, "afterwards", each)
        assert each.ended > since
        assert each.status == 0 or each.is_clear, each


def completed(site: Site) -> list[int]:
    """Return the runs that the importer reported as complete."""
    lines = (site.out.folder / "importer.log").read_text().splitlines()
    return [int(line.split()[1]) for line in lines if line.startswith("completed")]


def test_nothing_is_lost_whichever_service_is_killed(site: Site, load: Load) -> None:
    for number in range(ROUNDS):
        for name in ALLOWED_ERRORS:
            kill_and_restart(load, site.out.parts[name])
            imports_go_on(site)
        print("killed each part, and lost nothing, for the", number + 1, "time", flush=True)
    site.out.parts["importer"].kill()
    load.stop.set()
    # Nothing renews the lease of a killed writer. It expires after a minute, unless it is set back.
    with site.out.connect() as database:
        database.execute(
            "UPDATE collections_app_run SET lease_expires_at = now() - interval '1 second' WHERE state = %s",
            ["processing"],
        )
        unfinished = "SELECT number FROM collections_app_run WHERE state = 'processing'"
        eventually(
            lambda: not database.execute(unfinished).fetchall(), "the worker fails the interrupted runs"
        )
    site.out.manage("repair_runs")
    look_at_everything(site)


def imports_go_on(site: Site) -> None:
    before = len(completed(site))
    eventually(lambda: len(completed(site)) > before, "runs are imported again")


def look_at_everything(site: Site) -> None:
    found = site.everything()
    runs = {run["number"]: run for run in found["runs"]}
    complete = {number for number, run in runs.items() if run["state"] == "ready"}
    assert {1, *completed(site)} <= complete
    for run in runs.values():
        if run["number"] not in complete:
            assert (run["state"], run["files"]) == ("failed", {})
            assert run["reason"]
    # All files are stored unchanged, and no others.
    assert found["stored"] == sorted(key for run in runs.values() for *_, key in run["files"].values())
    sources = sorted(digest(path.read_bytes()) for path in site.pages.values())
    for number in complete:
        pages = sorted(sha for kind, _, sha, _ in runs[number]["files"].values() if kind == "page")
        assert pages == sources
        for name, (_, size, sha, _) in runs[number]["files"].items():
            content = site.get(site.file(number, name)).content
            assert (len(content), digest(content)) == (size, sha)


# --- looking after it -------------------------------------------------------------------------------------


def step(site: Site, name: str, **variables: str) -> str:
    """Run the commands of a step in docs/operations.md."""
    return follow_handbook(
        name, site.out.environment("worker", site.out.folder / "data-of-commands", **variables)
    )


def test_a_backup_of_the_running_site_can_be_restored(site: Site, tmp_path: Path) -> None:
    backup = str(tmp_path / "backup")
    step(site, "backup, scaled out", BACKUP=backup)
    assert stat.S_IMODE((tmp_path / "backup" / "db.dump").stat().st_mode) == 0o600
    before = site.everything()
    with site.out.connect_as_superuser() as server:
        server.execute("CREATE DATABASE restored OWNER results TEMPLATE template0 ENCODING 'UTF8'")
    environment = site.out.environment("worker", site.out.folder)
    elsewhere = {
        "DATABASE_URL": environment["DATABASE_URL"].removesuffix("results") + "restored",
        "RESULTS_STORAGE_URL": f"{environment['RESULTS_STORAGE_URL']}/restored",
    }
    said = step(site, "restore, scaled out", BACKUP=backup, **elsewhere)
    assert "All results are in" in said
    assert site.everything(**elsewhere) == before
    assert site.out.manage("repair_runs", **elsewhere)
    assert site.everything(**elsewhere) == before


def test_the_site_is_not_a_database_superuser(site: Site) -> None:
    rights = "rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls"
    with site.out.connect() as database:
        found = database.execute(f"SELECT {rights} FROM pg_roles WHERE rolname = current_user").fetchone()
    assert found == (False,) * 5


def test_the_gate_only_allows_reading_the_buckets_files(site: Site) -> None:
    def status(method: str, path: str) -> int:
        return requests.request(method, f"http://127.0.0.1:{site.out.ports['gate']}{path}").status_code

    assert status("GET", "/results/key") == 403  # from the object storage: the request isn't signed
    assert requests.get(f"http://127.0.0.1:{site.out.ports['gate']}/results/key").text.startswith("<?xml")
    for method, path in (("PUT", "/results/key"), ("DELETE", "/results/key"), ("POST", "/results/?delete")):
        assert status(method, path) == 403
    for path in ("/", "/other/key", "/results", "/results/../other/key"):
        assert status("GET", path) == 403


def test_no_secret_is_in_a_log(site: Site) -> None:
    said = site.out.said() + (site.out.folder / "nginx" / "access.log").read_text()
    assert site.key.partition(".")[2] not in said
    secrets = {name: value for name, value in site.out.secrets.items() if name != "AWS_ACCESS_KEY_ID"}
    assert [name for name, value in secrets.items() if value in said] == []
