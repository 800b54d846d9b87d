from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import sign_in
from tests.support.shell import Shell
from tests.support.tools import all_or_few

NAME = "x" * 60
EMAIL = f"{NAME}@example.com"
PASSWORD = "a violet umbrella in the rain"


@pytest.fixture(scope="module")
def long_named_user(shell: Shell) -> Iterator[str]:
    """The email address of a user with a long name and a key with a long name, during this module's tests."""
    shell(
        f"""
from collections_app.models import *
user = User.objects.create_user({EMAIL!r}, {PASSWORD!r}, name={NAME!r})
member = Membership.objects.create(user=user, team=Team.objects.get(name="Northwind Pricing"))
ApiKey.objects.issue(member, {NAME!r})
""",
    )
    yield EMAIL
    shell(
        f"""
from collections_app.models import User
User.objects.get(email={EMAIL!r}).delete()
""",
    )


def expect_no_sideways_scrolling(page: Page) -> None:
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0


@pytest.mark.parametrize("width", all_or_few([360, 1280], 360))
def test_a_long_name_fits_the_lists_of_members_and_keys(page: Page, long_named_user: str, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    page.goto("/members/")
    expect(page.locator("td[data-label='Owner']").get_by_text(NAME)).to_be_visible()
    expect_no_sideways_scrolling(page)


@pytest.mark.parametrize("width", all_or_few([360, 1280], 360))
def test_a_long_name_fits_the_pages_and_messages_of_its_owner(
    visitors_page: Page, long_named_user: str, width: int
) -> None:
    page = visitors_page
    page.set_viewport_size({"width": width, "height": 800})
    sign_in(page, long_named_user, PASSWORD)
    expect(page.get_by_role("heading", level=1)).to_have_text("Overview")
    expect_no_sideways_scrolling(page)
    page.goto("/profile/")
    expect_no_sideways_scrolling(page)
    page.get_by_label("Name", exact=True).fill(f"{NAME}!")
    page.get_by_role("button", name="Save name").click()
    expect(page.get_by_text("Saved your name.")).to_be_visible()
    if width < 960:
        page.get_by_role("button", name="Menu").click()
    who = page.locator(".user-name")
    expect(who).to_be_visible()
    box, sidebar = who.bounding_box(), page.locator(".sidebar").bounding_box()
    assert box
    assert sidebar
    assert box["x"] + box["width"] <= sidebar["x"] + sidebar["width"]
    assert page.locator(".sidebar").evaluate("element => element.scrollWidth - element.clientWidth") <= 0


@pytest.mark.parametrize("width", all_or_few([360, 1280], 360))
def test_a_message_with_a_long_name_fits(page: Page, long_named_user: str, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    page.goto("/members/")
    page.locator(f"summary[aria-label^='Actions for {NAME}']").click()
    page.locator("details[open]").get_by_text("Change role").click()
    expect(page.get_by_role("button", name="Change role")).to_be_visible()
    expect_no_sideways_scrolling(page)
    page.get_by_role("button", name="Change role").click()
    expect(page.locator(".message")).to_contain_text("to Member.")
    expect_no_sideways_scrolling(page)
