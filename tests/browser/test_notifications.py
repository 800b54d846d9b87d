"""Channels and rules, from the first one to the last."""

import pytest
from playwright.sync_api import Page, expect

from tests.browser.test_every_page import check, visit
from tests.support.shell import Shell

UNSUBSCRIBE = """
from urllib.parse import urlsplit
from collections_app.models import Membership
from collections_app.notifications.unsubscribe import unsubscribe_url
from collections_app.models import Channel, Rule
member = Membership.objects.order_by("pk").first()
channel = Channel.objects.create(team=member.team, kind="email", name="Email", member=member)
rule = Rule.objects.create(team=member.team, channel=channel, name="Problems", kinds=["run.failed"])
print(urlsplit(unsubscribe_url([rule])).path)
"""


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


@pytest.mark.main_case
def test_a_link_in_mail_unsubscribes(visitors_page: Page, shell: Shell) -> None:
    address = shell(UNSUBSCRIBE).strip()
    visit(visitors_page, address)
    visitors_page.get_by_role("button", name="Unsubscribe").click()
    expect(visitors_page.get_by_role("heading", level=1)).to_have_text("Unsubscribed")
    check(visitors_page)
