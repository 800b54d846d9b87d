import re

import pytest
from playwright.sync_api import Page, expect


@pytest.mark.main_case
def test_the_list_updates_while_typing_and_the_address_keeps_the_search(page: Page) -> None:
    page.goto("/collections/")
    page.get_by_label("Search collections by name").press_sequentially("lap")
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(page).to_have_url(re.compile(r"\?q=lap&sort=name$"))
    expect(page.get_by_role("status").last).to_have_text("1 collection shown")
    page.reload()
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(page.get_by_label("Search collections by name")).to_have_value("lap")


def test_going_back_to_a_search_shows_the_complete_page(page: Page) -> None:
    page.goto("/collections/")
    page.get_by_label("Search collections by name").fill("lap")
    expect(page.locator("tbody tr")).to_have_count(1)
    page.get_by_role("link", name="AU Laptops").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("AU Laptops")
    page.go_back()
    expect(page.get_by_role("heading", level=1)).to_have_text("Collections")
    expect(page.locator("tbody tr")).to_have_count(1)


def test_pages_leave_nothing_in_the_browsers_storage(page: Page) -> None:
    page.goto("/collections/")
    page.get_by_label("Search collections by name").fill("lap")
    expect(page).to_have_url(re.compile(r"\?q=lap&sort=name$"))
    kept = page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}])")
    assert "<table" not in kept
    assert "AU Laptops" not in kept


def test_it_searches_without_javascript(page_without_javascript: Page) -> None:
    page = page_without_javascript
    page.goto("/collections/")
    page.get_by_label("Search collections by name").fill("lap")
    page.get_by_role("button", name="Search").click()
    expect(page.locator("tbody tr")).to_have_count(1)


def test_a_menu_in_search_results_works(page: Page) -> None:
    page.goto("/collections/")
    page.get_by_label("Search collections by name").fill("lap")
    expect(page.locator("tbody tr")).to_have_count(1)
    page.locator("summary[aria-label='Actions for AU Laptops']").click()
    page.locator("details[open]").get_by_text("Download results").click()
    expect(page).to_have_url("/collections/101/download")
