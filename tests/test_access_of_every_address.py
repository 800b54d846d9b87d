"""Who may call which address with which method: the entire site in one table.

An address that is not in the table fails a test.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, path
from django.utils import timezone
from pytest_django import Settings

from collections_app.models import Account, ApiKey, Collection, FileKind, ResultFile, Run, State, User
from collections_app.system import background
from dashboard.urls import urlpatterns as site
from tests.conftest import signed_in
from tests.support import responses
from tests.support.channels import make_webhook
from tests.support.responses import Response
from tests.support.tools import is_thorough

PEOPLE = ("anonymous", "teamless", "stranger", "member", "admin", "owner")
# Views have the same reply to HEAD as to GET, and most have none of their own to the others.
# POST comes last, because it may delete what the others are about.
METHODS = ("GET", *(("HEAD", "OPTIONS", "PUT", "TRACE", "PATCH", "DELETE") if is_thorough() else ()), "POST")
FORM = "GET HEAD POST"
CLASSIC = "GET HEAD OPTIONS"  # what Django's own views know
CLASSIC_FORM = "GET HEAD OPTIONS PUT POST"
EVERYBODY_IN = "in in in in in in"
SAVED = "collections/101/settings/exports/1"
LIST = "api/v1/schedules/collections/results/download/"

# The responses that each of PEOPLE gets at an address, in that order:
#   in      the view is called; for methods that aren't listed, it returns 405
#   in404   likewise, but the view finds nothing that belongs to the user
#   any     the view is called for every method
#   login   a redirect to the sign-in page for every method
#   403     403 (or 404 if the object doesn't exist) for every method
#   404     404 for every method
CHANNELS = "team/notifications/"
OF_ANOTHER = "login 403 in404 in404 in in"  # a channel that isn't the member's own
TABLE = {
    "home": ("", "GET HEAD", "login in in in in in"),
    "overview_live": ("overview/live", "GET HEAD", "login 403 in in in in"),
    "last_night": ("last-night", "GET HEAD POST", "login 403 in in in in"),
    "last_night_zip": ("last-night.zip", "GET HEAD", "login 403 in404 in in in"),
    "last_night_workbook": ("last-night.xlsx", "GET HEAD", "login 403 in404 in in in"),
    "collections": ("collections/", "GET HEAD", "login 403 in in in in"),
    "collection_favorites": ("collections/favorites", "POST", "login 403 in in in in"),
    "collection_add": ("collections/add", FORM, "login 403 in 403 in in"),
    "collection_connect": ("collections/connect", FORM, "login 403 in 403 in in"),
    "collection": ("collections/101/", "GET HEAD", "login 403 403 in in in"),
    "collection_rename": ("collections/101/rename", FORM, "login 403 403 403 in in"),
    "collection_archive": ("collections/101/archive", FORM, "login 403 403 403 in in"),
    "collection_restore": ("collections/101/restore", "POST", "login 403 403 403 in in"),
    "collection_settings": ("collections/101/settings", "GET HEAD", "login 403 403 in in in"),
    "collection_schedule": ("collections/101/settings/schedule", "POST", "login 403 403 403 in in"),
    "collection_type": ("collections/101/settings/type", "POST", "login 403 403 403 in in"),
    "collection_retention": ("collections/101/settings/retention", FORM, "login 403 403 403 in in"),
    "collection_currency": ("collections/101/settings/currency", "POST", "login 403 403 403 in in"),
    "collection_owner": ("collections/101/settings/owner", "POST", "login 403 403 403 in in"),
    "collection_key": ("collections/101/settings/key", "GET HEAD", "login 403 403 in in in"),
    "collection_key_save": ("collections/101/settings/key/save", "POST", "login 403 403 403 in in"),
    "collection_pause": ("collections/101/settings/pause", "POST", "login 403 403 403 in in"),
    "collection_acknowledge": ("collections/101/settings/acknowledge", "POST", "login 403 403 in in in"),
    "products": ("products/?q=B01", "GET HEAD", "login 403 in in in in"),
    "collection_movers": ("collections/101/movers", "GET HEAD", "login 403 403 in in in"),
    "collection_watchlist": ("collections/101/watchlist", FORM, "login 403 403 in in in"),
    "product": ("collections/101/products/B01", "GET HEAD", "login 403 403 in404 in404 in404"),
    "download": ("collections/101/download", "GET HEAD", "login 403 403 in in in"),
    "run": ("collections/101/runs/1/", "GET HEAD", "login 403 403 in in in"),
    "run_facts": ("collections/101/runs/1/facts", "GET HEAD", "login 403 403 in in in"),
    "run_changes": ("collections/101/runs/1/changes", "GET HEAD", "login 403 403 in in in"),
    "run_changes_file": ("collections/101/runs/1/changes.csv", "GET HEAD", "login 403 403 in in in"),
    "run_histograms": ("collections/101/runs/1/histograms", "GET HEAD", "login 403 403 in in in"),
    "run_values": ("collections/101/runs/1/values", "GET HEAD", "login 403 403 in404 in404 in404"),
    "record": ("collections/101/runs/1/records/1", "GET HEAD", "login 403 403 in404 in404 in404"),
    "collections_live": ("collections/live", "GET HEAD", "login 403 in in in in"),
    "run_live": ("collections/101/runs/1/live", "GET HEAD", "login 403 403 in in in"),
    "live": ("collections/101/live", "GET HEAD", "login 403 403 in in in"),
    "archive_size": ("collections/101/runs/1/archive-size", "GET HEAD", "login 403 403 in404 in404 in404"),
    "keep": ("collections/101/keep", "POST", "login 403 403 403 in404 in404"),  # its runs are ours
    "upload": ("collections/101/upload", FORM, "login 403 403 403 in in"),
    "result_file": ("collections/101/runs/1/files/a.json", "GET HEAD", "login 403 403 in in in"),
    "run_pages": ("collections/101/runs/1/pages", "GET HEAD", "login 403 403 in in in"),
    "latest": ("collections/101/latest/", "GET HEAD", "login 403 403 in in in"),
    "latest_rest": ("collections/101/latest/manifest.json", "GET HEAD", "login 403 403 in in in"),
    "run_manifest": ("collections/101/runs/1/manifest.json", "GET HEAD", "login 403 403 in in in"),
    "run_all": ("collections/101/runs/1/all.zip", "GET HEAD", "login 403 403 in in in"),
    "selection": ("collections/101/selection", "GET HEAD", "login 403 403 in in in"),
    "selection_zip": ("collections/101/selection.zip?runs=1", "GET HEAD", "login 403 403 in in in"),
    "selection_records": ("collections/101/selection.csv?runs=1", "GET HEAD", "login 403 403 in in in"),
    "selection_export": ("collections/101/selection/export", FORM, "login 403 403 in in in"),
    "verify": ("collections/101/runs/1/verify", FORM, "login 403 403 in in in"),
    # Its records weren't counted, so it isn't a plain list.
    "selection_json": ("collections/101/selection.json?runs=1", "GET HEAD", "login 403 403" + " in404" * 3),
    "run_export": ("collections/101/runs/1/export", FORM, "login 403 403 in in in"),
    "run_records": ("collections/101/runs/1/records.csv", "GET HEAD", "login 403 403 in in in"),
    "run_export_save": ("collections/101/runs/1/export/save", "POST", "login 403 403 in in in"),
    "run_saved_export": ("collections/101/runs/1/exports/a.csv", "GET HEAD", "login 403 403" + " in404" * 3),
    "saved_export_rename": (f"{SAVED}/rename", "POST", "login 403 403 in404 in404 in404"),
    "saved_export_delete": (f"{SAVED}/delete", "POST", "login 403 403 in404 in404 in404"),
    "run_duplicates": ("collections/101/runs/1/duplicates", "GET HEAD", "login 403 403 in in in"),
    "run_columns": ("collections/101/runs/1/columns", "POST", "login 403 403 in in in"),
    "run_commands": ("collections/101/runs/1/commands", "GET HEAD", "login 403 403 in in in"),
    "run_pin": ("collections/101/runs/1/pin", "POST", "login 403 403 in in in"),
    "run_quality": ("collections/101/runs/1/quality", "GET HEAD", "login 403 403 in in in"),
    "verdict_overrule": ("collections/101/runs/1/quality/overrule", "POST", "login 403 403 in in in"),
    "run_kind": ("collections/101/runs/1/quality/kind", "POST", "login 403 403 in in in"),
    "pin_leaving": ("collections/101/pin-leaving", "POST", "login 403 403 in in in"),
    "run_delete": ("collections/101/runs/1/delete", FORM, "login 403 403 403 in in"),
    "members": ("members/", "GET HEAD", "login 403 in in in in"),
    "member_add": ("members/add", FORM, "login 403 in 403 in in"),
    "member_role": ("members/{bob}/role", FORM, "login 403 in404 403 in in"),
    "member_remove": ("members/{bob}/remove", FORM, "login 403 in404 403 in in"),
    "member_password_link": ("members/{bob}/password-link", FORM, "login 403 in404 403 in in"),
    "accounts": ("team/accounts/", "GET HEAD", "login 403 in 403 in in"),
    "account_connect": ("team/accounts/connect", FORM, "login 403 in 403 in in"),
    "account_change": ("team/accounts/{account}/change", FORM, "login 403 in404 403 in in"),
    "account_disconnect": ("team/accounts/{account}/disconnect", FORM, "login 403 in404 403 in in"),
    "notifications": (CHANNELS, "GET HEAD", "login 403 in in in in"),
    "channel_add": (f"{CHANNELS}add", FORM, "login 403 in in in in"),
    "channel": (f"{CHANNELS}{{channel}}/", "GET HEAD", OF_ANOTHER),
    "channel_change": (f"{CHANNELS}{{channel}}/change", FORM, OF_ANOTHER),
    "channel_remove": (f"{CHANNELS}{{channel}}/remove", FORM, OF_ANOTHER),
    "channel_rotate": (f"{CHANNELS}{{channel}}/rotate", FORM, "login 403 in404 403 in in"),
    "channel_test": (f"{CHANNELS}{{channel}}/test", "POST", OF_ANOTHER),
    "channel_resend": (f"{CHANNELS}{{channel}}/resend", "POST", OF_ANOTHER),
    "channel_switch_on": (f"{CHANNELS}{{channel}}/switch-on", "POST", OF_ANOTHER),
    "rule_add": (f"{CHANNELS}{{channel}}/rules/add", FORM, OF_ANOTHER),
    "rule_change": (f"{CHANNELS}rules/{{rule}}/change", FORM, OF_ANOTHER),
    "rule_remove": (f"{CHANNELS}rules/{{rule}}/remove", "POST", OF_ANOTHER),
    "unsubscribe": ("unsubscribe/x", FORM, "in404 in404 in404 in404 in404 in404"),
    "team_settings": ("team/settings", FORM, "login 403 in 403 in in"),
    "profile": ("profile/", FORM, "login in in in in in"),
    "theme_change": ("profile/theme", "POST", "login in in in in in"),
    "pull_client": ("profile/pull.py", "GET HEAD", "login in in in in in"),
    "key_create": ("profile/keys", "POST", "login 403 in in in in"),
    "key_revoke": ("keys/{bobs_key}/revoke", FORM, "login 403 in404 in in in"),
    "team_switch": ("team", "POST", "login in403 in403 in in in"),
    "operations": ("operations/", "GET HEAD", "login 403 403 403 403 403"),
    "healthz": ("healthz", "", "any any any any any any"),
    "readyz": ("readyz", "", "any any any any any any"),
    "metrics": ("metrics", "", "404 404 404 404 404 404"),  # without a token
    # Signed-in users are redirected.
    "account_login": ("accounts/login/", CLASSIC_FORM, "in any any any any any"),
    "account_logout": ("accounts/logout/", "GET HEAD OPTIONS POST", EVERYBODY_IN),
    "account_inactive": ("accounts/inactive/", CLASSIC, EVERYBODY_IN),
    "account_change_password": ("accounts/password/change/", CLASSIC_FORM, "login in in in in in"),
    "account_reset_password": ("accounts/password/reset/", "", "any any any any any any"),
    "account_reset_password_done": ("accounts/password/reset/done/", CLASSIC, EVERYBODY_IN),
    "account_reset_password_from_key": ("accounts/password/reset/key/1-x/", "", "any any any any any any"),
    "api:openapi-view": ("api/v1/docs", "", "login any any any any any"),
    "api:openapi-json": ("api/v1/openapi.json", "", "login any any any any any"),
    # The API ignores sessions.
    "api:list_run_results": (LIST, "POST", "in401 " * 6),
    "api:download_result_file": ("api/v1/results/101/1/a.json", "GET HEAD", "in401 " * 6),
    "api:list_collections": ("api/v1/collections", "GET HEAD", "in401 " * 6),
    "api:list_events": ("api/v1/events", "GET HEAD", "in401 " * 6),
    "api:list_collection_runs": ("api/v1/collections/101/runs", "GET HEAD", "in401 " * 6),
    "api:run_manifest": ("api/v1/collections/101/runs/1/manifest.json", "GET HEAD", "in401 " * 6),
    "api:latest_manifest": ("api/v1/collections/101/latest/manifest.json", "GET HEAD", "in401 " * 6),
    "api:run_all": ("api/v1/collections/101/runs/1/all.zip", "GET HEAD", "in401 " * 6),
    "api:latest_all": ("api/v1/collections/101/latest/all.zip", "GET HEAD", "in401 " * 6),
    "api:selection_zip": ("api/v1/collections/101/selection.zip?runs=1", "GET HEAD", "in401 " * 6),
    "api:selection_json": ("api/v1/collections/101/selection.json?runs=1", "GET HEAD", "in401 " * 6),
    "api:selection_records": ("api/v1/collections/101/selection.csv?runs=1", "GET HEAD", "in401 " * 6),
    "api:run_records": ("api/v1/collections/101/runs/1/records.csv", "GET HEAD", "in401 " * 6),
    "api:latest_records": ("api/v1/collections/101/latest/records.csv", "GET HEAD", "in401 " * 6),
    "api:run_saved_export": ("api/v1/collections/101/runs/1/exports/a.csv", "GET HEAD", "in401 " * 6),
    "api:latest_saved_export": ("api/v1/collections/101/latest/exports/a.csv", "GET HEAD", "in401 " * 6),
    "api:run_quality": ("api/v1/collections/101/runs/1/quality.json", "GET HEAD", "in401 " * 6),
    "api:run_changes": ("api/v1/collections/101/runs/1/changes.json", "GET HEAD", "in401 " * 6),
    "api:latest_changes": ("api/v1/collections/101/latest/changes.json", "GET HEAD", "in401 " * 6),
    "api:product_history": ("api/v1/collections/101/products/B01.json", "GET HEAD", "in401 " * 6),
    "api:run_change_file": ("api/v1/collections/101/runs/1/changes.csv", "GET HEAD", "in401 " * 6),
    "api:latest_change_file": ("api/v1/collections/101/latest/changes.csv", "GET HEAD", "in401 " * 6),
    "api:api-root": ("api/v1/", "", "404 404 404 404 404 404"),
    "api/": ("api/anything/else", "", "404 404 404 404 404 404"),
    "admin": ("admin/", "", "login 403 403 403 403 403"),
}  # fmt: skip

# The responses that the owner of each key gets from the API.
KEYS = ("no key", "a stranger's key", "a revoked key", "a removed member's key", "a member's key")
SCRIPTS = {
    "api:list_run_results": "401 403 401 401 200",
    "api:download_result_file": "401 403 401 401 200",
    "api:list_collections": "401 200 401 401 200",  # each sees their own
    "api:list_events": "401 200 401 401 200",
    "api:list_collection_runs": "401 403 401 401 200",
    "api:run_manifest": "401 403 401 401 200",
    "api:latest_manifest": "401 403 401 401 200",
    "api:run_all": "401 403 401 401 200",
    "api:latest_all": "401 403 401 401 200",
    "api:selection_zip": "401 403 401 401 200",
    "api:selection_json": "401 403 401 401 404",
    "api:selection_records": "401 403 401 401 200",
    "api:run_records": "401 403 401 401 200",
    "api:latest_records": "401 403 401 401 200",
    "api:run_saved_export": "401 403 401 401 404",
    "api:latest_saved_export": "401 403 401 401 404",
    "api:product_history": "401 403 401 401 200",
    "api:run_quality": "401 403 401 401 200",
    "api:run_changes": "401 403 401 401 404",
    "api:latest_changes": "401 403 401 401 404",
    "api:run_change_file": "401 403 401 401 404",
    "api:latest_change_file": "401 403 401 401 404",
}


def walk(
    patterns: list[URLPattern | URLResolver], before: str = "", space: str = ""
) -> Iterator[tuple[str, URLPattern | URLResolver]]:
    """Return every address by its name, or by its route if it has no name. The admin counts as one."""
    for pattern in patterns:
        route = f"{before}{pattern.pattern}"
        if isinstance(pattern, URLPattern):
            yield f"{space}{pattern.name}" if pattern.name else route, pattern
        elif pattern.namespace == "admin":
            yield "admin", pattern
        else:
            yield from walk(
                pattern.url_patterns, route, f"{pattern.namespace}:" if pattern.namespace else space
            )


SITE = dict(walk(get_resolver("dashboard.urls").url_patterns))


def test_the_table_contains_every_address_of_the_site() -> None:
    assert set(TABLE) == set(SITE)


@pytest.mark.parametrize("name", TABLE)
def test_each_name_has_its_address_in_the_table(name: str) -> None:
    where = TABLE[name][0].format(bob=1, bobs_key=1, account=1, channel=1, rule=1)
    found = get_resolver("dashboard.urls").resolve(f"/{where.partition('?')[0]}")
    assert name in {found.view_name, found.namespace, found.route}


@pytest.mark.parametrize("name", [name for name in SITE if name != "admin"])
def test_every_view_declares_who_may_call_it(name: str) -> None:
    assert hasattr(SITE[name].callback, "access_rule")


# --- people -------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def without_rate_limits(settings: Settings) -> None:
    """Let everyone call every method without a limit."""
    settings.ACCOUNT_RATE_LIMITS = False


@pytest.fixture(autouse=True)
def verified_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Verify in the test's thread, because another one would wait for the test's transaction."""
    monkeypatch.setattr(background, "in_background", lambda work, **_: work())


@pytest.fixture
def file(laptops: Collection, results_folder: Path) -> ResultFile:
    """A file of a Completed run of the Crawlers."""
    run = Run.objects.create_next(laptops)
    results_folder.mkdir()
    (results_folder / "key").write_bytes(b"[]")
    file: ResultFile = run.files.create(
        kind=FileKind.PAGE, position=1, name="a.json", key="key", size=2, modified=timezone.now()
    )
    Run.objects.update(state=State.READY, file_count=1)
    return file


@dataclass(frozen=True)
class Cast:
    """The users by their relation to the Crawlers, and the users that addresses are about."""

    people: dict[str, User | None]
    ids: dict[str, int]

    def client(self, who: str) -> Client:
        user = self.people[who]
        return signed_in(user) if user else Client()


@pytest.fixture
def cast(*, alice: User, adam: User, bob: User, bobs_key: str, carol: User, eve: User) -> Cast:
    team = bob.memberships.get().team
    channel = make_webhook(team)
    return Cast(
        dict(zip(PEOPLE, (None, eve, carol, bob, adam, alice), strict=True)),
        {
            "bob": bob.memberships.get().pk,
            "bobs_key": ApiKey.objects.get().pk,
            "account": Account.objects.create(team=team, name="A").pk,
            "channel": channel.pk,
            "rule": channel.rules.get().pk,
        },
    )


@pytest.fixture
def keys(adam: User, alice: User, bobs_key: str, carols_key: str) -> dict[str, str]:
    revoked, revoked_text = ApiKey.objects.issue(alice.memberships.get(), "revoked")
    revoked.revoke()
    _, removed_text = ApiKey.objects.issue(adam.memberships.get(), "removed")
    adam.memberships.get().remove()
    return dict(zip(KEYS, ("", carols_key, revoked_text, removed_text, bobs_key), strict=True))


@pytest.mark.no_cover
@pytest.mark.django_db
@pytest.mark.parametrize("name", TABLE)
def test_people_get_the_responses_in_the_table(
    name: str, cast: Cast, file: ResultFile, results_folder: Path
) -> None:
    where, methods, met = TABLE[name]
    team = {"team": file.run.collection.team_id}
    for who, expected in zip(PEOPLE, met.split(), strict=True):
        with undone(results_folder / file.key):
            client = cast.client(who)
            for method in METHODS:
                known = method in methods.split() or not expected.startswith("in")
                response = call(client, method, f"/{where.format(**cast.ids)}", team)
                wanted = expected.removeprefix("in") or "any" if known else "405"
                assert outcome(response) == wanted, (who, method)


@contextmanager
def undone(stored: Path) -> Iterator[None]:
    """Undo changes of rows and of the stored file."""
    content = stored.read_bytes()
    before = transaction.savepoint()
    yield
    transaction.savepoint_rollback(before)
    stored.write_bytes(content)


def call(client: Client, method: str, address: str, data: dict[str, int]) -> Response:
    response: Response
    response = client.post(address, data) if method == "POST" else client.generic(method, address)
    responses.content(response)  # reads and closes a file
    return response


def outcome(response: Response) -> str:
    """Return "login", the status of a refusal, or "any" if the view was called."""
    if response.headers.get("Location", "").startswith("/accounts/login/?next="):
        return "login"
    status = response.status_code
    if status == 200 and response.headers["Content-Type"] == "application/json":
        # For scripts, the status is in the envelope. Responses to HEAD have no body.
        status = (
            response.json().get("code", 200)
            if response.content
            else 405
            if "Allow" in response.headers
            else 200
        )
    return str(status) if status in {401, 403, 404, 405} else "any"


@pytest.mark.django_db
@pytest.mark.parametrize(
    "address",
    ["", "login/", "logout/", "password_change/", "jsi18n/", "collections_app/apikey/", "nothing/at/all"],
)
def test_the_admin_is_for_operators(client: Client, alice: User, address: str) -> None:
    for method in METHODS:
        assert outcome(call(client, method, f"/admin/{address}", {})) == "login"
    client.force_login(alice)
    for method in METHODS:
        assert outcome(call(client, method, f"/admin/{address}", {})) == "403"


@pytest.mark.django_db
@pytest.mark.parametrize("address", ["/admin/", "/operations/"])
def test_operators_can_open_their_pages(client: Client, address: str) -> None:
    client.force_login(User.objects.create_superuser("operator@example.com", "secret"))
    assert client.get(address).status_code == 200
    User.objects.update(is_staff=False)
    assert client.get(address).status_code == 403


# --- scripts ------------------------------------------------------------------------------------


@pytest.mark.django_db
@pytest.mark.parametrize("whose", KEYS)
@pytest.mark.parametrize("name", SCRIPTS)
def test_keys_get_the_responses_in_the_table(
    name: str, whose: str, keys: dict[str, str], file: ResultFile
) -> None:
    where, methods, _ = TABLE[name]
    expected = dict(zip(KEYS, SCRIPTS[name].split(), strict=True))[whose]
    for headers in headers_with(keys[whose]):
        for method in METHODS:
            response = Client().generic(method, f"/{where}", b'{"collection_id": 101}', headers=headers)
            responses.content(response)
            wanted = expected if method in methods.split() else "405"
            assert outcome(response) == wanted.replace("200", "any"), (method, headers.keys())


def headers_with(key: str) -> list[dict[str, str]]:
    """Return the headers in which a script can send a key."""
    return [{"x-api-key": key}, {"Authorization": f"Bearer {key}"}, {"Authorization": f"Token {key}"}]


# --- undeclared views ---------------------------------------------------------------------------


def silent(request: HttpRequest) -> HttpResponse:
    """Respond without declaring who may call this view."""
    return HttpResponse("a secret")


urlpatterns = [path("silent", silent), *site]


@pytest.mark.django_db
@pytest.mark.urls(__name__)
@pytest.mark.parametrize("who", PEOPLE)
def test_a_view_without_a_declaration_is_refused_to_everyone(who: str, cast: Cast) -> None:
    client = cast.client(who)
    for method in METHODS:
        response = call(client, method, "/silent", {})
        assert response.status_code == 403
        assert b"a secret" not in response.content
