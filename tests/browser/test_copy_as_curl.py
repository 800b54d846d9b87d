import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import NewPage
from tests.browser.test_every_page import check
from tests.support import tools
from tests.support.server import DemoServer

PAGE = "AU Laptops_88_Results_Page_1.json"


@pytest.fixture
def runs(page: Page) -> Page:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto("/collections/101/download")
    return page


def copied(page: Page) -> str:
    return str(page.evaluate("navigator.clipboard.readText()"))


@pytest.mark.main_case
def test_a_file_is_copied_and_the_command_downloads_it(
    runs: Page, demo_server: DemoServer, tmp_path: Path
) -> None:
    curl = tools.needs("curl")
    runs.get_by_role("button", name="Copy as curl").click()
    expect(runs.get_by_text("Click a file to copy its curl command.", exact=True)).to_be_visible()
    runs.get_by_role("link", name="Page 1 of run 88", exact=True).click()
    expect(runs.locator("#announcements")).to_have_text("Copied: Page 1 of run 88")
    command = copied(runs)
    # One line without single quotes, for cmd.exe and PowerShell.
    assert command == (
        f'curl -f -o "{PAGE}" -H "x-api-key: YOUR_API_KEY" '
        f'"{demo_server.url}/api/v1/results/101/88/AU%20Laptops_88_Results_Page_1.json"'
    )
    stored = tmp_path / PAGE
    line = command.replace("YOUR_API_KEY", demo_server.api_key).replace("curl ", f"{curl} -sS ", 1)
    tools.run("sh", "-c", line, cwd=tmp_path)
    content = stored.read_bytes()
    stored.write_bytes(b"of another run")
    for _ in range(2):  # over a partial file of that name, and over a complete one
        tools.run("sh", "-c", line, cwd=tmp_path)
        assert stored.read_bytes() == content
    assert content.startswith(b"[")


def test_by_keyboard_only(runs: Page) -> None:
    button = runs.get_by_role("button", name="Copy as curl")
    button.focus()
    runs.keyboard.press("Enter")
    expect(button).to_have_attribute("aria-pressed", "true")
    runs.get_by_role("link", name="of run 90").last.focus()
    runs.keyboard.press("Enter")
    expect(runs.locator("#announcements")).to_have_text(re.compile(r"^Copied: ZIP · \d.* of run 90$"))
    assert "/api/v1/results/101/90/AU%20Laptops_90_Results_All_Pages.zip" in copied(runs)
    runs.keyboard.press("Escape")
    expect(button).to_have_attribute("aria-pressed", "false")
    with runs.expect_download() as download:
        runs.keyboard.press("Enter")
    assert download.value.suggested_filename.endswith(".zip")


def test_rows_loaded_later_and_category_lists(runs: Page) -> None:
    runs.get_by_role("button", name="Copy as curl").click()
    runs.get_by_role("link", name="Load more").click()
    runs.get_by_role("link", name="Page 1 of run 64", exact=True).click()
    expect(runs.locator("#announcements")).to_have_text("Copied: Page 1 of run 64")
    runs.goto("/collections/102/download")
    runs.get_by_role("button", name="Copy as curl").click()
    runs.get_by_role("link", name="Download CSV of run 14").click()
    expect(runs.locator("#announcements")).to_have_text("Copied: Download CSV of run 14")
    assert '-o "run_14_category_asins.csv"' in copied(runs)


def test_done_returns_the_focus(runs: Page) -> None:
    button = runs.get_by_role("button", name="Copy as curl")
    button.click()
    runs.get_by_role("button", name="Done").click()
    expect(runs.get_by_role("button", name="Done")).to_be_hidden()
    expect(button).to_be_focused()


def test_a_name_is_escaped_for_the_shell(runs: Page) -> None:
    runs.get_by_role("button", name="Copy as curl").click()
    runs.evaluate(
        """() => {
          const link = document.querySelector("a.pill");
          link.href = "/collections/101/runs/88/files/%24(x)%60y%60!'%25a%25%22%E2%82%AC.json?columns=a,$b`";
          link.id = "hostile";
        }"""
    )
    runs.locator("#hostile").click()
    expect(runs.locator("#hostile")).to_have_class("pill copied")
    command = copied(runs)
    assert command.startswith('curl -f -o "run_88__(x)_y__\'_a__€.json" -H "x-api-key: YOUR_API_KEY" "http')
    assert command.endswith('/88/%24%28x%29%60y%60%21%27%25a%25%22%E2%82%AC.json?columns=a,%24b%60"')


def test_the_page_is_accessible_while_it_is_on(runs: Page) -> None:
    runs.get_by_role("button", name="Copy as curl").click()
    runs.get_by_role("link", name="Page 1 of run 88", exact=True).click()
    expect(runs.get_by_text("Copied: Page 1 of run 88").first).to_be_visible()
    check(runs)


def test_without_clipboard_access_there_is_no_button(open_page: NewPage) -> None:
    page = open_page()
    page.add_init_script("delete Navigator.prototype.clipboard")
    page.goto("/collections/101/download")
    expect(page.get_by_role("heading", name="AU Laptops")).to_be_visible()
    expect(page.get_by_role("button", name="Copy as curl")).to_be_hidden()


def test_without_javascript_there_is_no_button(page_without_javascript: Page) -> None:
    page_without_javascript.goto("/collections/101/download")
    expect(page_without_javascript.get_by_role("heading", name="AU Laptops")).to_be_visible()
    expect(page_without_javascript.get_by_text("Copy as curl")).to_be_hidden()
