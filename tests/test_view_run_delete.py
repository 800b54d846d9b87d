from pathlib import Path

import pytest
from django.test import Client

from collections_app.models import Collection, ResultFile, Run
from collections_app.runs.writer import ResultSetWriter
from tests.support.meanwhile import ask_meanwhile
from tests.support.results import make_ready_run, records

ADDRESS = "/collections/101/runs/1/delete"


@pytest.fixture
def run(laptops: Collection) -> Run:
    return make_ready_run(laptops, records(3))


def stored(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_it_asks_for_confirmation(as_adam: Client, run: Run) -> None:
    assert "Delete run 1?" in as_adam.get(ADDRESS).content.decode()
    assert Run.objects.exists()


def test_an_admin_deletes_the_run_with_its_files(as_adam: Client, run: Run, results_folder: Path) -> None:
    assert stored(results_folder)
    response = as_adam.post(ADDRESS, follow=True)
    assert "Deleted run 1 of “AU Laptops” and its files." in response.content.decode()
    assert not Run.objects.exists()
    assert not ResultFile.objects.exists()
    assert not stored(results_folder)


def test_a_run_that_is_being_written_stays(as_adam: Client, laptops: Collection) -> None:
    with ResultSetWriter.start(laptops) as writer:
        response = as_adam.post(ADDRESS, follow=True)
        assert "Run 1 is being written" in response.content.decode()
        assert Run.objects.exists()
        writer.discard()


def test_a_deleted_run_is_not_found(as_adam: Client, run: Run) -> None:
    as_adam.post(ADDRESS)
    response = as_adam.post(ADDRESS)
    assert response.status_code == 404
    assert "It may have been deleted." in response.content.decode()


@pytest.mark.django_db(transaction=True)
def test_a_run_deleted_concurrently_is_deleted_once(as_adam: Client, run: Run) -> None:
    assert ask_meanwhile(run.delete, lambda: as_adam.post(ADDRESS)).status_code == 302
    assert not Run.objects.exists()


def test_a_member_and_a_stranger_cannot_delete(as_bob: Client, as_carol: Client, run: Run) -> None:
    for client in (as_bob, as_carol):
        assert client.get(ADDRESS).status_code == 403
        assert client.post(ADDRESS).status_code == 403
    assert Run.objects.exists()
