"""Upload the files of a run in the browser: permissions, accepted files, and no incomplete runs."""

import gzip
import io
import socket
import zipfile
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import IO, Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from collections_app.management.worker import Repairer
from collections_app.models import Collection, FileKind, Membership, Role, Run, State, User
from collections_app.runs.incoming import uploaded
from collections_app.runs.incoming.forms import ENDINGS
from collections_app.runs.repair import fail_interrupted_runs
from collections_app.runs.writer import ResultSetWriter
from collections_app.system.disk import RESERVE
from collections_app.system.serving import serving
from collections_app.views.upload import page, receive
from collections_app.views.upload.slots import MOST_UPLOADS, upload_slot
from tests.conftest import signed_in
from tests.support.html import links, text_of
from tests.support.responses import Response
from tests.support.results import stored_bytes, stored_keys, stored_records
from tests.support.upstream import make_account, make_remote_collection

UPLOAD = "/collections/101/upload"
HTMX = {"HX-Request": "true"}
FORM = "multipart/form-data; boundary=b"

pytestmark = pytest.mark.django_db(transaction=True)


def upload(client: Client, files: Mapping[str, bytes | str], url: str = UPLOAD, **options: Any) -> Response:
    """Upload files by name."""
    fields = options.pop("fields", {})
    sent = [
        SimpleUploadedFile(name, content.encode() if isinstance(content, str) else content)
        for name, content in files.items()
    ]
    response: Response = client.post(url, {"files": sent, **fields}, **options)
    return response


def problem(response: Response) -> str:
    """Return the error on the form, or an empty string. Check that nothing was created."""
    assert response.status_code in {200, 429}
    assert not Run.objects.exists()
    assert stored_keys() == []
    _, _, message = response.content.decode().partition('role="alert">')
    return text_of(message.partition("</p>")[0])


def part(content: bytes = b"[{}]", name: str = "files", filename: str = "a.json", more: bytes = b"") -> bytes:
    disposition = f'Content-Disposition: form-data; name="{name}"; filename="{filename}"\r\n'.encode()
    return b"--b\r\n" + disposition + more + b"\r\n" + content + b"\r\n"


def field(name: str, content: bytes = b"1") -> bytes:
    return part(content, name).replace(b'; filename="a.json"', b"")


def send(client: Client, body: bytes, content_type: str = FORM) -> Response:
    """Send a body unchanged."""
    response: Response = client.generic("POST", UPLOAD, body, content_type)
    return response


def stream(client: Client, body: IO[bytes] | io.RawIOBase, size: int | str, **extra: Any) -> Response:
    """Send a body while it is read. `size` is the announced one."""
    sent = {"wsgi.input": body, "CONTENT_LENGTH": str(size), "CONTENT_TYPE": FORM} | extra
    response: Response = client.generic("POST", UPLOAD, **sent)
    return response


# --- what is accepted ---------------------------------------------------------------------------


def test_pages_become_a_run_in_the_order_of_their_numbers(as_adam: Client, laptops: Collection) -> None:
    pages = {"page_10.json": '[{"a": 3}]', "page_2.json": '[{"a": 2}]', "page_1.json": '[{"a": 1}]'}
    response = upload(as_adam, pages | {".DS_Store": "\0"})
    assert response.status_code == 302
    assert response["Location"] == "/collections/101/download#run-1"
    run = Run.objects.get()
    found = run.files.filter(kind=FileKind.PAGE).order_by("position")
    assert [page.name for page in found] == ["page_1.json", "page_2.json", "page_10.json"]
    assert {page.name: stored_bytes(page).decode() for page in found} == pages
    assert run.state == State.READY
    assert "Uploaded run 1: 3 records in 4 files." in as_adam.get(response["Location"]).content.decode()


def test_a_zip_with_pages(as_alice: Client, laptops: Collection) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("run/b_2.json", '[{"a": 2}]')
        archive.writestr("run/b_1.json", '[{"a": 1}]')
        archive.writestr("__MACOSX/._b_1.json", "\0")
    upload(as_alice, {"all.zip": packed.getvalue()})
    assert stored_records(Run.objects.get()) == [{"a": 1}, {"a": 2}]


def test_compressed_json_lines(as_alice: Client, laptops: Collection) -> None:
    lines = b"".join(b'{"a": %d}\n' % number for number in range(600))
    upload(as_alice, {"results.jsonl.gz": gzip.compress(lines)})
    run = Run.objects.get()
    assert run.extracted == 600
    assert run.file_count == 4  # three pages and the ZIP


def test_the_list_of_a_category(as_alice: Client, headphones: Collection) -> None:
    upload(as_alice, {"list.json": '{"asins": [{"asin": "B1"}]}'}, f"/collections/{headphones.pk}/upload")
    assert Run.objects.get().extracted == 1


def test_a_chosen_list_of_an_object(as_alice: Client, laptops: Collection) -> None:
    several = {"a.json": '{"x": [{"a": 1}], "y": [{"a": 2}]}'}
    response = upload(as_alice, several)
    assert problem(response) == (
        'a.json contains 2 lists of objects: "x", "y". Enter the name of one under “List of records”. '
        "Nothing was uploaded."
    )
    upload(as_alice, several, fields={"records_at": " y "})
    assert stored_records(Run.objects.get()) == [{"a": 2}]


def test_htmx_gets_a_redirect_or_the_problem_only(as_alice: Client, laptops: Collection) -> None:
    response = upload(as_alice, {"a.json": "{}"}, headers=HTMX)
    assert problem(response).startswith("a.json is one object.")
    assert b"<form" not in response.content
    response = upload(as_alice, {"a.json": "[{}]"}, headers=HTMX)
    assert response["HX-Redirect"] == "/collections/101/download#run-1"


# --- what is rejected ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, "Choose at least one file."),
        ({"a.json": "[]", "b.json": '[\n {"a": B1}\n]'}, "b.json, line 2, column 8: Expected a value."),
        ({"a.json": ""}, "a.json is empty."),
        ({"a.json": "[]", "b.jsonl": "{}"}, "b.jsonl is JSON Lines, but a.json isn't."),
        ({"a.zip": b"PK\3\4" + bytes(100)}, "a.zip: the ZIP is damaged or unsupported."),
        ({"a.json.gz": gzip.compress(b"[{}]")[:-4]}, "a.json.gz is damaged or incomplete."),
        ({"a.json": "[]", "<b>.json": "[}"}, "<b>.json, line 1, column 2: Expected a record"),
        ({".DS_Store": "\0"}, ".DS_Store was added by an operating system and contains no results."),
    ],
)
def test_files_with_an_error_create_no_run(
    as_alice: Client, laptops: Collection, files: dict[str, bytes], expected: str
) -> None:
    shown = problem(upload(as_alice, files))
    assert shown.startswith(expected)
    assert shown.endswith(" Nothing was uploaded.")


def test_a_zip_bomb(as_alice: Client, laptops: Collection) -> None:
    bomb = gzip.compress(b"[" + b" " * (17 * 1024**2) + b"]")
    assert "like a ZIP bomb" in problem(upload(as_alice, {"a.json.gz": bomb}))


def test_errors_distinguish_files_with_the_same_name(as_alice: Client, laptops: Collection) -> None:
    names = [("1.json", b"[]"), ("a.json", b"[{}]"), ("a.json", b"[{]"), ("2.json", b"[]")]
    body = b"".join(part(content, filename=name) for name, content in names) + b"--b--\r\n"
    text = problem(send(as_alice, body))
    assert "a.json (file 3 of 4), line 1, column 3: Expected a key" in text
    assert problem(upload(as_alice, {"1.json": "", "2.json": "[]"})).startswith("1.json is empty.")


@pytest.mark.parametrize("kind", ["amazon", "amazon_category_scrape"])
def test_the_page_names_all_files_that_can_be_imported(
    as_alice: Client, laptops: Collection, kind: str
) -> None:
    Collection.objects.update(kind=kind)
    text = text_of(as_alice.get(UPLOAD).content.decode())
    missing = [ending for endings in ENDINGS.values() for ending in endings if ending not in text]
    assert not missing


def test_a_record_that_is_nested_too_deeply(as_alice: Client, laptops: Collection) -> None:
    deep = '[{"a": ' + "[" * 100_000 + "]" * 100_000 + "}]"
    assert "nested too deeply" in problem(upload(as_alice, {"a.json": deep}))


# --- permissions, checked before the body is read -----------------------------------------------


class Unread(io.RawIOBase):
    """A body that must not be read."""

    def read(self, size: int = -1) -> bytes:
        pytest.fail("The body was read.")

    readline = read  # type: ignore[assignment]


def announce(client: Client, size: int | str = 1000, **extra: Any) -> Response:
    """Announce an upload, and fail if the site begins to read it."""
    return stream(client, Unread(), size, **extra)


@pytest.mark.parametrize(("who", "status"), [("bob", 403), ("carol", 403), ("eve", 403), (None, 302)])
def test_others_are_refused_before_the_body_is_read(
    request: pytest.FixtureRequest, laptops: Collection, who: str | None, status: int
) -> None:
    client = signed_in(request.getfixturevalue(who)) if who else Client()
    assert announce(client).status_code == status
    assert client.get(UPLOAD).status_code == status


def test_the_token_is_checked_before_the_body_is_read(adam: User, laptops: Collection) -> None:
    cookies = signed_in(adam).cookies
    client = Client(enforce_csrf_checks=True)
    client.cookies = cookies
    form = client.get(UPLOAD).content.decode()
    token = form.partition('action="?token=')[2].partition('"')[0]
    for wrong in ("", "?token=", "?token=x", "?token=" + "a" * 64):
        assert announce(client, QUERY_STRING=wrong[1:]).status_code == 403
    assert announce(client, HTTP_X_CSRFTOKEN="a" * 64).status_code == 403
    assert (
        announce(client, QUERY_STRING=f"token={token}", HTTP_ORIGIN="https://evil.example").status_code == 403
    )
    assert not Run.objects.exists()
    assert upload(client, {"a.json": "[{}]"}, f"{UPLOAD}?token={token}").status_code == 302
    assert upload(client, {"a.json": "[{}]"}, headers={"X-CSRFToken": token}).status_code == 302


def test_runs_of_an_account_are_not_uploaded(as_adam: Client, adam: User) -> None:
    remote = make_remote_collection(make_account(adam.memberships.get().team))
    where = f"/collections/{remote.pk}/upload"
    assert as_adam.get(where).status_code == 404
    assert upload(as_adam, {"a.json": "[{}]"}, where).status_code == 404


def test_an_upload_that_is_too_large(as_adam: Client, laptops: Collection) -> None:
    assert "larger than 8.0" in problem(announce(as_adam, receive.MOST_BYTES + 1))
    assert "no Content-Length" in problem(announce(as_adam, ""))


def test_an_upload_that_does_not_fit_on_the_disk(
    as_adam: Client, laptops: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receive, "free_for_uploads", lambda: RESERVE + 999)
    assert "free for uploads. Ask an operator to free up space." in problem(announce(as_adam, 1000))


def test_a_limit_per_person(as_adam: Client, adam: User, as_alice: Client, laptops: Collection) -> None:
    running = [upload_slot(adam.pk) for _ in range(MOST_UPLOADS)]
    for slot in running:
        slot.__enter__()
    response = announce(as_adam)
    assert (response.status_code, response["Retry-After"]) == (429, "10")
    assert problem(response).startswith("You have 2 uploads running, the maximum per person.")
    assert upload(as_alice, {"a.json": "[]"}).status_code == 302
    running[0].__exit__(None, None, None)
    assert upload(as_adam, {"a.json": "[]"}).status_code == 302
    running[1].__exit__(None, None, None)


# --- bodies that end early, or aren't forms -----------------------------------------------------


@pytest.mark.parametrize("missing", [1, 3, 10, 45])
def test_a_body_that_ends_early(as_adam: Client, laptops: Collection, missing: int) -> None:
    # A prefix of JSON Lines can be valid.
    whole = part(b'{"a": 1}\n{"a": 2}\n', filename="a.jsonl") + b"--b--\r\n"
    response = stream(as_adam, io.BytesIO(whole[:-missing]), len(whole))
    assert problem(response) == "The upload was interrupted. Try again. Nothing was uploaded."


def test_a_body_without_its_last_boundary(as_adam: Client, laptops: Collection) -> None:
    assert problem(send(as_adam, part())).startswith("The upload was interrupted.")
    assert send(as_adam, part() + b"--b--").status_code == 302


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/x-www-form-urlencoded", b"files=a"),
        ("application/json", b"{}"),
        ("multipart/form-data", part()),
        ("multipart/form-data; boundary=\u00fc", part()),
        (FORM, b"--b\r\n" + b"X-A: " + b"a" * 1024**2 + b"\r\n\r\n"),
        (FORM, part(more=b"X-A: 1\r\n" * 200)),
        (FORM, b"".join(field(f"f{number}") for number in range(5000))),
        (FORM, field("records_at", b"a" * 3 * 1024**2)),
        (FORM, part(b"a", more=b"Content-Transfer-Encoding: base64\r\n") + b"--b--"),
    ],
    ids=[
        "urlencoded",
        "json",
        "no boundary",
        "invalid boundary",
        "a long header",
        "long headers",
        "many fields",
        "a long field",
        "not base64",
    ],
)
def test_a_body_that_is_not_a_valid_form(
    as_adam: Client, laptops: Collection, content_type: str, body: bytes
) -> None:
    shown = problem(send(as_adam, body, content_type))
    assert shown == "The upload isn't a valid form. Reload the page and try again. Nothing was uploaded."


def test_a_wrong_boundary(as_adam: Client, laptops: Collection) -> None:
    assert problem(send(as_adam, part() + b"--b--", "multipart/form-data; boundary=c"))


def test_too_many_files(as_adam: Client, laptops: Collection, settings: Settings) -> None:
    settings.DATA_UPLOAD_MAX_NUMBER_FILES = 2
    assert problem(upload(as_adam, dict.fromkeys(("a.json", "b.json", "c.json"), "[]"))) == (
        "You chose more than 2 files. Upload a ZIP file of them instead. Nothing was uploaded."
    )


def test_files_in_other_fields_are_not_stored(as_adam: Client, laptops: Collection) -> None:
    body = part(b"[1", "other") + part(b'[{"a": 1}]') + part(b"[1", "other") + b"--b--"
    assert send(as_adam, body).status_code == 302
    assert stored_records(Run.objects.get()) == [{"a": 1}]


# --- changes during an upload -------------------------------------------------------------------


class Meanwhile(io.BytesIO):
    """A body that makes a change while it arrives."""

    def __init__(self, body: bytes, happens: Callable[[], object]) -> None:
        super().__init__(body)
        self._happens = happens

    def read(self, size: int | None = -1, /) -> bytes:
        self._happens()
        return super().read(size)


def send_while(client: Client, happens: Callable[[], object]) -> Response:
    body = part() + b"--b--"
    return stream(client, Meanwhile(body, happens), len(body))


def test_the_role_is_checked_again_when_the_files_have_arrived(
    as_adam: Client, adam: User, laptops: Collection
) -> None:
    adams = Membership.objects.filter(user=adam)
    assert send_while(as_adam, lambda: adams.update(role=Role.MEMBER)).status_code == 403
    adams.update(role=Role.ADMIN)
    assert send_while(as_adam, adams.delete).status_code == 403
    assert not Run.objects.exists()


def test_the_disk_becomes_full(as_adam: Client, laptops: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receive, "_CHECK_SPACE_EVERY", 10)
    free = iter([10**12, 0])
    monkeypatch.setattr(receive, "free_for_uploads", lambda: next(free, 0))
    assert "free for uploads" in problem(send(as_adam, part(b" " * 1024**2) + b"--b--"))


def test_a_write_fails_on_a_full_disk(
    as_adam: Client, laptops: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(uploaded.UploadedFiles, "write", refuse)
    assert problem(upload(as_adam, {"a.json": "[]"})) == (
        "The disk is full. Nothing can be saved until an operator frees up space. Nothing was uploaded."
    )


def test_closing_the_page_cancels_an_import(
    as_adam: Client, laptops: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "_CHECK_CLIENT_EVERY", 1)
    ours, theirs = socket.socketpair()
    with ours, serving(ours, lambda: False):
        theirs.close()
        assert upload(as_adam, {"a.json": "[{}]"}).status_code == 499
    assert not Run.objects.exists()
    assert stored_keys() == []


def test_each_part_of_the_body_may_take_a_minute(as_adam: Client, laptops: Collection) -> None:
    allowed: list[float] = []
    ours, theirs = socket.socketpair()
    with ours, theirs, serving(ours, lambda: False, allowed.append):
        upload(as_adam, {"a.json": "[{}]"})
    assert set(allowed) == {60}


def test_uploaded_files_have_no_name_on_the_disk() -> None:
    with uploaded.UploadedFiles() as files:
        files.add("a.json")
        files.write(b"[]")
        names = [path.name for path in uploaded.uploads_folder().iterdir()]
        assert [name for name in names if not name.endswith(".lock")] == []


# --- killed processes ---------------------------------------------------------------------------


@pytest.mark.parametrize("repair", [fail_interrupted_runs, lambda: Repairer().run_once()])
def test_a_run_whose_upload_was_killed_is_deleted(laptops: Collection, repair: Callable[[], object]) -> None:
    writer = ResultSetWriter.start(laptops, page_size=1, discard_if_killed=True)
    other = ResultSetWriter.start(laptops, page_size=1)
    for each in (writer, other):
        each.add_record({"a": 1})
        each.add_record({"a": 2})
    repair()
    assert Run.objects.count() == 2  # their leases are valid
    Run.objects.update(lease_expires_at=timezone.now() - timedelta(seconds=1))
    repair()
    assert Run.objects.get().state == State.FAILED
    assert stored_keys() == []
    writer.discard()
    other.discard()


# --- the pages ----------------------------------------------------------------------------------


def test_only_admins_see_the_upload_link(as_bob: Client, as_adam: Client, laptops: Collection) -> None:
    upload(as_adam, {"a.json": "[{}]"})
    for where in ("/collections/", "/collections/101/download"):
        assert links(as_adam.get(where))["Upload files"] == UPLOAD
        assert "Upload files" not in links(as_bob.get(where))
