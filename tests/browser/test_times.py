import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import NewPage

RUN_88 = "time[datetime='2026-06-20T12:00:00Z']"


@pytest.mark.main_case
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


@pytest.mark.parametrize(
    ("zone", "moments", "shown"),
    [
        (
            "Australia/Sydney",  # clocks go back from 3:00 to 2:00
            ["2026-04-04T14:59", "2026-04-04T15:30", "2026-04-04T16:30", "2026-04-04T17:00"],
            ["01:59", "02:30 UTC+11:00", "02:30 UTC+10:00", "03:00"],
        ),
        (
            "Australia/Sydney",  # forward from 2:00 to 3:00
            ["2026-10-03T15:30", "2026-10-03T15:59", "2026-10-03T16:00", "2026-10-03T16:30"],
            ["01:30", "01:59", "03:00", "03:30"],
        ),
        (
            "Australia/Lord_Howe",  # by half an hour
            ["2026-04-04T14:29", "2026-04-04T14:30", "2026-04-04T15:29", "2026-04-04T15:30"],
            ["01:29", "01:30 UTC+11:00", "01:59 UTC+10:30", "02:00"],
        ),
        (
            "America/New_York",
            ["2026-11-01T04:59", "2026-11-01T05:00", "2026-11-01T06:59", "2026-11-01T07:00"],
            ["00:59", "01:00 UTC-04:00", "01:59 UTC-05:00", "02:00"],
        ),
    ],
)
def test_times_in_a_repeated_hour_show_their_utc_offset(
    open_page: NewPage, zone: str, moments: list[str], shown: list[str]
) -> None:
    page = open_page(timezone_id=zone, locale="de-DE")
    page.goto("/collections/")
    page.evaluate(
        """moments => {
            document.querySelector("h1").replaceChildren(...moments.map(each =>
                Object.assign(document.createElement("time"), {dateTime: `${each}:00Z`, textContent: each})))
            document.dispatchEvent(new Event("page:changed"))
        }""",
        moments,
    )
    texts = page.locator("h1 time").all_inner_texts()
    assert [text.partition(", ")[2] for text in texts] == shown


def test_days_have_no_time(open_page: NewPage) -> None:
    page = open_page(timezone_id="Australia/Sydney", locale="en-AU")
    page.goto("/members/")
    joined = page.locator("time[data-date]").first
    expect(joined).to_have_text(re.compile(r"^\d+ \w+ \d{4}$"))
    expect(joined).to_have_attribute("title", re.compile(r"\d:\d\d"))
