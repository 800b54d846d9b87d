"""Rows that are deleted during a request, before each of its database statements."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import cache
from django.db import IntegrityError, connection
from django.db.models import Model
from django.test import Client
from django.utils import timezone

from collections_app.files.verification.verify import Verifier
from collections_app.models import (
    Account,
    ApiKey,
    Channel,
    Collection,
    Export,
    Membership,
    ResultFile,
    Rule,
    Run,
    User,
    Verification,
)
from collections_app.records.exports import sample
from collections_app.records.exports.create import create_export
from collections_app.records.formats.export_formats import ExportSpec, Format
from collections_app.runs.removal import delete_run
from collections_app.system import background
from collections_app.system.vanished import retry_if_vanished
from tests.support import databases, responses
from tests.support.channels import make_webhook
from tests.support.results import make_failed_run, make_ready_run
from tests.support.tools import all_or_few, is_thorough
from tests.test_access_of_every_address import LIST, TABLE

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.no_cover]

# The data to send to an address.
FORMS = {
    "run_export": {"format": "csv", "column": "asin"},
    "run_export_save": {"format": "csv", "name": "Prices"},
    "selection_export": {"format": "csv", "runs": "1"},
    "collection_schedule": {"kind": "interval", "every_hours": "24", "time_zone": "UTC"},
    "collection_type": {"type": "amazon"},
    "collection_retention": {"kind": "runs", "runs": "1", "shown": "0-0"},
    "collection_pause": {"pause": "on"},
    "collection_watchlist": {"keys": "B01"},
    "collection_acknowledge": {"note": "Known.", "until": f"{timezone.localdate() + timedelta(days=7)}"},
    "collection_rename": {"name": "Notebooks"},
    "team_settings": {"name": "Crawlers", "time_zone": "UTC"},
    "member_role": {"role": "admin"},
}
BODIES = {"api:list_run_results": b'{"collection_id": 101}'}

# A file is complete or not found.
FILES = {"run_manifest", "run_all", "selection_zip", "selection_json", "selection_records", "run_records"}
FILES |= {f"api:{name}" for name in FILES} | {"api:latest_manifest", "api:latest_all", "api:latest_records"}

ABOUT_RUNS = [name for name, (where, _, _) in TABLE.items() if "101" in where or where == LIST]
ABOUT_RUNS += ["collections", "collections_live"]
MAKES_SOMETHING = ["verify", "run_export", "run_records", "api:run_records"]
MAKES_SOMETHING += ["selection_export", "selection_records", "api:selection_records"]
CHANGES_SOMETHING = [
    name
    for name, (_, methods, met) in TABLE.items()
    if "POST" in methods.split()
    and not met.startswith("in")  # except signing in and out
    and name not in MAKES_SOMETHING
]

ANSWERS = {200, 202, 204, 302, 404}
REFUSALS = {400, 403, 404}


@dataclass
class Deletion:
    """Delete a row before the statement with this number, as another request would.

    Numbers start at the first statement that reads the row's table.
    """

    delete: Callable[[], object]
    table: str
    before: int
    passed: int = field(default=0, init=False)
    is_done: bool = field(default=False, init=False)

    def __call__(self, execute: Callable[..., Any], *statement: Any) -> Any:
        # SQLite allows no other writer during a transaction.
        if self.passed >= self.before and not self.is_done and not connection.in_atomic_block:
            self.is_done = True
            self.delete()
        self.passed += not self.is_done and (self.passed > 0 or self.table in statement[0])
        return execute(*statement)


def deletions(delete: Callable[[], object], model: type[Model]) -> Iterator[Deletion]:
    """Yield a deletion for each statement of a request, or for each third one.

    The statements are the same on both databases, so thorough tests try each of them only on SQLite.
    """
    for before in range(0, 200, 1 if is_thorough() and not databases.is_postgresql() else 3):
        deletion = Deletion(delete, model._meta.db_table, before)
        yield deletion
        if not deletion.is_done:
            return
    pytest.fail("A request sends more than 200 statements.")


@dataclass(frozen=True)
class Data:
    """The team's data, from which deleted rows are restored."""

    rows: list[Model]
    folder: Path
    saved: Path

    @classmethod
    def of_the_team(cls, folder: Path, saved: Path) -> "Data":
        models: list[type[Model]] = [Membership, ApiKey, Account, Collection, Run, ResultFile, Export]
        models += [Verification, Channel, Rule]
        shutil.copytree(folder, saved)
        return cls([row for model in models for row in model._default_manager.all()], folder, saved)

    def restore(self) -> None:
        for model in (Membership, Collection, Account, Channel):
            model._default_manager.all().delete()
        cache.clear()
        for row in self.rows:
            row.save(force_insert=True)
        shutil.copytree(self.saved, self.folder, dirs_exist_ok=True)


@pytest.fixture
def run(laptops: Collection, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr(background, "in_background", lambda work, **_: work())
    # It takes the most time and sends no statements to the database.
    monkeypatch.setattr(sample, "_size_of", lambda records, wanted: 1)
    return make_ready_run(laptops)


@pytest.fixture
def adams_key(adam: User) -> str:
    return ApiKey.objects.issue(adam.memberships.get(), "cron job")[1]


@pytest.fixture
def as_adam(as_adam: Client) -> Client:
    as_adam.raise_request_exception = False
    return as_adam


def asked(client: Client, method: str, name: str, address: str, key: str = "") -> tuple[int, bytes]:
    if method == "POST" and name not in BODIES:
        response = client.post(f"/{address}", FORMS.get(name, {}))
    else:
        headers = {"x-api-key": key} if name.startswith("api:") else {}
        response = client.generic(method, f"/{address}", BODIES.get(name, b""), headers=headers)
    return response.status_code, responses.content(response)


@pytest.mark.parametrize(
    ("name", "is_known"),
    all_or_few(
        [*((name, True) for name in ABOUT_RUNS), *((name, False) for name in MAKES_SOMETHING)],
        *(("run", True), ("result_file", True), ("api:list_run_results", True), ("run_export", False)),
    ),
)
def test_a_run_deleted_during_a_request_is_not_found(
    *,
    name: str,
    is_known: bool,
    run: Run,
    as_adam: Client,
    adams_key: str,
    results_folder: Path,
    tmp_path: Path,
) -> None:
    if is_known:
        create_export(run, ExportSpec(Format.CSV))
        Verifier(run).verify()
    data = Data.of_the_team(results_folder, tmp_path / "saved")
    where, methods, _ = TABLE[name]
    for method in {"GET", "POST"}.intersection(methods.split()):
        undisturbed = asked(as_adam, method, name, where, adams_key)
        assert name not in FILES or undisturbed[0] == 200
        for deletion in deletions(lambda: delete_run(run), Run):
            data.restore()
            with connection.execute_wrapper(deletion):
                status, content = asked(as_adam, method, name, where, adams_key)
            assert status in {*ANSWERS, undisturbed[0]}, (method, deletion.before)
            if status == 200 and name in FILES:
                assert content == undisturbed[1], deletion.before


@pytest.mark.parametrize("model", [Collection, Membership])
@pytest.mark.parametrize(
    "name", all_or_few(CHANGES_SOMETHING, "collection_schedule", "collection_acknowledge")
)
def test_a_change_to_a_deleted_row_is_refused(
    name: str,
    model: type[Model],
    run: Run,
    as_adam: Client,
    bob: User,
    bobs_key: str,
    results_folder: Path,
    tmp_path: Path,
) -> None:
    make_failed_run(run.collection)  # a problem to acknowledge
    membership = bob.memberships.get()
    account = Account.objects.create(team=membership.team, name="A")
    channel = make_webhook(membership.team)
    ids = {
        "bob": membership.pk,
        "bobs_key": membership.api_keys.get().pk,
        "account": account.pk,
        "channel": channel.pk,
        "rule": channel.rules.get().pk,
    }
    data = Data.of_the_team(results_folder, tmp_path / "saved")
    for deletion in deletions(model._default_manager.all().delete, model):
        data.restore()
        with connection.execute_wrapper(deletion):
            status, _ = asked(as_adam, "POST", name, TABLE[name][0].format(**ids))
        assert status in ANSWERS | REFUSALS, deletion.before


def test_an_error_on_the_second_try_is_a_bug(caplog: pytest.LogCaptureFixture) -> None:
    tries = []

    def mistaken() -> None:
        tries.append(1)
        raise IntegrityError("NOT NULL constraint failed")

    with pytest.raises(IntegrityError):
        retry_if_vanished(mistaken)
    assert len(tries) == 2
    assert "retrying: IntegrityError" in caplog.text


def test_other_errors_are_not_retried() -> None:
    tries = []

    def mistaken() -> None:
        tries.append(1)
        raise KeyError("name")

    with pytest.raises(KeyError):
        retry_if_vanished(mistaken)
    assert len(tries) == 1
