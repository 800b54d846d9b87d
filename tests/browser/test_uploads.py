"""Upload files in the browser: by drag and by button, with progress, an error and Cancel."""

import json

import pytest
from playwright.sync_api import FilePayload, Page, expect

from tests.support.shell import Shell

DROP = """files => {
    const data = new DataTransfer();
    for (const [name, text] of Object.entries(files)) data.items.add(new File([text], name));
    const drop = new DragEvent("drop", {dataTransfer: data, bubbles: true, cancelable: true});
    document.querySelector(".drop-area").dispatchEvent(drop);
}"""


@pytest.fixture
def upload_page(shell: Shell) -> str:
    """The address of the form of a new collection."""
    return shell(
        "from collections_app.models import *\n"
        "team = Collection.objects.get(pk=101).team\n"
        "number = Collection.objects.count()\n"
        "print(f'/collections/{Collection.objects.create(team=team, name=f\"Uploads {number}\").pk}/upload')"
    ).strip()


def test_dropped_files_can_be_corrected_and_become_a_run(page: Page, upload_page: str) -> None:
    page.goto(upload_page)
    page.evaluate(DROP, {"page_1.json": "[{}]", "page_2.json": "[{"})
    expect(page.locator("#files-chosen")).to_have_text("page_1.json, page_2.json (6 bytes)")
    page.get_by_role("button", name="Upload").click()
    expect(page.get_by_role("alert")).to_contain_text("page_2.json, line 1")
    expect(page.locator("#files-chosen")).to_be_visible()  # the files are still chosen
    page.evaluate(DROP, {"page_1.json": "[{}]", "page_2.json": "[{}, {}]"})
    page.get_by_role("button", name="Upload").click()
    expect(page.locator(".message.success")).to_contain_text("3 records in 3 files.")
    expect(page.locator("[id^=run-]")).to_be_visible()


@pytest.mark.thorough
def test_an_upload_shows_its_progress_and_can_be_canceled(
    page: Page, upload_page: str, shell: Shell, expected_in_console: list[str]
) -> None:
    expected_in_console.append("htmx:(afterRequest|sendAbort)")
    page.goto(upload_page)
    slow = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 200_000}
    network = page.context.new_cdp_session(page)
    network.send("Network.emulateNetworkConditions", slow)
    records = json.dumps([{"title": "a" * 1000}] * 4000).encode()
    file = FilePayload(name="page_1.json", mimeType="application/json", buffer=records)
    page.get_by_label("Files").set_input_files(file)
    page.get_by_role("button", name="Upload").click()
    expect(page.locator("#upload-status")).to_contain_text("of 3.9 MB")
    expect(page.get_by_role("button", name="Upload")).to_be_disabled()
    page.get_by_role("link", name="Cancel").click()
    expect(page.locator("#upload-status")).to_be_hidden()
    expect(page.locator("#upload-problem")).to_have_text("Canceled. Nothing was uploaded.")
    network.send("Network.emulateNetworkConditions", slow | {"uploadThroughput": -1})
    collection = upload_page.split("/")[2]
    count = (
        f"from collections_app.models import Run; print(Run.objects.filter(collection={collection}).count())"
    )
    assert shell(count).strip() == "0"
    page.get_by_role("button", name="Upload").click()
    expect(page.locator("[id^=run-]")).to_be_visible()
