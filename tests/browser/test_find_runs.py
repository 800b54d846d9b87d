"""Finding runs in a browser: in the user's time zone, with and without JavaScript."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import NewPage
from tests.support import databases
from tests.support.server import DemoServer
from tests.support.tools import all_or_few

ADDRESS = "/collections/101/download"


def test_runs_by_status_and_by_day_in_the_users_time_zone(open_page: NewPage) -> None:
    page = open_page(timezone_id="Australia/Sydney")
    page.goto(ADDRESS)
    page.get_by_text("Status: All").click()
    page.get_by_role("link", name="Failed").click()
    page.get_by_text("Dates", exact=True).click()
    expect(page.get_by_text("Time zone: Australia/Sydney")).to_be_visible()
    filtering = page.get_by_role("form", name="Filter by date")
    filtering.get_by_label("To").fill("2026-06-20")
    filtering.get_by_role("button", name="Show").click()
    expect(page.get_by_text("2 runs: Failed, until 20 Jun 2026 (Australia/Sydney)")).to_be_visible()
    expect(page.locator("tbody tr")).to_have_count(2)
    expect(page.get_by_text("Status: Failed")).to_be_visible()
    page.get_by_role("link", name="Show all runs").click()
    expect(page.locator("tbody tr")).to_have_count(50)


def test_going_to_a_day_without_javascript(page_without_javascript: Page) -> None:
    page = page_without_javascript
    page.goto(ADDRESS)
    page.get_by_text("Dates", exact=True).click()
    expect(page.get_by_text("Time zone: Australia/Sydney")).to_be_visible()
    going = page.get_by_role("form", name="Go to a date")
    going.get_by_label("Go to date").fill("2026-06-20")
    going.get_by_role("button", name="Go").click()
    expect(page.locator("tbody tr").first).to_contain_text("Run 88")


@pytest.mark.parametrize("javascript", all_or_few([True, False], True))
def test_a_run_is_found_by_its_number(page: Page) -> None:
    page.goto(ADDRESS)
    page.get_by_label("Run number").fill("65")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("#run-65$"))
    expect(page.locator("#run-65:target")).to_be_in_viewport()


def test_loading_more_updates_the_number_of_runs(page: Page, demo_server: DemoServer) -> None:
    runs = "SELECT count(*) FROM collections_app_run WHERE collection_id = 101"
    ((count,),) = databases.execute(demo_server.data_dir, runs)
    page.goto(ADDRESS)
    expect(page.locator(".list-count")).to_have_text(f"Showing 50 of {count} runs")
    page.get_by_role("link", name="Load more").click()
    expect(page.locator(".list-count")).to_have_text(f"Showing {count} of {count} runs")


def test_sorting_collections_keeps_the_page(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 844})  # wider pages have headers that sort
    page.goto("/collections/")
    page.get_by_label("Sort by").select_option("Sort by last run")
    expect(page.locator("tbody tr").last).to_contain_text("No runs yet")
    expect(page).to_have_url(re.compile(r"sort=recent"))
