import re
import uuid

import pytest
from playwright.sync_api import Page, expect

from tests.support.shell import Shell

CREATE_RUNS = """
from datetime import timedelta
from django.utils import timezone
from collections_app.models import *
team = Collection.objects.get(pk=101).team
collection, _ = Collection.objects.get_or_create(name={name!r}, team=team)
first, now = collection.last_run_number + 1, timezone.now()
Run.objects.bulk_create(
    Run(collection=collection, number=number, state="failed", failure_reason="No response.", created_at=now)
    for number in range(first, first + {count})
)
collection.last_run_number += {count}
collection.save()
print(collection.pk)
"""


class Growing:
    """A collection that gets more runs when a test says so."""

    def __init__(self, shell: Shell, count: int) -> None:
        self._shell = shell
        self._name = f"Growing {uuid.uuid4()}"
        self.address = f"/collections/{self.grow(count)}/download"

    def grow(self, count: int) -> int:
        return int(self._shell(CREATE_RUNS.format(name=self._name, count=count)))


@pytest.fixture
def growing(shell: Shell) -> Growing:
    return Growing(shell, 120)


def numbers(page: Page) -> list[int]:
    shown = page.locator("tbody .row-detail").all_text_contents()
    return [int(number) for text in shown for number in re.findall(r"Run (\d+)", text)]


def test_it_reaches_the_first_run_while_runs_arrive(page: Page, growing: Growing) -> None:
    page.goto(growing.address)
    more = page.get_by_role("link", name="Load more")
    for rows in (100, 120):
        growing.grow(3)
        more.click()
        expect(page.locator("tbody tr")).to_have_count(rows)
    expect(more).to_have_count(0)
    assert numbers(page) == list(range(120, 0, -1))
    expect(page).to_have_url(growing.address)


def test_it_reaches_the_first_run_without_javascript(page_without_javascript: Page, growing: Growing) -> None:
    page, seen = page_without_javascript, []
    page.goto(growing.address)
    more = page.get_by_role("link", name="Load more")
    while True:
        seen += numbers(page)
        growing.grow(3)
        if not more.count():
            break
        with page.expect_navigation():
            more.click()
    assert seen == list(range(120, 0, -1))
    with page.expect_navigation():
        page.get_by_role("link", name="Back to the newest runs").click()
    assert numbers(page)[0] == 129


@pytest.mark.main_case
def test_the_focus_goes_to_the_first_new_row_and_it_is_announced(page: Page) -> None:
    page.goto("/collections/101/download")
    before = page.locator("tbody tr").count()
    page.get_by_role("link", name="Load more").press("Enter")
    expect(page.locator("tbody tr").nth(before)).to_be_focused()
    expect(page.get_by_role("status").last).to_have_text(re.compile(r"^\d+ more runs shown$"))


def test_an_unreachable_server_is_reported(page: Page, expected_in_console: list[str]) -> None:
    expected_in_console += ["net::ERR_FAILED", "htmx:(sendError|afterRequest)"]
    page.goto("/collections/101/download")
    page.route("**/*before=*", lambda route: route.abort())
    page.get_by_role("link", name="Load more").click()
    expect(page.get_by_role("alert")).to_contain_text("The server can't be reached.")


def test_a_server_that_refuses_shows_its_page(page: Page, expected_in_console: list[str]) -> None:
    expected_in_console += ["Response Status Error Code 500"]
    page.goto("/collections/101/download")
    page.route(
        "**/*before=*",
        lambda route: route.fulfill(status=500, body="<h1>It broke</h1>", content_type="text/html"),
    )
    page.get_by_role("link", name="Load more").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("It broke")
