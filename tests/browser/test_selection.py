"""Several runs at once: selected by mouse and keyboard, and downloaded as one ZIP."""

import json
import zipfile

import pytest
from playwright.sync_api import Download, Page, ViewportSize, expect

from tests.browser.conftest import NARROW, WIDE
from tests.browser.test_every_page import check
from tests.support.tools import all_or_few

RUNS = "/collections/101/download"  # 91 and 89 failed


def members(download: Download) -> list[str]:
    with zipfile.ZipFile(download.path()) as archive:
        assert archive.testzip() is None
        return archive.namelist()


@pytest.mark.main_case
def test_selected_runs_download_as_one_zip(page: Page) -> None:
    page.goto(RUNS)
    bar = page.get_by_role("form", name="Selection")
    expect(bar).to_be_hidden()
    page.get_by_label("Select run 90").click()
    page.get_by_label("Select run 86").click(modifiers=["Shift"])
    page.get_by_label("Select run 87").click()
    expect(bar).to_contain_text("3 runs, 3 files,")
    expect(page.locator("#announcements")).to_contain_text("3 runs, 3 files,")
    link = bar.get_by_role("link", name="Download ZIP")
    expect(link).to_have_attribute("href", "/collections/101/selection.zip?runs=86,88,90")
    with page.expect_download() as started:
        link.click()
    assert started.value.suggested_filename == "AU Laptops_3_Runs_86_to_90_Selection.zip"
    assert [name.partition("/")[0] for name in members(started.value)] == ["Run 90", "Run 88", "Run 86"]


def test_the_keyboard_selects_a_range_and_clears_it(page: Page) -> None:
    page.goto(RUNS)
    page.get_by_label("Select run 88").press("Space")
    page.get_by_label("Select run 85").press("Shift+Space")
    bar = page.get_by_role("form", name="Selection")
    expect(bar).to_contain_text("4 runs, 4 files,")
    link = bar.get_by_role("link", name="Download ZIP")
    expect(link).to_have_attribute("href", "/collections/101/selection.zip?runs=85-88")
    bar.get_by_role("button", name="Clear").press("Enter")
    expect(bar).to_be_hidden()
    expect(page.get_by_label("Select run 88")).to_be_focused()
    expect(page.locator(".select-box:checked")).to_have_count(0)


@pytest.mark.parametrize("size", all_or_few([WIDE, NARROW], NARROW))
def test_select_all_selects_the_shown_runs(page: Page, size: ViewportSize) -> None:
    page.set_viewport_size(size)
    page.goto(RUNS)
    every, bar = page.get_by_label("Select all runs shown"), page.get_by_role("form", name="Selection")
    count = page.locator(".select-box").count()
    every.press("Space")
    expect(bar).to_contain_text(f"{count} runs,")
    expect(page.locator("#announcements")).to_contain_text(f"{count} runs,")
    expect(page.locator(".select-box:checked")).to_have_count(count)
    page.get_by_label("Select run 88").click()
    expect(every).to_be_checked(indeterminate=True)
    expect(bar).to_contain_text(f"{count - 1} runs,")
    every.click()
    expect(every).to_be_checked()
    expect(page.get_by_label("Select run 88")).to_be_checked()
    every.click()
    expect(every).not_to_be_checked()
    expect(bar).to_be_hidden()
    expect(page.locator("#announcements")).to_have_text("Nothing is selected.")


def test_runs_loaded_later_are_not_selected(page: Page) -> None:
    page.goto(RUNS)
    every = page.get_by_label("Select all runs shown")
    every.check()
    before = page.locator(".select-box").count()
    page.get_by_role("link", name="Load more").click()
    expect(every).to_be_checked(indeterminate=True)
    expect(page.locator(".select-box:checked")).to_have_count(before)
    every.click()
    expect(page.locator(".select-box:not(:checked)")).to_have_count(0)
    page.get_by_role("button", name="Clear").click()
    expect(every).not_to_be_checked()


def test_without_selectable_runs_there_is_no_select_all(page: Page, page_without_javascript: Page) -> None:
    for each, path in ((page, f"{RUNS}?state=failed"), (page_without_javascript, RUNS)):
        each.goto(path)
        expect(each.get_by_role("row").nth(1)).to_be_visible()
        expect(each.get_by_label("Select all runs shown")).to_be_hidden()


def test_runs_without_files_cannot_be_selected(page: Page) -> None:
    page.goto(RUNS)
    for run in (91, 89):
        expect(page.get_by_label(f"Select run {run}")).to_have_count(0)


def test_select_all_includes_runs_loaded_before_it(page: Page) -> None:
    page.goto(RUNS)
    page.get_by_label("Select run 88").click()
    page.get_by_role("link", name="Load more").click()
    expect(page.locator("tbody")).to_have_count(2)
    expect(page.get_by_label("Select run 88")).to_be_checked()
    page.locator(".select-box").last.click()
    expect(page.get_by_role("form", name="Selection")).to_contain_text("2 runs")


def test_an_outdated_page_shows_the_problem(page: Page) -> None:
    page.goto(RUNS)
    page.get_by_label("Select run 88").evaluate("box => box.value = 89")
    page.get_by_label("Select run 88").click()
    bar = page.get_by_role("form", name="Selection")
    expect(bar).to_contain_text("Run 89 failed, so it has no files.")
    expect(bar.get_by_role("link")).to_have_count(0)


def test_pages_of_a_run_are_selected_on_its_page(page: Page) -> None:
    page.goto("/collections/101/runs/88/")
    page.get_by_label("Select page 1").click()
    expect(page.get_by_label("Select all pages shown")).to_be_checked()
    bar = page.get_by_role("form", name="Selection")
    with page.expect_download() as started:
        bar.get_by_role("link", name="Download ZIP").click()
    assert members(started.value) == ["AU Laptops_88_Results_Page_1.json"]


def test_without_javascript_a_button_sends_the_checkboxes(page_without_javascript: Page) -> None:
    page = page_without_javascript
    page.goto(RUNS)
    page.get_by_label("Select run 88").check()
    page.get_by_label("Select run 90").check()
    with page.expect_download() as started:
        page.get_by_role("button", name="Download ZIP").click()
    assert len(members(started.value)) == 2


def test_records_are_merged_into_one_file(page: Page) -> None:
    page.goto(RUNS)
    page.get_by_label("Select run 88").click()
    page.get_by_label("Select run 87").click()
    bar = page.get_by_role("form", name="Selection")
    expect(bar).to_contain_text("2 runs")  # the menu has been replaced
    with page.expect_download() as started:
        bar.locator("summary").click()
        bar.get_by_role("link", name="JSON of the selected runs", exact=True).click()
    assert started.value.suggested_filename == "AU Laptops_2_Runs_87_to_88_Selection.json"
    assert len(json.loads(started.value.path().read_bytes())) == 500


def test_the_bar_is_accessible_and_fits(page: Page) -> None:
    page.goto(RUNS)
    page.get_by_label("Select run 88").click()
    expect(page.get_by_role("link", name="Download ZIP")).to_be_visible()
    check(page)


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
def test_copy_as_curl_leaves_the_selection(page: Page, size: ViewportSize) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.set_viewport_size(size)
    page.goto(RUNS)
    page.get_by_label("Select run 90").click()
    page.get_by_label("Select run 88").click(modifiers=["Shift"])
    page.get_by_label("Actions for run 88").click()
    page.get_by_role("link", name="Copy as curl (run 88)").click()
    expect(page.get_by_role("dialog", name="Commands for run 88")).to_be_visible()
    page.keyboard.press("Escape")
    zipped = page.get_by_role("link", name="Download ZIP")
    expect(zipped).to_have_attribute("href", "/collections/101/selection.zip?runs=88,90")
