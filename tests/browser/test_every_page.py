"""Every page has no accessibility violations in light and dark, no horizontal scrolling on a narrow screen,
and (by the fixture) no console messages, such as those about the content security policy."""

import re

import pytest
from django.contrib.auth.models import AnonymousUser
from django.template.loader import render_to_string
from django.test import RequestFactory
from django.urls import resolve
from playwright.sync_api import Page, expect
from pytest_django import Settings

from tests.browser.conftest import NARROW, sign_in
from tests.support import databases
from tests.support.accessibility import check_accessibility
from tests.support.server import DemoServer
from tests.support.shell import Shell
from tests.support.tools import ROOT, all_or_few, is_thorough
from tests.test_access_of_every_address import TABLE

NEW_PASSWORD = "a violet umbrella in the rain"

ANONYMOUS = [
    "/accounts/login/",
    "/accounts/password/reset/",
    "/accounts/password/reset/done/",
    "/accounts/password/reset/key/1-x/",
    "/accounts/inactive/",
]
SIGNED_IN = [
    "/",
    "/?night=failed",
    "/?night=running",
    "/?after=1_0_A",
    "/collections/",
    "/collections/?q=nothing+of+that+name",
    "/collections/?archived=1",
    "/collections/?sort=state",
    "/collections/?after=1_zzz",
    "/collections/add",
    "/collections/connect",
    "/collections/101/rename",
    "/collections/101/archive",
    "/collections/101/settings",
    "/collections/101/settings/key",
    "/collections/101/settings/retention?kind=runs&runs=20",
    "/products/?q=lenovo",
    "/collections/101/watchlist",
    "/collections/101/movers?runs=30",
    "/collections/101/upload",
    "/collections/101/download",
    "/collections/101/download?before=2026-06-10T00:00:00.000000Z_1",
    "/collections/101/download?before=2000-01-01T00:00:00.000000Z_1",
    "/collections/101/download?state=failed&from=2026-05-01&to=2026-06-30&zone=Australia/Sydney",
    "/collections/101/download?state=ready&to=2001-01-01",
    "/collections/102/download",
    "/collections/105/download",
    "/collections/107/download",
    "/collections/101/runs/88/pages",
    "/collections/101/runs/88/pages?page=7000",
    "/collections/101/runs/88/pages?after=7000",
    "/collections/101/runs/88/",
    "/collections/101/runs/88/?q=lenovo&sort=price_cents&dir=desc",
    "/collections/101/runs/88/?q=nothing+has+this",
    "/collections/101/runs/88/?filter=price_cents,from,50000,below,100000",
    "/collections/101/runs/88/values?of=seller_name",
    "/collections/101/runs/88/?after=100",
    "/collections/101/runs/88/quality",
    "/collections/101/runs/88/facts",
    "/collections/101/runs/88/duplicates",
    "/collections/101/runs/88/changes",
    "/collections/101/runs/88/changes?since=87&q=nothing+has+this",
    "/collections/102/runs/1/changes",
    "/collections/101/runs/88/records/3",
    "/collections/101/runs/90/",
    "/collections/101/runs/91/",
    "/collections/108/runs/8/",
    "/collections/101/runs/88/export",
    "/collections/101/selection/export?runs=87-88",
    "/last-night",
    "/collections/101/runs/88/commands",
    "/collections/101/runs/88/delete",
    "/members/",
    "/members/add",
    "/members/{member}/role",
    "/members/{member}/remove",
    "/members/{member}/password-link",
    "/team/settings",
    "/team/notifications/",
    "/team/notifications/add",
    "/team/accounts/",
    "/team/accounts/connect",
    "/profile/",
    "/keys/{key}/revoke",
    "/accounts/password/change/",
    "/accounts/logout/",
    "/api/v1/docs",
]
# With all components, so that `make test` visits only these.
COLORFUL = ["/", "/collections/", "/collections/101/download", "/collections/101/runs/88/", "/members/add"]
REFUSED = {
    "/nowhere": 404,
    "/collections/999/download": 403,
    "/collections/101/download?before=x": 400,
    "/team": 405,
    "/collections/101/runs/91/files/x": 404,
}
# Error pages that these tests can't provoke.
RENDERED = ["403_csrf.html", "429.html", "500.html", "502.html", "503.html", "504.html"]

# The remaining addresses of the site, and why they aren't visited.
EXCUSED = {
    "collection": "leads on to its runs",
    "collection_restore": "leads back to the collections",
    "collection_schedule": "leads back to the settings",
    "collection_type": "leads back to the settings",
    "collection_pause": "leads back to the settings",
    "collection_currency": "leads back to the settings",
    "collection_owner": "leads back to the settings",
    "collection_key_save": "leads back to the key",
    "collection_favorites": "leads back to the collections",
    "collection_acknowledge": "leads back to the settings",
    "product": "tests/browser/test_products.py",
    "run_pin": "leads back to the run",
    "verdict_overrule": "leads back to the quality page",
    "run_kind": "leads back to the quality page",
    "pin_leaving": "leads back to the runs",
    "keep": "leads back to the runs",
    "team_switch": "leads on to the collections",
    "key_create": "test_with_a_new_key",
    "account_change": "tests/browser/test_accounts.py",
    "account_disconnect": "tests/browser/test_accounts.py",
    **dict.fromkeys(
        ["channel", "channel_change", "channel_remove", "channel_rotate", "rule_add", "rule_change"],
        "tests/browser/test_notifications.py",
    ),
    **dict.fromkeys(
        ["channel_test", "channel_resend", "channel_switch_on", "rule_remove"], "leads back to the channel"
    ),
    "unsubscribe": "tests/browser/test_notifications.py",
    "theme_change": "leads back to the profile",
    "pull_client": "a file",
    "result_file": "a file",
    "run_manifest": "a file",
    "run_all": "a file",
    "run_histograms": "a part of a page",
    "run_export_save": "leads back to the run's exports",
    "run_saved_export": "a file",
    "saved_export_rename": "leads back to the settings",
    "saved_export_delete": "leads back to the settings",
    "run_columns": "leads back to the run's records",
    "verify": "leads back to the run's files",
    "last_night_zip": "a file",
    "last_night_workbook": "a file",
    "selection": "a part of a page",
    "selection_zip": "a file",
    "selection_json": "a file",
    "selection_records": "a file",
    "latest": "leads on to the newest run",
    "latest_rest": "the same",
    "run_records": "a file",
    "run_changes_file": "a file",
    "archive_size": "a part of a page",
    "live": "for a page's script",
    "run_live": "for a page's script",
    "collections_live": "for a page's script",
    "overview_live": "for a page's script",
    "operations": "for operators: the last test but one",
    "healthz": "for programs",
    "readyz": "for programs",
    "metrics": "for programs",
    "api:openapi-json": "for programs",
    "api:list_collections": "for programs",
    "api:list_events": "for programs",
    "api:list_collection_runs": "for programs",
    "api:list_run_results": "for programs",
    "api:download_result_file": "for programs",
    "api:product_history": "for programs",
    "api:run_manifest": "for programs",
    "api:run_saved_export": "for programs",
    "api:latest_saved_export": "for programs",
    "api:run_quality": "for programs",
    "api:run_changes": "for programs",
    "api:latest_changes": "for programs",
    "api:run_change_file": "for programs",
    "api:latest_change_file": "for programs",
    "api:run_all": "for programs",
    "api:latest_all": "for programs",
    "api:selection_zip": "for programs",
    "api:selection_json": "for programs",
    "api:selection_records": "for programs",
    "api:latest_manifest": "for programs",
    "api:run_records": "for programs",
    "api:latest_records": "for programs",
    "api:api-root": "for programs",
    "api/": "for programs",
    "admin": "Django's own pages, but for their policy: the last test",
}


@pytest.mark.main_case
def test_every_address_is_visited_or_excused() -> None:
    visited = {
        resolve(address.partition("?")[0].format(member=1, key=1)).view_name
        for address in ANONYMOUS + SIGNED_IN
    }
    assert visited | EXCUSED.keys() == TABLE.keys()
    assert not visited & EXCUSED.keys()


@pytest.mark.main_case
def test_every_error_page_is_visited() -> None:
    provoked = {f"{status}.html" for status in REFUSED.values()}
    assert provoked | set(RENDERED) == {path.name for path in (ROOT / "templates").glob("[0-9]*.html")}


def check(page: Page, within: str | None = None) -> None:
    """Check a state of a page: in a narrow window, it doesn't scroll horizontally.

    Thorough tests also check its accessibility, in a wide window with light colors and in a narrow one with
    dark colors. Where only a part of a page differs from a page that is visited here, they check `within` it.
    Afterwards the window is as it was before.
    """
    size = page.viewport_size
    assert size
    if is_thorough():
        check_accessibility(page, within)
    make_narrow(page)
    check_width(page)
    if is_thorough():
        check_accessibility(page, within)
    page.emulate_media(color_scheme="light")
    page.set_viewport_size(size)


def make_narrow(page: Page) -> None:
    page.set_viewport_size(NARROW)
    page.emulate_media(color_scheme="dark")


def check_width(page: Page) -> None:
    wide = page.evaluate("document.documentElement.scrollWidth")
    assert wide <= NARROW["width"], f"The page is {wide} px wide."


def check_ids(page: Page) -> None:
    """Check that every id is unique. axe checks only some of them."""
    ids = page.locator("[id]").evaluate_all("all => all.map(each => each.id)")
    assert len(ids) == len(set(ids))


def visit(page: Page, address: str, status: int = 200) -> None:
    """Open a page and check it: narrow and dark, and in thorough tests also wide and light."""
    if not is_thorough():
        make_narrow(page)  # before the page is rendered, so that it is rendered once
    response = page.goto(address)
    assert response
    assert response.status == status, address
    assert page.evaluate("document.styleSheets[0].cssRules.length") > 50
    check_ids(page)
    if is_thorough():
        check(page)
    else:
        check_width(page)
        check_accessibility(page)


@pytest.mark.main_case
@pytest.mark.parametrize("address", all_or_few(ANONYMOUS, ANONYMOUS[0]))
def test_for_a_visitor(visitors_page: Page, address: str) -> None:
    visit(visitors_page, address)


@pytest.mark.main_case
@pytest.mark.parametrize("address", all_or_few(SIGNED_IN, *COLORFUL))
def test_for_a_member(page: Page, demo_server: DemoServer, address: str) -> None:
    # In Olivia's default team.
    member = _first(demo_server, "membership", "team_id = 1 AND role = 'member'")
    key = _first(demo_server, "apikey", "revoked_at IS NULL")
    visit(page, address.format(member=member, key=key))


def _first(server: DemoServer, table: str, condition: str) -> int:
    first = f"SELECT id FROM collections_app_{table} WHERE {condition} ORDER BY id LIMIT 1"
    ((pk,),) = databases.execute(server.data_dir, first)
    return int(pk)


@pytest.mark.parametrize("address", REFUSED)
def test_where_a_member_is_refused(page: Page, address: str) -> None:
    visit(page, address, REFUSED[address])


def test_where_a_visitor_is_refused(visitors_page: Page) -> None:
    visit(visitors_page, "/nowhere", 404)


@pytest.mark.main_case
@pytest.mark.parametrize("template", all_or_few(RENDERED, "500.html"))
def test_where_something_fails(
    visitors_page: Page, demo_server: DemoServer, settings: Settings, rf: RequestFactory, template: str
) -> None:
    # With the running server's stylesheet and scripts.
    settings.STATIC_ROOT = demo_server.data_dir / "static"
    settings.STORAGES = settings.STORAGES | {
        "staticfiles": {"BACKEND": "dashboard.static_files.BundledStaticFiles"}
    }
    request = rf.get("/")
    request.user = AnonymousUser()
    rendered, status = render_to_string(template, request=request), int(template[:3])
    visitors_page.route(
        "**/broken", lambda route: route.fulfill(status=status, body=rendered, content_type="text/html")
    )
    visit(visitors_page, "/broken", status)


def test_for_a_new_user(page: Page, visitors_page: Page, demo_server: DemoServer, shell: Shell) -> None:
    """Check the password link, then the pages of a user without a team and in a team without collections."""
    page.goto("/members/add")
    page.get_by_label("Email address").fill("fern@example.com")
    page.get_by_role("button", name="Add to Northwind Pricing").click()
    link = page.get_by_role("textbox", name="Password link").input_value()
    check(page)

    page = visitors_page
    visit(page, link)
    page.get_by_label("New password", exact=True).fill(NEW_PASSWORD)
    page.get_by_label("Repeat new password").fill("another")
    page.get_by_role("button", name="Set password").click()
    page.get_by_text("The two passwords differ.").wait_for()
    check(page)
    page.get_by_label("New password", exact=True).fill(NEW_PASSWORD)
    page.get_by_label("Repeat new password").fill(NEW_PASSWORD)
    page.get_by_role("button", name="Set password").click()
    page.get_by_text("Saved your new password.").wait_for()

    fern = "user_id = (SELECT id FROM collections_app_user WHERE email = 'fern@example.com')"
    databases.execute(demo_server.data_dir, f"DELETE FROM collections_app_membership WHERE {fern}")
    visit(page, "/collections/", 403)
    visit(page, "/profile/")
    expect(page.get_by_text("You aren't in a team")).to_be_visible()

    shell(
        "from django.core.management import call_command\n"
        "call_command('create_team', 'Emptyhanded', '--owner', 'fern@example.com')"
    )
    visit(page, "/collections/")
    expect(page.get_by_role("heading", name="No collections yet")).to_be_visible()
    visit(page, "/profile/")
    expect(page.get_by_text("Examples appear here once Emptyhanded has a collection")).to_be_visible()


def test_with_a_password_link_for_a_member(page: Page, demo_server: DemoServer) -> None:
    member = _first(demo_server, "membership", "team_id = 1 AND role = 'member'")
    page.goto(f"/members/{member}/password-link")
    page.get_by_role("button", name="Create link").click()
    expect(page.get_by_role("textbox", name="Password link")).to_be_visible()
    check(page)


def test_with_an_open_menu(page: Page) -> None:
    page.goto("/collections/")
    page.locator("summary[aria-label='Actions for AU Laptops']").click()
    check(page)


def test_with_a_new_key(page: Page) -> None:
    page.goto("/profile/")
    page.get_by_label("Key name").fill("x")
    page.get_by_role("button", name="Create key").click()
    expect(page.get_by_role("textbox", name="API key")).to_be_visible()
    check(page)


def test_with_a_message(page: Page) -> None:
    page.goto("/profile/")
    page.get_by_role("button", name="Save name").click()
    expect(page.get_by_text("Saved your name.")).to_be_visible()
    check(page)


def test_with_an_invalid_form(page: Page) -> None:
    page.goto("/collections/add")
    page.get_by_label("Name").fill("x" * 10)
    page.evaluate("document.querySelector('main input[name=name]').value = '\\t'")
    page.evaluate("document.querySelector('main form').noValidate = true")
    page.get_by_role("button", name="Add collection").click()
    page.get_by_text("Enter a name for the collection.").wait_for()
    check(page)


def test_with_the_sidebar_expanded(page: Page) -> None:
    page.set_viewport_size(NARROW)
    page.goto("/collections/")
    page.get_by_role("button", name="Menu").click()
    check(page)


def test_for_an_operator(visitors_page: Page, demo_server: DemoServer) -> None:
    sign_in(visitors_page, "noor@example.com", demo_server.password)
    visit(visitors_page, "/operations/")
    expect(visitors_page.get_by_role("link", name="Operations")).to_be_visible()


def test_every_form_of_the_operators_admin_obeys_the_policy(
    visitors_page: Page, demo_server: DemoServer, shell: Shell, expected_in_console: list[str]
) -> None:
    # Django's pages cause two hints that aren't errors.
    expected_in_console += ["Autofocus processing was blocked", "goo.gl/9p2vKq"]
    shell(
        "from collections_app.models import User; "
        f"User.objects.create_superuser('oscar@example.com', {demo_server.password!r})",
    )
    page = visitors_page
    sign_in(page, "oscar@example.com", demo_server.password)
    page.goto("/admin/")
    lists = page.locator("#content a[href^='/admin/collections_app/']:not([href$='add/'])").evaluate_all(
        "links => [...new Set(links.map(link => link.getAttribute('href')))]"
    )
    assert len(lists) > 6
    for address in lists if is_thorough() else lists[:2]:
        page.goto(address)
        first = page.locator("#result_list tbody th a").first
        if first.count():
            first.click()
        if re.search("user|team/|membership|collection/", address):
            page.goto(f"{address.rstrip('/')}/add/")
