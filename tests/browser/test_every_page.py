"""Every page: no accessibility violation in light and dark, no sideways scrolling on a narrow screen,
and (by the fixture) no message in the console, such as one about the content security policy."""

import re
import sqlite3
from contextlib import closing

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from tests.browser.conftest import NewPage, sign_in
from tests.server import DemoServer

NARROW = {"width": 360, "height": 740}

ANONYMOUS = [
    "/accounts/login/",
    "/accounts/password/reset/",
    "/accounts/password/reset/done/",
    "/accounts/password/reset/key/1-x/",
    "/accounts/password/reset/key/done/",
    "/accounts/inactive/",
    "/nowhere",
]
SIGNED_IN = [
    "/collections/",
    "/collections/?q=nothing+of+that+name",
    "/collections/?archived=1",
    "/collections/?after=1_zzz",
    "/collections/add",
    "/collections/101/rename",
    "/collections/101/archive",
    "/collections/101/download",
    "/collections/101/download?before=2026-06-01T00:00:00.000000Z_1",
    "/collections/101/download?before=2000-01-01T00:00:00.000000Z_1",
    "/collections/102/download",
    "/collections/105/download",
    "/collections/107/download",
    "/collections/101/runs/88/delete",
    "/members/",
    "/members/add",
    "/members/{member}/role",
    "/members/{member}/remove",
    "/members/{member}/password-link",
    "/profile/",
    "/keys/{key}/revoke",
    "/accounts/password/change/",
    "/accounts/logout/",
    "/nowhere",
    "/collections/999/download",
    "/collections/101/download?before=x",
    "/collections/101/runs/91/files/x",
]


def check(page: Page) -> None:
    """Check a page, wide and in light colours, then narrow and in dark ones."""
    _check_accessibility(page)
    page.set_viewport_size(NARROW)
    wide = page.evaluate("document.documentElement.scrollWidth")
    assert wide <= NARROW["width"], f"The page is {wide} px wide."
    page.emulate_media(color_scheme="dark")
    _check_accessibility(page)


def check_ids(page: Page) -> None:
    """Check that every id is there once; axe looks only at some of them."""
    ids = page.locator("[id]").evaluate_all("all => all.map(each => each.id)")
    assert len(ids) == len(set(ids))


def _check_accessibility(page: Page) -> None:
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


@pytest.mark.parametrize("address", ANONYMOUS)
def test_for_a_visitor(open_page: NewPage, address: str) -> None:
    page = open_page(anonymous=True)
    page.goto(address)
    check(page)
    check_ids(page)


@pytest.mark.parametrize("address", SIGNED_IN)
def test_for_a_member(page: Page, demo_server: DemoServer, address: str) -> None:
    member = _first(demo_server, "membership", "role = 'member'")
    page.goto(address.format(member=member, key=_first(demo_server, "apikey")))
    check(page)
    check_ids(page)


def _first(server: DemoServer, table: str, condition: str = "true") -> int:
    with closing(sqlite3.connect(server.data_dir / "db.sqlite3")) as database:
        rows = database.execute(
            f"SELECT id FROM collections_app_{table} WHERE {condition} ORDER BY id LIMIT 1"
        )
        return int(rows.fetchone()[0])


def test_with_an_open_menu(page: Page) -> None:
    page.goto("/collections/")
    page.locator("summary[aria-label='Actions for AU Laptops']").click()
    check(page)


def test_with_messages_and_secrets(page: Page) -> None:
    page.goto("/profile/")
    page.get_by_label("What the key is for").fill("x")
    page.get_by_role("button", name="Make a key").click()
    check(page)


def test_with_a_form_that_is_refused(page: Page) -> None:
    page.goto("/collections/add")
    page.get_by_label("Name").fill("x" * 10)
    page.evaluate("document.querySelector('main input[name=name]').value = '\\t'")
    page.evaluate("document.querySelector('main form').noValidate = true")
    page.get_by_role("button", name="Add collection").click()
    page.get_by_text("Give the collection a name.").wait_for()
    check(page)


def test_with_the_sidebar_unfolded(open_page: NewPage) -> None:
    page = open_page(viewport=NARROW)
    page.goto("/collections/")
    page.get_by_role("button", name="Menu").click()
    check(page)


def test_every_form_of_the_operators_admin_obeys_the_policy(
    open_page: NewPage, demo_server: DemoServer, expected_in_console: list[str]
) -> None:
    # Django's own pages draw two hints that are no errors.
    expected_in_console += ["Autofocus processing was blocked", "goo.gl/9p2vKq"]
    demo_server.manage(
        "shell",
        "--no-imports",
        "-c",
        "from collections_app.models import User; "
        f"User.objects.create_superuser('oscar@example.com', {demo_server.password!r})",
    )
    page = open_page(anonymous=True)
    sign_in(page, "oscar@example.com", demo_server.password)
    page.goto("/admin/")
    lists = page.locator("#content a[href^='/admin/collections_app/']:not([href$='add/'])").evaluate_all(
        "links => [...new Set(links.map(link => link.getAttribute('href')))]"
    )
    assert len(lists) > 6
    for address in lists:
        page.goto(address)
        first = page.locator("#result_list tbody th a").first
        if first.count():
            first.click()
        if re.search("user|team/|membership|collection/", address):
            page.goto(f"{address.rstrip('/')}/add/")
