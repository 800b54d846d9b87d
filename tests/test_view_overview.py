"""The Overview, which is the start page."""

import re
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from html import unescape
from zoneinfo import ZoneInfo

import pytest
import time_machine
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from collections_app.models import (
    Collection,
    CollectionStorage,
    Run,
    StorageKind,
    StorageUse,
    Team,
    User,
)
from collections_app.models.conditions import acknowledge
from collections_app.models.recent_runs import recent_runs
from collections_app.system import disk
from collections_app.views.overview.last_night import evening_before
from tests.support.html import columns, links, rows, text_of
from tests.support.responses import Response
from tests.support.run_history import DAY, HOUR, make_runs
from tests.support.upstream import NOON, make_account, make_remote_collection

pytestmark = pytest.mark.django_db

GB = 1024**3


@pytest.fixture(autouse=True)
def noon() -> Iterator[None]:
    with time_machine.travel(NOON, tick=False):
        yield


def make(team: Team, name: str, kinds: str, **fields: object) -> Collection:
    """Create a collection with one run a day, the last one an hour ago."""
    collection = Collection.objects.create(team=team, name=name, **fields)
    make_runs(collection, kinds)
    return collection


def make_late(collection: Collection) -> None:
    Collection.objects.filter(pk=collection.pk).update(expected_at=NOON - 2 * HOUR, late_at=NOON - HOUR)


def last_night(response: Response) -> str:
    (line,) = re.findall(r'<p class="last-night".*?</p>', response.content.decode(), re.DOTALL)
    return text_of(line)


def shown(response: Response) -> str:
    return unescape(text_of(response.content.decode())).replace("\xa0", " ")


def names(response: Response) -> list[str]:
    return [row[0] for row in rows(response)]


class TestWhereItLeads:
    def test_a_visitor_signs_in_first(self, client: Client) -> None:
        assert client.get("/")["Location"] == "/accounts/login/?next=/"

    def test_a_user_without_a_team_sees_the_profile_or_operations(self, client: Client, eve: User) -> None:
        client.force_login(eve)
        assert client.get("/")["Location"] == "/profile/"
        User.objects.filter(pk=eve.pk).update(is_staff=True)
        assert client.get("/")["Location"] == "/operations/"

    def test_other_teams_and_archived_collections_are_not_shown(
        self, as_bob: Client, crawlers: Team, strangers: Team
    ) -> None:
        make(crawlers, "Ours", "c")
        make(crawlers, "Archived", "c", archived_at=NOON)
        make(strangers, "Theirs", "c")
        assert names(as_bob.get("/")) == ["Ours"]

    def test_a_team_without_collections_sees_what_to_do(self, as_bob: Client, as_alice: Client) -> None:
        assert "Ask an owner or admin of Crawlers to add one." in as_bob.get("/").content.decode()
        assert links(as_alice.get("/"))["Add collection"] == "/collections/add"


class TestLastNight:
    def test_it_counts_the_collections_that_were_due(self, as_bob: Client, crawlers: Team) -> None:
        for name, kinds in {"A": "c", "B": "fc", "C": "f", "D": "i", "E": "i", "F": "e", "G": "s"}.items():
            make(crawlers, name, kinds)
        make_late(make(crawlers, "Late", ""))
        assert last_night(as_bob.get("/")) == (
            "Last night: 2 of 8 fine · 2 failed · 1 late · 1 empty · 2 incomplete (38 missing)"
        )

    @pytest.mark.parametrize(
        ("kinds", "line"), [("c", "1 of 1 fine"), ("p", "0 of 1 fine · 1 running"), ("", "no runs were due")]
    )
    def test_with_one_collection(self, as_bob: Client, crawlers: Team, kinds: str, line: str) -> None:
        make(crawlers, "A", kinds)
        assert last_night(as_bob.get("/")) == f"Last night: {line}"

    def test_all_are_fine(self, as_bob: Client, crawlers: Team) -> None:
        make(crawlers, "A", "c")
        make(crawlers, "B", "c")
        assert last_night(as_bob.get("/")) == "Last night: all 2 fine"

    def test_a_paused_collection_and_one_that_was_not_due_do_not_count(
        self, as_bob: Client, crawlers: Team
    ) -> None:
        make(crawlers, "Paused", "f", paused_at=NOON)
        Run.objects.filter(collection=make(crawlers, "Weekly", "f")).update(created_at=NOON - 2 * DAY)
        assert last_night(as_bob.get("/")) == "Last night: no runs were due"

    @pytest.mark.parametrize(
        ("zone", "evening"),
        [
            ("UTC", datetime(2026, 6, 19, 18, tzinfo=ZoneInfo("UTC"))),
            ("Australia/Sydney", datetime(2026, 6, 19, 18, tzinfo=ZoneInfo("Australia/Sydney"))),
            ("America/Los_Angeles", datetime(2026, 6, 18, 18, tzinfo=ZoneInfo("America/Los_Angeles"))),
        ],
    )
    def test_it_begins_at_18_00_in_the_zone_of_the_team(self, zone: str, evening: datetime) -> None:
        early = datetime(2026, 6, 20, 5, tzinfo=ZoneInfo("UTC"))
        assert evening_before(early, ZoneInfo(zone)) == evening

    def test_each_part_leads_to_its_collections(self, as_bob: Client, crawlers: Team) -> None:
        for name, kinds in {"A": "c", "B": "f", "C": "i"}.items():
            make(crawlers, name, kinds)
        leads = links(as_bob.get("/"))
        failed = as_bob.get(leads["1 failed"])
        assert names(failed) == ["B"]
        assert "Only collections that failed last night." in failed.content.decode()
        assert names(as_bob.get(leads["1 incomplete (19 missing)"])) == ["C"]
        assert names(as_bob.get(leads["1 of 3 fine"])) == ["A"]

    def test_it_can_be_updated_alone(self, as_bob: Client, crawlers: Team) -> None:
        make(crawlers, "A", "c")
        asked = '<p class="last-night" id="last-night" hx-get="/?night=fine&amp;show=favorites" '
        assert asked in as_bob.get("/?night=fine&show=favorites").content.decode()
        response = as_bob.get("/?night=fine", headers={"HX-Request": "true", "HX-Target": "last-night"})
        assert last_night(response) == "Last night: 1 of 1 fine"
        assert not rows(response)
        assert "HX-Target" in response["Vary"]

    def test_an_outcome_that_no_collection_had_says_so(self, as_bob: Client, crawlers: Team) -> None:
        make(crawlers, "A", "c")
        assert "No collections were late last night." in as_bob.get("/?night=late").content.decode()

    @pytest.mark.parametrize(
        "query", ["night=x", "after=x", "after=1_", "after=1_x_A", "after=" + "9" * 5000]
    )
    def test_bad_parameters_are_refused(self, as_bob: Client, crawlers: Team, query: str) -> None:
        assert as_bob.get(f"/?{query}").status_code == 400


class TestLines:
    def test_a_line_shows_the_condition_of_a_collection(self, as_bob: Client, crawlers: Team) -> None:
        make(crawlers, "AU Laptops", "ccci", expected_at=NOON + 3 * HOUR, late_at=NOON + 4 * HOUR)
        Run.objects.update(updated_at=NOON - HOUR + timedelta(minutes=8))
        response = as_bob.get("/")
        assert columns(response) == [
            "Collection", "Status", "Last 14 runs", "Last success", "Records", "Changes", "Duration",
            "Next run", "Download",
        ]  # fmt: skip
        assert rows(response) == [
            ["AU Laptops", "Completed 19 missing", "", "1 day ago", "61 -24%", "", "8 min", "in 3 h", ""]
        ]

    @pytest.mark.parametrize(
        ("kinds", "status"),
        [("c", "Completed"), ("f", "Failed"), ("cff", "Failed 2 times in a row"), ("s", "Stalled"),
         ("e", "Empty"), ("cp", "Processing"), ("cfp", "Processing Failed"), ("", "No runs yet")],
    )  # fmt: skip
    def test_its_status(self, as_bob: Client, crawlers: Team, kinds: str, status: str) -> None:
        make(crawlers, "A", kinds)
        assert rows(as_bob.get("/"))[0][1] == status
        assert rows(as_bob.get("/collections/"))[0][4] == status

    def test_a_late_run_was_due(self, as_bob: Client, crawlers: Team) -> None:
        make_late(make(crawlers, "A", "c"))
        row = rows(as_bob.get("/"))[0]
        assert (row[1], row[7]) == ("Completed Late", "due 2 h ago")

    def test_a_paused_collection_expects_no_run(self, as_bob: Client, crawlers: Team) -> None:
        make(crawlers, "A", "f", paused_at=NOON, expected_at=NOON, late_at=NOON)
        row = rows(as_bob.get("/"))[0]
        assert (row[1], row[7]) == ("Failed Paused", "Not expected")

    def test_an_acknowledged_problem_shows_until_when(
        self, as_bob: Client, crawlers: Team, alice: User
    ) -> None:
        collection = make(crawlers, "A", "f")
        acknowledge(collection, by=alice, note="The shop moves.", until=(NOON + 2 * DAY).date())
        response = as_bob.get("/")
        assert rows(response)[0][1] == "Failed Acknowledged until 22 Jun 2026"
        assert "The shop moves." in response.content.decode()

    def test_a_problem_leads_to_the_form_that_acknowledges_it(self, as_bob: Client, crawlers: Team) -> None:
        collection = make(crawlers, "A", "f")
        assert links(as_bob.get("/"))["Failed"] == f"/collections/{collection.pk}/settings#problem"

    def test_a_collection_without_a_completed_run_offers_no_download(
        self, as_bob: Client, crawlers: Team
    ) -> None:
        make(crawlers, "A", "f")
        assert "Excel" not in as_bob.get("/").content.decode()
        make(crawlers, "B", "c")
        assert "Excel" in as_bob.get("/").content.decode()

    def test_the_newest_completed_run_stays_downloadable_however_many_runs_failed_since(
        self, as_bob: Client, crawlers: Team
    ) -> None:
        make(crawlers, "A", "c" + "f" * 20)
        response = as_bob.get("/")
        assert "Excel" in response.content.decode()
        assert rows(response)[0][4] == "80"

    def test_unknown_counts_are_not_shown_as_zero(self, as_bob: Client, crawlers: Team) -> None:
        make(crawlers, "A", "c")
        Run.objects.update(extracted=None, total=None)
        assert rows(as_bob.get("/"))[0][4] == "Unknown"

    def test_problems_come_first(self, as_bob: Client, crawlers: Team) -> None:
        for name, kinds in {"A": "c", "B": "i", "C": "f", "D": "c"}.items():
            make(crawlers, name, kinds)
        assert names(as_bob.get("/")) == ["C", "B", "A", "D"]


class TestStrips:
    def test_it_shows_the_last_14_runs_with_the_newest_on_the_right(
        self, as_bob: Client, crawlers: Team
    ) -> None:
        collection = make(crawlers, "A", "fffccccccccccccies")
        page = as_bob.get("/").content.decode()
        statuses = re.findall(r'<i data-status="(\w+)" data-run="(\d+)"', page)
        assert [status for status, _ in statuses] == ["completed"] * 11 + ["incomplete", "empty", "stalled"]
        assert [int(run) for _, run in statuses] == list(range(5, 19))
        assert "Last 14 runs: 11 completed, 1 incomplete, 1 empty, 1 stalled" in unescape(page)
        # Without JavaScript.
        assert f'class="strip" href="/collections/{collection.pk}/download"' in page

    def test_runs_with_the_same_time_are_in_the_order_of_their_numbers(self, crawlers: Team) -> None:
        collection = make(crawlers, "A", "c" * 30)
        Run.objects.update(created_at=NOON)
        assert [run.number for run in recent_runs([collection], 3)[collection.pk]] == [30, 29, 28]

    def test_an_account_that_does_not_respond_stalls_no_run(self, crawlers: Team) -> None:
        remote = make_remote_collection(make_account(crawlers), refreshed_at=NOON - 2 * HOUR)
        make_runs(remote, "s")
        (run,) = recent_runs([remote], 14)[remote.pk]
        assert run.status == "processing"


class TestLongLists:
    def test_fifty_lines_are_shown_then_more(self, as_bob: Client, crawlers: Team) -> None:
        for number in range(60):
            make(crawlers, f"Shelf {number:02}", "f" if number == 55 else "c")
        first = as_bob.get("/")
        rest = as_bob.get(links(first)["Load more"], headers={"HX-Request": "true"})
        assert len(names(first)) == 50
        assert names(first)[0] == "Shelf 55"
        assert sorted(names(first) + names(rest)) == [f"Shelf {number:02}" for number in range(60)]
        assert "Load more" not in links(rest)

    def test_more_lines_continue_where_a_removed_one_was(self, as_bob: Client, crawlers: Team) -> None:
        for number in range(60):
            make(crawlers, f"Shelf {number:02}", "c")
        more = links(as_bob.get("/"))["Load more"]
        Collection.objects.filter(name="Shelf 49").update(archived_at=NOON)
        assert names(as_bob.get(more))[0] == "Shelf 50"

    def test_the_number_of_queries_is_constant(
        self, as_bob: Client, crawlers: Team, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        make(crawlers, "A", "cif")
        as_bob.get("/")
        with django_assert_num_queries(18):
            as_bob.get("/")
        for number in range(30):
            make(crawlers, f"Shelf {number}", "cif")
        with django_assert_num_queries(18):
            as_bob.get("/")


class TestForAdmins:
    @pytest.fixture(autouse=True)
    def free(self, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
        """Return a function that sets how many of the disk's 100 GB are free. At first, 48 are."""

        def leave(gigabytes: int) -> None:
            space = disk.Space(gigabytes * GB, 100 * GB)
            monkeypatch.setattr(disk, "spaces", lambda: {"data": space})

        leave(48)
        return leave

    def test_the_space_of_the_team_is_shown_with_its_age(
        self, as_bob: Client, as_adam: Client, crawlers: Team, strangers: Team
    ) -> None:
        assert "Storage: not measured yet · 48.0 GB of disk space free" in shown(as_adam.get("/"))
        for team, size in ((crawlers, 2), (crawlers, 1), (strangers, 7)):
            collection = Collection.objects.create(team=team, name=f"A{size}")
            CollectionStorage.objects.create(collection=collection, files=1, bytes=size * GB)
        for kind, size in ((StorageKind.RESULTS, 10), (StorageKind.TRACKING, 2), (StorageKind.CACHE, 2)):
            at = NOON - timedelta(minutes=5)
            StorageUse.objects.create(kind=kind, machine="", bytes=size * GB, measured_at=at)
        assert (
            "Storage: 3.0 GB of results · 4.0 GB of exports, comparisons and cache, measured 5 min ago · "
            "48.0 GB of disk space free"
        ) in shown(as_adam.get("/"))
        assert "Storage:" not in shown(as_bob.get("/"))

    def test_a_disk_with_less_than_10_percent_free_shows_a_warning(
        self, as_bob: Client, as_adam: Client, crawlers: Team, free: Callable[[int], None]
    ) -> None:
        upload = f"/collections/{make(crawlers, 'A', 'c').pk}/upload"
        free(10)
        assert "of the disk is free" not in shown(as_adam.get("/"))
        free(9)
        for address in ("/", upload):
            assert "Only 9% of the disk is free (9.0 GB)." in shown(as_adam.get(address))
        assert "of the disk is free" not in shown(as_bob.get("/"))

    def test_an_account_that_does_not_respond_is_named(
        self, as_bob: Client, as_adam: Client, crawlers: Team
    ) -> None:
        account = make_account(crawlers)
        remote = make_remote_collection(account, refreshed_at=NOON - 5 * HOUR)
        make_remote_collection(account, remote_id=2)
        Collection.objects.filter(pk=remote.pk).update(
            refresh_problem="MultiCartAPI doesn't respond.", failing_since=NOON - 4 * HOUR
        )
        (notice,) = re.findall(r'<div class="notice">.*?</div>', as_adam.get("/").content.decode(), re.DOTALL)
        assert text_of(notice) == (
            "MultiCartAPI doesn't respond. 1 of 2 collections isn't up to date. First failure: 4 h ago"
        )
        assert 'href="/team/accounts/"' in notice
        assert "First failure: 4 h ago" in text_of(as_bob.get("/").content.decode())
