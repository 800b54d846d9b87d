"""Channels and rules, from the first one to the last."""

import pytest
from playwright.sync_api import Page, expect

from tests.browser.test_every_page import check


@pytest.mark.main_case
def test_a_webhook_is_added_changed_and_removed(page: Page) -> None:
    page.goto("/")
    page.get_by_role("link", name="Notifications", exact=True).click()
    page.get_by_role("link", name="Add channel").first.click()
    page.get_by_label("Type").select_option("Webhook")
    page.get_by_label("Name").fill("W" * 100)
    page.get_by_label("URL").fill("https://hooks.example.com/x")
    page.get_by_role("button", name="Add channel").click()
    check(page)
    page.get_by_role("link", name="Continue").click()
    page.get_by_role("button", name="Send test").click()
    expect(page.get_by_role("cell", name="Test")).to_be_visible()
    check(page)
    page.get_by_role("link", name="Add rule").click()
    page.get_by_label("Name", exact=True).fill("Finished")
    page.get_by_label("Run completed").check()
    check(page)
    page.get_by_role("button", name="Save rule").click()
    page.get_by_role("link", name="Change “Finished”").click()
    page.get_by_role("button", name="Remove rule").click()
    for action in ("Change…", "Replace signing key…", "Remove…"):
        page.locator("summary[aria-label^='Actions for']").click()
        page.get_by_role("link", name=action).click()
        check(page)
        if action != "Remove…":
            page.get_by_role("link", name="Cancel").click()
    page.get_by_role("button", name="Remove channel").click()
    expect(page.get_by_text("Removed the channel")).to_be_visible()
