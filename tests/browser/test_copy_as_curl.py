"""Copying the command that downloads a run, from its menu."""

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

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


def copy_command(page: Page) -> None:
    page.get_by_label("Actions for run 88").click()
    page.get_by_role("link", name="Copy as curl (run 88)").click()


@pytest.mark.main_case
def test_a_command_is_copied_and_shown_and_downloads_the_file(
    runs: Page, demo_server: DemoServer, tmp_path: Path
) -> None:
    curl = tools.needs("curl")
    copy_command(runs)
    dialog = runs.get_by_role("dialog", name="Commands for run 88")
    expect(runs.locator("#announcements")).to_have_text("Copied")
    assert copied(runs) == dialog.locator("code").first.text_content()
    dialog.get_by_label("File").focus()
    dialog.get_by_label("File").select_option(PAGE)
    command = (
        f'curl -f -o "{PAGE}" -H "x-api-key: YOUR_API_KEY" '
        f'"{demo_server.url}/api/v1/results/101/88/AU%20Laptops_88_Results_Page_1.json"'
    )
    expect(dialog.locator("code").first).to_have_text(command)
    expect(dialog.get_by_label("File")).to_be_focused()
    dialog.get_by_role("button", name="Copy: curl").click()
    assert copied(runs) == command
    stored = tmp_path / PAGE
    line = command.replace("YOUR_API_KEY", demo_server.api_key).replace("curl ", f"{curl} -sS ", 1)
    tools.run("sh", "-c", line, cwd=tmp_path)
    content = stored.read_bytes()
    stored.write_bytes(b"of another run")
    for _ in range(2):  # over a partial file of that name, and over a complete one
        tools.run("sh", "-c", line, cwd=tmp_path)
        assert stored.read_bytes() == content
    assert content.startswith(b"[")
    runs.keyboard.press("Escape")
    expect(dialog).to_be_hidden()


def test_by_keyboard_only(runs: Page) -> None:
    runs.get_by_label("Actions for run 88").focus()
    runs.keyboard.press("ArrowDown")
    expect(runs.get_by_role("link", name="Copy as curl (run 88)")).to_be_focused()
    runs.keyboard.press("Enter")
    expect(runs.get_by_role("dialog", name="Commands for run 88")).to_be_visible()
    check(runs, "dialog[open]")


def test_without_javascript_the_commands_have_a_page(page_without_javascript: Page) -> None:
    page = page_without_javascript
    page.goto("/collections/101/download")
    copy_command(page)
    page.get_by_label("File").select_option("ZIP")
    page.get_by_role("button", name="Show").click()
    expect(page.locator("code").first).to_contain_text("/api/v1/collections/101/runs/88/all.zip")
