"""Downloaded files are byte for byte what is in the storage."""

from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.support import databases
from tests.support.server import DemoServer
from tests.support.tools import all_or_few


def row_of(page: Page, run: int) -> Locator:
    return page.get_by_role("row").filter(has=page.get_by_text(f"Run {run}", exact=True))


def stored(server: DemoServer, collection: int, run: int, kind: str, position: int = 0) -> tuple[str, bytes]:
    """Return a file's name and its bytes in the results storage."""
    named = """
        SELECT file.name, file.key
        FROM collections_app_resultfile AS file JOIN collections_app_run AS run ON run.id = file.run_id
        WHERE (run.collection_id, run.number, file.kind, file.position) = (?, ?, ?, ?)
    """
    ((name, key),) = databases.execute(server.data_dir, named, collection, run, kind, position)
    return name, (server.data_dir / "results" / key).read_bytes()


def collection_and_run(server: DemoServer, condition: str) -> tuple[int, int]:
    newest = f"""
        SELECT run.collection_id, run.number
        FROM collections_app_run AS run JOIN collections_app_collection AS collection
        ON collection.id = run.collection_id
        WHERE run.state = 'ready' AND collection.archived_at IS NULL AND collection.team_id = (
            SELECT team_id FROM collections_app_collection WHERE id = 101
        ) AND {condition}
        ORDER BY run.created_at DESC LIMIT 1
    """
    ((collection, run),) = databases.execute(server.data_dir, newest)
    return collection, run


def click_brings(page: Page, link: Locator, expected: tuple[str, bytes]) -> None:
    with page.expect_download() as started:
        link.click()
    download = started.value
    assert download.suggested_filename == expected[0]
    assert Path(download.path()).read_bytes() == expected[1]


def open_pages(page: Page, run: int) -> None:
    """Open all pages of a run: in its row, or without JavaScript on a separate page."""
    row_of(page, run).get_by_role("link", name=f"pages of run {run}").click()


@pytest.mark.main_case
@pytest.mark.parametrize("javascript", all_or_few([True, False], True))
def test_a_page_and_the_zip_of_run_88(page: Page, demo_server: DemoServer) -> None:
    page.goto("/collections/101/download")
    row = row_of(page, 88)
    click_brings(
        page, row.get_by_role("link", name="Page 1 of run 88"), stored(demo_server, 101, 88, "page", 1)
    )
    click_brings(page, row.get_by_role("link", name="ZIP · "), stored(demo_server, 101, 88, "archive"))


def test_the_last_of_forty_folded_pages(page: Page, demo_server: DemoServer) -> None:
    collection, run = collection_and_run(demo_server, "run.file_count = 41")
    page.goto(f"/collections/{collection}/download")
    open_pages(page, run)
    pill = row_of(page, run).get_by_role("link", name=f"Page 40 of run {run}")
    click_brings(page, pill, stored(demo_server, collection, run, "page", 40))


@pytest.mark.parametrize("javascript", all_or_few([True, False], True))
def test_a_page_by_its_number(page: Page, demo_server: DemoServer) -> None:
    collection, run = collection_and_run(demo_server, "run.file_count = 41")
    page.goto(f"/collections/{collection}/download")
    open_pages(page, run)
    page.get_by_label(f"Page of 40 of run {run}").fill("37")
    button = page.get_by_role("button", name=f"Download this page of run {run}")
    click_brings(page, button, stored(demo_server, collection, run, "page", 37))


def test_a_category_list_and_its_csv(page: Page, demo_server: DemoServer) -> None:
    collection, run = collection_and_run(demo_server, "collection.kind = 'amazon_category_scrape'")
    page.goto(f"/collections/{collection}/download")
    row = row_of(page, run)
    for name, kind in (
        ("Download full list (JSON)", "category_list"),
        ("Download CSV", "category_csv"),
    ):
        click_brings(page, row.get_by_role("link", name=name), stored(demo_server, collection, run, kind))


def test_a_name_with_any_characters_is_kept(page: Page, demo_server: DemoServer) -> None:
    collection, run = collection_and_run(demo_server, "collection.name LIKE '%Café%'")
    page.goto(f"/collections/{collection}/download")
    name, content = stored(demo_server, collection, run, "page", 1)
    assert not name.isascii()
    click_brings(page, row_of(page, run).get_by_role("link", name="Page 1 of"), (name, content))


@pytest.mark.parametrize("javascript", [True, False])
def test_delete_is_in_the_menu_of_a_run(page: Page) -> None:
    page.goto("/collections/101/download")
    row = row_of(page, 88)
    delete = row.get_by_role("link", name="Delete… (run")
    expect(delete).to_be_hidden()
    row.get_by_label("Actions for run 88").click()
    expect(delete).to_be_visible()
