"""Rows and pages that update themselves without disturbing the user."""

import re
import time
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import Page, Request, expect

from tests.browser.conftest import PATIENCE, NewPage, hide
from tests.browser.test_every_page import check, check_ids
from tests.support.shell import Shell

BEGIN = """
from collections_app.models import *
from collections_app.runs.writer import ResultSetWriter
collection = Collection.objects.create(name={name!r}, team=Collection.objects.get(pk=101).team)
Run.objects.bulk_create(
    Run(collection=collection, number=number, state="failed", failure_reason="No response.")
    for number in range(1, 41)
)
collection.last_run_number = 40
collection.save()
with ResultSetWriter.start(collection, total=30, page_size=10) as writer:
    for number in range(10):
        writer.add_record({{"asin": number}})
    writer.pause()
print(collection.pk)
"""
CONTINUE = """
from collections_app.models import *
from collections_app.runs.writer import ResultSetWriter
with ResultSetWriter.resume(Run.objects.get(collection={pk}, number=41), page_size=10) as writer:
    for number in range({count}):
        writer.add_record({{"asin": number}})
    writer.{end}
"""
DELETE = """
from collections_app.models import *
from collections_app.runs.removal import delete_run
delete_run(Run.objects.get(collection={pk}, number=41))
"""
START = """
from collections_app.models import *
for _ in range({count}):
    Run.objects.create_next(Collection.objects.get(pk={pk}), total=5)
"""


class Scrape:
    """A collection whose run 41 continues, and which gets more runs, when a test says so."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self.name = f"Scrape {uuid.uuid4()}"
        self.pk = int(shell(BEGIN.format(name=self.name)))
        self.address = f"/collections/{self.pk}/download"

    @property
    def run_address(self) -> str:
        return f"/collections/{self.pk}/runs/41/"

    def continue_run(self) -> None:
        self._shell(CONTINUE.format(pk=self.pk, count=10, end="pause()"))

    def complete(self) -> None:
        self._shell(CONTINUE.format(pk=self.pk, count=20, end="finish()"))

    def delete_run(self) -> None:
        self._shell(DELETE.format(pk=self.pk))

    def start_runs(self, count: int) -> None:
        self._shell(START.format(pk=self.pk, count=count))


@pytest.fixture
def scrape(shell: Shell) -> Scrape:
    return Scrape(shell)


@pytest.fixture
def page(open_page: NewPage) -> Page:
    """A page for this test only, because a fake clock stays in a page."""
    return open_page()


@pytest.fixture
def watched(page: Page, scrape: Scrape) -> Page:
    """The page of the scrape's runs. Tests move its clock."""
    return watch(page, scrape.address)


def watch(page: Page, address: str) -> Page:
    """Open a page with a clock that tests move."""
    now = datetime.now(UTC)
    page.clock.install(time=now)
    page.clock.pause_at(now + timedelta(seconds=1))
    page.goto(address)
    return page


def let_poll(page: Page, milliseconds: int = 2000) -> None:
    """Let time pass until the page polls, and wait for the response.

    Repeat this: a page starts its timer after it has handled the previous response.
    """
    asked = counted(page)
    with page.expect_response(re.compile("/live")):
        deadline = time.monotonic() + PATIENCE / 1000
        while not asked:
            assert time.monotonic() < deadline, "The page doesn't ask."
            page.clock.run_for(milliseconds)
            page.wait_for_timeout(50)  # until the request has arrived


def check_page(page: Page) -> None:
    page.clock.resume()  # the check below waits for time to pass
    check(page)


def counted(page: Page) -> list[str]:
    asked: list[str] = []

    def note(request: Request) -> None:
        if "/live" in request.url:
            asked.append(request.url)

    page.on("request", note)
    return asked


@pytest.mark.main_case
def test_a_run_progresses_and_completes(watched: Page, scrape: Scrape) -> None:
    row = watched.locator("#run-41")
    announcements = watched.locator("#announcements")
    expect(row).to_contain_text("10 of 30")
    expect(row).to_contain_text("1 page written.")
    scrape.continue_run()
    let_poll(watched)
    expect(row).to_contain_text("20 of 30")
    expect(row).to_contain_text("2 pages written.")
    expect(row.locator("progress")).to_have_js_property("value", 20)
    expect(announcements).to_have_text("")
    scrape.complete()
    let_poll(watched)
    expect(row).to_contain_text("Completed")
    expect(announcements).to_have_text("Run 41 completed.")
    expect(row.locator(".pill").first).to_have_attribute("href", re.compile("/files/"))
    expect(row.locator("time")).to_have_attribute("title", re.compile("UTC"))
    expect(row.get_by_role("link", name="ZIP")).to_be_visible()
    check_ids(watched)
    check_page(watched)


def test_the_focus_and_the_scroll_position_stay(watched: Page, scrape: Scrape) -> None:
    watched.get_by_label("Actions for run 41").click()
    delete = watched.get_by_role("link", name="Delete… (run 41)")
    delete.focus()
    watched.evaluate("scrollTo(0, 900)")
    looked_at = watched.locator("#run-25")
    before = looked_at.bounding_box()
    scrape.complete()
    let_poll(watched)
    expect(watched.locator("#run-41")).to_contain_text("Completed")
    expect(delete).to_be_focused()
    after = looked_at.bounding_box()
    assert before
    assert after
    assert abs(before["y"] - after["y"]) < 2


def test_the_selection_stays(watched: Page, scrape: Scrape) -> None:
    watched.evaluate("getSelection().selectAllChildren(document.querySelector('#run-41 .row-title'))")
    scrape.continue_run()
    let_poll(watched)
    let_poll(watched, 30_000)  # it does so only after handling the previous response
    expect(watched.locator("#run-41")).to_contain_text("10 of 30")
    watched.evaluate("getSelection().empty()")
    let_poll(watched, 30_000)
    expect(watched.locator("#run-41")).to_contain_text("20 of 30")


def test_new_runs_are_inserted_on_request(watched: Page, scrape: Scrape) -> None:
    link = watched.get_by_role("link", name="2 new runs")
    scrape.start_runs(2)
    let_poll(watched)
    expect(link).to_be_visible()
    expect(watched.locator("#announcements")).to_have_text("2 new runs")
    expect(watched.locator("tbody tr").first).to_have_id("run-41")
    link.press("Enter")
    expect(watched.locator("tbody tr").first).to_have_id("run-43")
    expect(watched.locator("#run-43")).to_be_focused()
    expect(watched.locator("[data-new-runs]")).to_be_hidden()
    expect(watched).to_have_url(re.compile(f"{scrape.address}$"))
    scrape.start_runs(1)
    let_poll(watched)
    expect(watched.get_by_role("link", name="1 new run")).to_be_visible()
    check_page(watched)


def test_while_nothing_changes_it_polls_less_often(watched: Page) -> None:
    asked = counted(watched)
    let_poll(watched)
    watched.clock.run_for(2000)
    assert len(asked) == 1
    for _ in range(8):
        let_poll(watched, 30_000)
    watched.clock.run_for(25_000)
    seen = len(asked)
    let_poll(watched, 5_000)
    assert len(asked) == seen + 1


def test_a_hidden_tab_stops_polling_until_it_is_visible(watched: Page) -> None:
    asked = counted(watched)
    hide(watched)
    watched.clock.run_for(120_000)
    assert asked == []
    with watched.expect_response(re.compile("/live")):
        hide(watched, hidden=False)
    assert len(asked) == 1


def test_a_user_who_was_signed_out_is_told(watched: Page, scrape: Scrape) -> None:
    asked = counted(watched)
    watched.context.clear_cookies()
    let_poll(watched)
    problem = watched.locator("[data-live-problem]")
    expect(problem).to_have_text(re.compile("You are signed out. Live updates have stopped. Sign in"))
    expect(watched.locator("#announcements")).to_have_text(re.compile("You are signed out"))
    watched.clock.run_for(120_000)
    assert len(asked) == 1
    expect(watched).to_have_url(re.compile(f"{scrape.address}$"))
    check_page(watched)


def test_a_user_who_lost_access_is_told(watched: Page) -> None:
    watched.route("**/live?*", lambda route: route.fulfill(status=403))
    let_poll(watched)
    expect(watched.locator("[data-live-problem]")).to_contain_text(
        "Live updates have stopped. You may no longer have access"
    )


def test_an_unreachable_server_is_retried(
    watched: Page, scrape: Scrape, expected_in_console: list[str]
) -> None:
    expected_in_console += ["net::ERR_FAILED"]
    watched.route("**/live?*", lambda route: route.abort())
    watched.clock.run_for(2000)
    problem = watched.locator("[data-live-problem]")
    expect(problem).to_contain_text("The server can't be reached")
    watched.unroute("**/live?*")
    let_poll(watched, 30_000)
    expect(problem).to_be_hidden()


def test_without_javascript_the_page_can_be_refreshed(page_without_javascript: Page, scrape: Scrape) -> None:
    page = page_without_javascript
    page.goto(scrape.address)
    expect(page.locator("#run-41")).to_contain_text("10 of 30")
    expect(page.locator("[data-new-runs]")).to_be_hidden()
    scrape.continue_run()
    page.get_by_role("link", name="Refresh").click()
    expect(page.locator("#run-41")).to_contain_text("20 of 30")


def test_nothing_is_animated_with_reduced_motion(page: Page, scrape: Scrape) -> None:
    page.goto(scrape.address)
    names = page.locator(".badge.processing").evaluate(
        "each => getComputedStyle(each, '::before').animationName"
    )
    assert names == "none"


class TestRunPage:
    @pytest.fixture
    def followed(self, page: Page, scrape: Scrape) -> Page:
        return watch(page, scrape.run_address)

    def test_the_page_updates_until_it_shows_records(self, followed: Page, scrape: Scrape) -> None:
        run = followed.locator("#run")
        announcements = followed.locator("#announcements")
        expect(run).to_contain_text("10 of 30")
        check_page(followed)
        watch(followed, scrape.run_address)
        followed.get_by_role("link", name="Refresh").focus()
        scrape.continue_run()
        let_poll(followed)
        expect(run).to_contain_text("20 of 30")
        expect(run.locator("progress")).to_have_js_property("value", 20)
        expect(run).to_contain_text("2 pages written.")
        expect(followed.get_by_role("link", name="Refresh")).to_be_focused()
        expect(announcements).to_have_text("")
        asked = counted(followed)
        scrape.complete()
        let_poll(followed)
        expect(announcements).to_have_text("Run 41 completed.")
        expect(run.get_by_role("heading", name="Run 41")).to_be_focused()  # instead of the removed element
        expect(run.locator(".badge")).to_have_text("Completed")
        expect(run.get_by_role("link", name="ZIP").first).to_be_visible()
        expect(run.get_by_role("link", name="Record 1", exact=True)).to_be_visible()
        followed.clock.resume()  # the statistics may need another request
        expect(run.locator("#facts")).to_contain_text("Records read")
        expect(run.locator("time").first).to_have_attribute("title", re.compile("UTC"))
        # Scripts that enhance the page also apply here.
        expect(run.get_by_role("button", name="Copy: SHA-256").first).to_be_visible()
        run.get_by_label("Select page 1").check()
        seen = len(asked)
        followed.clock.run_for(120_000)
        expect(run.locator("[data-selected]")).to_contain_text("1 file")
        assert len(asked) == seen
        check_ids(followed)
        check_page(followed)

    def test_a_breadcrumb_keeps_the_focus_and_a_hidden_tab_does_not_poll(
        self, followed: Page, scrape: Scrape
    ) -> None:
        asked = counted(followed)
        crumb = followed.get_by_role("link", name=scrape.name, exact=True)
        crumb.focus()
        hide(followed)
        scrape.complete()
        followed.clock.run_for(120_000)
        assert asked == []
        hide(followed, hidden=False)
        expect(followed.locator("#run .badge")).to_have_text("Completed")
        expect(crumb).to_be_focused()

    def test_a_deleted_run(self, followed: Page, scrape: Scrape) -> None:
        asked = counted(followed)
        scrape.delete_run()
        let_poll(followed)
        problem = followed.locator("[data-live-problem]")
        expect(problem).to_have_text(
            re.compile("Live updates have stopped: this item was deleted. Reload the page")
        )
        followed.clock.run_for(120_000)
        assert len(asked) == 1
        check_page(followed)

    def test_without_javascript_it_says_what_to_do(
        self, page_without_javascript: Page, scrape: Scrape
    ) -> None:
        page = page_without_javascript
        page.goto(scrape.run_address)
        assert "Refresh to update." in page.locator("#run").inner_text()
        scrape.continue_run()
        page.get_by_role("link", name="Refresh").click()
        expect(page.locator("#run")).to_contain_text("20 of 30")


class TestCollectionList:
    def test_the_latest_runs_update(self, page: Page, scrape: Scrape) -> None:
        watch(page, f"/collections/?q={scrape.name}")
        row = page.locator("tr", has=page.get_by_role("link", name=scrape.name))
        announcements = page.locator("#announcements")
        expect(row.locator(".badge").first).to_have_text("Processing")
        actions = row.get_by_label(f"Actions for {scrape.name}")
        actions.press("Enter")
        scrape.continue_run()
        let_poll(page)
        expect(announcements).to_have_text("")
        scrape.complete()
        let_poll(page, 30_000)
        expect(row.locator(".badge.completed")).to_be_visible()
        expect(row.locator(".last-run time")).to_have_attribute("title", re.compile("."))
        expect(announcements).to_have_text(f"{scrape.name}: Run 41 completed.")
        expect(actions).to_be_focused()
        expect(row.get_by_role("link", name="Download results")).to_be_visible()
        actions.press("Escape")
        check_page(page)

    def test_it_polls_for_search_results_and_not_in_a_hidden_tab(self, page: Page, scrape: Scrape) -> None:
        watch(page, "/collections/?q=nothing+of+that+name")
        asked = counted(page)
        page.clock.run_for(120_000)
        assert asked == []
        page.get_by_label("Search collections by name").fill(scrape.name)
        page.clock.run_for(1000)
        expect(page.get_by_role("link", name=scrape.name)).to_be_visible()
        hide(page)
        page.clock.run_for(120_000)
        assert asked == []
        scrape.complete()
        hide(page, hidden=False)
        expect(page.locator(".badge.completed")).to_be_visible()
        assert len(asked) == 1
