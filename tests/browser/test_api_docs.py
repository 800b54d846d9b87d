"""The page with the API documentation."""

import pytest
from playwright.sync_api import Page, expect

from tests.browser.test_every_page import check, check_ids


@pytest.mark.parametrize("javascript", [True, False])
def test_a_link_to_an_object_opens_it(page: Page) -> None:
    page.goto("/api/v1/docs#list_run_results")
    result = page.locator("#list_run_results")
    expect(result).to_be_visible()
    result.get_by_role("link", name="RunList").click()
    expect(page.locator("#RunList")).to_be_visible()


def test_every_part_is_accessible_when_it_is_open(page: Page) -> None:
    page.goto("/api/v1/docs")
    page.locator("details.reference").evaluate_all("all => all.forEach((each) => { each.open = true; })")
    check_ids(page)
    check(page)
