"""Keyboard shortcuts, which are off while typing and can be turned off."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.test_every_page import check

RUNS = "/collections/101/download"


@pytest.fixture
def runs(page: Page) -> Page:
    page.goto(RUNS)
    return page


def test_j_and_k_move_between_rows_and_z_downloads_a_zip(runs: Page) -> None:
    for key, row in (("j", 0), ("j", 1), ("j", 2), ("k", 1)):
        runs.keyboard.press(key)
        expect(runs.locator("tbody tr").nth(row)).to_be_focused()
    while not runs.locator("tbody tr:focus [data-label=Archive] a").count():
        runs.keyboard.press("j")  # past the run in progress
    with runs.expect_download() as download:
        runs.keyboard.press("d")
    assert download.value.suggested_filename.endswith(".zip")


@pytest.mark.main_case
def test_a_collection_is_opened_and_left(page: Page) -> None:
    page.goto("/collections/")
    name = page.locator("a.row-title").first.text_content()
    assert name
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text(name)
    page.wait_for_load_state()
    for keys, address in (("gm", "/members/"), ("gp", "/profile/"), ("gc", "/collections/")):
        for key in keys:
            page.keyboard.press(key)
        expect(page).to_have_url(re.compile(f"{address}$"))
        page.wait_for_load_state()


def test_the_search_gets_the_focus(page: Page) -> None:
    page.goto("/collections/")
    page.keyboard.press("/")
    search = page.get_by_role("searchbox")
    expect(search).to_be_focused()
    page.keyboard.type("jk?")
    expect(search).to_have_value("jk?")
    expect(page.get_by_role("dialog")).to_be_hidden()


def test_the_field_that_finds_a_run_gets_the_focus(runs: Page) -> None:
    runs.keyboard.press("/")
    expect(runs.get_by_label("Run number")).to_be_focused()


def test_shortcuts_are_listed_and_can_be_turned_off(runs: Page) -> None:
    dialog = runs.get_by_role("dialog", name="Keyboard shortcuts")
    runs.keyboard.press("?")
    expect(dialog).to_be_visible()
    check(runs, "dialog[open]")
    runs.keyboard.press("j")
    expect(runs.locator("tbody tr").first).not_to_be_focused()
    dialog.get_by_label("Use keyboard shortcuts in this browser").uncheck()
    runs.keyboard.press("Escape")
    runs.reload()
    runs.keyboard.press("?")
    expect(dialog).to_be_hidden()
    runs.get_by_role("button", name="Keyboard shortcuts").click()
    dialog.get_by_label("Use keyboard shortcuts in this browser").check()
    dialog.get_by_role("button", name="Close").click()
    runs.keyboard.press("?")
    expect(dialog).to_be_visible()
