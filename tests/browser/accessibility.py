"""What axe finds in a page."""

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page


def check_accessibility(page: Page, within: str | None = None) -> None:
    """Check a page as it stands, or what a selector finds in it; a violation fails the test."""
    # The program is half a megabyte, and stays until the page is left.
    axe = Axe("null") if page.evaluate("'axe' in window") else Axe()
    # The full report lists violations alone, which is much faster where a page has many rows.
    found = axe.run(page, context=within, options={"resultTypes": ["violations"]})
    assert found.violations_count == 0, found.generate_report()
