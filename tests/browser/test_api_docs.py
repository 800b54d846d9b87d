"""The API's documentation, from which a call can be tried out."""

import json

from playwright.sync_api import Page, expect

from tests.browser.test_every_page import check
from tests.server import DemoServer


def test_it_describes_both_calls(page: Page) -> None:
    page.goto("/api/v1/docs")
    expect(page.locator(".opblock-summary-description")).to_have_text(
        ["List run results", "Download result file"]
    )
    expect(page.get_by_role("heading", level=1)).to_contain_text("Results API")
    check(page)


def test_it_leads_back_to_the_dashboard(page: Page) -> None:
    page.goto("/api/v1/docs")
    page.get_by_role("link", name="Back to the dashboard").click()
    page.wait_for_url("**/collections/")


def test_a_call_can_be_tried_out_with_a_key(page: Page, demo_server: DemoServer) -> None:
    page.goto("/api/v1/docs")
    page.get_by_role("button", name="Authorize").click()
    check(page)
    page.get_by_role("textbox", name="Value:").fill(demo_server.api_key)
    page.get_by_role("button", name="Apply credentials").click()
    page.get_by_role("dialog").get_by_role("button", name="Close").last.click()

    call = page.locator("#operations-Results-list_run_results")
    call.get_by_role("button", name="Try it out").click()
    with page.expect_response("**/results/download/") as answered:
        call.get_by_role("button", name="Execute").click()
    assert len(answered.value.json()["data"]) == 5
    expect(call.locator(".live-responses-table").first).to_contain_text('"is_download_generated"')
    check(page)
    assert json.loads(call.get_by_label("Request body").input_value())["collection_id"] == 101


def test_it_can_be_used_by_keyboard(page: Page) -> None:
    page.goto("/api/v1/docs")
    operation = page.locator(".opblock-summary-control").first
    expect(operation).to_have_attribute("aria-expanded", "true")
    operation.focus()
    page.keyboard.press("Enter")
    expect(operation).to_have_attribute("aria-expanded", "false")


def test_it_says_where_the_document_is_without_javascript(page_without_javascript: Page) -> None:
    page_without_javascript.goto("/api/v1/docs")
    link = page_without_javascript.get_by_role("link", name="the OpenAPI document")
    assert link.get_attribute("href") == "/api/v1/openapi.json"
