import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import storages
from django.db import DatabaseError, connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from django.test import Client
from pytest_django import Settings

from collections_app.system.database import NEWER
from collections_app.views import health
from tests.support.tools import PATIENCE


def test_healthz_needs_no_login_and_no_database(client: Client) -> None:
    response = client.get("/healthz")
    assert response.status_code == 200
    assert response.json() == {"status": "ok"}


@pytest.mark.parametrize("address", ["/healthz", "/metrics"])
def test_monitors_may_use_any_host_name(client: Client, address: str) -> None:
    """For example that of a container or an IP address. Other pages require our host name."""
    for host in ("app:8000", "10.0.0.7:8000", "evil example"):
        assert client.get(address, headers={"host": host}).status_code in {200, 404}
    assert client.get("/accounts/login/", headers={"host": "app:8000"}).status_code == 400


@pytest.mark.django_db(transaction=True)
class TestReady:
    @pytest.fixture(autouse=True)
    def fresh_checks(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        monkeypatch.setattr(health, "_readiness", health._Readiness())
        monkeypatch.setattr(health, "CACHE_SECONDS", 0)
        yield
        for thread in threading.enumerate():
            if thread.name == "readyz":
                thread.join(timeout=PATIENCE)

    def get(self) -> tuple[int, dict[str, str]]:
        response: Any = Client().get("/readyz")
        return response.status_code, response.json()

    def problem(self) -> str:
        status, said = self.get()
        assert (status, said["status"]) == (503, "not ready")
        return said["problem"]

    def test_it_is_ready_and_leaves_no_files_behind(self, results_folder: Path) -> None:
        assert self.get() == (200, {"status": "ready"})
        assert list(results_folder.iterdir()) == []

    def test_an_unavailable_database(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def gone(*args: object) -> None:
            raise DatabaseError("connection to server at 10.0.0.1 failed: password of results")

        monkeypatch.setattr("django.db.migrations.executor.MigrationExecutor.migration_plan", gone)
        assert self.problem() == "The database is unavailable."

    def test_a_database_that_needs_migrations(self) -> None:
        recorder = MigrationRecorder(connection)
        (newest,) = MigrationLoader(connection).graph.leaf_nodes("collections_app")
        recorder.record_unapplied(*newest)
        try:
            assert self.problem() == ("The database isn't up to date. Run manage.py migrate.")
        finally:
            recorder.record_applied(*newest)
        assert self.get()[0] == 200

    def test_a_newer_database(self) -> None:
        recorder = MigrationRecorder(connection)
        recorder.record_applied("collections_app", "9999_later")
        try:
            assert self.problem() == NEWER
        finally:
            recorder.record_unapplied("collections_app", "9999_later")
        assert self.get()[0] == 200

    def test_results_that_cannot_be_written(self, results_folder: Path) -> None:
        results_folder.write_text("no folder")
        assert self.problem() == "Results can't be written."

    def test_results_that_change_after_they_were_written(
        self, monkeypatch: pytest.MonkeyPatch, results_folder: Path
    ) -> None:
        storage = type(storages["results"])
        opened = storage._open  # type: ignore[attr-defined]

        def other(self: Any, name: str, mode: str = "rb") -> Any:
            if mode == "rb":
                Path(self.path(name)).write_bytes(b"another")
            return opened(self, name, mode)

        monkeypatch.setattr(storage, "_open", other)
        assert self.problem() == "Results can't be read."

    @pytest.mark.parametrize(
        ("hanging", "said"),
        [(0, "The database doesn't respond."), (1, "The results storage doesn't respond.")],
    )
    def test_a_check_that_hangs_is_reported_in_time_and_started_once(
        self, monkeypatch: pytest.MonkeyPatch, hanging: int, said: str
    ) -> None:
        resume, calls = threading.Event(), []

        def hang() -> str:
            calls.append(1)
            resume.wait(PATIENCE)
            return ""

        checks = list(health._CHECKS)
        checks[hanging] = (said, hang)
        monkeypatch.setattr(health, "_CHECKS", checks)
        monkeypatch.setattr(health, "READY_WITHIN_SECONDS", 0.3)
        try:
            assert [self.problem(), self.problem()] == [said, said]
            assert len(calls) == 1
        finally:
            resume.set()
        monkeypatch.setattr(health, "READY_WITHIN_SECONDS", 10)
        assert self.get()[0] == 200

    def test_an_unexpected_error_is_logged_and_not_shown(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        def broken() -> str:
            raise RuntimeError("a secret of ours")

        monkeypatch.setattr(health, "_CHECKS", [("", broken)])
        assert self.problem() == "Something went wrong on our side. The error was logged."
        assert "a secret of ours" in caplog.text

    def test_the_result_is_cached(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(health, "CACHE_SECONDS", 60)
        assert self.get()[0] == 200
        monkeypatch.setattr(health, "_CHECKS", [("", lambda: "Never calls.")])
        assert self.get()[0] == 200

    def test_it_needs_no_login_and_no_https(self, settings: Settings) -> None:
        settings.SECURE_SSL_REDIRECT = True
        assert self.get()[0] == 200
