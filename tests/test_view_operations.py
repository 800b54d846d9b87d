"""The Operations page."""

import socket
from collections.abc import Iterator
from datetime import timedelta
from html import unescape
from pathlib import Path

import pytest
import time_machine
from django.conf import settings as site
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from collections_app.models import (
    Collection,
    CollectionStorage,
    Comparison,
    ComparisonState,
    DiskSample,
    Export,
    ExportState,
    FailedMail,
    OutgoingMail,
    Run,
    StorageKind,
    StorageUse,
    Team,
    User,
    Verification,
    WorkerSeen,
)
from collections_app.records.tracking.slice_builder import build_slice
from collections_app.system import disk
from tests.support.html import links, text_of
from tests.support.responses import Response
from tests.support.results import make_failed_run, make_ready_run
from tests.support.upstream import NOON, make_account, make_remote_collection, make_remote_run

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("results_folder")]

GB = 1024**3
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def noon() -> Iterator[None]:
    with time_machine.travel(NOON, tick=False):
        yield


@pytest.fixture
def olga(db: None) -> Client:
    """The browser of Olga, an operator who isn't in a team."""
    client = Client()
    client.force_login(User.objects.create_superuser("olga@example.com", "secret"))
    return client


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk with 12 GB of 100 GB free."""
    space = disk.Space(12 * GB, 100 * GB)
    monkeypatch.setattr(disk, "spaces", lambda: {"data": space, "results": space})


def sample(days_ago: float, free: int, *, folder: str = "data", machine: str = "") -> None:
    DiskSample.objects.create(
        machine=machine or socket.gethostname(),
        folder=folder,
        free=free,
        total=100 * GB,
        measured_at=timezone.now() - days_ago * DAY,
    )


def section(response: Response, name: str) -> str:
    """Return the text of a section."""
    _, _, rest = response.content.decode().partition(f'<section aria-labelledby="{name}">')
    return unescape(text_of(rest.partition("</section>")[0])).replace("\xa0", " ")


class TestWhoSeesIt:
    def test_only_operators_have_it_in_the_sidebar(self, olga: Client, as_alice: Client) -> None:
        assert links(olga.get("/profile/"))["Operations"] == "/operations/"
        assert "Operations" not in links(as_alice.get("/profile/"))

    def test_it_contains_no_secrets(self, olga: Client, crawlers: Team) -> None:
        make_account(crawlers)
        now = timezone.now()
        OutgoingMail.objects.create(encrypted_data="canary", due_at=now, expires_at=now, problem="OSError")
        page = olga.get("/operations/").content.decode()
        assert "canary" not in page
        assert "••••" not in page
        assert site.SECRET_KEY not in page


class TestSpace:
    def test_before_the_first_measurement_it_says_so(self, olga: Client) -> None:
        page = olga.get("/operations/")
        assert "Not measured yet" in section(page, "space")
        assert "No background worker has reported yet." in section(page, "workers")

    @pytest.mark.usefixtures("free")
    def test_folders_on_one_disk_are_one_disk_that_fills_up(self, olga: Client) -> None:
        sample(6, 18 * GB)
        sample(0.1, 12 * GB + GB // 10)
        text = section(olga.get("/operations/"), "space")
        assert "Disk with data and results 12.0 GB free 88% 88% of 100.0 GB used." in text
        assert "Full in about 12 days at the rate of the last 5 days: 1.0 GB per day." in text
        assert "Free up space or enlarge the disk." in text

    @pytest.mark.usefixtures("free")
    def test_without_a_day_of_samples_the_growth_is_unknown(self, olga: Client) -> None:
        text = section(olga.get("/operations/"), "space")
        assert "The growth rate will be known after a day." in text
        assert "Free up space" not in text

    @pytest.mark.usefixtures("free")
    def test_the_disks_of_other_machines_are_as_old_as_their_last_sample(self, olga: Client) -> None:
        sample(0.25, 9 * GB, machine="worker-2")
        text = section(olga.get("/operations/"), "space")
        assert text.index("Disk with data 9.0 GB free 91%") < text.index("12.0 GB free")
        assert "Free up space or enlarge the disk. worker-2, 6 h ago" in text

    def test_each_figure_has_its_age(self, olga: Client) -> None:
        for kind, machine in ((StorageKind.CACHE, "web-1"), (StorageKind.RESULTS, "")):
            StorageUse.objects.create(
                kind=kind, machine=machine, files=1234, bytes=3 * GB, measured_at=timezone.now() - 2 * HOUR
            )
        text = section(olga.get("/operations/"), "space")
        assert (
            "Results 3.0 GB 1,234 files Measured 2 h ago Cache 3.0 GB 1,234 files web-1, measured 2 h ago"
            in text
        )


class TestStorage:
    @pytest.fixture(autouse=True)
    def stored(self, crawlers: Team, strangers: Team) -> None:
        Collection.objects.create(team=crawlers, name="Without files")
        for number in range(1, 14):
            team = crawlers if number < 13 else strangers
            collection = Collection.objects.create(team=team, name=f"C{number}")
            CollectionStorage.objects.create(collection=collection, files=number, bytes=min(number, 5) * GB)

    def test_teams_and_collections_are_listed_the_largest_first(self, olga: Client) -> None:
        page = olga.get("/operations/")
        assert "Crawlers 12 78 50.0 GB Strangers 1 13 5.0 GB" in section(page, "teams")
        text = section(page, "collections")
        assert "C5 Crawlers 5 5.0 GB C6 Crawlers 6 5.0 GB" in text
        assert "C4 Crawlers" in text
        assert "C3 Crawlers" not in text

    @pytest.mark.parametrize("htmx", [{}, {"HX-Request": "true"}])
    def test_load_more_continues_the_list(self, olga: Client, htmx: dict[str, str]) -> None:
        more = links(olga.get("/operations/"))["Load more"]
        rest = olga.get(more, headers=htmx)
        content = rest.content.decode()
        assert [name for name in ("C4", "C3", "C2", "C1") if f">{name}</span>" in content] == [
            "C3",
            "C2",
            "C1",
        ]
        assert ("<html" in content) == (not htmx)
        assert "Load more" not in content

    def test_a_wrong_position_is_reported(self, olga: Client) -> None:
        for query in ("teams=x", "collections=1", "collections=5_" + 30 * "9"):
            assert olga.get(f"/operations/?{query}").status_code == 400


class TestQueuesAndFailures:
    def test_queues_show_what_is_waiting_and_since_when(self, olga: Client, laptops: Collection) -> None:
        now = timezone.now()
        Run.objects.create_next(laptops, lease_expires_at=now - HOUR, created_at=now - 2 * HOUR)
        run = make_ready_run(laptops)
        Export.objects.create(run=run, format="csv", digest="a", created_at=now - 3 * HOUR)
        Export.objects.create(run=run, format="csv", digest="b", state=ExportState.RUNNING)
        since = make_ready_run(laptops)
        Comparison.objects.create(run=run, since=since, settings_version=1, created_at=now - 4 * HOUR)
        Verification.objects.create(run=run, started_at=now - HOUR, lease_expires_at=now + HOUR)
        OutgoingMail.objects.create(encrypted_data="x", due_at=now, expires_at=now, created_at=now - HOUR)
        remote = make_remote_collection(make_account(laptops.team))
        Collection.objects.filter(pk=remote.pk).update(keeps_results=True)
        make_remote_run(remote, 1)
        build_slice(make_ready_run(laptops))
        text = section(olga.get("/operations/"), "queues")
        assert "Imports and uploads 1 0 2 h ago" in text
        assert "Slices 1 of 3 runs 2 0 None" in text
        assert "Comparisons 1 0 4 h ago" in text
        assert "Exports 1 1 3 h ago" in text
        assert "Verifications 0 1 1 h ago" in text
        assert "Mail 1 0 1 h ago" in text
        assert "Copies of collections that keep all runs 1 0" in text

    def test_failures_have_reasons_the_newest_first(self, olga: Client, laptops: Collection) -> None:
        now = timezone.now()
        assert "No failures." in section(olga.get("/operations/"), "failures")
        make_failed_run(laptops, "The shop asked for a captcha.", at=now - 2 * DAY)
        make_failed_run(laptops, "Too old.", at=now - 8 * DAY)
        run = make_ready_run(laptops)
        failed = {"state": ExportState.FAILED, "failure": "Too large.", "failed_at": now - HOUR}
        Export.objects.create(run=run, format="xlsx", digest="a", **failed)
        failed = {"state": ComparisonState.FAILED, "failure": "Too slow.", "failed_at": now - HOUR / 2}
        Comparison.objects.create(run=run, since=make_ready_run(laptops), settings_version=1, **failed)
        Verification.objects.create(
            run=run, finished_at=now - 2 * HOUR, problem_count=1, problems=["Page 1 is damaged."]
        )
        FailedMail.objects.create(tries=3, problem="SMTPDataError 554", failed_at=now - 3 * HOUR)
        text = section(olga.get("/operations/"), "failures")
        assert "Too old." not in text
        found = [
            f"Comparison of run {run.number} with run 4 Crawlers · AU Laptops Too slow. 30 min ago",
            f"XLSX export of run {run.number} Crawlers · AU Laptops Too large. 1 h ago",
            f"Verification of run {run.number} Crawlers · AU Laptops Page 1 is damaged. 2 h ago",
            "Email None Gave up after 3 tries: SMTPDataError 554. 3 h ago",
            "Run 1 Crawlers · AU Laptops The shop asked for a captcha. 2 days ago",
        ]
        positions = [text.index(failure) for failure in found]
        assert positions == sorted(positions)


class TestAccountsAndVersions:
    def test_accounts_show_since_when_they_fail_and_how_long_to_wait(
        self, olga: Client, crawlers: Team, strangers: Team
    ) -> None:
        fine = make_remote_collection(make_account(strangers))
        Collection.objects.filter(pk=fine.pk).update(refreshed_at=timezone.now() - HOUR / 4)
        down = make_remote_collection(make_account(crawlers))
        Collection.objects.filter(pk=down.pk).update(
            refresh_problem="The account is busy.",
            failing_since=timezone.now() - 5 * HOUR,
            retry_at=timezone.now() + HOUR / 2,
        )
        text = section(olga.get("/operations/"), "accounts")
        assert "Failing 1 of 1 collection, first failure 5 h ago The account is busy." in text
        assert "The account asked us to wait. Next try: in 30 min" in text
        assert text.index("5 h ago") < text.index("Updated 15 min ago")

    def test_versions_and_workers(self, olga: Client) -> None:
        WorkerSeen.objects.create(machine="web-1", seen_at=timezone.now() - timedelta(seconds=90))
        WorkerSeen.objects.create(machine="web-2", seen_at=timezone.now() - HOUR)
        page = olga.get("/operations/")
        assert "web-1 Running 1 min ago web-2 Not running 1 h ago" in section(page, "workers")
        text = section(page, "versions")
        assert f"Site {site.VERSION} Python 3." in text
        assert " applied, none pending" in text


def test_the_number_of_queries_is_constant(
    olga: Client, crawlers: Team, laptops: Collection, tmp_path: Path
) -> None:
    def queries() -> int:
        with CaptureQueriesContext(
            connection,
        ) as captured:
            assert olga.get("/operations/").status_code == 200
        return len(captured)

    before = queries()
    for number in range(3):
        collection = Collection.objects.create(team=crawlers, name=f"C{number}")
        CollectionStorage.objects.create(collection=collection, files=1, bytes=1)
        make_failed_run(collection)
        make_remote_collection(make_account(crawlers, name=f"Account {number}"), remote_id=number)
    assert queries() == before
    # On PostgreSQL, other queries read its version, and twice its clock, which decides when leases expire.
    assert before <= (28 if connection.vendor == "sqlite" else 31)
