import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import sign_in
from tests.support.server import DemoServer
from tests.support.tools import all_or_few


@pytest.mark.main_case
@pytest.mark.parametrize("javascript", all_or_few([True, False], True))
def test_a_user_signs_in_and_out(visitors_page: Page, demo_server: DemoServer) -> None:
    page = visitors_page
    page.goto("/members/")
    sign_in(page, demo_server.email, "wrong")
    expect(page.get_by_text("Wrong email address or password")).to_be_visible()
    page.get_by_label("Password").fill(demo_server.password)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Overview")
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_text("You are signed out.")).to_be_visible()


def test_signing_in_returns_to_the_requested_page(visitors_page: Page, demo_server: DemoServer) -> None:
    page = visitors_page
    page.goto("/collections/101/download")
    page.get_by_label("Email address").fill(demo_server.email)
    page.get_by_label("Password").fill(demo_server.password)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("AU Laptops")


def test_load_more_without_a_session_opens_the_sign_in_page(
    visitors_page: Page, demo_server: DemoServer
) -> None:
    page = visitors_page
    sign_in(page, demo_server.email, demo_server.password)
    page.goto("/collections/101/download")
    page.context.clear_cookies()
    page.get_by_role("link", name="Load more").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")
    assert page.url.endswith("?next=/collections/101/download")
