"""Finding runs on the download page by status, day and number, and their total."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from html import unescape
from urllib.parse import parse_qs, urlsplit

import pytest
import time_machine
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from collections_app.models import Collection, Run, State, Team
from collections_app.views.download import page as download
from tests.support.html import links, rows, text_of
from tests.support.responses import Response
from tests.support.results import make_failed_run, make_processing_run, make_ready_run
from tests.support.tools import all_or_few
from tests.support.upstream import lists, make_account, make_remote_collection, remote_run

ADDRESS = "/collections/101/download"
NOON = datetime(2026, 6, 20, 12, tzinfo=UTC)


def found(client: Client, address: str = ADDRESS, **asked: str) -> list[int]:
    """Return the numbers of the runs on the page."""
    return found_in(client.get(address, asked))


def found_in(response: Response) -> list[int]:
    """Return the numbers of the runs in a response."""
    assert response.status_code == 200
    return [int(re.findall(r"Run (\d+)", row[0])[0]) for row in rows(response)]


def make_failed_runs(
    collection: Collection, count: int, *, last: datetime = NOON, apart: timedelta = timedelta(hours=1)
) -> None:
    """Create runs at this interval. The last one is at the given time."""
    Run.objects.bulk_create(
        Run(
            collection=collection,
            number=number,
            state=State.FAILED,
            failure_reason="No response.",
            created_at=last - (count - number) * apart,
        )
        for number in range(1, count + 1)
    )


def shown(client: Client, **asked: str) -> str:
    """Return the sentence about the number of runs."""
    content = client.get(ADDRESS, asked).content.decode()
    (said,) = re.findall(r'<p class="list-count">(.*?)</p>', content, re.DOTALL)
    return text_of(said)


class TestByStatus:
    @pytest.fixture(autouse=True)
    def runs(self, laptops: Collection) -> None:
        make_ready_run(laptops, at=NOON)
        make_failed_run(laptops, at=NOON + timedelta(hours=1))
        make_processing_run(laptops, at=NOON + timedelta(hours=2))
        make_ready_run(laptops, at=NOON + timedelta(hours=3))

    @pytest.mark.parametrize(
        ("state", "numbers"),
        [("", [4, 3, 2, 1]), ("completed", [4, 1]), ("ready", [4, 1]), ("failed", [2]), ("processing", [3])],
    )
    def test_runs_are_filtered_by_status(self, as_bob: Client, state: str, numbers: list[int]) -> None:
        assert found(as_bob, state=state) == numbers

    def test_the_page_describes_the_filter(self, as_bob: Client) -> None:
        response = as_bob.get(ADDRESS, {"state": "completed"})
        assert "Completed ·" in text_of(response.content.decode())
        assert links(response)["Show all runs"] == ADDRESS
        assert "Status: Completed" in text_of(response.content.decode())

    def test_old_addresses_work(self, as_bob: Client) -> None:
        response = as_bob.get(ADDRESS, {"state": "ready"})
        assert "Completed or empty ·" in text_of(response.content.decode())
        assert "Status: Completed or empty" in text_of(response.content.decode())

    def test_an_unknown_status_is_refused(self, as_bob: Client) -> None:
        response = as_bob.get(ADDRESS, {"state": "done"})
        assert response.status_code == 400
        assert (
            "Unknown run status. Use one of: processing, stalled, failed, completed, incomplete, empty."
            in response.content.decode()
        )

    def test_no_matching_runs(self, as_bob: Client) -> None:
        Run.objects.filter(state="failed").delete()
        response = as_bob.get(ADDRESS, {"state": "failed"})
        assert "No matching runs" in response.content.decode()
        assert links(response)["Show all runs"] == ADDRESS

    def test_new_runs_match_the_filter(self, as_bob: Client, laptops: Collection) -> None:
        content = as_bob.get(ADDRESS, {"state": "ready"}).content.decode()
        (newest,) = re.findall(r'data-newest="(.*?)"', content)
        (query,) = re.findall(r'data-query="(.*?)"', content)
        assert query == "state=ready"
        make_failed_run(laptops)
        asked = {"state": "ready", "newest": newest}
        assert as_bob.get("/collections/101/live", asked).status_code == 204
        make_ready_run(laptops)
        assert as_bob.get("/collections/101/live", asked).json()["new"] == 1


class TestStatusChip:
    """The menu of statuses, with the number of runs that each of them would show."""

    @staticmethod
    def choices(client: Client, **asked: str) -> dict[str, str]:
        page = client.get(ADDRESS, asked).content.decode()
        (menu,) = re.findall(r"Status: .*?</details>", page, re.DOTALL)[:1]
        found = re.findall(r'<a href="[^?]*\?([^"]*)"[^>]*>(.*?)</a>', menu, re.DOTALL)
        return {text_of(name): unescape(query) for query, name in found}

    @pytest.fixture(autouse=True)
    def runs(self, laptops: Collection) -> None:
        make_failed_run(laptops, at=NOON)
        make_ready_run(laptops, at=NOON)
        make_ready_run(laptops, at=NOON + timedelta(days=1))
        partial = make_ready_run(laptops, at=NOON + timedelta(days=2))
        Run.objects.filter(pk=partial.pk).update(extracted=1, total=9)
        stalled = make_processing_run(laptops, at=NOON)
        Run.objects.filter(pk=stalled.pk).update(stalls_at=NOON)
        make_processing_run(laptops)

    ALL = ["All 6", "Processing 1", "Stalled 1", "Failed 2", "Completed 3", "Incomplete 1", "Empty 0"]

    @pytest.mark.parametrize("state", ["", "completed", "failed", "empty"])
    def test_it_counts_the_runs_of_every_status(self, as_bob: Client, state: str) -> None:
        choices = self.choices(as_bob, state=state)
        assert list(choices) == self.ALL
        for label, query in choices.items():
            name, _, count = label.rpartition(" ")
            assert len(found(as_bob, f"{ADDRESS}?{query}")) == int(count), name

    def test_it_counts_the_runs_of_the_chosen_days_and_keeps_them(self, as_bob: Client) -> None:
        choices = self.choices(as_bob, to="2026-06-21", state="failed")
        assert [*choices][3:5] == ["Failed 2", "Completed 2"]
        assert choices["Completed 2"] == "state=completed&to=2026-06-21&zone=UTC"

    def test_older_runs_are_counted_too(self, as_bob: Client, laptops: Collection) -> None:
        Run.objects.bulk_create(
            Run(collection=laptops, number=number, state=State.FAILED, failure_reason="No response.")
            for number in range(100, 160)
        )
        assert [*self.choices(as_bob)][:4] == ["All 66", "Processing 1", "Stalled 1", "Failed 62"]

    def test_all_counts_are_one_query(self, as_bob: Client) -> None:
        as_bob.get(ADDRESS)
        with CaptureQueriesContext(connection) as queries:
            as_bob.get(ADDRESS, {"state": "completed"})
        counts = [query for query in queries if "COUNT(" in query["sql"] and "slice" not in query["sql"]]
        assert len(counts) == 1


class TestByPeriod:
    """Last night and the last seven days, in the team's time zone."""

    @pytest.fixture(autouse=True)
    def now(self) -> Iterator[None]:
        with time_machine.travel(datetime(2026, 6, 20, 9, tzinfo=UTC), tick=False):
            yield

    @pytest.fixture(autouse=True)
    def runs(self, laptops: Collection, now: None) -> None:
        """Run 20 starts at 07:00 on 20 June, and each earlier run twelve hours before the next."""
        make_failed_runs(laptops, 20, last=datetime(2026, 6, 20, 7, tzinfo=UTC), apart=timedelta(hours=12))

    @pytest.mark.parametrize(
        ("when", "zone", "numbers"),
        [
            ("last-night", "UTC", [20, 19]),
            ("last-night", "America/New_York", [20]),
            ("7-days", "UTC", list(range(20, 7, -1))),
            ("7-days", "Australia/Sydney", list(range(20, 6, -1))),
        ],
    )
    def test_runs_are_filtered_by_period(
        self, as_bob: Client, when: str, zone: str, numbers: list[int]
    ) -> None:
        Team.objects.update(time_zone=zone)
        assert found(as_bob, when=when, zone="Asia/Tokyo") == numbers

    def test_the_page_names_the_period_and_its_runs(self, as_bob: Client) -> None:
        Team.objects.update(time_zone="Asia/Tokyo")
        response = as_bob.get(ADDRESS, {"when": "last-night", "state": "failed"})
        assert "2 runs: Failed, since 18:00 yesterday (Asia/Tokyo) ·" in text_of(response.content.decode())
        assert links(response)["Last night"] == f"{ADDRESS}?state=failed"
        assert links(response)["7 days"] == f"{ADDRESS}?state=failed&when=7-days"

    def test_an_unknown_period_is_refused(self, as_bob: Client) -> None:
        response = as_bob.get(ADDRESS, {"when": "tomorrow"})
        assert response.status_code == 400
        assert "Unknown period. Use one of: last-night, 7-days." in response.content.decode()


class TestByDay:
    @pytest.fixture(autouse=True)
    def runs(self, laptops: Collection) -> None:
        """Run 1 starts at 18:00 on 18 June, and each following run six hours later."""
        make_failed_runs(laptops, 8, apart=timedelta(hours=6))

    @pytest.mark.parametrize(
        ("asked", "numbers"),
        [
            ({"from": "2026-06-20"}, [8, 7, 6]),
            ({"to": "2026-06-18"}, [1]),
            ({"from": "2026-06-19", "to": "2026-06-19"}, [5, 4, 3, 2]),
            ({"from": "2026-06-19", "to": "2026-06-19", "zone": "Australia/Sydney"}, [4, 3, 2, 1]),
            ({"from": "2026-06-19", "to": "2026-06-19", "zone": "America/New_York"}, [6, 5, 4, 3]),
            ({"from": "2026-06-20", "to": "2026-06-19"}, [8, 7, 6, 5, 4, 3, 2]),
        ],
    )
    def test_runs_are_filtered_by_day(
        self, as_bob: Client, asked: dict[str, str], numbers: list[int]
    ) -> None:
        assert found(as_bob, **asked) == numbers

    def test_the_page_shows_the_time_zone(self, as_bob: Client) -> None:
        asked = {"from": "2026-06-19", "to": "2026-06-19", "zone": "Australia/Sydney"}
        said = text_of(as_bob.get(ADDRESS, asked).content.decode())
        assert "19 Jun 2026 (Australia/Sydney)" in said

    @pytest.mark.parametrize("zone", ["Middle/Earth", "../../etc/passwd", "\0", "utc "])
    def test_an_unknown_time_zone_is_replaced_by_the_teams(self, as_bob: Client, zone: str) -> None:
        asked = {"from": "2026-06-20", "zone": zone}
        assert found(as_bob, **asked) == [8, 7, 6]
        assert "Since 20 Jun 2026 (UTC)" in text_of(as_bob.get(ADDRESS, asked).content.decode())

    @pytest.mark.parametrize("name", ["from", "to", "on"])
    def test_an_invalid_day_is_refused(self, as_bob: Client, name: str) -> None:
        for day in ("x", "2026-02-30", "20/06/2026", "0000-01-01", "20260620"):
            response = as_bob.get(ADDRESS, {name: day})
            assert response.status_code == 400, day
            assert "Use YYYY-MM-DD, for example 2026-06-20." in response.content.decode(), day

    def test_the_earliest_and_the_latest_day(self, as_bob: Client) -> None:
        for first, last in [("1970-01-01", "8999-12-31"), ("1900-01-01", "9999-12-31")]:
            for zone in ("Pacific/Kiritimati", "Pacific/Pago_Pago"):
                assert len(found(as_bob, **{"from": first, "to": last, "zone": zone})) == 8
        assert found(as_bob, **{"from": "9999-12-31"}) == found(as_bob, to="0001-01-01") == []

    def test_going_to_a_day_beyond_all_runs(self, as_bob: Client) -> None:
        assert len(rows(as_bob.get(ADDRESS, {"on": "9999-12-31"}, follow=True))) == 8
        assert rows(as_bob.get(ADDRESS, {"on": "0001-01-01"}, follow=True)) == []

    def test_going_to_a_day_shows_its_runs_and_older_ones(self, as_bob: Client) -> None:
        response = as_bob.get(ADDRESS, {"on": "2026-06-19"}, follow=True)
        assert [row[0].partition("Run ")[2][0] for row in rows(response)] == ["5", "4", "3", "2", "1"]

    def test_going_to_a_day_keeps_the_filter(self, as_bob: Client) -> None:
        response = as_bob.get(ADDRESS, {"on": "2026-06-19", "state": "ready", "zone": "Asia/Tokyo"})
        assert parse_qs(urlsplit(response["Location"]).query) == {
            "state": ["ready"],
            "before": ["2026-06-19T15:00:00.000000Z_0"],
        }


class TestByNumber:
    def test_a_run_near_the_top_is_on_the_first_page(self, as_bob: Client, laptops: Collection) -> None:
        make_failed_runs(laptops, 60)
        assert as_bob.get(ADDRESS, {"run": "20"})["Location"] == f"{ADDRESS}#run-20"

    def test_an_older_run_is_shown_below_a_few_newer_ones(self, as_bob: Client, laptops: Collection) -> None:
        make_failed_runs(laptops, 200)
        address, _, fragment = as_bob.get(ADDRESS, {"run": "88"})["Location"].partition("#")
        assert fragment == "run-88"
        assert found(as_bob, address)[:4] == [90, 89, 88, 87]
        assert 'id="run-88"' in as_bob.get(address).content.decode()

    @pytest.mark.parametrize("number", ["61", "0", "x", "-1", "9" * 30, "²"])
    def test_an_unknown_run_is_not_found(self, as_bob: Client, laptops: Collection, number: str) -> None:
        make_failed_runs(laptops, 60)
        response = as_bob.get(ADDRESS, {"run": number})
        assert response.status_code == 404
        assert "AU Laptops has no run with this number." in response.content.decode()


class TestLatest:
    def test_the_newest_completed_run_is_linked(self, as_bob: Client, laptops: Collection) -> None:
        make_ready_run(laptops, at=NOON)
        make_failed_run(laptops)
        assert links(as_bob.get(ADDRESS))["Newest completed run"] == "/collections/101/latest/"
        assert "/runs/1/" in as_bob.get("/collections/101/latest/")["Location"]

    def test_it_is_linked_if_only_failed_runs_are_shown(self, as_bob: Client, laptops: Collection) -> None:
        make_ready_run(laptops, at=NOON)
        make_failed_run(laptops)
        assert "Newest completed run" in links(as_bob.get(ADDRESS, {"state": "failed"}))

    def test_without_completed_runs_there_is_no_link(self, as_bob: Client, laptops: Collection) -> None:
        make_failed_run(laptops)
        assert "Newest completed run" not in links(as_bob.get(ADDRESS))


class TestTotal:
    def test_all(self, as_bob: Client, laptops: Collection) -> None:
        make_failed_runs(laptops, 1)
        assert shown(as_bob) == "Showing 1 of 1 run"

    def test_more_than_a_page(self, as_bob: Client, laptops: Collection) -> None:
        make_failed_runs(laptops, 1213)
        assert shown(as_bob) == "Showing 50 of 1,213 runs"

    def test_more_that_are_loaded_are_added(self, as_bob: Client, laptops: Collection) -> None:
        make_failed_runs(laptops, 120)
        content = as_bob.get(ADDRESS).content.decode()
        for said in ("Showing 100 of 120 runs", "Showing 120 of 120 runs"):
            (more,) = re.findall(r'hx-get="([^"]*shown=\d+)"', content)
            content = as_bob.get(more.replace("&amp;", "&"), headers={"HX-Request": "true"}).content.decode()
            assert said in text_of(content)
        assert "Load more" not in content

    def test_very_many(self, as_bob: Client, laptops: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(download, "MOST_COUNTED", 99)
        make_failed_runs(laptops, 200)
        assert shown(as_bob) == "Showing 50 of more than 99 runs"

    def test_matching_runs_are_counted(self, as_bob: Client, laptops: Collection) -> None:
        make_ready_run(laptops)
        laptops.runs.update(number=1000)
        make_failed_runs(laptops, 60)
        assert shown(as_bob, state="failed") == "Showing 50 of 60 runs"


@pytest.mark.parametrize(
    "asked",
    all_or_few(
        [{"state": "failed"}, {"to": "2026-06-19"}, {"state": "failed", "from": "2026-06-01"}],
        {"state": "failed", "from": "2026-06-01"},
    ),
)
def test_load_more_keeps_the_filter(as_bob: Client, laptops: Collection, asked: dict[str, str]) -> None:
    make_failed_runs(laptops, 130)
    total, seen, address = found(as_bob, **asked), [], f"{ADDRESS}?{'&'.join(map('='.join, asked.items()))}"
    while address:
        response = as_bob.get(address)
        seen += found_in(response)
        address = ADDRESS + links(response)["Load more"] if "Load more" in links(response) else ""
    assert seen[:50] == total
    assert seen == sorted(set(seen), reverse=True)
    assert len(seen) == (130 if "state" in asked else 117)


@pytest.mark.sqlite(reason="its words for a query plan")
def test_filtering_by_status_uses_an_index_without_sorting(as_bob: Client, laptops: Collection) -> None:
    with CaptureQueriesContext(connection) as queries:
        as_bob.get(ADDRESS, {"state": "failed", "before": "2026-06-20T12:00:00.000000Z_7"})
    (asked,) = [query["sql"] for query in queries if "LIMIT 51" in query["sql"]]
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN QUERY PLAN {asked}")
        plan = str(cursor.fetchall())
    assert "run_unready (collection_id=? AND created_at<?)" in plan
    assert "TEMP B-TREE" not in plan


class TestAtAnAccount:
    def test_without_matching_runs_older_ones_can_be_loaded(
        self, as_bob: Client, crawlers: Team, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        collection = make_remote_collection(make_account(crawlers))
        old = remote_run(1, at=NOON - timedelta(days=900))
        lists(monkeypatch, [remote_run(number) for number in range(2, 80)] + [old])
        address = f"/collections/{collection.pk}/download"
        asked = {"to": "2024-12-31"}
        response = as_bob.get(address, asked)
        assert "Older runs can be loaded from MultiCartAPI." in text_of(response.content.decode())
        assert found(as_bob, address + links(response)["Load older runs"]) == [1]
