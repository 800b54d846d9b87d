"""Exports, in the browser."""

import csv
import io
import json
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import NewPage, hide
from tests.browser.test_every_page import check, check_ids
from tests.support.shell import Shell
from tests.support.tools import all_or_few

ADDRESS = "/collections/101/runs/88/export"

# As if another machine were building it, so that the site doesn't.
QUEUE = """
from collections_app.records.exports import create
from collections_app.records.formats.export_formats import Format, ExportSpec
from collections_app.models import Export, Run
from collections_app.runs.lease import new_expiry
create._QUICK = dict.fromkeys(Format, -1)
export = create.create_export(Run.objects.get(collection=101, number=87), ExportSpec(Format.{format}))
mine = Export.objects.filter(pk=export.pk)
mine.update(state="running", attempt="another's", lease_expires_at=new_expiry())
"""
MAKE = """
from collections_app.records.exports.build import build_next
from collections_app.models import Export
Export.objects.filter(state="running").update(state="queued", lease_expires_at=None)
build_next()
"""


@pytest.mark.parametrize("javascript", all_or_few([True, False], True))
def test_a_csv_of_chosen_columns(page: Page) -> None:
    page.goto("/collections/101/download")
    page.get_by_label("Download run 88", exact=True).click()
    page.get_by_role("link", name="Choose columns… of run 88").click()
    page.get_by_label("CSV A table").check()
    page.get_by_label("CSV for spreadsheets").check()
    page.get_by_text("Choose columns").click()
    page.get_by_label("asin", exact=True).check()
    page.get_by_label("title", exact=True).check()
    page.get_by_role("button", name="Create export").click()
    with page.expect_download() as started:
        page.get_by_role("link", name="Download CSV for spreadsheets, asin, title").first.click()
    assert started.value.suggested_filename == "AU Laptops_88_Records_chosen_columns.csv"
    content = Path(started.value.path()).read_text("utf-8-sig")
    header, *rows = csv.reader(io.StringIO(content))
    assert (header, len(rows)) == (["asin", "title"], 250)


@pytest.mark.main_case
@pytest.mark.parametrize("javascript", all_or_few([True, False], True))
def test_two_clicks_from_the_overview_put_an_excel_file_on_disk(page: Page) -> None:
    page.goto("/")
    page.locator("summary[aria-label='Download the newest completed run of US Monitors']").click()
    with page.expect_download() as started:
        page.get_by_role("link", name="Excel of the newest completed run of US Monitors").click()
    assert started.value.suggested_filename.startswith("US Monitors_")
    assert Path(started.value.path()).read_bytes().startswith(b"PK")


def test_the_menu_of_a_run_by_keyboard(page: Page) -> None:
    page.goto("/collections/101/download")
    page.get_by_label("Download run 88", exact=True).focus()
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("link", name="Excel of run 88")).to_be_focused()
    page.keyboard.press("End")
    with page.expect_navigation():
        page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Export run 88")).to_be_visible()


def test_with_columns_to_choose_and_with_exports(page: Page) -> None:
    page.goto(ADDRESS)
    page.get_by_text("Choose columns").click()
    page.get_by_role("button", name="Create export").click()
    page.get_by_role("link", name="Download Excel, All columns").wait_for()
    page.get_by_text("Choose columns").click()
    check(page)
    check_ids(page)


def test_by_keyboard_only(page: Page) -> None:
    page.goto(ADDRESS)
    page.get_by_label("Excel A workbook").focus()
    for _ in range(3):
        page.keyboard.press("ArrowDown")
    expect(page.get_by_label("JSON Lines")).to_be_checked()
    page.keyboard.press("Enter")
    with page.expect_download() as started:
        page.get_by_role("link", name="Download JSON Lines, All columns").press("Enter")
    lines = Path(started.value.path()).read_text().splitlines()
    assert len([json.loads(line) for line in lines]) == 250


class TestALargeExport:
    """An export that is not built at once. Only the test builds it."""

    @pytest.fixture
    def waiting(self, page: Page, shell: Shell) -> Page:
        shell(QUEUE.format(format="PARQUET"))
        page.goto("/collections/101/runs/87/export")
        return page

    @pytest.mark.main_case
    def test_it_appears_and_is_announced(self, waiting: Page, shell: Shell) -> None:
        download = waiting.get_by_role("link", name="Download Parquet, All columns")
        expect(waiting.get_by_role("progressbar", name="Records exported to Parquet")).to_be_visible()
        waiting.get_by_text("Choose columns").click()
        shell(MAKE)
        expect(download).to_be_visible()
        # The form is unchanged.
        expect(waiting.get_by_label("asin", exact=True)).to_be_visible()
        check(waiting)

    def test_its_download_starts_once_when_it_is_ready(self, page: Page, shell: Shell) -> None:
        shell(QUEUE.format(format="JSONL"))
        page.goto("/collections/101/runs/87/records.jsonl")
        expect(page.get_by_text("The download starts automatically.")).to_be_visible()
        with page.expect_download() as started:
            shell(MAKE)
        assert started.value.suggested_filename == "AU Laptops_87_Records.jsonl"
        expect(page).to_have_url("/collections/101/runs/87/export#exports")

    def test_a_hidden_tab_does_not_poll_and_catches_up(self, open_page: NewPage, shell: Shell) -> None:
        shell(QUEUE.format(format="XLSX"))
        page = open_page()
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url) if "?before=" in request.url else None)
        page.clock.install()
        page.goto("/collections/101/runs/87/export")
        hide(page)
        page.clock.run_for(60_000)
        shell(MAKE)
        assert asked == []
        hide(page, hidden=False)
        expect(page.get_by_role("link", name="Download Excel, All columns")).to_be_visible()
        assert asked
