"""The page of a run."""

import json
import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import NewPage
from tests.browser.test_every_page import check
from tests.support.shell import Shell

RUN = "/collections/101/runs/88/"


def rows(page: Page) -> int:
    return page.locator("#results tbody tr").count()


def column(page: Page, name: str) -> list[str]:
    heads = [text.strip() for text in page.locator("#results thead th").all_text_contents()]
    cells = page.locator(f"#results tbody tr > :nth-child({heads.index(name) + 1})")
    return cells.all_text_contents()


def test_from_the_list_of_runs_to_the_records(page: Page) -> None:
    page.goto("/collections/101/download")
    page.get_by_role("link", name="Run 88", exact=True).click()
    expect(page.get_by_role("heading", name="Run 88")).to_be_visible()
    expect(page.get_by_text("The first 100 of 250 records")).to_be_visible()
    assert rows(page) == 100


@pytest.mark.main_case
def test_more_records_load_on_scroll(page: Page) -> None:
    page.goto(RUN)
    sheet = page.get_by_role("region", name="Records (scrollable table)")
    for count in (200, 250):
        sheet.evaluate("sheet => sheet.scrollTo(0, sheet.scrollHeight)")
        expect(page.locator("#results tbody tr")).to_have_count(count)
    expect(page.locator("#load-more")).to_have_count(0)
    assert column(page, "#") == [str(number) for number in range(1, 251)]


def test_the_keyboard_scrolls_and_loads_more(page: Page) -> None:
    page.goto(RUN)
    page.get_by_role("region", name="Records (scrollable table)").focus()
    page.keyboard.press("End")
    expect(page.locator("#results tbody tr")).to_have_count(200)


@pytest.mark.parametrize("width", [1280, 1920])
def test_the_price_is_visible_and_sorting_keeps_the_scroll_position(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(RUN)
    expect(page.locator("td", has_text="AUD").first).to_be_in_viewport(ratio=1)
    sheet = page.locator("#records-table")
    sheet.evaluate("sheet => sheet.scrollTo(140, 300)")
    before = sheet.evaluate("sheet => [sheet.scrollLeft, sheet.scrollTop]")
    head = page.get_by_role("columnheader", name="rating", exact=True)
    head.get_by_role("link").click()
    expect(head).to_have_attribute("aria-sort", "ascending")
    assert sheet.evaluate("sheet => [sheet.scrollLeft, sheet.scrollTop]") == before
    first = page.locator(".records tbody tr").nth(20)
    number, title = first.locator("th").bounding_box(), first.locator("td").first.bounding_box()
    left = sheet.bounding_box()
    assert number
    assert title
    assert left
    assert 0 <= number["x"] - left["x"] <= 1  # its border
    assert abs(title["x"] - number["x"] - number["width"]) <= 1


def test_search_while_typing(page: Page) -> None:
    page.goto(RUN)
    search = page.get_by_role("searchbox", name="Search all records of this run")
    search.press_sequentially("lenovo")
    expect(page.get_by_text(re.compile(r"\d+ records match “lenovo”"))).to_be_visible()
    assert all("Lenovo" in text for text in column(page, "title"))
    expect(page).to_have_url(re.compile(r"\?q=lenovo$"))
    expect(search).to_be_focused()
    check(page, "#results")
    page.reload()
    expect(page.get_by_text(re.compile(r"\d+ records match “lenovo”"))).to_be_visible()
    search.fill("nothing has this")
    expect(page.get_by_role("heading", name="No records match “nothing has this”")).to_be_visible()
    expect(page.locator("#announcements")).to_have_text("No records found")


def test_a_column_header_sorts_and_keeps_the_focus(page: Page) -> None:
    page.goto(f"{RUN}?column=title&column=price_cents")
    head = page.get_by_role("columnheader", name="price_cents")
    for order, press in (("ascending", "Enter"), ("descending", "Enter")):
        head.get_by_role("link").press(press)
        expect(head).to_have_attribute("aria-sort", order)
        expect(head.get_by_role("link")).to_be_focused()
        prices = [float(text[4:].replace(",", "")) for text in column(page, "price_cents")]
        assert prices == sorted(prices, reverse=order == "descending")
    page.get_by_role("searchbox").fill("asus")  # in the same order and columns
    expect(page.get_by_text("records match “asus”")).to_be_visible()
    expect(head).to_have_attribute("aria-sort", "descending")
    expect(page).to_have_url(re.compile("sort=price_cents&dir=desc"))
    page.go_back()
    expect(page.get_by_role("searchbox")).to_have_value("")


def test_chosen_columns_are_saved(page: Page) -> None:
    page.goto(f"{RUN}?sort=title")
    menu = page.locator("#results summary", has_text="Columns")
    menu.click()
    page.get_by_role("button", name="None").click()
    for name in ("title", "price_cents", "categories"):
        page.get_by_label(name, exact=True).check()
    check(page, ".columns")
    page.get_by_role("button", name="Apply").click()
    expect(page.locator("#results thead th")).to_have_text(["#", "title", "price_cents", "categories"])
    expect(page).to_have_url(re.compile(r"/88/\?sort=title#records$"))
    page.goto("/collections/101/runs/87/")
    expect(page.locator("#results thead th")).to_have_text(["#", "title", "price_cents", "categories"])
    menu.click()
    page.get_by_role("button", name="Use default columns").click()
    expect(page.get_by_role("columnheader", name="seller_name")).to_be_visible()


def test_a_record_opens_in_a_dialog(page: Page) -> None:
    page.goto(RUN)
    link = page.get_by_role("link", name="Record 3", exact=True)
    link.press("Enter")
    dialog = page.get_by_role("dialog", name="Record 3")
    expect(dialog).to_be_visible()
    shown = json.loads(dialog.locator("code").text_content() or "")
    assert [shown["asin"], shown["position"]] == [column(page, "asin")[2], 3]
    check(page, "dialog[open]")
    dialog.get_by_role("link", name="Next").press("Enter")
    following = page.get_by_role("dialog", name="Record 4")
    expect(following).to_be_visible()
    expect(following.get_by_role("link", name="Next")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator("#record-dialog")).to_be_hidden()
    expect(link).to_be_focused()


def test_next_follows_the_sorted_rows(page: Page) -> None:
    page.goto(f"{RUN}?sort=price_cents")
    numbers = column(page, "#")
    page.get_by_role("link", name=f"Record {numbers[1]}", exact=True).click()
    for number, name in ((numbers[1], "Next"), (numbers[2], "Previous"), (numbers[1], "Previous")):
        dialog = page.get_by_role("dialog", name=f"Record {number}", exact=True)
        dialog.get_by_role("link", name=name).click()
    expect(page.get_by_role("dialog", name=f"Record {numbers[0]}", exact=True)).to_be_visible()


def test_facts_load_after_the_page(page: Page) -> None:
    page.goto(RUN)
    expect(page.get_by_role("img", name="Records by price")).to_be_visible()
    expect(page.get_by_role("heading", name="In stock")).to_be_visible()
    page.get_by_text("Show as table").click()
    check(page, "#facts")


def test_without_javascript(page_without_javascript: Page) -> None:
    page = page_without_javascript
    page.goto(RUN)
    assert rows(page) == 100
    page.get_by_role("link", name="Load more").click()
    assert column(page, "#")[0] == "101"
    page.get_by_role("searchbox").fill("lenovo")
    page.get_by_role("button", name="Search").click()
    expect(page.get_by_text("records match “lenovo”")).to_be_visible()
    page.get_by_role("link", name="price_cents", exact=True).click()
    expect(page.get_by_role("columnheader", name="price_cents", exact=True)).to_have_attribute(
        "aria-sort", "ascending"
    )
    expect(page.get_by_text("records match “lenovo”")).to_be_visible()
    page.locator("#results tbody a").first.click()
    expect(page.get_by_role("heading", name=re.compile("Record "))).to_be_visible()
    page.goto(RUN)
    page.get_by_role("link", name="Show missing values and prices").click()
    expect(page.get_by_role("heading", name="Price")).to_be_visible()


MAKE = """
from collections_app.models import Collection
from collections_app.runs.writer import ResultSetWriter
with ResultSetWriter.start(Collection.objects.get(pk=101)) as writer:
    writer.add_record({"<script>alert(1)</script>": "<img src=x onerror=alert(1)>", "long": "e" * 5000})
    writer.add_record({"url": "https://example.com/", "deep": {"a": [{"b": "c"}] * 50}, "e": "\\U0001f600"})
    writer.finish()
print(writer.run.number)
"""


def test_hostile_records(open_page: NewPage, shell: Shell) -> None:
    number = shell(MAKE).strip()
    page = open_page()
    page.on("dialog", lambda dialog: pytest.fail(dialog.message))
    page.goto(f"/collections/101/runs/{number}/")
    expect(page.get_by_text("<img src=x onerror=alert(1)>")).to_be_visible()
    check(page, "#results")
    page.get_by_role("link", name="Record 1", exact=True).click()
    expect(page.get_by_role("dialog")).to_be_visible()
    check(page, "dialog[open]")
