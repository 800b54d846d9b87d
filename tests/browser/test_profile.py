import json
import urllib.error
import urllib.request

from playwright.sync_api import Page, expect

from tests.support.server import DemoServer


def status_of_list_call(server: DemoServer, key: str) -> int:
    """Return the `code` with which the API responds to a key."""
    request = urllib.request.Request(
        f"{server.url}/api/v1/schedules/collections/results/download/",
        data=json.dumps({"collection_id": 101}).encode(),
        headers={"x-api-key": key, "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request) as response:
        return int(json.load(response)["code"])


def test_a_key_is_created_copied_used_and_revoked(page: Page, demo_server: DemoServer) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto("/profile/")
    page.get_by_label("Key name").fill("browser test")
    page.get_by_role("button", name="Create key").click()
    page.get_by_role("button", name="Copy: API key").click()
    expect(page.get_by_role("status").last).to_have_text("Copied")
    key = page.evaluate("navigator.clipboard.readText()")
    assert key == page.get_by_role("textbox", name="API key").input_value()
    assert status_of_list_call(demo_server, key) == 200

    page.goto("/profile/")
    assert key not in page.content()
    page.get_by_role("link", name="Revoke… (browser test)").click()
    page.get_by_role("button", name="Revoke key").click()
    expect(page.get_by_text("Revoked the key “browser test”.")).to_be_visible()
    assert status_of_list_call(demo_server, key) == 401


def test_an_example_call_is_copied_completely(page: Page, demo_server: DemoServer) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto("/profile/")
    page.get_by_role("button", name="Copy: Download a result file").click()
    expect(page.get_by_role("status").last).to_have_text("Copied")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith(f'curl "{demo_server.url}/api/v1/results/101/')
    assert copied.endswith('-o "page_1.json"')


def test_without_javascript_there_is_no_copy_button(page_without_javascript: Page) -> None:
    page_without_javascript.goto("/profile/")
    expect(page_without_javascript.get_by_text("Download results with a script")).to_be_visible()
    expect(page_without_javascript.get_by_role("button", name="Copy")).to_have_count(0)


def test_a_second_click_does_not_send_a_form_again(page: Page) -> None:
    page.goto("/profile/")
    is_sent = page.get_by_role("button", name="Create key").evaluate(
        """button => [1, 2].map(() =>
            button.form.dispatchEvent(new SubmitEvent("submit", { bubbles: true, cancelable: true })))"""
    )
    assert is_sent == [True, False]
