import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import NARROW

ACTIONS = "summary[aria-label='Actions for {}']"


def menu(page: Page, name: str) -> Locator:
    page.goto("/collections/")
    return page.locator(ACTIONS.format(name))


@pytest.mark.main_case
def test_the_actions_menu_works_by_keyboard(page: Page) -> None:
    menu(page, "AU Laptops").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("link", name="Download results").locator("visible=true")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page).to_have_url("/collections/101/download")


def test_arrows_home_and_end_move_through_the_menu(page: Page) -> None:
    menu(page, "AU Laptops").focus()
    items = page.locator("details[open] .menu-items").locator("a, button")
    for key, index in [
        ("ArrowUp", -1),
        ("ArrowDown", 0),
        ("ArrowDown", 1),
        ("End", -1),
        ("Home", 0),
        ("ArrowUp", -1),
    ]:
        page.keyboard.press(key)
        expect(items.nth(index)).to_be_focused()


def test_escape_closes_the_menu_and_returns_the_focus(page: Page) -> None:
    summary = menu(page, "AU Laptops")
    summary.press("Enter")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Escape")
    expect(summary).to_be_focused()
    expect(page.locator("details[open]")).to_have_count(0)


def test_only_one_menu_is_open_and_a_click_elsewhere_closes_it(page: Page) -> None:
    menu(page, "US Monitors").click()
    page.locator(ACTIONS.format("AU Laptops")).click()  # above it, where the menu doesn't cover it
    expect(page.locator("details[open]")).to_have_count(1)
    page.get_by_role("heading", level=1).click()
    expect(page.locator("details[open]")).to_have_count(0)


def test_tabbing_out_closes_the_menu(page: Page) -> None:
    summary = menu(page, "AU Laptops")
    summary.press("Enter")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Tab")
    expect(page.locator("details[open]")).to_have_count(0)


def test_the_menu_works_without_javascript(page_without_javascript: Page) -> None:
    page = page_without_javascript
    menu(page, "AU Laptops").click()
    page.locator("details[open]").get_by_text("Download results").click()
    expect(page).to_have_url("/collections/101/download")


def test_the_sidebar_expands_on_a_narrow_screen_without_javascript(page_without_javascript: Page) -> None:
    page = page_without_javascript
    page.set_viewport_size(NARROW)
    page.goto("/collections/")
    members = page.get_by_role("link", name="Members")
    expect(members).to_be_hidden()
    page.get_by_role("button", name="Menu").click()
    members.click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Members")


def test_the_first_tab_offers_to_skip_the_sidebar(page: Page) -> None:
    page.goto("/collections/")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("main")).to_be_focused()
