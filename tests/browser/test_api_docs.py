"""The page with the API documentation."""

import json

from playwright.sync_api import Page, Route, ViewportSize, expect

from tests.browser.conftest import NARROW, WIDE
from tests.support.accessibility import check_accessibility
from tests.support.server import DemoServer
from tests.support.tools import is_thorough

LIST, FILE = "#operations-Results-list_run_results", "#operations-Results-download_result_file"


def open_docs(page: Page) -> None:
    """Open the page with only two operations, because drawing each one takes a quarter of a second."""

    def keep_two_operations(route: Route) -> None:
        document = route.fetch().json()
        paths = document["paths"].items()
        document["paths"] = {path: calls for path, calls in paths if "/results/" in path}
        route.fulfill(json=document)

    page.route("**/openapi.json", keep_two_operations)
    page.goto("/api/v1/docs")
    expect(page.locator(".opblock")).to_have_count(2)


def check(page: Page, within: str | None = None) -> None:
    """Check the page wide and light, then narrow and dark.

    The page is long, so tests that change a part of it check only `within` that part. Outside CI, axe
    checks only the narrow and dark page.
    """
    page.set_viewport_size(WIDE)
    page.emulate_media(color_scheme="light")
    expect(page.locator("html")).not_to_contain_class("dark-mode")
    if is_thorough():
        check_accessibility(page, within)
    _check_width(page, WIDE)
    page.set_viewport_size(NARROW)
    page.emulate_media(color_scheme="dark")
    expect(page.locator("html")).to_contain_class("dark-mode")
    check_accessibility(page, within)
    _check_width(page, NARROW)


def _check_width(page: Page, size: ViewportSize) -> None:
    wide = page.evaluate("document.documentElement.scrollWidth")
    assert wide <= size["width"], f"The page is {wide} px wide."


def test_it_lists_all_operations(page: Page) -> None:
    page.goto("/api/v1/docs")
    expect(page.locator(".opblock-summary-description")).to_have_text(
        [
            "List run results",
            "Download result file",
            "List collections",
            "List runs",
            "Manifest",
            "Manifest of the latest run",
            "All files as a ZIP",
            "All files as a ZIP of the latest run",
            "Records in any format",
            "Records in any format of the latest run",
            "Several runs and pages as one ZIP",
            "Several runs and pages as one JSON list",
        ]
    )
    expect(page.get_by_role("heading", level=1)).to_contain_text("Results API")
    check(page)


def test_it_links_to_the_dashboard(page: Page) -> None:
    open_docs(page)
    page.get_by_role("link", name="Back to the dashboard").click()
    expect(page).to_have_url("/")


def test_an_operation_can_be_tried_out(page: Page, demo_server: DemoServer) -> None:
    open_docs(page)
    page.get_by_role("button", name="Authorize").click()
    check(page, ".dialog-ux")
    scheme = page.locator(".auth-container form").filter(has_text="x-api-key")
    scheme.get_by_role("textbox", name="Value:").fill(demo_server.api_key)
    scheme.get_by_role("button", name="Apply credentials").click()
    page.get_by_role("dialog").get_by_role("button", name="Close").last.click()

    call = page.locator(LIST)
    call.get_by_role("button", name="Try it out").click()
    with page.expect_response("**/results/download/") as response_info:
        call.get_by_role("button", name="Execute").click()
    assert len(response_info.value.json()["data"]) == 5
    expect(call.locator(".live-responses-table").first).to_contain_text('"is_download_generated"')
    check(page, LIST)
    assert json.loads(call.get_by_label("Request body").input_value())["collection_id"] == 101


def test_missing_values_are_marked(page: Page) -> None:
    open_docs(page)
    call = page.locator(FILE)
    call.get_by_role("button", name="Try it out").click()
    name = call.get_by_role("textbox", name="file_name")
    name.fill("")
    call.get_by_role("button", name="Execute").click()
    expect(name).to_contain_class("invalid")
    check(page, FILE)


def test_a_schema_can_be_expanded(page: Page) -> None:
    open_docs(page)
    call = page.locator(LIST)
    call.get_by_role("tab", name="Schema").first.click()
    call.get_by_role("button", name="Expand all").first.click()
    expect(call.get_by_text("The collection whose runs to list.")).to_be_visible()
    check(page, LIST)


def test_it_follows_the_color_scheme(page: Page) -> None:
    page.emulate_media(color_scheme="dark")
    open_docs(page)
    html = page.locator("html")
    expect(html).to_have_css("color-scheme", "dark")
    page.emulate_media(media="print")
    expect(html).to_have_css("color-scheme", "light")
    page.emulate_media(media="screen")
    expect(html).to_have_css("color-scheme", "dark")
    page.emulate_media(color_scheme="light")
    expect(html).to_have_css("color-scheme", "light")


def test_it_works_with_the_keyboard(page: Page) -> None:
    open_docs(page)
    operation = page.locator(".opblock-summary-control").first
    expect(operation).to_have_attribute("aria-expanded", "true")
    operation.focus()
    page.keyboard.press("Enter")
    expect(operation).to_have_attribute("aria-expanded", "false")


def test_without_javascript_it_links_to_the_document(page_without_javascript: Page) -> None:
    page_without_javascript.goto("/api/v1/docs")
    link = page_without_javascript.get_by_role("link", name="the OpenAPI document")
    assert link.get_attribute("href") == "/api/v1/openapi.json"
