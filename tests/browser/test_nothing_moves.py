"""A page stands where it stands: nothing jumps away from under a finger when the scripts come."""

import pytest
from playwright.sync_api import Page, expect

PLACES = """() => Object.fromEntries(
    ["h1", "main table", "main table tbody tr:last-child", ".sidebar .whoami"]
        .map((what) => [what, document.querySelector(what)?.getBoundingClientRect().top])
)"""


@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("path", ["/collections/", "/collections/101/download", "/collections/101/runs/88/"])
def test_scripts_move_nothing(page: Page, expected_in_console: list[str], path: str, width: int) -> None:
    expected_in_console.append("Failed to load resource")
    page.set_viewport_size({"width": width, "height": 800})
    page.route("**/*.js", lambda route: route.abort())
    page.goto(path)
    before = page.evaluate(PLACES)
    page.unroute("**/*.js")
    page.goto(path)
    scripts_have_run(page)
    assert page.evaluate(PLACES) == pytest.approx(before, abs=1)


def scripts_have_run(page: Page) -> None:
    """Wait for the last script of each of the pages."""
    expect(page.locator("main time[title]").first).to_be_attached()
    expect(page.locator("[data-shortcuts]")).not_to_have_attribute("hidden", "")
