"""The size of the runs table: one line per run on a laptop, small cards on a phone."""

import re
import uuid
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, ViewportSize, expect

from tests.browser.test_every_page import ANONYMOUS, SIGNED_IN, check, check_ids
from tests.support.shell import Shell
from tests.support.tools import all_or_few, is_thorough

LAPTOP = ViewportSize(width=1280, height=900)
PHONE = ViewportSize(width=390, height=844)

# One run of each kind, with the longest possible content.
MAKE = """
from collections_app.models import *
from tests.support.results import make_failed_run, make_many_pages, make_processing_run, records
team = Collection.objects.get(pk=101).team
wide = Collection.objects.create(name={name!r}, team=team)
for pages in (1, 3, 40, 999, 5_000):
    make_many_pages(wide, 1, pages)
    wide.runs.filter(number=1).update(number=10_000 + pages)
wide.runs.update(extracted=1_234_567, total=1_345_678)
for run in wide.runs.all():
    run.files.filter(kind="archive").update(size=1023 * 1024**2)
wide.last_run_number = 20_000
wide.save()
make_failed_run(wide, "The shop answered: " + "x" * 200 + " and " * 50)
make_failed_run(wide)
make_processing_run(wide, records(30), page_size=10)
wide.runs.filter(state="processing").update(extracted=123_456, total=1_345_678)
print(wide.pk)
"""


@pytest.fixture(scope="module")
def widest(shell: Shell) -> Iterator[str]:
    """The address of the runs with the longest content."""
    pk = shell(MAKE.format(name=f"{'Widest' * 20} {uuid.uuid4()}")).strip()
    yield f"/collections/{pk}/download"
    # Other tests count and sort the demo's collections.
    shell(
        "from collections_app.models import Collection, Run\n"
        f"Run.objects.filter(collection={pk}).delete()\nCollection.objects.filter(pk={pk}).delete()"
    )


def heights(page: Page, selector: str) -> dict[str, float]:
    """Return the heights of the visible elements, in pixels, by their text."""
    found: dict[str, float] = page.locator(selector).evaluate_all(
        """all => Object.fromEntries(all.filter((each) => each.checkVisibility()).map((each) => [
            each.ariaLabel ?? each.textContent.trim(), each.getBoundingClientRect().height]))"""
    )
    return found


def open_sized(page: Page, address: str, size: ViewportSize) -> None:
    page.set_viewport_size(size)
    page.goto(address)


@pytest.mark.main_case
def test_fifteen_runs_are_visible_on_a_laptop(page: Page) -> None:
    open_sized(page, "/collections/101/download", LAPTOP)
    rows = page.locator(".runs > tbody > tr")
    assert page.locator(".runs").evaluate("table => table.getBoundingClientRect().top + scrollY") <= 120
    bottom = rows.nth(14).evaluate("row => row.getBoundingClientRect().bottom + scrollY")
    assert bottom <= LAPTOP["height"]
    for address in ("/collections/101/download", "/collections/102/download"):
        open_sized(page, address, LAPTOP)
        tall = {name: height for name, height in heights(page, ".runs > tbody > tr").items() if height > 44}
        assert tall == {}, address


@pytest.mark.main_case
def test_a_run_is_a_small_card_on_a_phone(page: Page, widest: str) -> None:
    for address in ("/collections/101/download", "/collections/102/download", widest):
        open_sized(page, address, PHONE)
        # Numbers in the millions need another line.
        limit = 140 if address == widest else 120
        tall = {name: high for name, high in heights(page, ".runs > tbody > tr").items() if high > limit}
        assert tall == {}, address
        targets = "main :is(.find-runs, .page-header, tbody) :is(a, summary, button, label, input[type=text])"
        low = {name: height for name, height in heights(page, targets).items() if height < 44}
        assert low == {}, address
    page.get_by_role("button", name="Menu").click()
    expect(page.get_by_role("link", name="Profile & API keys")).to_be_visible()
    expect(page.get_by_role("button", name="Keyboard shortcuts")).to_be_hidden()


def test_the_first_run_is_a_few_tab_stops_away(page: Page) -> None:
    page.goto("/collections/101/download")
    for _ in range(2):
        page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to runs")
    expect(skip).to_be_focused()
    expect(skip).to_be_in_viewport()
    page.keyboard.press("Enter")
    stops = 2
    while not page.locator("tbody tr :focus").count():
        page.keyboard.press("Tab")
        stops += 1
        assert stops <= 12


@pytest.mark.parametrize("javascript", [True, False])
def test_a_reason_is_cut_until_it_is_opened(page: Page, widest: str) -> None:
    page.goto(widest)
    reason = page.get_by_text("The shop answered:")
    before = reason.bounding_box()
    reason.click()
    after = reason.bounding_box()
    assert before
    assert after
    assert before["height"] < 25
    assert after["height"] > 2 * before["height"]
    expect(page.get_by_text("Failed:").last).to_be_visible()


@pytest.mark.parametrize("width", [390, 1024, 1280, 1920])
def test_every_row_with_open_menus_is_accessible(page: Page, widest: str, width: int) -> None:
    open_sized(page, widest, ViewportSize(width=width, height=900))
    page.get_by_label("Download run 10001", exact=True).click()
    check_ids(page)
    check(page)


@pytest.mark.main_case
def test_no_page_scrolls_sideways_at_any_width(page: Page, widest: str) -> None:
    step = 20 if is_thorough() else 80
    runs = widest.removesuffix("/download")
    of_the_widest = [
        address.replace("/collections/101", runs)
        for address in SIGNED_IN
        if re.fullmatch(r"/collections/101/[\w-]+", address)
    ]
    of_its_run = [
        f"{runs}/runs/10040/{name}" for name in ("", "pages", "facts", "export", "commands", "delete")
    ]
    wide: list[tuple[str, int, int]] = []
    pages = [address for address in SIGNED_IN if "{" not in address]
    others = [*(address for address in pages if "?" in address), *ANONYMOUS, f"{runs}/download?state=failed"]
    pages = [address for address in pages if "?" not in address]
    for address in [*of_the_widest, *of_its_run, *pages, *all_or_few(others, others[-1])]:
        page.set_viewport_size(ViewportSize(width=1400, height=900))
        page.goto(address)
        for width in range(320, 1401, step):
            page.set_viewport_size(ViewportSize(width=width, height=900))
            needed = page.evaluate("document.documentElement.scrollWidth")
            if needed > width:
                wide.append((address, width, needed))
    assert wide == []
