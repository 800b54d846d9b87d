import re

from playwright.sync_api import Page, expect

from tests.browser.conftest import NewPage

RUN_88 = "time[datetime='2026-06-20T12:00:00Z']"


def test_times_are_in_the_users_time_zone_with_utc_as_title(open_page: NewPage) -> None:
    page = open_page(timezone_id="Australia/Sydney", locale="en-AU")
    page.goto("/collections/101/download")
    time = page.locator(RUN_88)
    expect(time).to_have_text(re.compile(r"20 June? 2026, 10:00\spm", re.IGNORECASE))
    expect(time).to_have_attribute("title", "20 Jun 2026, 12:00 UTC")


def test_times_are_formatted_in_the_users_language(open_page: NewPage) -> None:
    page = open_page(timezone_id="Europe/Berlin", locale="de-DE")
    page.goto("/collections/101/download")
    expect(page.locator(RUN_88)).to_have_text("20.06.2026, 14:00")


def test_times_of_rows_loaded_later_are_converted(open_page: NewPage) -> None:
    page = open_page(timezone_id="Australia/Sydney")
    page.goto("/collections/101/download")
    page.get_by_role("link", name="Load more").click()
    expect(page.locator("tbody")).to_have_count(2)
    expect(page.locator("time:not([title])")).to_have_count(0)


def test_without_javascript_they_are_readable_utc(page_without_javascript: Page) -> None:
    page_without_javascript.goto("/collections/101/download")
    expect(page_without_javascript.locator(RUN_88)).to_have_text("20 Jun 2026, 12:00 UTC")
