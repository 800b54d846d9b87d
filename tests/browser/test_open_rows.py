"""A click on a row of the list of collections opens it."""

import pytest
from playwright.sync_api import Page, expect


@pytest.mark.main_case
def test_a_click_on_a_row_opens_it_unless_it_is_for_a_menu_or_a_selection(page: Page) -> None:
    page.goto("/collections/")
    row = page.locator("tbody tr", has_text="AU Laptops")
    row.get_by_label("Actions for AU Laptops").click()
    expect(page.locator("details[open]")).to_have_count(1)
    row.locator(".id").click()  # closes the menu
    expect(page.locator("details[open]")).to_have_count(0)
    expect(page).to_have_url("/collections/")
    row.locator(".id").click()
    expect(page).to_have_url("/collections/101/download")


def test_selected_text_does_not_open_the_row(page: Page) -> None:
    page.goto("/collections/")
    cell = page.locator("tbody tr", has_text="AU Laptops").locator(".id")
    box = cell.bounding_box()
    assert box
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + 9, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] - 4, middle, steps=5)
    page.mouse.up()
    assert page.evaluate("getSelection().toString()").strip()
    expect(page).to_have_url("/collections/")


def test_a_row_opens_in_a_new_tab_with_control(page: Page) -> None:
    page.goto("/collections/")
    with page.context.expect_page() as opened:
        page.locator("tbody tr", has_text="AU Laptops").locator(".id").click(modifiers=["Control"])
    expect(opened.value).to_have_url("/collections/101/download")
    opened.value.close()
    expect(page).to_have_url("/collections/")
