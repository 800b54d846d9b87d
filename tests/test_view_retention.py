"""The pages about retention: its setting with a preview, the runs that will be deleted, and pins."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.test import Client
from django.utils import timezone

from collections_app.models import Collection, Retention, Run, User
from collections_app.models.retention import RetentionKind, pin_runs, set_retention
from collections_app.system import database
from tests.support.html import links, rows, text_of
from tests.support.responses import Response
from tests.support.results import make_failed_run, make_processing_run, make_ready_run

DAY = timedelta(days=1)
NOW = datetime(2026, 11, 30, 9, tzinfo=UTC)
SETTINGS = "/collections/101/settings"
RETENTION = f"{SETTINGS}/retention"
NEWEST_2 = {"kind": "runs", "runs": "2"}

pytestmark = pytest.mark.usefixtures("results_folder")


@pytest.fixture(autouse=True)
def morning(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(database, "now", timezone.now)  # PostgreSQL's clock doesn't travel
    with time_machine.travel(NOW, tick=False):
        yield


@pytest.fixture(autouse=True)
def nightly(laptops: Collection) -> Collection:
    """A collection with runs 1 to 4. Run 4 is one day old, run 3 two days, and so on."""
    for age in (4, 3, 2, 1):
        make_ready_run(laptops, at=NOW - age * DAY)
    return laptops


def text(response: Response) -> str:
    return text_of(response.content.decode())


def shown(client: Client, address: str, **query: str) -> str:
    return text(client.get(address, query))


def confirm(client: Client, **form: str) -> Response:
    """Confirm the preview of a setting."""
    page = client.get(RETENTION, form).content.decode()
    (fingerprint,) = re.findall(r'name="shown" value="([^"]*)"', page)
    return client.post(RETENTION, form | {"shown": fingerprint}, follow=True)


class TestSetting:
    def test_a_collection_keeps_all_runs_by_default(self, as_bob: Client) -> None:
        page = shown(as_bob, SETTINGS)
        assert "Retention Keeps all runs." in page
        assert "Preview" not in page

    def test_an_admin_sees_what_would_be_deleted_before_anything_changes(
        self, as_adam: Client, nightly: Collection, alice: User
    ) -> None:
        make_processing_run(nightly, at=NOW - 9 * DAY)
        pin_runs(nightly.runs.filter(number=1), by=alice)
        page = shown(as_adam, RETENTION, **NEWEST_2)
        assert "Keeps the newest 2 runs. 1 run and its files will be deleted in seven days." in page
        assert "Oldest run 27 Nov 2026, 09:00 UTC" in page
        assert "These older runs are kept: 1 pinned run 1 run in progress" in page
        assert (
            "Runs to be deleted Run Run time Status Records Run 2 27 Nov 2026, 09:00 UTC Completed 1" in page
        )
        assert not Retention.objects.exists()
        assert not Run.objects.exclude(delete_at=None).exists()

    def test_more_runs_can_be_loaded(self, as_adam: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("collections_app.views.settings.retention.PAGE_SIZE", 2)
        page = as_adam.get(RETENTION, {"kind": "runs", "runs": "1"})
        assert [row[0] for row in rows(page)] == ["Run 3", "Run 2"]
        more = as_adam.get(RETENTION + links(page)["Load more"], headers={"HX-Request": "true"})
        assert [row[0] for row in rows(more)] == ["Run 1"]
        assert "Load more" not in links(more)
        assert "Change retention?" not in text(more)

    def test_it_is_saved_after_the_preview(self, as_adam: Client) -> None:
        page = text(confirm(as_adam, **NEWEST_2))
        assert "“AU Laptops” now keeps the newest 2 runs." in page
        assert "Set by Adam" in page
        assert "2 runs will be deleted on 7 Dec 2026, 09:00 UTC Pin these runs" in page

    def test_a_preview_that_is_outdated_is_shown_again(self, as_adam: Client, nightly: Collection) -> None:
        page = as_adam.get(RETENTION, NEWEST_2).content.decode()
        (fingerprint,) = re.findall(r'name="shown" value="([^"]*)"', page)
        make_ready_run(nightly, at=NOW)
        response = as_adam.post(RETENTION, NEWEST_2 | {"shown": fingerprint})
        assert response.status_code == 409
        assert "The runs have changed since the preview. Nothing was saved." in text(response)
        assert "3 runs and their files will be deleted" in text(response)
        assert not Retention.objects.exists()

    def test_changing_it_back_keeps_all_runs(self, as_adam: Client) -> None:
        confirm(as_adam, **NEWEST_2)
        assert "2 runs that would have been deleted will be kept." in shown(as_adam, RETENTION, kind="all")
        assert "“AU Laptops” now keeps all runs." in text(confirm(as_adam, kind="all"))
        assert not Run.objects.exclude(delete_at=None).exists()

    def test_the_newest_successful_run_is_named(self, as_adam: Client, nightly: Collection) -> None:
        make_failed_run(nightly, at=NOW)
        page = shown(as_adam, RETENTION, kind="days", days="1")
        assert "No runs will be deleted" not in page
        Run.objects.filter(number=4).update(created_at=NOW - 1.5 * DAY)
        page = shown(as_adam, RETENTION, kind="days", days="1")
        assert "Keeps runs from the last day. 3 runs and their files will be deleted" in page
        assert "Run 4, the newest run with all records" in page

    @pytest.mark.parametrize(
        ("form", "error"),
        [
            ({}, "Choose one of the options."),
            ({"kind": "weeks"}, "Choose one of the options."),
            ({"kind": "runs", "runs": ""}, "Enter the number of runs."),
            ({"kind": "runs", "runs": "0", "days": "3"}, "Enter a whole number from 1 to 100,000."),
            ({"kind": "days", "days": "1.5"}, "Enter a whole number from 1 to 3,650."),
        ],
    )
    def test_an_error_says_what_to_enter(self, as_adam: Client, form: dict[str, str], error: str) -> None:
        assert error in shown(as_adam, RETENTION, **form)


class TestRunsThatWillBeDeleted:
    @pytest.fixture(autouse=True)
    def keeps_two(self, nightly: Collection, alice: User) -> None:
        set_retention(nightly, RetentionKind.RUNS, 2, by=alice)

    def test_the_list_says_so(self, as_bob: Client) -> None:
        page = as_bob.get("/collections/101/download")
        assert (
            "Keeps the newest 2 runs. 2 runs will be deleted on 7 Dec 2026, 09:00 UTC Pin these runs"
            in text(page)
        )
        assert page.content.decode().count('aria-label="Will be deleted on 7 Dec 2026"') == 2

    def test_they_can_be_listed_and_downloaded(self, as_bob: Client) -> None:
        page = as_bob.get("/collections/101/download?only=leaving")
        assert re.findall(r'id="run-(\d+)"', page.content.decode()) == ["2", "1"]
        assert "2 runs: To be deleted" in text(page)
        assert as_bob.head("/collections/101/runs/1/all.zip").status_code == 200
        assert as_bob.get("/collections/101/download?only=x").status_code == 400

    def test_a_run_says_when_and_why(self, as_bob: Client) -> None:
        page = shown(as_bob, "/collections/101/runs/1/")
        assert (
            "This collection keeps the newest 2 runs. This run will be deleted on 7 Dec 2026, 09:00 UTC"
            in page
        )

    def test_a_member_keeps_them_with_one_click(self, as_bob: Client, bob: User) -> None:
        page = text(as_bob.post("/collections/101/pin-leaving", follow=True))
        assert "Pinned 2 runs. Pinned runs are never deleted automatically." in page
        assert "will be deleted" not in page
        assert set(Run.objects.filter(pinned_by=bob).values_list("number", flat=True)) == {1, 2}
        assert "No runs were about to be deleted." in text(
            as_bob.post("/collections/101/pin-leaving", follow=True)
        )


class TestPins:
    def test_a_member_pins_and_unpins_a_run(self, as_bob: Client) -> None:
        page = text(as_bob.post("/collections/101/runs/1/pin", {"pin": "on"}, follow=True))
        assert "Pinned run 1." in page
        assert "Pinned by Bob" in page
        assert "Pinned by" not in text(
            as_bob.post("/collections/101/runs/1/pin", {"pin": "off"}, follow=True)
        )

    def test_the_list_shows_pins_and_lists_them(self, as_bob: Client) -> None:
        assert 'aria-label="Pinned"' not in as_bob.get("/collections/101/download").content.decode()
        response = as_bob.post("/collections/101/runs/1/pin", {"pin": "on", "list": "1"}, follow=True)
        assert response.redirect_chain[0] == ("/collections/101/download?run=1", 302)
        assert response.content.decode().count('aria-label="Pinned"') == 1
        page = as_bob.get("/collections/101/download?only=pinned").content.decode()
        assert re.findall(r'id="run-(\d+)"', page) == ["1"]

    def test_pinning_a_run_again_keeps_who_pinned_it_first(
        self, as_bob: Client, as_adam: Client, bob: User
    ) -> None:
        for client in (as_bob, as_adam):
            client.post("/collections/101/runs/1/pin", {"pin": "on"})
        assert Run.objects.get(number=1).pinned_by == bob

    def test_a_deleted_run_is_not_found(self, as_bob: Client) -> None:
        assert as_bob.post("/collections/101/runs/99/pin").status_code == 404
