"""The addresses that pages poll for changed rows, new runs and progress."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from collections_app.models import Account, Collection, Membership, Run, Team, User
from collections_app.models.conditions import acknowledge
from collections_app.models.expectations import pause
from collections_app.runs.removal import delete_run
from collections_app.runs.writer import ResultSetWriter
from tests.support.html import text_of
from tests.support.results import make_failed_run, make_processing_run, make_ready_run, records
from tests.support.upstream import (
    lists,
    make_account,
    make_remote_collection,
    make_remote_run,
    refreshed_just_now,
    remote_run,
)

PAGE = "/collections/101/download"
LIVE = "/collections/101/live"
NOON = datetime(2026, 6, 20, 12, tzinfo=UTC)
TOMORROW = timezone.localdate() + timedelta(days=2)
NONE = "0.00000000.none"  # the version of a collection without runs
NO_NEWS = {"rows": [], "gone": [], "new": 0, "brought": [], "newest": ""}


@pytest.fixture
def processing(laptops: Collection) -> Run:
    """A run with 2 pages of 10 records so far, of 50 records."""
    run = make_processing_run(laptops, records(20), page_size=10)
    Run.objects.update(total=50)
    return run


def looked_at(client: Client, page: str = PAGE, **more: str) -> dict[str, str]:
    """Return the parameters that the current page polls with."""
    content = client.get(page).content.decode()
    rows = re.findall(r'<tr role="row" id="run-(\d+)" data-live="(\w+)"', content)
    asked = {"runs": ",".join(f"{number}.{version}" for number, version in rows)}
    newest = re.search(r'data-newest="([^"]*)"', content)
    if newest:
        asked["newest"] = newest[1]
    return asked | more


def news(client: Client, asked: dict[str, str], address: str = LIVE) -> dict[str, Any]:
    """Return the JSON of the response, or NO_NEWS for a 204."""
    response = client.get(address, asked)
    assert response.status_code in {200, 204}
    return response.json() if response.status_code == 200 else NO_NEWS


def add_records(run: Run, count: int, *, first: int = 21) -> ResultSetWriter:
    """Add records to the run, in pages of ten."""
    writer = ResultSetWriter.resume(run, page_size=10)
    for record in records(count, first):
        writer.add_record(record)
    return writer


def test_no_changes_return_204(as_bob: Client, processing: Run) -> None:
    response = as_bob.get(LIVE, looked_at(as_bob))
    assert response.status_code == 204
    assert response.content == b""
    assert "no-store" in response["Cache-Control"]


def test_a_run_with_progress_returns_its_row(as_bob: Client, processing: Run) -> None:
    make_failed_run(processing.collection)
    asked = looked_at(as_bob)
    add_records(processing, 10).pause()
    (row,) = news(as_bob, asked)["rows"]
    assert row["number"] == 1
    assert "30 of 50" in text_of(row["html"])
    assert "3 pages written." in text_of(row["html"])
    assert "/files/" not in row["html"]
    assert row["news"] == ""


def test_a_page_with_the_new_row_is_up_to_date(as_bob: Client, processing: Run) -> None:
    asked = looked_at(as_bob)
    add_records(processing, 10).pause()
    (row,) = news(as_bob, asked)["rows"]
    version = re.search(r'data-live="(\w+)"', row["html"])
    assert version
    assert news(as_bob, asked | {"runs": f"1.{version[1]}"}) == NO_NEWS


def test_a_completed_run_returns_its_files_and_is_announced(as_bob: Client, processing: Run) -> None:
    asked = looked_at(as_bob)
    add_records(processing, 30).finish()
    (row,) = news(as_bob, asked)["rows"]
    assert row["news"] == "Run 1 completed."
    assert "Completed" in text_of(row["html"])
    assert row["html"].count("/runs/1/files/") == 6
    assert "data-live" in row["html"]  # until it has been judged


def test_a_failed_run_shows_the_reason(as_bob: Client, processing: Run) -> None:
    asked = looked_at(as_bob)
    add_records(processing, 0).fail("The shop asked for a captcha.")
    (row,) = news(as_bob, asked)["rows"]
    assert row["news"] == "Run 1 failed."
    assert "The shop asked for a captcha. Failed: " in text_of(row["html"])


def test_a_run_with_missing_records_says_so(as_bob: Client, laptops: Collection) -> None:
    make_ready_run(laptops, records(231))
    laptops.runs.update(total=250)
    content = text_of(as_bob.get(PAGE).content.decode())
    assert "Completed 19 missing 231 of 250" in content


def test_a_run_without_missing_records_does_not(as_bob: Client, laptops: Collection) -> None:
    make_ready_run(laptops, records(3))
    assert "missing" not in as_bob.get(PAGE).content.decode()


def test_a_deleted_run_is_gone(as_bob: Client, processing: Run) -> None:
    asked = looked_at(as_bob)
    delete_run(processing)
    assert news(as_bob, asked)["gone"] == [1]


def test_an_admins_row_has_its_delete_link_and_a_members_has_none(
    as_adam: Client, as_bob: Client, processing: Run
) -> None:
    asked = looked_at(as_bob)
    add_records(processing, 10).pause()
    for client, links in ((as_adam, 1), (as_bob, 0)):
        assert news(client, asked)["rows"][0]["html"].count("/runs/1/delete") == links


class TestNewRuns:
    def test_new_runs_are_counted(self, as_bob: Client, laptops: Collection) -> None:
        make_ready_run(laptops, at=NOON)
        asked = looked_at(as_bob)
        assert news(as_bob, asked) == NO_NEWS
        make_processing_run(laptops)
        make_ready_run(laptops)
        assert news(as_bob, asked)["new"] == 2
        assert news(as_bob, asked | {"new": "2"}) == NO_NEWS

    def test_new_runs_are_returned_newest_first(self, as_bob: Client, laptops: Collection) -> None:
        make_ready_run(laptops, at=NOON)
        asked = looked_at(as_bob)
        make_ready_run(laptops, at=NOON + timedelta(hours=1))
        make_ready_run(laptops, at=NOON + timedelta(hours=2))
        brought = news(as_bob, asked | {"bring": "1"})
        assert [re.findall(r"Run \d+", row)[0] for row in brought["brought"]] == ["Run 3", "Run 2"]
        assert brought["new"] == 0
        assert news(as_bob, asked | {"newest": brought["newest"]}) == NO_NEWS

    def test_all_runs_are_new_to_a_page_without_any(self, as_bob: Client, laptops: Collection) -> None:
        asked = looked_at(as_bob)
        assert asked["newest"] == ""
        make_ready_run(laptops)
        assert news(as_bob, asked)["new"] == 1

    def test_a_page_of_older_runs_reports_no_new_runs(self, as_bob: Client, laptops: Collection) -> None:
        make_ready_run(laptops, at=NOON)
        make_ready_run(laptops)
        asked = looked_at(as_bob, f"{PAGE}?before=2026-06-21T00:00:00.000000Z_1")
        assert "newest" not in asked
        make_ready_run(laptops)
        assert news(as_bob, asked) == NO_NEWS

    def test_the_count_of_new_runs_is_limited(self, as_bob: Client, laptops: Collection) -> None:
        Run.objects.bulk_create(
            Run(collection=laptops, number=number, state="failed", failure_reason="No response.")
            for number in range(1, 200)
        )
        assert news(as_bob, {"newest": ""})["new"] == 51


class TestProgress:
    def at(self, client: Client, run: Run, **fields: Any) -> str:
        Run.objects.filter(pk=run.pk).update(**fields)
        return text_of(client.get(PAGE).content.decode().partition("<tbody")[2].partition("</tbody")[0])

    def test_it_shows_the_elapsed_and_the_remaining_time(self, as_bob: Client, laptops: Collection) -> None:
        now = timezone.now()
        run = make_processing_run(laptops)
        shown = self.at(
            as_bob,
            run,
            created_at=now - timedelta(minutes=10, seconds=5),
            updated_at=now,
            extracted=40,
            total=50,
        )
        assert "Running for 10 min, about 2 min left." in shown

    def test_the_remaining_time_is_based_on_the_last_pages(self, as_bob: Client, processing: Run) -> None:
        now = timezone.now()
        for page in processing.files.order_by("position"):
            page.modified = now - timedelta(minutes=10 * (2 - page.position))
            page.save()
        shown = self.at(as_bob, processing, created_at=now - timedelta(days=90), updated_at=now)
        assert "Running for 90 days, about 30 min left." in shown

    def test_the_remaining_time_is_unknown_without_a_total(self, as_bob: Client, processing: Run) -> None:
        assert "Running for less than a minute." in self.at(as_bob, processing, total=0)

    def test_a_run_without_recent_progress_says_so(self, as_bob: Client, processing: Run) -> None:
        shown = self.at(as_bob, processing, progressed_at=timezone.now() - timedelta(minutes=5, seconds=1))
        assert "Processing" in shown
        assert "Running for less than a minute. Last progress 5 min ago." in shown
        assert "left" not in shown

    def test_a_stalled_run_says_so(self, as_bob: Client, processing: Run) -> None:
        now = timezone.now()
        shown = self.at(as_bob, processing, progressed_at=now - timedelta(hours=3, minutes=5), stalls_at=now)
        assert "Stalled" in shown
        assert "No progress for 3 h." in shown
        assert "left" not in shown

    def test_stalling_is_a_change(self, as_bob: Client, processing: Run) -> None:
        asked = looked_at(as_bob)
        assert news(as_bob, asked) == NO_NEWS
        Run.objects.update(stalls_at=timezone.now())
        (row,) = news(as_bob, asked)["rows"]
        assert "Stalled" in text_of(row["html"])
        assert row["news"] == f"Run {processing.number} has stalled."

    def test_a_run_with_all_records_is_finishing(self, as_bob: Client, processing: Run) -> None:
        shown = self.at(as_bob, processing, extracted=50)
        assert "All records are written. Finishing the files." in shown

    def test_its_pages_are_counted(self, as_bob: Client, laptops: Collection) -> None:
        run = make_processing_run(laptops, records(30), page_size=2)
        shown = self.at(as_bob, run)
        assert "15 pages written." in shown


class TestCost:
    @pytest.mark.parametrize("count", [1, 40])
    def test_unchanged_rows_cost_two_queries_besides_authentication(
        self,
        as_bob: Client,
        laptops: Collection,
        count: int,
        django_assert_num_queries: DjangoAssertNumQueries,
    ) -> None:
        for _ in range(count):
            make_processing_run(laptops)
        asked = looked_at(as_bob)
        # The session; the user; the memberships and the collection. Its rows, and new ones.
        with django_assert_num_queries(5):
            assert as_bob.get(LIVE, asked).status_code == 204

    def test_it_does_not_switch_the_current_team(
        self, bob: User, as_bob: Client, laptops: Collection
    ) -> None:
        team = Team.objects.create(name="Another")
        Membership.objects.create(user=bob, team=team, role="owner")
        as_bob.post("/team", {"team": team.pk})
        chosen = as_bob.session.items() - set()
        news(as_bob, {"newest": ""})
        assert as_bob.session.items() - set() == chosen


class TestAtAnAccount:
    @pytest.fixture
    def account(self, crawlers: Team) -> Account:
        return make_account(crawlers)

    def test_the_account_is_listed_at_a_limited_rate(
        self, as_bob: Client, account: Account, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        collection = make_remote_collection(account)
        address = f"/collections/{collection.pk}/live"
        make_remote_run(collection, 1, ready=False)
        listed = lists(monkeypatch, [remote_run(1)])
        with time_machine.travel(timezone.now(), tick=False) as clock:
            refreshed_just_now(collection)
            asked = looked_at(
                as_bob, f"/collections/{collection.pk}/download?before=2030-01-01T00:00:00.000000Z_1"
            )
            clock.shift(15)
            for _ in range(3):
                assert news(as_bob, asked, address) == NO_NEWS
            assert not listed.calls
            clock.shift(1)
            for _ in range(3):
                assert news(as_bob, asked, address)["rows"][0]["news"] == "Run 1 completed."
            assert [skip for skip, _ in listed.calls].count(0) == 1


class TestRunPage:
    PAGE = "/collections/101/runs/1/"

    def looked_at(self, client: Client) -> str:
        """Return the address that the current page polls."""
        (address,) = re.findall(r'data-live="([^"]*)"', client.get(self.PAGE).content.decode())
        return str(address)

    def test_an_unchanged_run_costs_one_query_besides_authentication(
        self, as_bob: Client, processing: Run, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        address = self.looked_at(as_bob)
        # The session; the user; the memberships and the collection; the run.
        with django_assert_num_queries(4):
            response = as_bob.get(address)
        assert response.status_code == 204
        assert "no-store" in response["Cache-Control"]

    def test_it_shows_the_progress(self, as_bob: Client, processing: Run) -> None:
        address = self.looked_at(as_bob)
        add_records(processing, 10).pause()
        news = as_bob.get(address).json()
        shown = text_of(news["html"])
        assert "Records 30 of 50" in shown
        assert "Running for less than a minute" in shown
        assert "3 pages written." in shown
        assert "/files/" not in news["html"]
        assert news["news"] == []
        assert as_bob.get(re.findall(r'data-live="([^"]*)"', news["html"])[0]).status_code == 204

    def test_a_completed_run_shows_records_and_files_and_stops_polling(
        self, as_bob: Client, processing: Run
    ) -> None:
        address = self.looked_at(as_bob)
        add_records(processing, 30).finish()
        news = as_bob.get(address).json()
        assert news["news"] == ["Run 1 completed."]
        assert "data-live" not in news["html"]
        assert "/runs/1/files/" in news["html"]
        assert "Laptop 1" in news["html"]
        page = as_bob.get(self.PAGE).content.decode()
        assert "data-live" not in page

        def uncovered(text: str) -> str:
            return re.sub(r'csrfmiddlewaretoken" value="\w+"', "", text)

        assert uncovered(news["html"]).strip() in uncovered(page)

    def test_a_failed_run_shows_the_reason(self, as_bob: Client, processing: Run) -> None:
        address = self.looked_at(as_bob)
        add_records(processing, 0).fail("The shop asked for a captcha.")
        news = as_bob.get(address).json()
        assert news["news"] == ["Run 1 failed."]
        assert "The shop asked for a captcha." in text_of(news["html"])
        assert "data-live" not in news["html"]

    def test_a_deleted_run_is_not_found(self, as_bob: Client, processing: Run) -> None:
        address = self.looked_at(as_bob)
        delete_run(processing)
        assert as_bob.get(address).status_code == 404

    def test_the_account_is_listed(
        self, as_bob: Client, crawlers: Team, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        collection = make_remote_collection(make_account(crawlers))
        make_remote_run(collection, 1, ready=False)
        lists(monkeypatch, [remote_run(1)])
        where = f"/collections/{collection.pk}/runs/1/"
        (address,) = re.findall(r'data-live="([^"]*)"', as_bob.get(where).content.decode())
        assert as_bob.get(address).json()["news"] == ["Run 1 completed."]


class TestCollectionList:
    LIVE = "/collections/live"

    def looked_at(self, client: Client) -> dict[str, str]:
        found = re.findall(r'data-latest="([^"]*)"', client.get("/collections/").content.decode())
        return {"seen": ",".join(found)}

    def news(self, client: Client, asked: dict[str, str]) -> list[dict[str, Any]]:
        response = client.get(self.LIVE, asked)
        assert response.status_code in {200, 204}
        return list(response.json()) if response.status_code == 200 else []

    @pytest.mark.parametrize("count", [1, 40])
    def test_the_number_of_queries_does_not_grow_with_the_list(
        self, as_bob: Client, crawlers: Team, count: int, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        for number in range(count):
            make_processing_run(Collection.objects.create(team=crawlers, name=f"C {number}"))
        asked = self.looked_at(as_bob)
        # The session, user and memberships; the collections, their conditions and runs.
        with django_assert_num_queries(9):
            response = as_bob.get(self.LIVE, asked)
        assert response.status_code == 204
        assert "no-store" in response["Cache-Control"]
        Run.objects.update(state="failed", failure_reason="No response.")
        with django_assert_num_queries(10):
            assert len(self.news(as_bob, asked)) == count

    def test_a_run_that_starts_and_ends(
        self, as_bob: Client, laptops: Collection, headphones: Collection
    ) -> None:
        asked = self.looked_at(as_bob)
        assert self.news(as_bob, asked) == []
        run = make_processing_run(laptops, records(2), page_size=1)
        (news,) = self.news(as_bob, asked)
        assert news["id"] == 101
        assert news["news"] == "AU Laptops: Run 1 started."
        assert "Processing" in text_of(news["html"])
        asked = self.looked_at(as_bob)
        add_records(run, 1).pause()
        assert self.news(as_bob, asked) == []  # the list doesn't show a run's progress
        add_records(run, 1).finish()
        (news,) = self.news(as_bob, asked)
        assert news["news"] == "AU Laptops: Run 1 completed."
        (seen,) = re.findall(r'data-latest="([^"]*)"', news["html"])
        assert self.news(as_bob, {"seen": seen}) == []

    def test_if_the_latest_run_is_deleted_the_previous_one_is_shown(
        self, as_bob: Client, laptops: Collection
    ) -> None:
        make_ready_run(laptops, at=NOON)
        run = make_failed_run(laptops)
        asked = self.looked_at(as_bob)
        delete_run(run)
        (news,) = self.news(as_bob, asked)
        assert news["news"] == "AU Laptops: Run 1 is now the newest."
        asked = self.looked_at(as_bob)
        delete_run(laptops.runs.get())
        (news,) = self.news(as_bob, asked)
        assert "No runs yet" in text_of(news["html"])
        assert news["news"] == "AU Laptops: No runs left."

    def test_whatever_the_list_shows_is_updated(self, as_bob: Client, bob: User, laptops: Collection) -> None:
        make_failed_run(laptops, at=NOON)
        make_processing_run(laptops)
        asked = self.looked_at(as_bob)
        make_failed_run(laptops, at=NOON)  # older than the newest run
        (news,) = self.news(as_bob, asked)
        assert "Failed 2 times in a row" in text_of(news["html"])
        assert news["news"] == "AU Laptops: Its status has changed."
        changes: list[tuple[Callable[[], object], str]] = [
            (lambda: make_ready_run(laptops, records(7), at=NOON - timedelta(days=1)), " 7 "),
            (lambda: acknowledge(laptops, by=bob, note="Known.", until=TOMORROW), "Acknowledged until"),
            (lambda: pause(laptops, by=bob), "Paused"),
        ]
        for change, shown in changes:
            asked = self.looked_at(as_bob)
            assert self.news(as_bob, asked) == []
            change()
            assert shown in text_of(self.news(as_bob, asked)[0]["html"])

    def test_it_works_after_switching_teams(self, bob: User, as_bob: Client, laptops: Collection) -> None:
        asked = self.looked_at(as_bob)
        team = Team.objects.create(name="Another")
        Membership.objects.create(user=bob, team=team, role="owner")
        as_bob.post("/team", {"team": team.pk})
        make_processing_run(laptops)
        assert len(self.news(as_bob, asked)) == 1

    def test_a_collection_of_another_team_is_refused(
        self, as_bob: Client, laptops: Collection, secret_plans: Collection
    ) -> None:
        response = as_bob.get(self.LIVE, {"seen": f"{laptops.pk}.{NONE},{secret_plans.pk}.{NONE}"})
        assert response.status_code == 403

    def test_the_overview_updates_itself_too(self, as_bob: Client, laptops: Collection) -> None:
        def seen(html: str) -> str:
            return ",".join(re.findall(r'data-latest="([^"]*)"', html))

        make_ready_run(laptops, records(2), at=NOON)
        run = make_processing_run(laptops, records(3))
        page = as_bob.get("/").content.decode()
        assert 'data-live-collections="/overview/live"' in page
        assert as_bob.get("/overview/live", {"seen": seen(page)}).status_code == 204
        add_records(run, 1).finish()
        (row,) = as_bob.get("/overview/live", {"seen": seen(page)}).json()
        assert row["news"] == "AU Laptops: Run 2 completed."
        assert 'data-status="completed" data-run="2"' in row["html"]
        assert as_bob.get("/overview/live", {"seen": seen(row["html"])}).status_code == 204

    @pytest.mark.parametrize(
        "seen", ["x", "1", "1.", "1.2", "1.2.0.none", ",", f"{10**18}.{NONE}", ",".join([f"1.{NONE}"] * 201)]
    )
    def test_invalid_parameters_are_refused(self, as_bob: Client, seen: str) -> None:
        response = as_bob.get(self.LIVE, {"seen": seen})
        assert response.status_code == 400
        assert "Invalid " in response.content.decode()


@pytest.mark.parametrize(
    "asked",
    [
        {"runs": "x"},
        {"runs": "1"},
        {"runs": "1.0123456"},
        {"runs": ","},
        {"runs": f"{10**18}.00000000"},
        {"runs": ",".join(["1.00000000"] * 201)},
        {"newest": "x"},
    ],
)
def test_invalid_parameters_are_refused(as_bob: Client, laptops: Collection, asked: dict[str, str]) -> None:
    response = as_bob.get(LIVE, asked)
    assert response.status_code == 400
    assert "Invalid " in response.content.decode()


def test_a_signed_out_user_is_redirected_to_sign_in(client: Client, laptops: Collection) -> None:
    response = client.get(LIVE, headers={"Referer": f"http://testserver{PAGE}"})
    assert response.status_code == 302
    assert response["Location"] == f"/accounts/login/?next={PAGE}"
