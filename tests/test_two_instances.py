"""Two instances of this project over real HTTP: one is the vendor, the other the dashboard in front of it."""

import contextlib
import fcntl
import hashlib
import http.client
import json
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import pytest
import requests

from tests.support import databases, tools
from tests.support.faults import Fault, FaultProxy
from tests.support.server import GUNICORN, environment, free_port, manage, wait_until_it_answers
from tests.support.tools import eventually

MEBIBYTE = 2**20
SPARSE = "sparse.json"
SPARSE_SIZE = 256 * MEBIBYTE
LAPTOPS, HEADPHONES = 101, 102  # in the vendor's demo, where both have a run of these numbers
LAPTOPS_RUN, HEADPHONES_RUN = 88, 14
MEMBER, STRANGER = "mia@example.com", "sven@example.com"

pytestmark = [
    pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="looks into processes by /proc"),
    pytest.mark.thorough,  # other modules test each side alone, without starting two sites
]


@dataclass(frozen=True)
class Instance:
    """A running site with one worker, and the log of its requests."""

    url: str
    data_dir: Path
    pid: int

    @property
    def worker(self) -> int:
        return int(Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()[0])

    def resident_kibibytes(self) -> int:
        status = Path(f"/proc/{self.worker}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0])

    def has_open(self, name: str) -> bool:
        """Return whether the worker has a file of this name open."""
        for link in Path(f"/proc/{self.worker}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                if link.readlink().name == name:
                    return True
        return False

    def answered(self) -> list[str]:
        """Return the log of the requests, without /healthz."""
        lines = (self.data_dir / "requests.log").read_text().splitlines()
        return [line for line in lines if "/healthz" not in line]


@dataclass(frozen=True)
class Two:
    """The vendor and the front. The front's collections, by account: direct, through a proxy, and offline."""

    vendor: Instance
    front: Instance
    vendor_key: str
    member_key: str
    stranger_key: str
    laptops: int
    headphones: int
    by_proxy: int
    dead: int
    proxy: FaultProxy

    def page(self, collection: int) -> str:
        return f"{self.front.url}/collections/{collection}/download"

    def api_file(self, collection: int, run: int, name: str) -> str:
        return f"{self.front.url}/api/v1/results/{collection}/{run}/{quote(name)}"

    def vendor_file(self, collection: int, run: int, name: str) -> str:
        return f"{self.vendor.url}/api/v1/results/{collection}/{run}/{quote(name)}"

    @property
    def as_vendors_customer(self) -> dict[str, str]:
        return {"x-api-key": self.vendor_key}

    @property
    def as_member(self) -> dict[str, str]:
        return {"x-api-key": self.member_key}


@contextlib.contextmanager
def running(data_dir: Path, **more: str) -> Iterator[Instance]:
    port, log = free_port(), data_dir / "log"
    knobs = {"PORT": str(port), "WEB_CONCURRENCY": "1", "WEB_THREADS": "20"} | more
    knobs["GUNICORN_CMD_ARGS"] = f"--access-logfile {data_dir / 'requests.log'}"
    # While this lock is held, no worker lists accounts in the background, so every call comes from a test.
    with (data_dir / "work.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with tools.running(*GUNICORN, log=log, env=environment(data_dir, **knobs)) as process:
            url = f"http://127.0.0.1:{port}"
            wait_until_it_answers(url, process, log)
            yield Instance(url, data_dir, process.pid)


ADD_A_LARGE_FILE = f"""
from django.utils import timezone
from collections_app.models import Run
Run.objects.get(collection={LAPTOPS}, number={LAPTOPS_RUN}).files.create(
    kind="page", position=1000, name={SPARSE!r}, key={SPARSE!r}, size={SPARSE_SIZE}, modified=timezone.now()
)
"""
CONNECT = f"""
import json
from collections_app.models import Account, ApiKey, Kind, Membership, Team
from tests.support.upstream import make_account, make_remote_collection
team = Team.objects.get(memberships__user__email={MEMBER!r})
def collection(account, remote_id, name, kind=Kind.AMAZON):
    return make_remote_collection(account, remote_id=remote_id, name=name, kind=kind).pk
def account(name):
    return make_account(team, name, base_url=URLS[name], key=KEY)
def key(email):
    return ApiKey.objects.issue(Membership.objects.get(user__email=email), "tests")[1]
vendor = account("Vendor")
print(json.dumps({{
    "laptops": collection(vendor, {LAPTOPS}, "Laptops"),
    "headphones": collection(vendor, {HEADPHONES}, "Headphones", Kind.AMAZON_CATEGORY),
    "by_proxy": collection(account("By a proxy"), {LAPTOPS}, "Laptops by a proxy"),
    "dead": collection(account("Dead"), {LAPTOPS}, "Laptops of the dead"),
    "member_key": key({MEMBER!r}),
    "stranger_key": key({STRANGER!r}),
}}))
"""


def connect(data_dir: Path, urls: dict[str, str], key: str) -> dict[str, Any]:
    """Connect accounts on the front, and return what CONNECT prints."""
    command = CONNECT.replace("URLS", repr(urls)).replace("KEY)", f"{key!r})")
    printed: dict[str, Any] = json.loads(manage(data_dir, "shell", "--no-imports", "--command", command))
    return printed


@pytest.fixture(scope="module")
def two(demo_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Two]:
    folder = tmp_path_factory.mktemp("two")
    behind, before = folder / "vendor", folder / "front"
    for data_dir in (behind, before):
        databases.copy(demo_data, data_dir)
    with (behind / "results" / SPARSE).open("wb") as large:
        # It begins and ends like a page; nothing else is checked.
        large.write(b"[" + b'{"asin": "B000000001", "title": "Laptop"},' * 2048)
        large.seek(SPARSE_SIZE - 1)
        large.write(b"]")
    key = json.loads((behind / "demo.json").read_text())["api_key"]
    manage(behind, "shell", "--no-imports", "--command", ADD_A_LARGE_FILE)
    with contextlib.ExitStack() as stack:
        vendor = stack.enter_context(running(behind))
        proxy = stack.enter_context(FaultProxy(urlsplit(vendor.url).port or 0).running())
        dead = f"http://127.0.0.1:{free_port()}"
        origins = {"Vendor": vendor.url, "By a proxy": proxy.base_url.removesuffix("/api/v1"), "Dead": dead}
        with ThreadPoolExecutor(1) as meanwhile:
            urls = {name: f"{origin}/api/v1" for name, origin in origins.items()}
            connected = meanwhile.submit(connect, before, urls, key)
            front = stack.enter_context(running(before, UPSTREAM_ORIGINS=",".join(origins.values())))
            yield Two(vendor, front, key, **connected.result(), proxy=proxy)
    for log in (behind / "log", before / "log"):
        said = log.read_text()
        assert "Traceback" not in said
        assert " ERROR " not in said.replace(" ERROR django.request: Bad Gateway", "")
        assert key not in said


def signed_in(two: Two, email: str) -> requests.Session:
    session = requests.Session()
    page = session.get(f"{two.front.url}/accounts/login/").text
    token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page)
    assert token
    password = json.loads((two.front.data_dir / "demo.json").read_text())["password"]
    form = {"csrfmiddlewaretoken": token[1], "login": email, "password": password}
    answer = session.post(f"{two.front.url}/accounts/login/", form, headers={"Referer": two.front.url})
    assert answer.status_code == 200
    assert "login" not in answer.url
    return session


@pytest.fixture(scope="module")
def member(two: Two) -> Iterator[requests.Session]:
    with signed_in(two, MEMBER) as session:
        yield session


@pytest.fixture(scope="module")
def stranger(two: Two) -> Iterator[requests.Session]:
    with signed_in(two, STRANGER) as session:
        yield session


def listed(url: str, key: str, collection: int) -> list[dict[str, Any]]:
    answer = requests.post(
        f"{url}/api/v1/schedules/collections/results/download/",
        json={"collection_id": collection, "limit": 10},
        headers={"x-api-key": key},
    ).json()
    assert answer["status"] == 1, answer
    runs: list[dict[str, Any]] = answer["data"]
    return runs


def names_in(links: dict[str, Any]) -> list[str]:
    return [link.rpartition("/")[2] for link in [*links["pages"], links["all_pages"]] if link]


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


# --- what a member does -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("remote", "kind"), [(LAPTOPS, "laptops"), (HEADPHONES, "headphones")])
def test_the_api_lists_what_the_vendor_lists(two: Two, remote: int, kind: str) -> None:
    collection = getattr(two, kind)
    theirs = listed(two.vendor.url, two.vendor_key, remote)
    assert eventually(lambda: listed(two.front.url, two.member_key, collection) != [])
    ours = listed(two.front.url, two.member_key, collection)
    told = ["id", "is_download_generated", "total_exacted_result", "total_results", "created_at"]
    assert [[run[key] for key in told] for run in ours] == [[run[key] for key in told] for run in theirs]
    assert [names_in(run["download_links"]) for run in ours] == [
        names_in(run["download_links"]) for run in theirs
    ]
    links = [link for run in ours for link in run["download_links"]["pages"]]
    assert all(link.startswith(f"{two.front.url}/api/v1/results/{collection}/") for link in links)
    assert two.vendor.url not in json.dumps(ours)


def files_on(two: Two, member: requests.Session, collection: int, run: int) -> list[str]:
    """Return the addresses of a run's files, from the download page."""
    prefix = f"/collections/{collection}/runs/{run}/files/"
    assert eventually(lambda: prefix in member.get(two.page(collection)).text)
    page = member.get(two.page(collection)).text
    return sorted(set(re.findall(rf'href="({re.escape(prefix)}[^"]+)"', page)))


def test_every_file_is_the_vendors_to_the_byte(two: Two, member: requests.Session) -> None:
    addresses = files_on(two, member, two.laptops, LAPTOPS_RUN)
    names = [address.rpartition("/")[2] for address in addresses if SPARSE not in address]
    assert sum(".json" in name for name in names) >= 1
    assert sum(".zip" in name for name in names) == 1
    for address in addresses:
        name = unquote(address.rpartition("/")[2])
        if name == SPARSE:
            continue
        theirs = requests.get(
            two.vendor_file(LAPTOPS, LAPTOPS_RUN, name), headers=two.as_vendors_customer
        ).content
        by_page = member.get(two.front.url + address)
        by_api = requests.get(two.api_file(two.laptops, LAPTOPS_RUN, name), headers=two.as_member)
        assert by_page.status_code == by_api.status_code == 200
        assert digest(by_page.content) == digest(by_api.content) == digest(theirs)
        assert f'filename="{name}"' in by_page.headers["Content-Disposition"]


def test_list_and_csv_of_a_category_are_the_vendors_to_the_byte(two: Two, member: requests.Session) -> None:
    addresses = files_on(two, member, two.headphones, HEADPHONES_RUN)
    assert [address.rpartition("/")[2] for address in addresses] == [
        "category_asins.csv",
        "category_asins.json",
    ]
    before = len(two.vendor.answered())
    for address in addresses:
        name = address.rpartition("/")[2]
        by_page = member.get(two.front.url + address)
        by_api = requests.get(two.api_file(two.headphones, HEADPHONES_RUN, name), headers=two.as_member)
        theirs = requests.get(
            two.vendor_file(HEADPHONES, HEADPHONES_RUN, name), headers=two.as_vendors_customer
        )
        assert by_page.status_code == by_api.status_code == 200
        assert digest(by_page.content) == digest(by_api.content) == digest(theirs.content)
    ours = [line for line in two.vendor.answered()[before:] if "scrape-results-dashboard" in line]
    assert ours
    assert not any(".csv" in line for line in ours)


def test_parts_and_heads_are_exact(two: Two, member: requests.Session) -> None:
    files_on(two, member, two.laptops, LAPTOPS_RUN)
    name = f"AU Laptops_{LAPTOPS_RUN}_Results_All_Pages.zip"
    theirs = requests.get(
        two.vendor_file(LAPTOPS, LAPTOPS_RUN, name), headers=two.as_vendors_customer
    ).content
    address = two.api_file(two.laptops, LAPTOPS_RUN, name)
    head = requests.head(address, headers=two.as_member)
    assert (head.status_code, head.headers["Content-Length"]) == (200, str(len(theirs)))
    part = requests.get(address, headers=two.as_member | {"Range": "bytes=100-299"})
    assert (part.status_code, part.content) == (206, theirs[100:300])
    last = requests.get(address, headers=two.as_member | {"Range": "bytes=-7"})
    assert (last.status_code, last.content) == (206, theirs[-7:])
    same = requests.get(address, headers=two.as_member | {"If-None-Match": head.headers["ETag"]})
    assert (same.status_code, same.content) == (304, b"")


@pytest.mark.parametrize("have", [1, 20_000])
def test_curl_resumes(two: Two, member: requests.Session, tmp_path: Path, have: int) -> None:
    files_on(two, member, two.laptops, LAPTOPS_RUN)
    name = f"AU Laptops_{LAPTOPS_RUN}_Results_Page_1.json"
    theirs = requests.get(
        two.vendor_file(LAPTOPS, LAPTOPS_RUN, name), headers=two.as_vendors_customer
    ).content
    target = tmp_path / "file"
    target.write_bytes(theirs[:have])
    done = tools.run(
        *("curl", "--silent", "--show-error", "--continue-at", "-", "--output", target),
        *("--header", f"x-api-key: {two.member_key}", "--write-out", "%{http_code} %{size_download}"),
        two.api_file(two.laptops, LAPTOPS_RUN, name),
    )
    assert done.stdout == f"206 {len(theirs) - have}"
    assert target.read_bytes() == theirs


# --- what a stranger does -----------------------------------------------------------------------------------


def test_a_stranger_is_refused_before_any_call_leaves_us(
    two: Two, member: requests.Session, stranger: requests.Session
) -> None:
    (file, *_) = files_on(two, member, two.laptops, LAPTOPS_RUN)
    # The log line of a response is written after it.
    before: list[str] = []
    while before != (before := two.vendor.answered()):
        time.sleep(0.1)
    for path in (
        f"/collections/{two.laptops}/download",
        f"/collections/{two.laptops}/download?before=2026-01-01T00:00:00.000000Z_1",
        f"/collections/{two.laptops}/runs/{LAPTOPS_RUN}/archive-size",
        file,
    ):
        assert stranger.get(two.front.url + path).status_code == 403
    with_a_key = {"x-api-key": two.stranger_key}
    name = file.rpartition("/")[2]
    assert requests.get(two.api_file(two.laptops, LAPTOPS_RUN, name), headers=with_a_key).status_code == 403
    refused = requests.post(
        f"{two.front.url}/api/v1/schedules/collections/results/download/",
        json={"collection_id": two.laptops},
        headers=with_a_key,
    )
    assert refused.json()["code"] == 403
    assert two.vendor.answered() == before


# --- a vendor in trouble ------------------------------------------------------------------------------------


def forget_that_it_was_asked(two: Two, collection: int) -> None:
    """Let the next view of the list request it from the account at once."""
    forget = "UPDATE collections_app_collection SET refresh_tried_at = NULL WHERE id = ?"
    databases.execute(two.front.data_dir, forget, collection)


def without_waiting(two: Two, member: requests.Session, path: str, collection: int) -> str:
    """Return a page that doesn't wait for an account that responds after 30 seconds."""
    forget_that_it_was_asked(two, collection)
    answer = member.get(two.front.url + path)
    assert answer.status_code == 200
    assert answer.elapsed.total_seconds() < 20, path  # 2 s, unless the machine is very busy
    return answer.text


PAGES = ["/collections/", "/members/", "/profile/", "/collections/{}/download"]


def test_with_the_vendor_down_every_page_comes_and_says_so(two: Two, member: requests.Session) -> None:
    pages = [without_waiting(two, member, path.format(two.dead), two.dead) for path in PAGES]
    assert "is not responding" in pages[-1]
    listing = requests.post(
        f"{two.front.url}/api/v1/schedules/collections/results/download/",
        json={"collection_id": two.dead},
        headers=two.as_member,
    )
    assert listing.elapsed.total_seconds() < 10
    assert listing.json()["status"] == 0
    assert "is not responding" in listing.json()["data"]


def test_with_a_vendor_that_answers_after_30_seconds_every_page_comes_with_the_rows_there_are(
    two: Two, member: requests.Session
) -> None:
    two.proxy.fault = Fault
    files_on(two, member, two.by_proxy, LAPTOPS_RUN)
    two.proxy.fault = lambda: Fault(delay=30)
    # Connections that are already open have no fault, so use them up with a request in progress.
    two.proxy.close_connections()
    pages = [without_waiting(two, member, path.format(two.by_proxy), two.by_proxy) for path in PAGES]
    assert "MultiCartAPI is slow to respond." in pages[-1]
    assert "The list was last updated" in pages[-1]
    assert f"/collections/{two.by_proxy}/runs/{LAPTOPS_RUN}/files/" in pages[-1]


def test_a_file_of_a_vendor_that_is_down_is_one_sentence(two: Two, member: requests.Session) -> None:
    two.proxy.fault = Fault
    (file, *_) = files_on(two, member, two.by_proxy, LAPTOPS_RUN)
    two.proxy.fault = lambda: Fault(cut_after=0, is_reset=True)
    two.proxy.close_connections()
    page = member.get(two.front.url + file)
    assert page.status_code == 502
    assert "is not responding. Try again later." in page.text
    name = unquote(file.rpartition("/")[2])
    answer = requests.get(two.api_file(two.by_proxy, LAPTOPS_RUN, name), headers=two.as_member)
    assert answer.status_code == 502
    assert "is not responding" in answer.json()["data"]


# --- large files --------------------------------------------------------------------------------------------


@contextlib.contextmanager
def reader_of_the_large_file(two: Two) -> Iterator[http.client.HTTPResponse]:
    """Request the large file from the front, and read nothing of its body yet."""
    with contextlib.closing(
        http.client.HTTPConnection(urlsplit(two.front.url).netloc, timeout=tools.PATIENCE)
    ) as asking:
        path = urlsplit(two.api_file(two.laptops, LAPTOPS_RUN, SPARSE)).path
        asking.request("GET", path, headers=two.as_member)
        with asking.getresponse() as answer:
            assert answer.status == 200
            yield answer


def test_a_large_file_through_the_front_takes_no_memory(two: Two, member: requests.Session) -> None:
    files_on(two, member, two.laptops, LAPTOPS_RUN)
    with reader_of_the_large_file(two) as answer:
        assert len(answer.read(16 * MEBIBYTE)) == 16 * MEBIBYTE
        before = two.front.resident_kibibytes()
        received = 16 * MEBIBYTE
        while piece := answer.read(MEBIBYTE):
            received += len(piece)
        assert two.front.resident_kibibytes() - before < 10 * 1024
    assert received == SPARSE_SIZE


def test_the_vendors_connection_is_closed_when_the_reader_leaves(two: Two, member: requests.Session) -> None:
    files_on(two, member, two.laptops, LAPTOPS_RUN)
    with reader_of_the_large_file(two) as answer:
        answer.read(MEBIBYTE)
        assert eventually(lambda: two.vendor.has_open(SPARSE))
    assert eventually(lambda: not two.vendor.has_open(SPARSE))
