"""Uploads to a real gunicorn: canceled, stalled and killed at any byte, and larger than the memory."""

import http.client
import json
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from tests.support import databases, tools
from tests.support.server import environment, free_port, gunicorn, manage, wait_until_it_answers
from tests.support.tools import eventually

pytestmark = [pytest.mark.thorough, pytest.mark.no_cover]

MEBIBYTE = 2**20
# A minute is too long for a test.
CONF = """
from datetime import timedelta
from dashboard.gunicorn_conf import *

workers = 1
begin = post_worker_init

def post_worker_init(worker):
    begin(worker)
    from collections_app.runs import lease
    from collections_app.views.upload import receive
    lease.LEASE, lease.RENEW_AFTER_SECONDS = timedelta(seconds=4), 1
    from dashboard import gunicorn_worker
    receive.STALL_SECONDS, gunicorn_worker.REQUEST_SECONDS = 5, 2
"""
ADD = """
from collections_app.models import Collection
team = Collection.objects.get(pk=101).team
print(Collection.objects.create(team=team, name="Uploads").pk)
"""
DELETE = """
from collections_app.models import Run
from collections_app.runs.removal import delete_run
delete_run(Run.objects.get(collection={}))
"""
HEAD = b'--x\r\nContent-Disposition: form-data; name="files"; filename="page_1.json"\r\n\r\n'
TAIL = b"\r\n--x--\r\n"
# It takes a few seconds to import this.
RECORDS = b"[" + b'{"a": 1},\n' * 3_000_000 + b"{}]"


@dataclass(frozen=True)
class Site:
    """A running site with an empty collection, and the cookies of its owner."""

    process: tools.Process
    port: int
    data_dir: Path
    collection: str
    session: requests.Session

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def worker(self) -> int:
        """The newest process that serves requests."""
        return max(tools.children(self.process.pid))

    def token(self) -> str:
        form = self.session.get(f"{self.url}/collections/{self.collection}/upload").text
        return form.partition('action="?token=')[2].partition('"')[0]

    def start(self, size: int) -> http.client.HTTPConnection:
        """Begin to upload a body of this size."""
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=tools.PATIENCE)
        client.putrequest("POST", f"/collections/{self.collection}/upload?token={self.token()}")
        client.putheader("Content-Type", "multipart/form-data; boundary=x")
        client.putheader("Content-Length", str(size))
        client.putheader("Cookie", "; ".join(f"{key}={value}" for key, value in self.session.cookies.items()))
        client.endheaders()
        return client

    def runs(self) -> int:
        count = "SELECT count(*) FROM collections_app_run WHERE collection_id = " + self.collection
        ((found,),) = databases.execute(self.data_dir, count)
        return int(found)

    def resident_kibibytes(self) -> int:
        return int(Path(f"/proc/{self.worker}/status").read_text().split("VmRSS:")[1].split()[0])

    def is_clean(self) -> bool:
        """Whether no run, file or temporary file is left, and no upload counts towards the limit."""
        stored = self.data_dir / "results" / self.collection
        files = [path for path in stored.rglob("*") if path.is_file()]
        names = {path.suffix for path in (self.data_dir / "uploads").iterdir()}
        return not self.runs() and not files and names <= {".lock"} and not self.open_uploads()

    def open_uploads(self) -> list[str]:
        links = []
        for link in Path(f"/proc/{self.worker}/fd").iterdir():
            try:
                links.append(str(link.readlink()))
            except FileNotFoundError:  # it was closed meanwhile
                continue
        return [link for link in links if f"{self.data_dir}/uploads/" in link]


@pytest.fixture(scope="module")
def site(demo_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("uploads")
    data_dir, log = folder / "data", folder / "log"
    databases.copy(demo_data, data_dir)
    (folder / "conf.py").write_text(CONF)
    collection = manage(data_dir, "shell", "--no-imports", "--command", ADD).split()[-1]
    port = free_port()
    command = gunicorn(str(folder / "conf.py"))
    with tools.running(*command, log=log, env=environment(data_dir, PORT=str(port))) as process:
        wait_until_it_answers(f"http://127.0.0.1:{port}", process, log)
        yield Site(process, port, data_dir, collection, signed_in(f"http://127.0.0.1:{port}", data_dir))
    assert "Traceback" not in log.read_text()


def signed_in(url: str, data_dir: Path) -> requests.Session:
    """Return a session of the demo's owner."""
    account = json.loads((data_dir / "demo.json").read_text())
    session = requests.Session()
    form = session.get(f"{url}/accounts/login/").text
    fields = {"login": account["email"], "password": account["password"]}
    fields["csrfmiddlewaretoken"] = re.findall(r'name="csrfmiddlewaretoken" value="([^"]+)"', form)[0]
    assert session.post(f"{url}/accounts/login/", fields, headers={"Referer": url}).ok
    return session


def kill_worker(site: Site, client: http.client.HTTPConnection) -> None:
    os.kill(site.worker, signal.SIGKILL)
    client.close()
    site.session.close()  # its connection, not its cookies
    assert eventually(lambda: responds(site))


def responds(site: Site) -> bool:
    try:
        return requests.get(f"{site.url}/healthz", timeout=tools.PATIENCE).ok
    except requests.ConnectionError:
        return False


def disconnect(site: Site, client: http.client.HTTPConnection) -> None:
    client.close()


@pytest.mark.parametrize("end", [disconnect, kill_worker])
def test_nothing_is_left_of_an_upload_that_ends_at_any_byte(
    site: Site, end: Callable[[Site, http.client.HTTPConnection], None]
) -> None:
    body = HEAD + RECORDS + TAIL
    for sent in (0, 10, len(HEAD) + 1, len(body) // 2, len(body) - 1):
        client = site.start(len(body))
        client.send(body[:sent])
        assert eventually(lambda: len(site.open_uploads()) == 2)  # the file and the lock
        end(site, client)
        assert eventually(site.is_clean)


@pytest.mark.parametrize("end", [disconnect, kill_worker])
def test_nothing_is_left_of_an_import_that_ends_early(
    site: Site, end: Callable[[Site, http.client.HTTPConnection], None]
) -> None:
    body = HEAD + RECORDS + TAIL
    client = site.start(len(body))
    client.send(body)
    assert eventually(lambda: site.runs() == 1)
    end(site, client)
    assert eventually(site.is_clean)


def test_an_upload_that_stalls_ends(site: Site) -> None:
    with closing(site.start(1000)) as client:
        client.send(HEAD + b"[")
        answer = client.getresponse()
        assert (answer.status, b"The upload was interrupted." in answer.read()) == (200, True)
    assert eventually(site.is_clean)


def test_a_slow_upload_that_does_not_stall_succeeds(site: Site) -> None:
    """It takes longer than other requests may."""
    body = HEAD + b"[" + b" " * 18 + b"{}]" + TAIL
    with closing(site.start(len(body))) as client:
        for byte in body[:-20]:
            client.send(bytes([byte]))
        for byte in body[-20:]:
            client.send(bytes([byte]))
            time.sleep(0.1)
        assert client.getresponse().status == 302
    assert site.runs() == 1
    manage(site.data_dir, "shell", "--no-imports", "--command", DELETE.format(site.collection))
    assert eventually(site.is_clean)


def test_2_gib_need_less_than_50_mb_of_memory(site: Site) -> None:
    page, piece = b"[" + b" " * (MEBIBYTE - 1), b" " * MEBIBYTE
    total = len(HEAD) + 2048 * MEBIBYTE + len(b"{}]") + len(TAIL)
    before = site.resident_kibibytes()
    sizes = [before]

    def has_run() -> bool:
        sizes.append(site.resident_kibibytes())
        return site.runs() == 1

    with closing(site.start(total)) as client:
        client.send(HEAD + page)
        for number in range(2047):
            client.send(piece)
            if number % 50 == 0:
                sizes.append(site.resident_kibibytes())
        client.send(b"{}]" + TAIL)
        assert eventually(has_run)
        for _ in range(20):
            assert has_run()
            time.sleep(0.1)
    assert max(sizes) - before < 50 * 1024
    assert eventually(site.is_clean)
