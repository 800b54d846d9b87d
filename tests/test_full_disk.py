"""A full or nearly full disk: what is rejected, what still works, and how it is reported."""

import errno
import os
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from allauth.core.internal import ratelimit
from django.db import OperationalError, connection
from django.test import Client
from prometheus_client.parser import text_string_to_metric_families
from pytest_django import Settings

from collections_app.files.verification.verify import Verifier
from collections_app.models import Account, ApiKey, Collection, Membership, Role, Run, Team, User
from collections_app.records.exports.create import create_export
from collections_app.records.formats.export_formats import ExportSpec, Format
from collections_app.system import disk
from collections_app.views import health
from tests.conftest import PASSWORD
from tests.support import responses
from tests.support.channels import make_webhook
from tests.support.results import make_ready_run
from tests.support.tools import PATIENCE, all_or_few
from tests.test_access_of_every_address import LIST, TABLE

pytestmark = pytest.mark.django_db(transaction=True)

WRITES = {"INSERT", "UPDATE", "DELETE"}
BODIES = {"api:list_run_results": b'{"collection_id": 101}'}
# Pages that only read, and the API call that reads by POST. `make test` tries a few of each kind.
READ = [name for name, (where, methods, _) in TABLE.items() if "GET" in methods.split() or where == LIST]
POSTED = [name for name, (where, methods, _) in TABLE.items() if "POST" in methods.split() and where != LIST]


class FullDisk:
    """Refuse and count all writes, as a database on a full disk would."""

    def __init__(self) -> None:
        self.refused = 0

    def __call__(self, execute: Callable[..., Any], statement: str, *args: Any) -> Any:
        if statement.split(maxsplit=1)[0] not in WRITES:
            return execute(statement, *args)
        self.refused += 1
        with connection.wrap_database_errors:
            raise _refusal()


def _refusal() -> Exception:
    if connection.vendor == "postgresql":
        return psycopg.errors.DiskFull("could not extend file: No space left on device")
    error = sqlite3.OperationalError("database or disk is full")
    error.sqlite_errorcode = sqlite3.SQLITE_FULL
    return error


@contextmanager
def full_disk() -> Iterator[FullDisk]:
    full = FullDisk()
    with connection.execute_wrapper(full):
        yield full


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep allauth from retrying for a second to count an attempt."""
    monkeypatch.setattr(ratelimit, "CACHE_LOCK_WAIT_TIMEOUT", 0)


@pytest.fixture
def run(laptops: Collection) -> Run:
    """A run that was exported and verified."""
    run = make_ready_run(laptops)
    create_export(run, ExportSpec(Format.CSV))
    Verifier(run).verify()
    return run


@pytest.fixture
def ids(bob: User, bobs_key: str) -> dict[str, int]:
    membership = bob.memberships.get()
    account = Account.objects.create(team=membership.team, name="A")
    channel = make_webhook(membership.team)
    return {
        "bob": membership.pk,
        "bobs_key": membership.api_keys.get().pk,
        "account": account.pk,
        "channel": channel.pk,
        "rule": channel.rules.get().pk,
    }


def status_of(client: Client, method: str, name: str, address: str, key: str) -> int:
    if name.startswith("api:"):
        answer = client.generic(method, address, BODIES.get(name, b""), headers={"x-api-key": key})
    elif method == "POST":
        answer = client.post(address, {"format": "csv", "column": "asin"})
    else:
        answer = client.get(address)
    code = answer.json().get("code", 200) if name in BODIES else answer.status_code
    responses.content(answer)
    return int(code)


# --- signing in ---------------------------------------------------------------------------------


@pytest.mark.parametrize("password", [PASSWORD, "a guess"])
def test_signing_in_says_that_the_disk_is_full(client: Client, bob: User, password: str) -> None:
    with full_disk():
        answer = client.post("/accounts/login/", {"login": bob.email, "password": password})
    assert answer.status_code == 503
    assert int(answer["Retry-After"]) > 0
    assert "The disk is full" in answer.content.decode()
    assert "sessionid" not in answer.cookies


def test_signing_in_works_once_there_is_room_again(client: Client, bob: User) -> None:
    with full_disk():
        client.post("/accounts/login/", {"login": bob.email, "password": PASSWORD})
    answer = client.post("/accounts/login/", {"login": bob.email, "password": PASSWORD})
    assert answer.status_code == 302


def test_signing_out_clears_the_cookie_and_says_that_the_disk_is_full(as_bob: Client) -> None:
    with full_disk():
        answer = as_bob.post("/accounts/logout/")
    assert answer.status_code == 503
    assert "The disk is full" in answer.content.decode()
    assert (answer.cookies["sessionid"].value, answer.cookies["sessionid"]["max-age"]) == ("", 0)
    assert as_bob.get("/collections/")["Location"].startswith("/accounts/login/")


# --- everything else ----------------------------------------------------------------------------


@pytest.mark.no_cover
@pytest.mark.parametrize(
    "name", all_or_few(READ, "collections", "run", "result_file", "api:list_run_results", "api:run_all")
)
def test_reading_still_works(
    name: str, run: Run, as_adam: Client, bobs_key: str, ids: dict[str, int]
) -> None:
    method = "POST" if name in BODIES else "GET"
    address = f"/{TABLE[name][0].format(**ids)}"
    undisturbed = status_of(as_adam, method, name, address, bobs_key)
    ApiKey.objects.update(last_used_at=None)
    with full_disk() as full:
        assert status_of(as_adam, method, name, address, bobs_key) == undisturbed
    assert full.refused or not name.startswith("api:") or undisturbed >= 400 or name.endswith("i-view")


@pytest.mark.no_cover
@pytest.mark.parametrize(
    "name", all_or_few(POSTED, "collection_rename", "run_export", "key_create", "account_login")
)
def test_a_form_that_cannot_be_stored_is_refused(
    name: str, run: Run, as_adam: Client, ids: dict[str, int]
) -> None:
    with full_disk() as full:
        status = status_of(as_adam, "POST", name, f"/{TABLE[name][0].format(**ids)}", "")
    assert (status == 503) == (full.refused > 0)


def test_another_teams_page_is_shown_even_if_the_choice_cannot_be_stored(
    as_bob: Client, bob: User, strangers: Team, secret_plans: Collection
) -> None:
    Membership.objects.create(user=bob, team=strangers, role=Role.MEMBER)
    with full_disk() as full:
        assert as_bob.get(f"/collections/{secret_plans.pk}/download").status_code == 200
    assert full.refused == 1


def test_an_api_call_that_has_to_store_something_is_refused(run: Run, bobs_key: str, client: Client) -> None:
    with full_disk():
        answer = client.get("/api/v1/collections/101/runs/1/records.jsonl", headers={"x-api-key": bobs_key})
    assert answer.status_code == 503
    assert int(answer["Retry-After"]) > 0
    assert answer.json() == {"code": 503, "data": disk.PROBLEM, "status": 0}


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_file_that_cannot_be_written_is_refused_too(
    as_bob: Client, monkeypatch: pytest.MonkeyPatch, number: int, laptops: Collection
) -> None:
    def full(*args: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("collections_app.views.collections.list.page_of", full)
    answer = as_bob.get("/collections/")
    assert answer.status_code == 503
    assert "The disk is full" in answer.content.decode()


# --- what counts as full ------------------------------------------------------------------------


@pytest.mark.sqlite(reason="uses its page limit")
def test_a_database_without_free_pages_is_full(crawlers: Team) -> None:
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA page_count")
        (pages,) = cursor.fetchone()
        cursor.execute(f"PRAGMA max_page_count = {pages}")
    try:
        with pytest.raises(disk.DiskFull):
            Account.objects.create(team=crawlers, name="A", encrypted_key="x" * 1_000_000)
        assert disk.has_failed()
    finally:
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA max_page_count = 1073741823")


@pytest.mark.parametrize(
    ("error", "free", "is_full"),
    [
        (psycopg.errors.DiskFull(), disk.LOW, True),
        (psycopg.errors.OutOfMemory(), disk.LOW, False),
        (sqlite3.SQLITE_FULL, disk.LOW, True),
        (sqlite3.SQLITE_IOERR_WRITE, disk.LOW, False),
        (sqlite3.SQLITE_IOERR_WRITE, 0, True),
        (sqlite3.SQLITE_BUSY, 0, False),
    ],
)
def test_errors_that_mean_a_full_disk(
    *, monkeypatch: pytest.MonkeyPatch, error: Exception | int, free: int, is_full: bool
) -> None:
    if isinstance(error, int):
        code, error = error, sqlite3.OperationalError()
        error.sqlite_errorcode = code
    monkeypatch.setattr(disk, "_free_in", lambda folder: free)
    assert disk._means_full(error) == is_full


# --- before it is full --------------------------------------------------------------------------


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> Iterator[Callable[[int], None]]:
    """Return a function that sets the free bytes of the disk."""
    monkeypatch.setattr(health, "_readiness", health._Readiness())
    monkeypatch.setattr(health, "CACHE_SECONDS", 0)

    def leave(size: int) -> None:
        monkeypatch.setattr(shutil, "disk_usage", lambda folder: disk.Space(size, 10 * size))

    yield leave
    for thread in threading.enumerate():
        if thread.name == "readyz":
            thread.join(timeout=PATIENCE)


SAID = "Low disk space: 512.0 MB free in the data folder. Free up space before the disk is full."


def test_readiness_warns_of_low_space_while_everything_still_works(
    client: Client, room: Callable[[int], None]
) -> None:
    room(512 * 1024**2)
    answer = client.get("/readyz")
    assert answer.status_code == 200
    assert answer.json() == {"status": "ready", "warning": SAID}


def test_a_site_with_a_full_disk_is_not_ready(client: Client, room: Callable[[int], None]) -> None:
    room(4096)
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json() == {"status": "not ready", "problem": disk.PROBLEM}


@pytest.mark.usefixtures("room")
def test_readiness_reports_a_full_results_storage(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def full() -> bool:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(health, "can_write_and_read", full)
    assert client.get("/readyz").json()["problem"] == disk.PROBLEM


def test_the_log_warns_once_an_hour(
    room: Callable[[int], None], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = 0.0
    monkeypatch.setattr("collections_app.system.disk.time.monotonic", lambda: now)
    room(512 * 1024**2)
    warned_at = disk.warn(disk.NEVER)
    warned_at = disk.warn(warned_at)
    assert caplog.messages == [SAID]
    now = 3600.0
    warned_at = disk.warn(warned_at)
    assert caplog.messages == [SAID] * 2
    room(disk.LOW)
    assert disk.warn(warned_at) == disk.NEVER
    assert len(caplog.messages) == 2


def test_metrics_have_the_free_space_of_each_folder(
    client: Client, room: Callable[[int], None], settings: Settings, results_folder: Path
) -> None:
    settings.METRICS_TOKEN = "a-token-for-the-tests"
    room(12345)
    headers = {"Authorization": f"Bearer {settings.METRICS_TOKEN}"}
    text = client.get("/metrics", headers=headers).content.decode()
    families = {family.name: family.samples for family in text_string_to_metric_families(text)}
    for name, size in (("results_free_bytes", 12345), ("results_disk_bytes", 123450)):
        found = {sample.labels["folder"]: sample.value for sample in families[name]}
        assert found == {"data": size, "results": size}


def test_a_note_is_left_out_if_its_first_statement_fails(caplog: pytest.LogCaptureFixture) -> None:
    def refuse(execute: Callable[..., Any], *statement: Any) -> Any:
        raise OperationalError("database is locked")

    with connection.execute_wrapper(refuse), disk.best_effort("the use of a key"):
        ApiKey.objects.filter(pk=1).update(last_used_at=None)
    assert caplog.messages == ["Can't record the use of a key: database is locked"]
