"""What is said of settings at the start, beside what their text alone tells (test_settings.py)."""

from pathlib import Path

import pytest
from django.core.checks import run_checks
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from pytest_django import Settings

from collections_app.result_sets import address
from tests.conftest import ObjectStore

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def named(settings: Settings) -> None:
    settings.RESULTS_STORAGE_URL = "as in STORAGES"


def found() -> list[str]:
    return [message.id for message in run_checks(databases=["default"]) if message.id]


@pytest.mark.each_storage
def test_a_storage_that_works(results_storage: str) -> None:
    assert found() == []


def test_a_bucket_that_can_not_be_used_is_said_with_what_to_do(
    settings: Settings, object_store: ObjectStore
) -> None:
    entry = address.parse(object_store.url("x", secret="hidden")).entry
    settings.STORAGES = settings.STORAGES | {"results": entry}
    with pytest.raises(SystemCheckError) as caught:
        call_command("check", databases=["default"])
    said = str(caught.value)
    assert "The results storage can't be used: The object storage refuses: SignatureDoesNotMatch" in said
    assert "HINT: Look at RESULTS_STORAGE_URL" in said
    assert "hidden" not in said
    # Other machines are asked at the start alone, not by each command.
    assert run_checks() == []


def test_a_folder_that_can_not_be_used(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    entry = address.parse(f"file://{tmp_path}/file/results").entry
    settings.STORAGES = settings.STORAGES | {"results": entry}
    assert found() == ["results.E001"]
