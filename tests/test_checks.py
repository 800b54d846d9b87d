"""System checks of settings that need other machines. See also test_settings.py."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from django.core import checks
from django.core.checks import run_checks
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.db import connection
from pytest_django import Settings

from collections_app.files.storage import storage_url
from collections_app.models import Account, Team
from tests.support.object_store import READER, ObjectStore
from tests.support.results import stored_keys
from tests.support.upstream import make_account

pytestmark = pytest.mark.django_db


KEYS = [Fernet.generate_key().decode() for _ in range(2)]


@pytest.fixture(autouse=True)
def secrets_given(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.ENCRYPTION_KEYS = KEYS[:1]
    monkeypatch.setenv("SECRET_KEY", "x" * 50)


@pytest.fixture(autouse=True)
def named(settings: Settings) -> None:
    settings.RESULTS_STORAGE_URL = "as in STORAGES"


def found() -> list[str]:
    return [message.id for message in run_checks(databases=["default"]) if message.id]


def test_a_storage_that_works(results_storage: str) -> None:
    assert found() == []


def test_a_machine_without_time_zones_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("collections_app.checks.time_zones", lambda: ["UTC"])
    assert found() == ["results.E007"]


def test_an_unusable_bucket_is_reported_with_a_hint(settings: Settings, object_store: ObjectStore) -> None:
    entry = storage_url.parse(object_store.url("x", secret="hidden")).entry
    settings.STORAGES = settings.STORAGES | {"results": entry}
    with pytest.raises(SystemCheckError) as caught:
        call_command("check", databases=["default"])
    said = str(caught.value)
    assert (
        "The results storage can't be used: The object storage refused the request: SignatureDoesNotMatch"
        in said
    )
    assert "HINT: Check the host, bucket, folder, key and secret" in said
    assert "hidden" not in said
    # Other machines are called only at the start, not by each command.
    assert run_checks() == []


def test_a_read_only_key_is_reported(settings: Settings, object_store: ObjectStore) -> None:
    entry = storage_url.parse(object_store.url("x", key=READER)).entry
    settings.STORAGES = settings.STORAGES | {"results": entry}
    with pytest.raises(SystemCheckError) as caught:
        call_command("check", databases=["default"])
    said = str(caught.value)
    assert "Results can't be written to the results storage: The object storage refused the request" in said
    assert "AccessDenied" in said
    assert "HINT: The key in RESULTS_STORAGE_URL needs permission to read, write and delete" in said


def test_the_check_leaves_nothing_behind(results_storage: str) -> None:
    assert found() == []
    assert stored_keys() == []


def test_a_server_that_is_not_an_object_storage(settings: Settings) -> None:
    class Nowhere(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(404)

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Nowhere) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        here = f"127.0.0.1:{server.server_port}"
        entry = storage_url.parse(f"s3+http://key:secret@{here}/results").entry
        settings.STORAGES = settings.STORAGES | {"results": entry}
        (error,) = run_checks(databases=["default"])
        server.shutdown()
    assert error.msg == (
        "The results storage can't be used: The server at this address isn't an object store "
        f"(http://{here})."
    )


def test_a_bucket_without_a_key(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    settings.STORAGES = settings.STORAGES | {
        "results": storage_url.parse("s3+http://127.0.0.1:9/results").entry
    }
    (error,) = run_checks(databases=["default"])
    assert "No key for the object storage is set. Add KEY:SECRET@ before the host" in error.msg


def test_an_unusable_folder(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    entry = storage_url.parse(f"file://{tmp_path}/file/results").entry
    settings.STORAGES = settings.STORAGES | {"results": entry}
    assert found() == ["results.E001"]


@pytest.mark.postgresql(reason="only such a database is shared")
def test_secrets_that_each_machine_would_create(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.ENCRYPTION_KEYS = []
    (warning,) = run_checks(databases=["default"])
    assert (warning.id, warning.level) == ("results.W001", checks.WARNING)
    assert warning.msg.startswith("ENCRYPTION_KEYS not set")
    monkeypatch.delenv("SECRET_KEY")
    (warning,) = run_checks(databases=["default"])
    assert warning.msg.startswith("SECRET_KEY and ENCRYPTION_KEYS not set")
    assert run_checks() == []


@pytest.mark.sqlite(reason="one machine's own")
def test_an_embedded_database_needs_no_shared_secrets(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.ENCRYPTION_KEYS = []
    monkeypatch.delenv("SECRET_KEY")
    assert found() == []


def test_api_keys_that_this_machine_cannot_decrypt(crawlers: Team, settings: Settings) -> None:
    make_account(crawlers)
    make_account(crawlers, "Disconnected", key="")
    assert found() == []
    settings.ENCRYPTION_KEYS = KEYS[1:]
    (problem,) = run_checks(databases=["default"])
    assert problem.msg == "This machine can't decrypt the API keys of 1 of 1 connected accounts."
    assert "the same ENCRYPTION_KEYS" in str(problem.hint)
    if connection.vendor == "postgresql":
        assert (problem.id, problem.level) == ("results.E003", checks.ERROR)
    else:  # after a restore without keys, the site starts, and admins enter the API keys again
        assert (problem.id, problem.level) == ("results.W002", checks.WARNING)
    make_account(crawlers, "Entered again")
    assert found() == ["results.W002"]
    assert run_checks() == []


def test_without_tables_there_is_nothing_to_check(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection.introspection, "table_names", lambda cursor=None: [])
    monkeypatch.setattr(Account.objects, "using", lambda alias: pytest.fail("There is no table."))
    assert found() == []
