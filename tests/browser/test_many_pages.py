"""A run of 5,000 pages: folded, loaded in steps, and on a separate page."""

import re
import uuid

import pytest
from playwright.sync_api import Page, expect

from tests.browser.test_every_page import check
from tests.support.shell import Shell

MAKE = """
from tests.support.results import make_many_pages
from collections_app.models import *
team = Collection.objects.get(pk=101).team
collection = Collection.objects.create(name={name!r}, team=team)
make_many_pages(collection, 2, 5_000)
print(collection.pk)
"""


@pytest.fixture(scope="module")
def address(shell: Shell) -> str:
    """The address of a collection with two runs of 5,000 pages."""
    return f"/collections/{shell(MAKE.format(name=f'Vast {uuid.uuid4()}')).strip()}"


def pills(page: Page, run: int) -> int:
    return page.locator(".pill").filter(has_text=re.compile(rf"^Page \d+ of run {run}$")).count()


def test_pages_load_in_place_and_the_first_new_one_gets_the_focus(page: Page, address: str) -> None:
    page.goto(f"{address}/download")
    check(page)
    page.get_by_role("link", name="5,000 pages of run 2").press("Enter")
    expect(page.get_by_role("link", name="Page 1 of run 2", exact=True)).to_be_focused()
    expect(page.get_by_role("status").last).to_have_text("Pages 1 to 500 of 5,000 shown")
    page.get_by_role("link", name="+4,500 more pages of run 2").press("Enter")
    expect(page.get_by_role("link", name="Page 501 of run 2")).to_be_focused()
    assert (pills(page, 1), pills(page, 2)) == (6, 1_000)
    check(page)
    expect(page).to_have_url(f"{address}/download")


def test_without_javascript_pages_are_listed_on_a_separate_page(
    page_without_javascript: Page, address: str
) -> None:
    page = page_without_javascript
    page.goto(f"{address}/download")
    page.get_by_role("link", name="5,000 pages of run 1").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Pages of run 1")
    assert pills(page, 1) == 500
    page.get_by_role("link", name="+4,500 more").click()
    expect(page.get_by_role("link", name="Page 501 of run 1")).to_be_visible()
    page.get_by_role("link", name="Back to the first pages").click()
    expect(page.get_by_role("link", name="Page 1 of run 1", exact=True)).to_be_visible()


def test_the_separate_page_loads_more_in_place(page: Page, address: str) -> None:
    page.goto(f"{address}/runs/1/pages")
    page.get_by_role("link", name="+4,500 more").press("Enter")
    expect(page.get_by_role("link", name="Page 501 of run 1")).to_be_focused()
    assert pills(page, 1) == 1_000


def test_an_unknown_page_number_is_explained(page_without_javascript: Page, page: Page, address: str) -> None:
    page_without_javascript.goto(f"{address}/runs/1/pages?page=5001")
    alert = page_without_javascript.get_by_role("alert")
    expect(alert).to_have_text("Run 1 has no page 5,001. It has pages 1 to 5,000.")
    field = page_without_javascript.get_by_label("Page of 5,000 of run 1")
    expect(field).to_have_value("5001")
    expect(field).to_have_accessible_description("Run 1 has no page 5,001. It has pages 1 to 5,000.")
    page.goto(f"{address}/download")  # the browser itself sends no such number
    page.get_by_role("link", name="5,000 pages of run 2").click()
    page.get_by_label("Page of 5,000 of run 2").fill("5001")
    page.get_by_role("button", name="Download this page of run 2").click()
    expect(page).to_have_url(f"{address}/download")


def test_pages_can_be_selected_on_the_separate_page(page: Page, address: str) -> None:
    page.goto(f"{address}/runs/2/pages")
    page.get_by_label("Select page 499").click()
    page.get_by_role("link", name="+4,500 more pages of run 2").press("Enter")
    with page.expect_request(f"**{address}/selection?pages=2.499-503"):
        page.get_by_label("Select page 503").click(modifiers=["Shift"])
    expect(page.get_by_role("form", name="Selection")).to_be_visible()
    check(page)
