"""Accounts at MultiCartAPI. Only the vendor's server may be called, and it is unreachable."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.browser.test_every_page import check, visit
from tests.support.shell import Shell
from tests.support.tools import all_or_few

KEY = "canary-4f1d.0c9be2a7"
# The longest possible names, without spaces. Olivia's team is the first one.
SET_UP = f"""
from collections_app.models import Account, Collection, Team
team = Team.objects.get(pk=1)
used = Account(team=team, name="MultiCartAPI")
used.set_key({KEY!r})
used.save()
Collection.objects.create(team=team, name="Standing desks", account=used, remote_id=7)
unused = Account(team=team, name="W" * 100, base_url="https://multicartapi.com/" + "w" * 270)
unused.set_key({KEY!r})
unused.save()
print(used.pk, unused.pk)
"""
CLEAN_UP = """
from collections_app.models import Account, Collection
Collection.objects.exclude(account=None).delete()
Account.objects.all().delete()
"""


@pytest.fixture
def accounts(shell: Shell) -> Iterator[tuple[int, int]]:
    """The ids of an account with a collection and of one without."""
    used, unused = shell(SET_UP).split()
    yield int(used), int(unused)
    shell(CLEAN_UP)


def test_every_page_about_accounts(page: Page, accounts: tuple[int, int]) -> None:
    visit(page, "/team/accounts/")
    visit(page, "/collections/connect")
    for account in accounts:
        for what in ("change", "disconnect"):
            visit(page, f"/team/accounts/{account}/{what}")


def test_with_an_open_menu(page: Page, accounts: tuple[int, int]) -> None:
    page.goto("/team/accounts/")
    page.locator("summary[aria-label='Actions for MultiCartAPI']").click()
    check(page)


@pytest.mark.parametrize("javascript", all_or_few([True, False], True))
def test_a_disconnected_account_can_be_connected_again(page: Page, accounts: tuple[int, int]) -> None:
    page.goto("/collections/")
    page.get_by_role("link", name="Accounts", exact=True).click()
    menu = page.locator("summary[aria-label='Actions for MultiCartAPI']")
    row = page.get_by_role("row").filter(has=menu)
    expect(row).to_contain_text("••••••••e2a7")
    menu.click()
    row.get_by_text("Disconnect…").click()
    page.get_by_role("button", name="Disconnect").click()
    expect(page.get_by_text("Its collections are kept.")).to_be_visible()
    expect(row).to_contain_text("Disconnected")
    menu.click()
    row.get_by_text("Connect again").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Connect “MultiCartAPI” again")
    page.get_by_role("button", name="Connect").click()
    expect(page.get_by_label("API key")).to_be_focused()  # the browser reports the missing value
    page.goto("/collections/")
    expect(page.get_by_role("link", name="Standing desks")).to_be_visible()


def test_a_server_that_is_not_allowed_is_refused_and_the_key_is_cleared(page: Page) -> None:
    page.goto("/collections/connect")
    page.get_by_role("link", name="Connect account").click()
    expect(page.get_by_label("Name")).to_have_value("MultiCartAPI")
    page.get_by_label("Base address").fill("https://evil.example/api/v1")
    page.get_by_label("API key").fill(KEY)
    page.get_by_role("button", name="Connect").click()
    expect(page.get_by_text("This site only calls https://multicartapi.com.")).to_be_visible()
    expect(page.get_by_label("Base address")).to_have_value("https://evil.example/api/v1")
    expect(page.get_by_label("API key")).to_have_value("")
    check(page)
