"""A team's accounts at MultiCartAPI."""

import io
import logging
import re
from dataclasses import replace
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.core.exceptions import ValidationError
from django.db import connection
from django.test import Client
from django.utils import timezone
from hypothesis import example, given
from hypothesis import strategies as st
from pytest_django import DjangoAssertNumQueries, Settings

from collections_app.models import Account, Collection, FileKind, Kind, Membership, Role, Team, User
from collections_app.sources import ResultNotFound, SourceTimeout, SourceUnavailable
from collections_app.sources.upstream import discovery
from collections_app.sources.upstream import runs as upstream_runs
from collections_app.system import encryption
from collections_app.views.team.account_forms import base_address
from tests.conftest import PASSWORD
from tests.support.html import columns, links, rows, text_of
from tests.support.meanwhile import ask_meanwhile
from tests.support.upstream import KEY, make_account, make_remote_collection, remote_run

# Like KEY, it must never appear anywhere.
OTHER_KEY = "canary-another.5d8c31"
BASE = "https://multicartapi.com/api/v1"
NEW = {"name": "MultiCartAPI", "base_url": BASE, "key": KEY}
LIST, CONNECT = "/team/accounts/", "/team/accounts/connect"
REFUSED = "The account doesn't take this key."


class Vendor:
    """A fake account that records calls, and raises `problem` if there is one."""

    def __init__(self) -> None:
        self.tried: list[tuple[str, str]] = []
        self.listed: list[tuple[int | None, int | None]] = []
        self.runs: list[upstream_runs.RemoteRun] = []
        self.runs_of: dict[int | None, list[upstream_runs.RemoteRun] | Exception] = {}  # if they differ
        self.page = b"[]"
        self.problem: Exception | None = None

    def try_key(self, base_url: str, key: str, *, seconds: float) -> None:
        assert 0 < seconds <= 5
        self.tried.append((base_url, key))
        self._refuse()

    def list_runs(
        self, collection: Collection, *, skip: int, limit: int, seconds: float
    ) -> upstream_runs.Listing:
        assert skip == 0
        assert 0 < seconds <= 5
        self.listed.append((collection.account_id, collection.remote_id))
        self._refuse()
        runs = self.runs_of.get(collection.remote_id, self.runs)
        if isinstance(runs, Exception):
            raise runs
        return upstream_runs.Listing(runs)

    def open(self, start: int, length: int) -> io.BytesIO:
        return io.BytesIO(self.page)

    def _refuse(self) -> None:
        if self.problem:
            raise self.problem


@pytest.fixture(autouse=True)
def vendor(monkeypatch: pytest.MonkeyPatch) -> Vendor:
    vendor = Vendor()
    monkeypatch.setattr(upstream_runs, "try_key", vendor.try_key)
    monkeypatch.setattr(discovery, "list_runs", vendor.list_runs)
    monkeypatch.setattr(discovery, "size_of", lambda file: len(vendor.page))
    monkeypatch.setattr(discovery, "UpstreamBody", lambda file: vendor)
    return vendor


@pytest.fixture
def account(crawlers: Team) -> Account:
    return make_account(crawlers)


@pytest.fixture
def theirs(strangers: Team) -> Account:
    """An account of another team."""
    return make_account(strangers, "Secret source")


def address_of(account: Account, what: str = "change") -> str:
    return f"/team/accounts/{account.pk}/{what}"


def errors(response: Any) -> list[str]:
    """Return the errors of a form."""
    html = response.content.decode()
    found = re.findall(r'<ul class="errorlist"[^>]*>(.*?)</ul>', html, re.DOTALL)
    return [text_of(each) for each in found + re.findall(r'role="alert">(.*?)</div>', html, re.DOTALL)]


def shown(response: Any, field: str) -> str | None:
    """Return the value of a field on the page."""
    tag = re.search(rf'<input[^>]*name="{field}"[^>]*>', response.content.decode())
    assert tag
    value = re.search(r'value="([^"]*)"', tag[0])
    return value[1] if value else None


# --- the list -----------------------------------------------------------------------------------


def test_an_empty_list_says_what_to_do(as_adam: Client) -> None:
    response = as_adam.get(LIST)
    assert "No accounts yet" in response.content.decode()
    assert links(response)["Connect account"] == CONNECT


def test_it_lists_accounts_by_name_with_masked_keys(as_adam: Client, crawlers: Team, theirs: Account) -> None:
    make_account(crawlers, "Shop B", key="short")
    account = make_account(crawlers, "Shop A")
    make_account(crawlers, "Shop C", key="")
    make_remote_collection(account)
    make_remote_collection(account, remote_id=8).archive()
    response = as_adam.get(LIST)
    assert columns(response) == ["Name", "Status", "Key", "Added", "Collections", "Actions"]
    assert [[*row[:3], row[4]] for row in rows(response)] == [
        [f"Shop A {BASE}", "Not used yet", "••••••••cdef", "2"],
        [f"Shop B {BASE}", "Not used yet", "••••••••", "0"],
        [f"Shop C {BASE}", "Disconnected", "None", "0"],
    ]
    assert rows(response)[0][3] == f"{account.created_at:%-d %b %Y}"
    assert KEY not in response.content.decode()


def test_an_outage_is_shown_with_its_start_in_accounts_and_collections(
    as_adam: Client, account: Account
) -> None:
    now = timezone.now()
    make_remote_collection(account, refreshed_at=now)
    failing = make_remote_collection(
        account, remote_id=8, name="Desks", refreshed_at=now - timedelta(hours=6)
    )
    Collection.objects.filter(pk=failing.pk).update(
        refresh_problem="The account “MultiCartAPI” is unavailable.", failing_since=now - timedelta(hours=5)
    )
    [row] = rows(as_adam.get(LIST))
    assert row[1] == (
        "Failing 1 of 2 collections, first failure 5 h ago The account “MultiCartAPI” is unavailable."
    )
    page = text_of(as_adam.get("/collections/").content.decode())
    assert "1 of 2 collections isn't up to date. First failure: 5 h ago" in page
    assert page.count("Updated 6 h ago") == 1


@pytest.mark.parametrize("count", [1, 30])
def test_the_number_of_queries_does_not_grow_with_the_list(
    as_adam: Client, crawlers: Team, count: int, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for number in range(count):
        make_account(crawlers, f"Shop {number}")
    with django_assert_max_num_queries(4):
        as_adam.get(LIST)


def test_the_sidebar_links_to_it_for_admins_and_owners(
    as_alice: Client, as_adam: Client, as_bob: Client
) -> None:
    found = [links(client.get("/collections/")).get("Accounts") for client in (as_alice, as_adam, as_bob)]
    assert found == [LIST, LIST, None]


# --- permissions ------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["", "connect", "{}/change", "{}/disconnect"])
def test_a_member_is_refused_without_a_call(
    as_bob: Client, account: Account, vendor: Vendor, what: str
) -> None:
    address = LIST + what.format(account.pk)
    assert as_bob.get(address).status_code == 403
    assert as_bob.post(address, NEW).status_code == 403
    assert vendor.tried == []
    assert Account.objects.get().is_connected


@pytest.mark.parametrize("what", ["change", "disconnect"])
def test_an_account_of_another_team_is_not_found(
    as_adam: Client, theirs: Account, vendor: Vendor, what: str
) -> None:
    for response in (as_adam.get(address_of(theirs, what)), as_adam.post(address_of(theirs, what), NEW)):
        assert response.status_code == 404
        assert "This team has no such account." in response.content.decode()
    assert vendor.tried == []
    assert Account.objects.get().is_connected


def test_an_account_of_the_users_other_team_is_not_found(
    as_adam: Client, adam: User, crawlers: Team, theirs: Account
) -> None:
    Membership.objects.create(user=adam, team=theirs.team, role=Role.OWNER)
    as_adam.post("/team", {"team": crawlers.pk})
    assert as_adam.get(address_of(theirs)).status_code == 404


def test_an_impossible_account_id_is_not_found(as_adam: Client) -> None:
    assert as_adam.get(f"/team/accounts/{10**30}/change").status_code == 404


# --- connecting ---------------------------------------------------------------------------------


def test_the_form_has_defaults(as_adam: Client) -> None:
    response = as_adam.get(CONNECT)
    assert (shown(response, "name"), shown(response, "base_url")) == ("MultiCartAPI", BASE)
    [field] = re.findall(r'<input[^>]*name="key"[^>]*>', response.content.decode())
    assert 'type="password"' in field
    assert 'autocomplete="off"' in field


def test_the_default_name_is_unique(as_adam: Client, account: Account) -> None:
    make_account(account.team, "multicartapi 2")
    assert shown(as_adam.get(CONNECT), "name") == "MultiCartAPI 3"


def test_the_default_address_is_an_allowed_server(as_adam: Client, settings: Settings) -> None:
    settings.UPSTREAM_ORIGINS = ["https://results.example.com"]
    assert shown(as_adam.get(CONNECT), "base_url") == "https://results.example.com/api/v1"


@pytest.mark.parametrize("who", ["as_adam", "as_alice"])
def test_admins_and_owners_connect_an_account_after_a_test_call(
    request: pytest.FixtureRequest, crawlers: Team, vendor: Vendor, who: str
) -> None:
    client: Client = request.getfixturevalue(who)
    response = client.post(CONNECT, NEW | {"key": f"\t{KEY}\n"}, follow=True)
    account = Account.objects.get()
    assert (account.team, account.name, account.base_url, account.key) == (
        crawlers,
        "MultiCartAPI",
        BASE,
        KEY,
    )
    assert vendor.tried == [(BASE, KEY)]
    assert response.redirect_chain[-1][0] == LIST
    assert "Connected “MultiCartAPI”." in response.content.decode()


@pytest.mark.parametrize("problem", [SourceUnavailable(REFUSED), SourceTimeout(REFUSED)])
def test_an_account_that_fails_the_test_call_is_not_saved(
    as_adam: Client, vendor: Vendor, problem: Exception
) -> None:
    vendor.problem = problem
    response = as_adam.post(CONNECT, NEW | {"name": "Shop A"})
    assert response.status_code == 200
    assert errors(response) == [REFUSED]
    assert (shown(response, "name"), shown(response, "base_url")) == ("Shop A", BASE)
    assert shown(response, "key") is None
    assert not Account.objects.exists()


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"name": " "}, "Enter a name for the account."),
        ({"name": "x" * 101}, "at most 100 characters"),
        ({"name": "a\nb"}, "control characters"),
        ({"name": "a\0b"}, "Remove the null characters."),
        ({"name": "\u200b"}, "Enter at least one visible character."),
        ({"base_url": ""}, "Enter the account's base address."),
        ({"base_url": f"{BASE}/{'x' * 300}"}, "at most 300 characters"),
        ({"key": ""}, "Enter the account's API key."),
        ({"key": f"{KEY} {KEY}"}, "That isn't a valid API key."),
        ({"key": f"{KEY}\n{KEY}"}, "That isn't a valid API key."),
        ({"key": f"{KEY}é"}, "That isn't a valid API key."),
        ({"key": f"{KEY}\x7f"}, "That isn't a valid API key."),
        ({"key": f"{KEY}\0"}, "Remove the null characters."),
        ({"key": KEY * 30}, "at most 500 characters"),
    ],
)
def test_invalid_input_is_refused_without_a_call(
    as_adam: Client, vendor: Vendor, fields: dict[str, str], complaint: str
) -> None:
    response = as_adam.post(CONNECT, NEW | fields)
    assert response.status_code == 200
    [error] = errors(response)
    assert complaint in error
    assert KEY not in response.content.decode()
    assert vendor.tried == []
    assert not Account.objects.exists()


@pytest.mark.parametrize(
    ("typed", "stored"),
    [
        (f" {BASE}/ ", BASE),
        (f"{BASE}//", BASE),
        ("HTTPS://MultiCartAPI.com/api/v1", BASE),
        ("https://multicartapi.com:443/api/v1", BASE),
        ("https://multicartapi.com", "https://multicartapi.com"),
        ("https://multicartapi.com/", "https://multicartapi.com"),
        ("https://multicartapi.com/my-team/v1.2/~a_b", "https://multicartapi.com/my-team/v1.2/~a_b"),
        ("http://Lab.example:8080/api", "http://lab.example:8080/api"),
    ],
)
def test_an_address_is_stored_in_one_form(
    as_adam: Client, settings: Settings, typed: str, stored: str
) -> None:
    settings.UPSTREAM_ORIGINS = ["https://multicartapi.com", "http://lab.example:8080"]
    as_adam.post(CONNECT, NEW | {"base_url": typed})
    assert Account.objects.get().base_url == stored


@pytest.mark.parametrize(
    "typed",
    [
        "multicartapi.com/api/v1",
        "//multicartapi.com/api/v1",
        "ftp://multicartapi.com/api/v1",
        "javascript:alert(1)",
        "file:///etc/passwd",
        "https://me:secret@multicartapi.com/api/v1",
        "https://multicartapi.com@evil.example/api/v1",
        "https://multicartapi.com/api/v1?x=1",
        "https://multicartapi.com/api/v1#x",
        "https://multicartapi.com/api/../v1",
        "https://multicartapi.com/./api",
        "https://multicartapi.com/api//v1",
        "https://multicartapi.com/api/%2e%2e/v1",
        "https://multicartapi.com\\@evil.example/",
        "https://multicartapi.com/a b",
        "https://multicartapi.com/a\tb",
        "https://multicartapi.com/ä",
        "https://multicartapi.com:port/api",
        "https://[::1]/api/v1",
        "https://[bad",
        "https://",
    ],
)
def test_an_invalid_base_address_is_refused(as_adam: Client, vendor: Vendor, typed: str) -> None:
    [error] = errors(as_adam.post(CONNECT, NEW | {"base_url": typed}))
    assert error.startswith("That isn't a valid base address. Enter a server and a path")
    assert vendor.tried == []


@pytest.mark.parametrize(
    "typed",
    [
        "https://multicartapi.com.evil.example/api/v1",
        "https://evil.example/multicartapi.com",
        "https://api.multicartapi.com/api/v1",
        "http://multicartapi.com/api/v1",
        "https://multicartapi.com:8443/api/v1",
        "https://multicartapi.com:99999999/api/v1",
        "http://127.0.0.1:8000/api/v1",
        "http://169.254.169.254/latest",
    ],
)
def test_a_server_that_is_not_allowed_is_refused(
    as_adam: Client, settings: Settings, vendor: Vendor, typed: str
) -> None:
    settings.UPSTREAM_ORIGINS = ["https://multicartapi.com", "https://lab.example:8443"]
    [error] = errors(as_adam.post(CONNECT, NEW | {"base_url": typed}))
    assert error == (
        "This site only calls https://multicartapi.com and https://lab.example:8443. "
        "The operator can add servers with the setting UPSTREAM_ORIGINS."
    )
    assert vendor.tried == []


pieces = st.sampled_from(
    [
        "https",
        "HTTP",
        ":",
        "//",
        "/",
        "multicartapi.com",
        "evil.example",
        ":443",
        "@",
        "?",
        "#",
        "\\",
        "..",
        "%2e",
    ]
)


@given(st.lists(pieces | st.text(max_size=3), max_size=9).map("".join))
@example("https://multicartapi.com/api/v1")
@example("https://multicartapi.com\n.evil.example")
def test_no_input_makes_a_call_to_another_server(typed: str) -> None:
    try:
        stored = base_address(typed)
    except ValidationError:
        return
    assert re.fullmatch(r"https://multicartapi\.com(/[A-Za-z0-9_.~-]+)*", stored)
    assert base_address(stored) == stored
    assert urlsplit(stored).hostname == "multicartapi.com"


@pytest.mark.parametrize("key", ["x" * 500, "!~", "a<b>&'\"\\"])
def test_every_printable_key_is_accepted(as_adam: Client, key: str) -> None:
    as_adam.post(CONNECT, NEW | {"key": key})
    assert Account.objects.get().key == key


def test_a_duplicate_name_is_refused_ignoring_unicode_forms(
    as_adam: Client, crawlers: Team, vendor: Vendor
) -> None:
    make_account(crawlers, name="Caf\xe9")
    response = as_adam.post(CONNECT, NEW | {"name": "Cafe\u0301"})
    assert errors(response) == ["Your team already has an account named “Caf\xe9”."]


def test_a_duplicate_name_is_refused_ignoring_case(as_adam: Client, account: Account, vendor: Vendor) -> None:
    response = as_adam.post(CONNECT, NEW | {"name": "MULTICARTapi"})
    assert errors(response) == ["Your team already has an account named “MultiCartAPI”."]
    assert vendor.tried == []


def test_another_team_may_use_the_same_name(as_adam: Client, theirs: Account) -> None:
    assert as_adam.post(CONNECT, NEW | {"name": theirs.name}).status_code == 302


# --- changing the name, key or address ---------------------------------------------------------------


def test_a_new_key_replaces_the_old_one_after_a_test_call(
    as_adam: Client, account: Account, vendor: Vendor
) -> None:
    as_adam.post(address_of(account), NEW | {"key": OTHER_KEY})
    changed = Account.objects.get()
    assert (changed.key, changed.masked_key) == (OTHER_KEY, "••••••••8c31")
    assert vendor.tried == [(BASE, OTHER_KEY)]


def test_a_new_key_makes_the_account_be_listed_at_once(as_adam: Client, account: Account) -> None:
    collection = make_remote_collection(account)
    Collection.objects.update(refresh_tried_at=timezone.now(), refresh_problem="It rejected the API key.")
    as_adam.post(address_of(account), NEW | {"key": OTHER_KEY})
    collection.refresh_from_db()
    assert (collection.refresh_tried_at, collection.refresh_problem) == (None, "")


def test_a_refused_key_leaves_the_old_one(as_adam: Client, account: Account, vendor: Vendor) -> None:
    vendor.problem = SourceUnavailable(REFUSED)
    response = as_adam.post(address_of(account), NEW | {"name": "Shop A", "key": OTHER_KEY})
    assert errors(response) == [REFUSED]
    assert "Change “MultiCartAPI”" in response.content.decode()
    assert (Account.objects.get().name, Account.objects.get().key) == ("MultiCartAPI", KEY)


def test_without_a_key_only_the_name_is_changed_without_a_call(
    as_adam: Client, account: Account, vendor: Vendor
) -> None:
    response = as_adam.post(address_of(account), NEW | {"name": "Shop A", "key": ""}, follow=True)
    assert "Saved the account “Shop A”." in response.content.decode()
    assert (Account.objects.get().name, Account.objects.get().key) == ("Shop A", KEY)
    assert vendor.tried == []


def test_an_admin_turns_off_comparing_new_runs_of_an_account(as_adam: Client, account: Account) -> None:
    Account.objects.update(tracks_runs=True)
    page = as_adam.get(address_of(account)).content.decode()
    assert re.search(r'<input[^>]*name="tracks_runs"[^>]*checked', page)
    as_adam.post(address_of(account), NEW | {"key": ""})
    assert not Account.objects.get().tracks_runs
    as_adam.post(address_of(account), NEW | {"key": "", "tracks_runs": "on"})
    assert Account.objects.get().tracks_runs


def test_a_new_address_requires_the_key(
    as_adam: Client, account: Account, settings: Settings, vendor: Vendor
) -> None:
    settings.UPSTREAM_ORIGINS = ["https://multicartapi.com", "https://lab.example"]
    fields = NEW | {"base_url": "https://lab.example/api/v1"}
    response = as_adam.post(address_of(account), fields | {"key": ""})
    assert errors(response) == ["Enter the key as well. The stored key is not sent to a new address."]
    assert Account.objects.get().base_url == BASE
    assert vendor.tried == []
    as_adam.post(address_of(account), fields)
    assert Account.objects.get().base_url == "https://lab.example/api/v1"
    assert vendor.tried == [("https://lab.example/api/v1", KEY)]


def test_the_page_shows_only_the_masked_key(as_adam: Client, account: Account) -> None:
    response = as_adam.get(address_of(account))
    assert "••••••••cdef" in response.content.decode()
    assert shown(response, "key") is None


# --- disconnecting and removing -----------------------------------------------------------------


def test_an_account_without_collections_is_removed_after_confirmation(
    as_adam: Client, account: Account
) -> None:
    assert links(as_adam.get(LIST))["Remove…"] == address_of(account, "disconnect")
    assert "Remove “MultiCartAPI”?" in as_adam.get(address_of(account, "disconnect")).content.decode()
    assert Account.objects.exists()
    response = as_adam.post(address_of(account, "disconnect"), follow=True)
    assert "Removed “MultiCartAPI” and its key." in response.content.decode()
    assert not Account.objects.exists()


@pytest.mark.parametrize("archived", [False, True])
def test_an_account_with_collections_loses_only_its_key(
    as_adam: Client, account: Account, *, archived: bool
) -> None:
    collection = make_remote_collection(account)
    if archived:
        collection.archive()
    assert links(as_adam.get(LIST))["Disconnect…"] == address_of(account, "disconnect")
    assert "Disconnect “MultiCartAPI”?" in as_adam.get(address_of(account, "disconnect")).content.decode()
    assert Account.objects.get().is_connected
    response = as_adam.post(address_of(account, "disconnect"), follow=True)
    message = "Disconnected “MultiCartAPI” and deleted its key. Its collections are kept."
    assert message in response.content.decode()
    kept = Account.objects.get()
    assert (kept.encrypted_key, kept.key_ending) == ("", "")
    assert kept.collections.get() == collection
    assert not {"Disconnect…", "Remove…", "Add collections"} & set(links(response))


def test_a_disconnected_account_is_connected_with_a_new_key(
    as_adam: Client, crawlers: Team, vendor: Vendor
) -> None:
    account = make_account(crawlers, key="")
    make_remote_collection(account)
    assert links(as_adam.get(LIST))["Connect again"] == address_of(account)
    assert "Connect “MultiCartAPI” again" in as_adam.get(address_of(account)).content.decode()
    assert errors(as_adam.post(address_of(account), NEW | {"key": ""})) == ["Enter the account's API key."]
    as_adam.post(address_of(account), NEW | {"key": OTHER_KEY})
    assert Account.objects.get().key == OTHER_KEY
    assert vendor.tried == [(BASE, OTHER_KEY)]


# --- a collection of an account -----------------------------------------------------------------

ADD = "/collections/connect"


def of(account: Account, **fields: object) -> dict[str, Any]:
    return {"account": account.pk, "remote_ids": "7", "name": "Desks", "kind": "officeworks.com.au", **fields}


def test_an_admin_adds_a_collection_after_a_test_call(
    as_adam: Client, account: Account, vendor: Vendor
) -> None:
    response = as_adam.post(ADD, of(account))
    collection = Collection.objects.get()
    assert (collection.team, collection.account, collection.remote_id) == (account.team, account, 7)
    assert (collection.name, collection.kind) == ("Desks", Kind.OFFICEWORKS)
    assert vendor.listed == [(account.pk, 7)]
    assert response["Location"] == f"/collections/{collection.pk}/download"


def test_the_page_for_adding_a_collection_links_to_it(as_adam: Client) -> None:
    assert links(as_adam.get("/collections/add"))["add it from an account"] == ADD


def test_the_accounts_link_selects_it(as_adam: Client, account: Account) -> None:
    other = make_account(account.team, "Shop B")
    assert f"{ADD}?account={other.pk}" in as_adam.get(LIST).content.decode()
    chosen = re.search(
        r'<option value="(\d+)" selected>', as_adam.get(f"{ADD}?account={other.pk}").content.decode()
    )
    assert chosen
    assert int(chosen[1]) == other.pk


@pytest.mark.parametrize("choice", ["x", "", "\0", "9" * 40, "theirs"])
def test_an_unknown_account_in_the_address_is_ignored(
    as_adam: Client, account: Account, theirs: Account, choice: str
) -> None:
    response = as_adam.get(ADD, {"account": theirs.pk if choice == "theirs" else choice})
    assert response.status_code == 200
    assert theirs.name not in response.content.decode()


def test_without_accounts_it_links_to_connecting_one(as_adam: Client) -> None:
    assert links(as_adam.get(ADD))["Connect account"] == CONNECT


@pytest.mark.parametrize(
    "problem", [SourceUnavailable(REFUSED), SourceTimeout(REFUSED), ResultNotFound(REFUSED)]
)
def test_an_unlisted_collection_is_not_added(
    as_adam: Client, account: Account, vendor: Vendor, problem: Exception
) -> None:
    vendor.problem = problem
    response = as_adam.post(ADD, of(account))
    assert errors(response) == [REFUSED]
    assert shown(response, "name") == "Desks"
    assert re.search(r"<textarea[^>]*name=\"remote_ids\"[^>]*>\s*7</textarea>", response.content.decode())
    assert not Collection.objects.exists()


def test_several_collections_get_the_names_and_types_of_their_runs(
    as_adam: Client, laptops: Collection, account: Account, vendor: Vendor
) -> None:
    vendor.runs = [remote_run(89, ready=False), remote_run(88, name="Desks")]
    vendor.runs_of[8] = [
        replace(remote_run(3), files=(upstream_runs.RemoteFile(FileKind.PAGE, 1, "category_asins.json"),))
    ]
    response = as_adam.post(ADD, of(account, remote_ids="7, 8\n9;7", name="", kind=""), follow=True)
    added = account.collections.order_by("remote_id").values_list("remote_id", "name", "kind")
    assert [*added] == [
        (7, "Desks", Kind.AMAZON),
        (8, "Collection 8", Kind.AMAZON_CATEGORY),
        (9, "Desks 2", Kind.AMAZON),
    ]
    message = "Added 3 collections from “MultiCartAPI”: “Desks”, “Collection 8” and “Desks 2”."
    assert message in response.content.decode()


def test_records_reveal_the_shop(as_adam: Client, account: Account, vendor: Vendor) -> None:
    vendor.runs = [remote_run(88, name="Desks")]
    vendor.page = b'[{"url": "https://www.officeworks.com.au/shop/p/desk"}]'
    as_adam.post(ADD, of(account, name="", kind=""))
    assert Collection.objects.get().kind == Kind.OFFICEWORKS


def test_if_one_of_several_collections_fails_none_is_added(
    as_adam: Client, account: Account, vendor: Vendor
) -> None:
    vendor.runs_of[8] = SourceUnavailable("The account “MultiCartAPI” doesn't have this collection.")
    vendor.runs_of[9] = SourceTimeout("The account “MultiCartAPI” took too long to respond.")
    response = as_adam.post(ADD, of(account, remote_ids="7 8 9 10", name=""))
    [error] = errors(response)
    assert error == (
        "8: The account “MultiCartAPI” doesn't have this collection. "
        "9: The account “MultiCartAPI” took too long to respond."
    )
    assert [remote_id for _, remote_id in vendor.listed] == [7, 8, 9]
    assert not Collection.objects.exists()


def test_the_type_of_a_collection_without_runs_must_be_chosen(as_adam: Client, account: Account) -> None:
    response = as_adam.post(ADD, of(account, kind=""))
    assert errors(response) == [
        "This collection has no completed run yet, so its type is unknown. Choose a type."
    ]
    as_adam.post(ADD, of(account, name="", kind=Kind.OFFICEWORKS))
    assert Collection.objects.get().name == "Collection 7"


@pytest.mark.parametrize(
    ("kind", "files", "complaint"),
    [
        (Kind.AMAZON_CATEGORY, (), "Run 88 has no category list. Check the collection's type."),
        (Kind.AMAZON, ("category_asins.json",), "Run 88 has a category list. Check the collection's type."),
    ],
)
def test_a_collection_of_another_type_is_not_added(
    as_adam: Client, account: Account, vendor: Vendor, kind: Kind, files: tuple[str, ...], complaint: str
) -> None:
    listed = tuple(upstream_runs.RemoteFile(FileKind.PAGE, 1, name) for name in files)
    vendor.runs = [replace(remote_run(88), files=listed)]
    assert errors(as_adam.post(ADD, of(account, kind=kind))) == [complaint]
    assert not Collection.objects.exists()


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"remote_ids": ""}, "Enter the ID of a collection at MultiCartAPI."),
        ({"remote_ids": "seven"}, "“seven” isn't an ID. IDs at MultiCartAPI are numbers."),
        ({"remote_ids": "7.5"}, "“7.5” isn't an ID. IDs at MultiCartAPI are numbers."),
        ({"remote_ids": "9" * 5000}, "Enter up to 20 IDs at once."),
        ({"remote_ids": "9" * 41}, "IDs at MultiCartAPI are numbers."),
        ({"remote_ids": " ".join(map(str, range(1, 22)))}, "Enter up to 20 IDs at once."),
        ({"remote_ids": "7, 8"}, "Leave the name empty to add several collections."),
        ({"remote_ids": "0"}, "IDs at MultiCartAPI start at 1."),
        ({"remote_ids": "-7"}, "IDs at MultiCartAPI start at 1."),
        ({"remote_ids": str(2**63)}, "The ID 9223372036854775808 is too large for MultiCartAPI."),
        ({"account": ""}, "Choose an account."),
        ({"account": "x"}, "Your team has no such account."),
        ({"account": 10**30}, "Your team has no such account."),
        ({"name": "Au LAPTOPS"}, "Your team already has a collection named “AU Laptops”."),
        ({"kind": "ebay"}, "Choose one of the options."),
    ],
)
def test_adding_a_collection_refuses_invalid_input_without_a_call(
    as_adam: Client,
    laptops: Collection,
    account: Account,
    vendor: Vendor,
    fields: dict[str, object],
    complaint: str,
) -> None:
    [error] = errors(as_adam.post(ADD, of(account) | fields))
    assert complaint in error
    assert vendor.listed == []
    assert Collection.objects.count() == 1


def test_the_largest_id_is_accepted(as_adam: Client, account: Account) -> None:
    as_adam.post(ADD, of(account, remote_ids=2**63 - 1))
    assert Collection.objects.get().remote_id == 2**63 - 1


@pytest.mark.parametrize("archived", [False, True])
def test_a_duplicate_collection_is_refused_with_its_name(
    as_adam: Client, account: Account, vendor: Vendor, *, archived: bool
) -> None:
    collection = make_remote_collection(account, remote_id=7)
    if archived:
        collection.archive()
    [error] = errors(as_adam.post(ADD, of(account)))
    which = "the archived collection" if archived else "the collection"
    assert error == f"Your team has already added 7 as {which} “AU Laptops”."
    assert vendor.listed == []


def test_the_same_id_at_another_account_is_another_collection(as_adam: Client, account: Account) -> None:
    make_remote_collection(make_account(account.team, "Shop B"), remote_id=7)
    assert as_adam.post(ADD, of(account, name="Chairs")).status_code == 302
    assert Collection.objects.filter(remote_id=7).count() == 2


def test_a_disconnected_account_is_not_called(as_adam: Client, crawlers: Team, vendor: Vendor) -> None:
    account = make_account(crawlers, key="")
    assert "MultiCartAPI (disconnected)" in as_adam.get(ADD).content.decode()
    assert errors(as_adam.post(ADD, of(account))) == [
        "The account “MultiCartAPI” is disconnected. Enter a new key for it under Accounts."
    ]
    assert vendor.listed == []


def test_an_account_of_another_team_is_not_called(
    as_adam: Client, account: Account, theirs: Account, vendor: Vendor
) -> None:
    [error] = errors(as_adam.post(ADD, of(theirs)))
    assert error == "Your team has no such account. It may have been removed."
    assert vendor.listed == []


def test_a_member_cannot_add_collections(as_bob: Client, account: Account, vendor: Vendor) -> None:
    assert as_bob.get(ADD).status_code == 403
    assert as_bob.post(ADD, of(account)).status_code == 403
    assert vendor.listed == []


# --- secrecy of the key -------------------------------------------------------------


def test_the_key_is_never_shown_logged_or_stored_unencrypted(
    as_adam: Client, vendor: Vendor, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    vendor.problem = SourceUnavailable(REFUSED)
    responses = [as_adam.post(CONNECT, NEW), as_adam.post(CONNECT, NEW | {"name": ""})]
    vendor.problem = None
    responses.append(as_adam.post(CONNECT, NEW, follow=True))
    account = Account.objects.get()
    responses += [as_adam.get(LIST), as_adam.get(address_of(account)), as_adam.get(ADD)]
    responses += [as_adam.post(address_of(account), NEW | {"base_url": "x"}), as_adam.get("/collections/")]
    responses += [as_adam.post(ADD, of(account)), as_adam.get(address_of(account, "disconnect"))]
    responses.append(as_adam.post(address_of(account), NEW | {"key": OTHER_KEY}, follow=True))
    for response in responses:
        said = response.content.decode() + str(response.headers) + response.cookies.output()
        assert "canary" not in said
    assert "canary" not in caplog.text
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM collections_app_account")
        [row] = cursor.fetchall()
        cursor.execute("SELECT encrypted_key FROM collections_app_account")
        [(stored,)] = cursor.fetchall()
    assert "canary" not in repr(row)
    assert encryption.decrypt(stored) == OTHER_KEY


def test_an_error_report_contains_no_key(
    adam: User, vendor: Vendor, caplog: pytest.LogCaptureFixture
) -> None:
    client = Client(raise_request_exception=False)
    client.force_login(adam)
    vendor.problem = RuntimeError("a mistake of ours")
    response = client.post(CONNECT, NEW)
    assert response.status_code == 500
    assert "a mistake of ours" in caplog.text
    assert "canary" not in response.content.decode() + caplog.text


@pytest.fixture
def as_oscar(db: None) -> Client:
    """Oscar, an operator without a team."""
    client = Client()
    client.force_login(User.objects.create_superuser("oscar@example.com", PASSWORD))
    return client


def test_an_operator_sees_accounts_without_their_keys(as_oscar: Client, account: Account) -> None:
    address = "/admin/collections_app/account/"
    for where in (address, f"{address}?q=multi", f"{address}{account.pk}/change/"):
        response = as_oscar.get(where)
        assert response.status_code == 200
        text = response.content.decode()
        assert BASE in text
        assert not [secret for secret in (KEY, account.encrypted_key, account.key_ending) if secret in text]


@pytest.mark.parametrize("what", ["add/", "{}/change/", "{}/delete/"])
def test_an_operator_cannot_change_accounts(as_oscar: Client, account: Account, what: str) -> None:
    fields = {"name": "x", "encrypted_key": "x", "post": "yes"}
    response = as_oscar.post(f"/admin/collections_app/account/{what.format(account.pk)}", fields)
    assert response.status_code == 403
    assert (Account.objects.get().name, Account.objects.get().key) == ("MultiCartAPI", KEY)


def test_an_operator_cannot_change_a_collections_account(as_oscar: Client, account: Account) -> None:
    collection = make_remote_collection(account, remote_id=4711)
    address = f"/admin/collections_app/collection/{collection.pk}/change/"
    assert "4711" in as_oscar.get(address).content.decode()
    as_oscar.post(address, {"name": "Desks", "account": "", "remote_id": "1"})
    collection.refresh_from_db()
    assert (collection.account, collection.remote_id) == (account, 4711)


# --- concurrent changes --------------------

at_once = pytest.mark.django_db(transaction=True)


@at_once
@pytest.mark.parametrize("what", ["connect", "change", "disconnect", "collection"])
def test_an_admin_removed_concurrently_changes_nothing(
    as_adam: Client, adam: User, account: Account, what: str
) -> None:
    address = ADD if what == "collection" else CONNECT if what == "connect" else address_of(account, what)
    fields = of(account) if what == "collection" else NEW | {"name": "Shop A", "key": OTHER_KEY}
    response = ask_meanwhile(adam.memberships.get().remove, lambda: as_adam.post(address, fields))
    assert response.status_code == 403
    assert "You are no longer in Crawlers." in response.content.decode()
    assert (Account.objects.get().name, Account.objects.get().key) == ("MultiCartAPI", KEY)
    assert not Collection.objects.exists()


@at_once
@pytest.mark.parametrize("what", ["connect", "change", "disconnect", "collection"])
def test_an_admin_demoted_concurrently_changes_nothing(
    as_adam: Client, adam: User, account: Account, what: str
) -> None:
    address = ADD if what == "collection" else CONNECT if what == "connect" else address_of(account, what)
    fields = of(account) if what == "collection" else NEW | {"name": "Shop A", "key": OTHER_KEY}
    membership = adam.memberships.get()
    response = ask_meanwhile(
        lambda: membership.change_role(Role.MEMBER), lambda: as_adam.post(address, fields)
    )
    assert response.status_code == 403
    assert (Account.objects.get().name, Account.objects.get().key) == ("MultiCartAPI", KEY)
    assert not Collection.objects.exists()


@at_once
@pytest.mark.parametrize("what", ["change", "disconnect"])
def test_an_account_removed_concurrently_is_not_found(as_adam: Client, account: Account, what: str) -> None:
    address = address_of(account, what)
    response = ask_meanwhile(account.delete, lambda: as_adam.post(address, NEW | {"key": OTHER_KEY}))
    assert response.status_code == 404
    assert "It may have been removed." in response.content.decode()
    assert not Account.objects.exists()


@at_once
def test_two_accounts_connected_concurrently_need_different_names(as_adam: Client, crawlers: Team) -> None:
    response = ask_meanwhile(
        lambda: make_account(crawlers, key=OTHER_KEY), lambda: as_adam.post(CONNECT, NEW)
    )
    assert errors(response) == ["Your team already has an account named “MultiCartAPI”."]
    assert Account.objects.get().key == OTHER_KEY


@at_once
def test_renaming_keeps_concurrent_changes(as_adam: Client, account: Account) -> None:
    def replace_key() -> None:
        account.base_url = "https://multicartapi.com/api/v2"
        account.set_key(OTHER_KEY)
        account.save()

    fields = NEW | {"name": "Shop A", "key": ""}
    response = ask_meanwhile(replace_key, lambda: as_adam.post(address_of(account), fields))
    assert response.status_code == 302
    changed = Account.objects.get()
    assert (changed.name, changed.key) == ("Shop A", OTHER_KEY)
    assert changed.base_url == "https://multicartapi.com/api/v2"


@at_once
@pytest.mark.parametrize("change", ["removed", "disconnected", "taken"])
def test_a_collection_is_validated_again_after_the_call(
    as_adam: Client, account: Account, change: str
) -> None:
    def meanwhile() -> None:
        if change == "removed":
            account.delete()
        elif change == "disconnected":
            Account.objects.update(encrypted_key="")
        else:
            make_remote_collection(account, remote_id=7)

    fields = of(account)
    make_account(account.team, "Shop B")
    [error] = errors(ask_meanwhile(meanwhile, lambda: as_adam.post(ADD, fields)))
    complaints = {"removed": "no such account", "disconnected": "is disconnected", "taken": "AU Laptops"}
    assert complaints[change] in error
    assert Collection.objects.count() == (change == "taken")


@at_once
def test_an_account_is_called_outside_a_transaction(
    as_adam: Client, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside: list[bool] = []

    def note(*args: object, **options: object) -> upstream_runs.Listing:
        inside.append(connection.in_atomic_block)
        return upstream_runs.Listing([])

    monkeypatch.setattr(upstream_runs, "try_key", note)
    monkeypatch.setattr(discovery, "list_runs", note)
    as_adam.post(CONNECT, NEW | {"name": "Shop A"})
    as_adam.post(address_of(account), NEW)
    as_adam.post(ADD, of(account))
    assert inside == [False, False, False]
