import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import sign_in
from tests.support.server import DemoServer
from tests.support.tools import all_or_few

NEW_PASSWORD = "a violet umbrella in the rain"


def test_a_new_user_sets_a_password_and_signs_in(page: Page, visitors_page: Page) -> None:
    page.goto("/members/add")
    page.get_by_label("Email address").fill("dora@example.com")
    page.get_by_label("Name").fill("Dora Finch")
    page.get_by_role("button", name="Add to Northwind Pricing").click()
    link = page.get_by_role("textbox", name="Password link").input_value()

    other = visitors_page
    other.goto(link)
    expect(other.get_by_role("heading", level=1)).to_have_text("Join Northwind Pricing")
    other.get_by_label("New password", exact=True).fill(NEW_PASSWORD)
    other.get_by_label("Repeat new password").fill(NEW_PASSWORD)
    other.get_by_role("button", name="Set password").click()
    expect(other.get_by_text("Saved your new password.")).to_have_count(1)
    expect(other.get_by_text("dora@example.com · Member")).to_be_visible()
    expect(other.get_by_role("link", name="AU Laptops")).to_be_visible()

    page.goto("/members/")
    page.locator("summary[aria-label='Actions for Dora Finch']").click()
    page.locator("details[open]").get_by_text("Remove").click()
    page.get_by_role("button", name="Remove from Northwind Pricing").click()
    expect(page.get_by_text("Removed Dora Finch from Northwind Pricing.")).to_be_visible()
    other.reload()
    expect(other.get_by_text("You aren't in a team")).to_be_visible()


@pytest.mark.parametrize("javascript", all_or_few([True, False], True))
def test_a_user_switches_between_teams(visitors_page: Page, demo_server: DemoServer) -> None:
    # Sign in again: the chosen team belongs to the session, which other tests share.
    page = visitors_page
    sign_in(page, demo_server.email, demo_server.password)
    switch = page.locator(".team-menu summary")
    expect(switch).to_contain_text("Northwind Pricing")
    switch.click()
    page.locator(".team-menu button:not([aria-current])").click()
    expect(switch).not_to_contain_text("Northwind Pricing")
    expect(page.get_by_role("link", name="AU Laptops")).to_have_count(0)
    expect(page).to_have_url(re.compile(":[0-9]+/$"))


def test_a_collection_is_added_renamed_archived_and_restored(page: Page) -> None:
    page.goto("/collections/")
    page.get_by_role("link", name="Add collection").click()
    page.get_by_label("Name").fill("Desk lamps")
    page.get_by_label("Type").select_option("Officeworks")
    page.get_by_role("button", name="Add collection").click()
    expect(page.get_by_role("heading", name="No runs yet")).to_be_visible()

    def choose(name: str, action: str) -> None:
        page.locator(f"summary[aria-label='Actions for {name}']").click()
        page.locator("details[open]").get_by_text(action).click()

    page.goto("/collections/")
    choose("Desk lamps", "Rename")
    page.get_by_label("Name").fill("Floor lamps")
    page.get_by_role("button", name="Rename").click()
    choose("Floor lamps", "Archive")
    page.get_by_role("button", name="Archive").click()
    expect(page.get_by_role("link", name="Floor lamps")).to_have_count(0)
    page.get_by_role("link", name="Archived").click()
    choose("Floor lamps", "Restore")
    expect(page.get_by_role("link", name="Floor lamps")).to_be_visible()
