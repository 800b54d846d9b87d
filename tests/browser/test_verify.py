"""Verifying a run's files shows progress and the result."""

from playwright.sync_api import Page, expect

from tests.support.shell import Shell

FILES = "/collections/101/runs/87/"
DAMAGE = """
from django.core.files.storage import storages
from collections_app.models import ResultFile
file = ResultFile.objects.get(run__collection=101, run__number=87, kind="page", position=1)
with open(storages["results"].path(file.key), "r+b") as stored:
    first = stored.read(1)
    stored.seek(0)
    stored.write(bytes([first[0] ^ 1]))
"""


def test_the_button_verifies_with_progress(page: Page, shell: Shell) -> None:
    page.goto(FILES)
    section = page.get_by_role("region", name="Verification")
    section.get_by_role("button", name="Verify").click()
    expect(section).to_contain_text("All files are intact")
    shell(DAMAGE)
    try:
        section.get_by_role("button", name="Verify again").click()
        expect(section).to_contain_text("1 invalid file")
        expect(section).to_contain_text("AU Laptops_87_Results_Page_1.json: The content has changed since")
    finally:
        shell(DAMAGE)


def test_without_javascript_the_result_shows_after_a_refresh(page_without_javascript: Page) -> None:
    page = page_without_javascript
    page.goto(FILES)
    page.get_by_role("button", name="Verify").click()
    while page.get_by_role("link", name="Refresh").count() and page.locator(".verification progress").count():
        page.locator(".verification").get_by_role("link", name="Refresh").click()
    expect(page.locator(".verified")).to_contain_text("All files are intact")


def test_a_digest_can_be_copied(page: Page) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(FILES)
    page.get_by_role("button", name="Copy: SHA-256 of AU Laptops_87_Results_Page_1.json").click()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == page.locator("tr", has_text="Page_1.json").locator("code").text_content()
    assert len(copied) == 64
