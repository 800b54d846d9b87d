"""No input causes a status of 5xx, a traceback, or access to the data of another team."""

import json
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote, quote_from_bytes

import pytest
from django.test import Client
from django.utils import timezone
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pytest_django import Settings

from collections_app.models import Collection, FileKind, Run, State, Team, User
from tests.conftest import PASSWORD, signed_in
from tests.support import responses
from tests.support.previews import at_once  # noqa: F401
from tests.support.responses import Response
from tests.support.tools import examples

SECRET = b"no one else may read this"
OURS = b"ours"
API = "/api/v1/results"
LIST = "/api/v1/schedules/collections/results/download/"

# What a request creates, such as a collection, doesn't affect the next one: all inputs of a test
# may meet the same database.
every_input = settings(max_examples=examples(60), suppress_health_check=[HealthCheck.function_scoped_fixture])

text = st.text(st.characters(exclude_categories=["Cs"]))
tricky = st.sampled_from(
    [
        "..",
        "/",
        "\\",
        "\0",
        "%2F",
        "%00",
        "a.json",
        "secret.json",
        "\n",
        "\r\n",
        " ",
        "%",
        "?",
        "#",
        "'",
        '"',
        ";",
        "\ufeff",
    ]
)
names = text | st.lists(tricky | text, max_size=8).map("".join) | st.text("a.json/\\%", max_size=300)
numbers = st.integers() | st.sampled_from([2**31, 2**63 - 1, 2**63, 2**64, 10**4000])
# What an address may have between its slashes.
segments = st.one_of(
    st.integers(-2, 120).map(str),
    numbers.map(str),
    names.map(lambda name: quote(name, safe="")),
    st.binary(max_size=20).map(quote_from_bytes),
)
header_values = st.text(st.characters(min_codepoint=32, max_codepoint=255))

pytestmark = [pytest.mark.django_db, pytest.mark.no_cover]


def _store(run: Run, folder: Path, name: str, content: bytes) -> None:
    folder.mkdir(exist_ok=True)
    (folder / f"{run.pk}").write_bytes(content)
    run.files.create(
        kind=FileKind.PAGE, position=1, name=name, key=f"{run.pk}", size=len(content), modified=timezone.now()
    )
    Run.objects.filter(pk=run.pk).update(state=State.READY, file_count=1)


@pytest.fixture(autouse=True)
def files(laptops: Collection, secret_plans: Collection, results_folder: Path) -> None:
    """A file of the Crawlers (101/1/a.json) and one of the Strangers."""
    _store(Run.objects.create_next(laptops), results_folder, "a.json", OURS)
    _store(Run.objects.create_next(secret_plans), results_folder, "secret.json", SECRET)


def check(response: Response) -> bytes:
    """Check that a response is acceptable for any input, and return its body."""
    body = responses.content(response)
    assert response.status_code < 500
    shown = body.replace(b"pull.py", b"")  # the program for scripts, which is offered by its name
    for forbidden in (SECRET, b"Secret plans", b"Traceback", b".py", b"collections_app", b"site-packages"):
        assert forbidden not in shown
    return body


def check_envelope(response: Response) -> int:
    body = check(response)
    envelope = json.loads(body)
    assert list(envelope) == ["code", "data", "status"]
    code: int = envelope["code"]
    assert code < 500
    return code


# --- the API ------------------------------------------------------------------------------------


@every_input
@given(name=names)
@example("a.json")
@example("secret.json")
@example("../2/secret.json")
def test_any_file_name(client: Client, bobs_key: str, name: str) -> None:
    response = client.get(f"{API}/101/1/{quote(name, safe='')}", headers={"x-api-key": bobs_key})
    assert response.status_code == (200 if name == "a.json" else 404)
    assert check(response) == OURS or name != "a.json"


@every_input
@given(collection=segments, run=segments, name=segments)
@example("101", "1", "a.json")
def test_any_address_of_a_file(client: Client, bobs_key: str, collection: str, run: str, name: str) -> None:
    check(client.get(f"{API}/{collection}/{run}/{name}", headers={"x-api-key": bobs_key}))


@every_input
@given(header=header_values | st.from_regex(r"bytes=([0-9]{0,22}-[0-9]{0,22},?){1,3}", fullmatch=True))
@example("bytes=0-1")
def test_any_range(client: Client, bobs_key: str, header: str) -> None:
    response = client.get(f"{API}/101/1/a.json", headers={"x-api-key": bobs_key, "Range": header})
    assert response.status_code in {200, 206, 416}
    assert response.status_code == 416 or check(response) in OURS


@every_input
@given(
    name=st.sampled_from(
        ["If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since", "If-Range"]
    ),
    value=header_values
    | st.sampled_from(
        ["Sat, 99 Jun 2026 25:61:61 GMT", 'W/"', '"' * 50, "*", "Sat, 01 Jan 0000 00:00:00 GMT"]
    ),
)
def test_any_condition(client: Client, bobs_key: str, name: str, value: str) -> None:
    headers = {"x-api-key": bobs_key, "Range": "bytes=1-2", name: value}
    response = client.get(f"{API}/101/1/a.json", headers=headers)
    assert response.status_code in {200, 206, 304, 412}
    check(response)


@every_input
@given(key=st.text(st.characters(max_codepoint=255)))
def test_any_key(client: Client, key: str) -> None:
    response = client.get(f"{API}/101/1/a.json", headers={"x-api-key": key})
    assert check_envelope(response) == response.status_code == 401


json_values = st.recursive(
    st.none() | st.booleans() | numbers | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
bodies = st.one_of(
    st.binary(max_size=200),
    st.fixed_dictionaries(
        {}, optional={"collection_id": json_values | st.just(101), "skip": json_values, "limit": json_values}
    ).map(lambda value: json.dumps(value).encode()),
    json_values.map(lambda value: json.dumps(value).encode()),
    st.text(st.sampled_from('[]{}",:0123456789truefalsenul\\ud8e+-. ')).map(str.encode),
    st.integers(1, 4000).map(lambda depth: b'{"a":' * depth),
)


@every_input
@given(body=bodies)
@example(b'{"collection_id": 101}')
@example(b'{"collection_id": ' + b"9" * 5000 + b"}")
def test_any_body(client: Client, bobs_key: str, body: bytes) -> None:
    response = client.post(LIST, body, content_type="application/json", headers={"x-api-key": bobs_key})
    assert response.status_code == 200
    assert check_envelope(response) in {200, 400, 403}


@every_input
@given(
    length=st.text(st.characters(max_codepoint=127)) | numbers.map(lambda number: str(number)[:30]),
    kind=header_values,
)
def test_any_length_and_type_of_body(client: Client, bobs_key: str, length: str, kind: str) -> None:
    response = client.generic(
        "POST", LIST, b"", headers={"x-api-key": bobs_key}, CONTENT_LENGTH=length, CONTENT_TYPE=kind
    )
    assert check_envelope(response) in {400, 413}


# --- the dashboard ------------------------------------------------------------------------------


@pytest.fixture
def bobs_browser(client: Client, bob: User) -> Client:
    client.force_login(bob)
    return client


@every_input
@given(
    path=st.lists(segments, max_size=6),
    query=st.binary(max_size=60).map(quote_from_bytes) | st.text("&=%;+a", max_size=20),
)
def test_any_address(bobs_browser: Client, path: list[str], query: str) -> None:
    check(bobs_browser.get(f"/{'/'.join(path)}?{query}"))
    check(bobs_browser.get(f"/collections/{'/'.join(path)}?{query}"))
    check(bobs_browser.post(f"/api/{'/'.join(path)}?{query}", b"", content_type="text/plain"))


@every_input
@given(collection=segments, run=segments, name=segments)
@example("101", "1", "a.json")
@example("101", str(2**63), "a.json")
@example(str(2**64), "1", "a.json")
def test_any_address_of_a_file_in_the_dashboard(
    bobs_browser: Client, collection: str, run: str, name: str
) -> None:
    check(bobs_browser.get(f"/collections/{collection}/runs/{run}/files/{name}"))


@every_input
@given(
    address=st.sampled_from(["/collections/", "/collections/101/download", "/profile/", "/members/"]),
    query=st.dictionaries(
        st.sampled_from(["q", "after", "before", "archived"]),
        names | numbers.map(lambda number: str(number)[:40]),
    ),
    htmx=st.booleans(),
)
@example("/collections/101/download", {"before": "9999-12-31T23:59:59.999999Z_1"}, False)
@example("/collections/101/download", {"before": "0001-01-01T00:00:00.000000Z_999999999999999999"}, True)
@example("/collections/", {"after": "999999999999999999_"}, False)
def test_any_query(bobs_browser: Client, address: str, query: dict[str, str], htmx: bool) -> None:  # noqa: FBT001
    check(bobs_browser.get(address, query, headers={"HX-Request": "true"} if htmx else {}))


@pytest.fixture
def previewed(laptops: Collection, results_folder: Path) -> Run:
    """A run of the Crawlers with unusual records."""
    run = Run.objects.create_next(laptops)
    records = [{"'": 1, '"; --': "x", "a/b~": None, "": [1], "\0": "\0"}, {"'": "\ud800"}, 5]
    _store(run, results_folder, "b.json", json.dumps(records).encode())
    return run


@every_input
@given(
    where=st.sampled_from(["", "facts", "records/1", "records/3"]),
    query=st.dictionaries(
        st.sampled_from(["q", "sort", "dir", "column", "after", "files", "read"]),
        names | numbers.map(lambda number: str(number)[:40]) | st.sampled_from(["'", '"; --', "desc", "c0"]),
    ),
    htmx=st.booleans(),
)
@example("", {"q": "' OR 1=1 --", "sort": '"; --', "dir": "desc", "column": "'"}, True)
@example("", {"q": "%_\\", "sort": "\0", "after": "9" * 12}, False)
@example("facts", {"read": "1"}, False)
def test_any_query_for_records(
    bobs_browser: Client,
    previewed: Run,
    where: str,
    query: dict[str, str],
    htmx: bool,  # noqa: FBT001
) -> None:
    address = f"/collections/101/runs/{previewed.number}/{where}"
    check(bobs_browser.get(address, query, headers={"HX-Request": "true"} if htmx else {}))


@every_input
@given(content=json_values.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=200))
def test_any_records(bobs_browser: Client, previewed: Run, results_folder: Path, content: bytes) -> None:
    (results_folder / f"{previewed.pk}").write_bytes(content)
    # With another time, the cached preview of the previous content is not used.
    written = timezone.now()
    previewed.files.update(size=len(content), modified=written)
    for where in ("", "?sort=a", "facts", "records/1"):
        check(bobs_browser.get(f"/collections/101/runs/{previewed.number}/{where}"))


# Every form: its fields, and what each of them takes.
FORMS = {
    "/collections/add": {"name": "Lamps", "kind": "amazon"},
    "/collections/101/rename": {"name": "AU Laptops"},
    "/members/add": {"email": "dora@example.com", "name": "Dora", "role": "member"},
    "/members/{bob}/role": {"role": "admin"},
    "/profile/": {"name": "Alice"},
    "/profile/keys": {"name": "cron job"},
    "/profile/theme": {"theme": "dark"},
    "/team": {"team": "{crawlers}"},
    "/accounts/login/": {"login": "bob@example.com", "password": PASSWORD, "remember": "on", "next": "/team"},
    "/accounts/password/change/": {"oldpassword": PASSWORD, "password1": PASSWORD, "password2": PASSWORD},
    "/accounts/password/reset/": {"email": "bob@example.com"},
}
Send = Callable[[str, dict[str, str]], Response]


@pytest.fixture
def send(alice: User, bob: User, crawlers: Team, settings: Settings) -> Send:
    """Send a form as Alice, who can send every form, or signed out."""
    settings.EMAIL_URL = "smtp://mail.example.com"
    settings.ACCOUNT_RATE_LIMITS = False
    ids = {"bob": bob.memberships.get().pk, "crawlers": crawlers.pk}

    def sent(address: str, fields: dict[str, str]) -> Response:
        browser = Client() if address == "/accounts/login/" else signed_in(alice)
        data = {name: value.replace("{crawlers}", str(crawlers.pk)) for name, value in fields.items()}
        response: Response = browser.post(address.format(**ids), data)
        return response

    return sent


# Forms that consist of buttons can't be shown with an error.
OF_BUTTONS = {"/team": {403}, "/profile/theme": {400}}


@pytest.mark.parametrize("address", FORMS)
def test_every_form_accepts_valid_values(send: Send, address: str) -> None:
    response = send(address, FORMS[address])
    check(response)
    assert response.status_code in {201, 302}


@every_input
@given(data=st.data(), address=st.sampled_from(sorted(FORMS)))
def test_any_form(send: Send, address: str, data: st.DataObject) -> None:
    values = {name: st.just(taken) | names for name, taken in FORMS[address].items()}
    response = send(address, data.draw(st.fixed_dictionaries({}, optional=values)))
    check(response)
    # Nothing but the form's own view has answered.
    assert response.status_code in {200, 201, 302} | OF_BUTTONS.get(address, set())


@every_input
@given(
    header=st.sampled_from(["Host", "HX-Current-URL", "Cookie", "Referer", "X-Forwarded-Proto"]),
    value=header_values,
)
def test_any_header(client: Client, header: str, value: str) -> None:
    check(client.get("/collections/", headers={"HX-Request": "true", header: value}))
