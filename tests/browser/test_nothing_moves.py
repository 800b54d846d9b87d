"""Scripts don't shift the layout of a page when they load."""

import pytest
from playwright.sync_api import Page, expect

from tests.support.tools import all_or_few

POSITIONS = """() => Object.fromEntries(
    ["h1", "main table", "main table tbody tr:last-child", ".sidebar .user-info"]
        .map((what) => [what, document.querySelector(what)?.getBoundingClientRect().top])
)"""


@pytest.mark.parametrize("width", all_or_few([360, 1280], 360))
@pytest.mark.parametrize("path", ["/collections/", "/collections/101/download", "/collections/101/runs/88/"])
def test_scripts_move_nothing(page: Page, expected_in_console: list[str], path: str, width: int) -> None:
    expected_in_console.append("Failed to load resource")
    page.set_viewport_size({"width": width, "height": 800})
    page.route("**/*.js", lambda route: route.abort())
    page.goto(path)
    before = page.evaluate(POSITIONS)
    page.unroute("**/*.js")
    page.goto(path)
    scripts_have_run(page)
    assert page.evaluate(POSITIONS) == pytest.approx(before, abs=1)


def scripts_have_run(page: Page) -> None:
    """Wait for the last script of each page."""
    expect(page.locator("main time[title]").first).to_be_attached()
    expect(page.locator("[data-shortcuts]")).not_to_have_attribute("hidden", "")
