"""The settings of collections and teams: schedule, pause, acknowledgments, time zone."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
import time_machine
from django.test import Client

from collections_app.models import Acknowledgment, Collection, Kind, Schedule, Team
from collections_app.models.expectations import expect_next_run
from collections_app.models.rhythm import Interval, Rhythm, TimeOfDay
from collections_app.views.settings.words import describe
from tests.support.html import links, text_of
from tests.support.responses import Response
from tests.support.results import make_failed_run, make_ready_run
from tests.support.upstream import make_account, make_remote_collection

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
TWO = datetime(2026, 6, 20, 2, tzinfo=UTC)
PAGE = "/collections/101/settings"
SCHEDULE: dict[str, str | list[str]] = {
    "kind": "time_of_day",
    "at": "07:30",
    "weekdays": ["0", "4", "4"],
    "time_zone": "Europe/Berlin",
}

pytestmark = pytest.mark.usefixtures("results_folder")


@pytest.fixture(autouse=True)
def morning() -> Iterator[None]:
    with time_machine.travel(TWO + 5 * HOUR, tick=False):
        yield


@pytest.fixture
def nightly(laptops: Collection) -> Collection:
    """A collection that ran on four nights at 02:00, the last time on Saturday, 20 June 2026."""
    for age in (3, 2, 1, 0):
        make_ready_run(laptops, at=TWO - age * DAY)
    return laptops


@pytest.fixture
def late(laptops: Collection) -> Collection:
    """A collection that ran on four nights at 02:00, but not last night."""
    for age in (4, 3, 2, 1):
        make_ready_run(laptops, at=TWO - age * DAY)
    return laptops


def text(response: Response) -> str:
    return text_of(response.content.decode())


def shown(client: Client, address: str = PAGE) -> str:
    return text(client.get(address))


def after_post(client: Client, section: str, **form: str | list[str]) -> str:
    """Post a section's form, and return the text of the page that follows."""
    return text(client.post(f"{PAGE}/{section}", form, follow=True))


class TestSchedule:
    def test_the_learned_rhythm_in_words(self, as_bob: Client, nightly: Collection) -> None:
        page = shown(as_bob)
        assert "Learned from the last 4 runs: daily at about 02:00 (UTC)." in page
        assert "Next run expected 21 Jun 2026, 02:00 UTC Late after 21 Jun 2026, 02:15 UTC" in page
        assert "Save schedule" not in page

    def test_no_rhythm(self, as_bob: Client, laptops: Collection) -> None:
        assert "Not enough runs to learn a schedule. At least four are needed." in shown(as_bob)
        for age in (90, 40, 39, 2, 0):
            make_ready_run(laptops, at=TWO - age * DAY)
        assert "The last 5 runs are irregular, so the next one can't be predicted." in shown(as_bob)

    def test_an_admin_sets_it_and_returns_to_the_learned_one(
        self, as_adam: Client, nightly: Collection
    ) -> None:
        page = after_post(as_adam, "schedule", **SCHEDULE, grace_minutes="45")
        assert "Set manually: Mondays and Fridays at 07:30 (Europe/Berlin)." in page
        assert "Next run expected 22 Jun 2026, 05:30 UTC Late after 22 Jun 2026, 06:15 UTC" in page
        assert "Set manually: every 6 hours." in after_post(
            as_adam, "schedule", kind="interval", every_hours="6", time_zone="UTC"
        )
        assert "Learned from the last 4 runs" in after_post(
            as_adam, "schedule", kind="learned", time_zone="UTC"
        )

    def test_the_form_begins_with_the_learned_rhythm(self, as_adam: Client, nightly: Collection) -> None:
        page = as_adam.get(PAGE).content.decode()
        assert re.search(r'value="02:00"[^>]* name="at"|name="at"[^>]* value="02:00"', page)
        assert re.search(r'value="15"[^>]* name="grace_minutes"|name="grace_minutes"[^>]* value="15"', page)
        assert len(re.findall(r'name="weekdays"[^>]* checked', page)) == 7

    @pytest.mark.parametrize(
        ("form", "error"),
        [
            ({"kind": ""}, "Choose one of the options."),
            ({"at": ""}, "Enter the time of day, such as 07:30."),
            ({"at": "7 o'clock"}, "Enter a time, such as 07:30."),
            ({"weekdays": []}, "Choose at least one day."),
            ({"weekdays": ["7"]}, "Choose days from the list."),
            ({"time_zone": "Mars/Olympus"}, "Choose a time zone from the list."),
            ({"grace_minutes": "0"}, "Enter a whole number from 1 to 10,080."),
            ({"grace_minutes": "9" * 30}, "Enter a whole number from 1 to 10,080."),
            ({"kind": "interval"}, "Enter the number of hours between two runs."),
            ({"kind": "interval", "every_hours": "745"}, "Enter a whole number from 1 to 744."),
        ],
    )
    def test_an_error_says_what_to_enter(
        self, as_adam: Client, laptops: Collection, form: dict[str, str | list[str]], error: str
    ) -> None:
        page = after_post(as_adam, "schedule", **SCHEDULE | form)
        assert error in page
        assert not Schedule.objects.exists()

    @pytest.mark.parametrize("kind", ["learned", "interval"])
    def test_errors_in_fields_of_another_kind_are_ignored(
        self, as_adam: Client, laptops: Collection, kind: str
    ) -> None:
        hidden: dict[str, str | list[str]] = {"at": "x", "weekdays": ["9"], "kind": kind, "every_hours": "6"}
        assert "Saved the schedule" in after_post(as_adam, "schedule", **SCHEDULE | hidden)


@pytest.mark.parametrize(
    ("rhythm", "words"),
    [
        (TimeOfDay(time(7), ZoneInfo("UTC"), frozenset(range(5)), HOUR), "Monday to Friday at 07:00 (UTC)"),
        (TimeOfDay(time(7), ZoneInfo("UTC"), frozenset([2]), HOUR), "Wednesdays at 07:00 (UTC)"),
        (
            TimeOfDay(time(7), ZoneInfo("UTC"), frozenset([0, 2, 4]), HOUR),
            "Mondays, Wednesdays and Fridays at 07:00 (UTC)",
        ),
        (Interval(HOUR, HOUR, ()), "every hour"),
        (Interval(HOUR / 4, HOUR, ()), "every 15 minutes"),
        (Interval(5.999 * HOUR, HOUR, ()), "every 6 hours"),
        (Interval(14 * DAY, HOUR, ()), "every 14 days"),
    ],
)
def test_rhythms_in_words(rhythm: Rhythm, words: str) -> None:
    assert describe(rhythm, is_learned=False) == words


class TestPause:
    def test_an_admin_pauses_and_resumes_it(self, as_adam: Client, late: Collection) -> None:
        assert "Late: expected 5 h ago" in shown(as_adam)
        page = after_post(as_adam, "pause", pause="on")
        assert "Late" not in page
        assert "Paused by Adam" in page
        page = after_post(as_adam, "pause", pause="off")
        assert "Next run expected 21 Jun 2026, 02:00 UTC" in page

    def test_the_badges_in_the_lists(self, as_bob: Client, late: Collection) -> None:
        assert "Late: expected 5 h ago" in shown(as_bob, "/collections/101/download")
        assert "Late" in shown(as_bob, "/collections/")
        Collection.objects.update(paused_at=TWO)
        for page in ("/collections/", "/collections/101/download"):
            assert "Paused" in shown(as_bob, page)

    def test_the_list_shows_a_late_collection_without_a_reload(
        self, as_bob: Client, late: Collection
    ) -> None:
        (seen,) = re.findall(r'data-latest="([^"]*)"', as_bob.get("/collections/").content.decode())
        assert as_bob.get("/collections/live", {"seen": seen}).status_code == 204
        (change,) = as_bob.get("/collections/live", {"seen": seen.replace(".late", "")}).json()
        assert change["news"] == "AU Laptops: The next run is late."


class TestAcknowledging:
    def test_a_member_acknowledges_a_problem_and_withdraws_it(
        self, as_bob: Client, laptops: Collection
    ) -> None:
        make_failed_run(laptops)
        make_failed_run(laptops)
        assert "Failed 2 times in a row." in shown(as_bob)
        page = after_post(as_bob, "acknowledge", note="The shop is down.", until="2026-06-22")
        assert "The shop is down. Acknowledged by Bob until 22 Jun 2026." in page
        page = after_post(as_bob, "acknowledge", withdraw="")
        assert "Acknowledged by" not in page
        assert "needs attention again" in page

    @pytest.mark.parametrize(
        ("form", "error"),
        [
            ({"note": " "}, "Enter a note about the problem."),
            ({"note": "a\nb\u202e"}, "Remove line breaks and other control characters."),
            ({"note": "a" * 301}, "at most 300 characters"),
            ({"note": "\u200b"}, "Enter at least one visible character."),
            ({"until": ""}, "Enter a date."),
            ({"until": "06/22/2026"}, "Enter a date, such as 2026-06-22."),
            ({"until": "Monday"}, "Enter a date, such as 2026-06-22."),
            ({"until": "2026-06-20"}, "Enter a date from tomorrow to a year from now."),
            ({"until": "9999-12-31"}, "Enter a date from tomorrow to a year from now."),
        ],
    )
    def test_an_error_says_what_to_enter(
        self, as_bob: Client, laptops: Collection, form: dict[str, str], error: str
    ) -> None:
        make_failed_run(laptops)
        assert error in after_post(as_bob, "acknowledge", **{"note": "Known.", "until": "2026-06-22"} | form)
        assert not Acknowledgment.objects.exists()

    def test_today_is_a_day_in_the_teams_time_zone(
        self, as_bob: Client, laptops: Collection, crawlers: Team
    ) -> None:
        Team.objects.update(time_zone="Pacific/Kiritimati")  # already 20 June, 21:00
        make_failed_run(laptops)
        page = after_post(as_bob, "acknowledge", note="Known.", until="2026-06-21")
        assert "until 21 Jun 2026." in page
        assert Acknowledgment.objects.get().until == datetime(2026, 6, 20, 10, tzinfo=UTC)

    def test_there_is_nothing_to_acknowledge(self, as_bob: Client, nightly: Collection) -> None:
        assert "Acknowledge" not in shown(as_bob)
        page = after_post(as_bob, "acknowledge", note="Known.", until="2026-06-22")
        assert "This collection has no problem to acknowledge" in page

    @pytest.mark.parametrize("page", ["/collections/", "/collections/101/download"])
    def test_two_clicks_lead_to_the_form(self, as_bob: Client, laptops: Collection, page: str) -> None:
        make_failed_run(laptops)
        assert 'name="note"' in as_bob.get(links(as_bob.get(page))["Settings"]).content.decode()


class TestTeam:
    def test_an_owner_changes_its_name_and_time_zone(self, as_alice: Client, crawlers: Team) -> None:
        address = links(as_alice.get("/members/"))["Team settings"]
        form = {"name": "Scrapers", "time_zone": "Australia/Sydney"}
        assert "Saved the settings of Scrapers." in text(as_alice.post(address, form, follow=True))
        crawlers.refresh_from_db()
        assert (crawlers.name, crawlers.time_zone) == ("Scrapers", "Australia/Sydney")

    @pytest.mark.parametrize(
        ("form", "error"),
        [
            ({"name": "\u3164"}, "Enter at least one visible character."),
            ({"time_zone": "../../etc/passwd"}, "Choose a time zone from the list."),
        ],
    )
    def test_an_error_says_what_to_enter(
        self, as_alice: Client, crawlers: Team, form: dict[str, str], error: str
    ) -> None:
        response = as_alice.post("/team/settings", {"name": "Scrapers", "time_zone": "UTC"} | form)
        assert error in text(response)
        crawlers.refresh_from_db()
        assert crawlers.name == "Crawlers"

    def test_its_next_runs_are_learned_in_its_time_zone(self, as_bob: Client, nightly: Collection) -> None:
        Team.objects.update(time_zone="Australia/Sydney")
        nightly.refresh_from_db()
        expect_next_run(nightly)
        assert "daily at about 12:00 (Australia/Sydney)" in shown(as_bob)


class TestType:
    def test_an_admin_corrects_the_shop_but_files_must_fit(
        self, as_adam: Client, as_bob: Client, nightly: Collection
    ) -> None:
        assert "Type Amazon." in shown(as_bob)
        assert "Amazon category" not in shown(as_adam)
        response = as_adam.post(f"{PAGE}/type", {"type": "officeworks.com.au"}, follow=True)
        assert "Saved the type of “AU Laptops”." in text(response)
        refused = as_adam.post(f"{PAGE}/type", {"type": "amazon_category_scrape"})
        assert "The files of this collection's runs don't fit this type." in text(refused)
        nightly.refresh_from_db()
        assert nightly.kind == Kind.OFFICEWORKS

    def test_a_connected_collection_without_completed_runs_can_have_any_type(
        self, as_adam: Client, crawlers: Team
    ) -> None:
        collection = make_remote_collection(make_account(crawlers), refreshed_at=TWO)
        Collection.objects.update(refresh_tried_at=TWO)
        as_adam.post(f"/collections/{collection.pk}/settings/type", {"type": "amazon_category_scrape"})
        collection.refresh_from_db()
        assert (collection.kind, collection.refresh_tried_at) == (Kind.AMAZON_CATEGORY, None)


class TestCurrency:
    def test_an_admin_sets_it_for_prices_that_name_none(self, as_adam: Client, laptops: Collection) -> None:
        run = make_ready_run(laptops, [{"price": 5, "currency": "EUR"}, {"price": 7}])
        response = as_adam.post("/collections/101/settings/currency", {"currency": " aud "}, follow=True)
        assert "Prices that name no currency are shown in AUD." in response.content.decode()
        shown = as_adam.get("/collections/101/runs/1/?column=price").content.decode()
        assert re.findall(r">([A-Z]{3} [\d.]+)<", shown) == ["EUR 5.00", "AUD 7.00"]
        assert "AUD" not in as_adam.get(f"/collections/101/runs/{run.number}/records/2").content.decode()
        as_adam.post("/collections/101/settings/currency", {"currency": ""})
        laptops.refresh_from_db()
        assert laptops.currency == ""

    def test_it_must_be_a_code(self, as_adam: Client, laptops: Collection) -> None:
        page = as_adam.post("/collections/101/settings/currency", {"currency": "dollars"}).content.decode()
        assert "Unknown currency. Enter its code of three letters, such as AUD." in page
        laptops.refresh_from_db()
        assert laptops.currency == ""

    def test_members_only_see_it(self, as_bob: Client, laptops: Collection) -> None:
        page = as_bob.get("/collections/101/settings").content.decode()
        assert "shown without one" in page
        assert "Save currency" not in page


def test_the_ids_of_all_forms_are_unique(as_adam: Client, laptops: Collection) -> None:
    ids = re.findall(r'\bid="([^"]+)"', as_adam.get(f"/collections/{laptops.pk}/settings").content.decode())
    assert len(ids) == len(set(ids))


def test_the_time_zone_of_a_schedule_is_selected(as_adam: Client, laptops: Collection) -> None:
    schedule = Schedule.objects.create(collection=laptops, kind="interval", every_hours=24)
    for zone in ("Europe/Berlin", "America/New_York"):
        schedule.time_zone = zone
        schedule.save()
        page = as_adam.get(PAGE).content.decode()
        assert f'<option value="{zone}" selected>{zone.replace("_", " ")}</option>' in page
        select = page[page.index('<select id="id_time_zone"') :].partition("</select>")[0]
        assert select.count("selected") == 1
        assert "Europe/Paris</option>" in select
