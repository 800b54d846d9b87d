"""The metrics, the log and the shutdown of a site with two workers."""

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from tests.support import databases, tools
from tests.support.server import SERVE, environment, follow_handbook, free_port, manage, wait_until_it_answers
from tests.support.tools import children, eventually
from tests.support.upstream import KEY

MEBIBYTE = 2**20
SIZE = 64 * MEBIBYTE
TOKEN = "a-token-for-the-tests"

pytestmark = [
    pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="looks into processes by /proc"),
    pytest.mark.thorough,
]

PREPARE = f"""
from django.utils import timezone
from collections_app.models import Collection, Run
from tests.support.upstream import make_account
run = Run.objects.get(collection=101, number=88)
run.files.create(
    kind="page", position=1000, name="large.json", key="large.json", size={SIZE}, modified=timezone.now()
)
make_account(Collection.objects.get(pk=101).team)
"""


@dataclass
class Site:
    """A running site, its log, and the API key of a user with access to its files."""

    url: str
    data_dir: Path
    log: Path
    process: tools.Process

    @property
    def key(self) -> str:
        return str(json.loads((self.data_dir / "demo.json").read_text())["api_key"])

    @property
    def address(self) -> tuple[str, int]:
        parts = urlsplit(self.url)
        return parts.hostname or "", parts.port or 0

    def processes(self) -> set[int]:
        """Return its processes: gunicorn, its workers, and the background process."""
        found, new = set(), {self.process.pid}
        while new:
            found |= new
            new = {child for parent in new for child in children(parent)} - found
        return found

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]

    def figure(self, name: str, **labels: str) -> float:
        answer = requests.get(f"{self.url}/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
        return sum(
            sample.value
            for family in text_string_to_metric_families(answer.text)
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(*self.address, timeout=tools.PATIENCE)

    @contextlib.contextmanager
    def slow_download(self) -> Iterator[http.client.HTTPResponse]:
        """Start to download a large file."""
        with contextlib.closing(self.connect()) as connection:
            connection.request("GET", "/api/v1/results/101/88/large.json", headers={"x-api-key": self.key})
            with connection.getresponse() as answer:
                assert len(answer.read(MEBIBYTE)) == MEBIBYTE
                yield answer


@pytest.fixture(scope="module")
def served(demo_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("operating")
    data_dir = folder / "data"
    databases.copy(demo_data, data_dir)
    with (data_dir / "results" / "large.json").open("wb") as large:
        large.truncate(SIZE)
    manage(data_dir, "shell", "--no-imports", "--command", PREPARE)
    with serving(data_dir, folder / "log") as site:
        yield site


@contextlib.contextmanager
def serving(data_dir: Path, log: Path) -> Iterator[Site]:
    port = free_port()
    knobs = {"PORT": str(port), "WEB_CONCURRENCY": "2", "METRICS_TOKEN": TOKEN}
    with tools.running(*SERVE, log=log, env=environment(data_dir, **knobs)) as process:
        site = Site(f"http://127.0.0.1:{port}", data_dir, log, process)
        wait_until_it_answers(site.url, process, log)
        yield site


def test_metrics_combine_all_workers(served: Site) -> None:
    assert eventually(lambda: len(children(served.process.pid)) == 2)  # also after one was killed
    before = served.figure("results_http_requests_total", route="api:download_result_file")
    broken = served.figure("results_file_streams_ended_total", outcome="broken off")
    sent = served.figure("results_file_bytes_total")
    with contextlib.ExitStack() as stack:
        for count in range(1, 5):
            stack.enter_context(served.slow_download())
            assert served.figure("results_file_streams") == count
        assert served.figure("results_http_requests_total", route="api:download_result_file") == before + 4
    assert eventually(lambda: served.figure("results_file_streams") == 0)
    assert served.figure("results_file_streams_ended_total", outcome="broken off") == broken + 4
    assert served.figure("results_file_bytes_total") - sent >= 4 * MEBIBYTE
    assert served.figure("results_database_up") == 1
    lines = [line for line in served.lines() if line.get("route") == "api:download_result_file"][-4:]
    assert [line["complete"] for line in lines] == [False] * 4
    assert all(MEBIBYTE <= line["bytes"] < SIZE for line in lines)


def test_a_killed_worker_has_no_running_downloads_but_keeps_its_counters(served: Site) -> None:
    with served.slow_download():
        sent = served.figure("results_http_requests_total")
        assert served.figure("results_file_streams") == 1
        for worker in children(served.process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)
        assert eventually(lambda: _answers(served))
        assert eventually(lambda: served.figure("results_file_streams") == 0)
        assert served.figure("results_http_requests_total") >= sent


def _answers(site: Site) -> bool:
    with contextlib.suppress(requests.RequestException):
        return bool(requests.get(f"{site.url}/readyz", timeout=5).ok)
    return False


def step(name: str, **folders: Path) -> str:
    """Run the commands of a step in docs/operations.md."""
    variables = {key: str(folder) for key, folder in folders.items()}
    return follow_handbook(name, environment(Path("/nowhere"), **variables))


@pytest.mark.sqlite(reason="its own way to make a backup")
def test_a_backup_of_a_running_site_is_complete(served: Site, tmp_path: Path) -> None:
    tools.needs("sqlite3")
    with served.slow_download():
        step("backup", DATA_DIR=served.data_dir, BACKUP=tmp_path / "backup")
    assert stat.S_IMODE((tmp_path / "backup").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "backup" / "db.sqlite3").stat().st_mode) == 0o600
    restored = tmp_path / "restored"
    said = step("restore", BACKUP=tmp_path / "backup", RESTORED=restored)
    compared, wrong = map(int, re.findall(r"\d+", said))
    assert compared > 300
    assert wrong == 0
    count = "from collections_app.models import *; print(Run.objects.count(), ResultFile.objects.count())"
    counted = [manage(folder, "shell", "--command", count) for folder in (served.data_dir, restored)]
    assert counted[0] == counted[1]
    key = (
        "from collections_app.models import Account; "
        "print(Account.objects.exclude(encrypted_key='').get().key)"
    )
    assert manage(restored, "shell", "--command", key).split()[-1] == KEY
    stored = next(
        path for path in (restored / "results").rglob("*.json") if path.parent != restored / "results"
    )
    stored.write_bytes(b"[]")
    again = step("restore", BACKUP=restored, RESTORED=tmp_path / "again")
    assert again.split()[-1] == str(stored.relative_to(restored / "results"))


def refused(site: Site) -> bool:
    """Return whether the site refuses connections."""
    try:
        with socket.create_connection(site.address, timeout=tools.PATIENCE):
            return False
    except ConnectionRefusedError:
        return True


def test_running_downloads_finish_before_it_stops(served: Site) -> None:
    # gunicorn, two workers, and the background process.
    assert eventually(lambda: len(served.processes()) == 4)
    processes = served.processes()
    with contextlib.closing(served.connect()) as idle, served.slow_download() as download:
        idle.request("GET", "/healthz")
        assert idle.getresponse().read()
        served.process.send_signal(signal.SIGTERM)
        assert eventually(lambda: refused(served))
        assert idle.sock.recv(100) == b""  # idle connections are closed
        assert served.process.poll() is None
        received = MEBIBYTE
        while piece := download.read(MEBIBYTE):
            received += len(piece)
        assert received == SIZE
    assert served.process.wait(timeout=tools.PATIENCE) == 0
    assert eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in processes))
    (line,) = [line for line in served.lines() if line.get("bytes") == SIZE]
    assert line["complete"] is True
    assert not list(Path("/dev/shm").glob(f"metrics-{served.process.pid}-*"))
    assert "Traceback" not in served.log.read_text()


def test_ctrl_c_does_not_wait_for_downloads(served: Site, tmp_path: Path) -> None:
    with serving(served.data_dir, tmp_path / "log") as site, site.slow_download():
        site.process.send_signal(signal.SIGINT)
        assert site.process.wait(timeout=tools.PATIENCE) == 0
    assert "Traceback" not in site.log.read_text()
