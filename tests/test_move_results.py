import io
import os
from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import storages
from django.core.management import CommandError, call_command
from django.test import Client
from pytest_django import Settings

from collections_app.files.storage import storage_url
from collections_app.models import Collection, ResultFile
from collections_app.runs import move
from collections_app.runs.removal import delete_run
from tests.support.object_store import SECRET_KEY, ObjectStore
from tests.support.results import make_ready_run, records, store_bytes, stored_keys


@pytest.fixture(autouse=True)
def data_dir(settings: Settings, tmp_path: Path, results_folder: Path) -> None:
    settings.DATA_DIR = tmp_path
    settings.RESULTS_STORAGE_URL = ""


@pytest.fixture(params=["folder", pytest.param("s3", marks=pytest.mark.scaled_out)])
def other(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of another storage of the same or the other kind."""
    if request.param == "folder":
        return f"file://{tmp_path}/other"
    store: ObjectStore = request.getfixturevalue("object_store")
    return store.url(tmp_path.parent.name + tmp_path.name)


def move_to(url: str) -> str:
    out = io.StringIO()
    call_command("move_results", to=url, stdout=out)
    return out.getvalue()


def switch(settings: Settings, url: str) -> None:
    settings.RESULTS_STORAGE_URL = url
    settings.STORAGES = settings.STORAGES | {"results": storage_url.parse(url).entry}


def keys() -> list[str]:
    return sorted(ResultFile.objects.exclude(key="").values_list("key", flat=True))


def test_every_file_is_copied_checked_and_served_after_the_switch(
    laptops: Collection, headphones: Collection, other: str, settings: Settings, as_bob: Client
) -> None:
    run = make_ready_run(laptops, records(501))
    make_ready_run(headphones, records(3))
    before = {file.pk: file.etag for file in ResultFile.objects.all()}
    said = move_to(other)
    assert "Copied: 6 (" in said
    assert "This is a complete backup. To use the new storage, set RESULTS_STORAGE_URL" in said
    assert SECRET_KEY not in said
    # The old storage is unchanged and in use.
    assert stored_keys() == keys()
    switch(settings, other)
    assert stored_keys() == keys()
    for file in run.files.all():
        response = as_bob.get(f"/collections/101/runs/1/files/{file.name}")
        assert len(response.getvalue()) == file.size
        assert response.headers["ETag"] == before[file.pk]


def test_only_new_files_are_copied_the_second_time(
    laptops: Collection, other: str, settings: Settings
) -> None:
    make_ready_run(laptops, records(3))
    move_to(other)
    assert "Copied: 0 (0 bytes). Already there: 2." in move_to(other)
    make_ready_run(laptops, records(3))
    switch(settings, other)
    out = io.StringIO()
    call_command("move_results", origin="folder", stdout=out)
    assert "Copied: 2 (" in out.getvalue()
    assert "Already there: 2." in out.getvalue()
    assert "All results are in " in out.getvalue()
    assert "Nothing was deleted from the folder " in out.getvalue()
    assert stored_keys() == keys()


def test_it_continues_where_it_was_interrupted(
    laptops: Collection, other: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_ready_run(laptops, records(5), page_size=1)
    copied: list[str] = []
    copy = move._copy

    def interrupted(file: ResultFile, *args: Any) -> None:
        if len(copied) == 2:
            raise KeyboardInterrupt
        copied.append(file.key)
        copy(file, *args)

    with monkeypatch.context() as patch:
        patch.setattr(move, "_copy", interrupted)
        with pytest.raises(CommandError, match=r"Interrupted\. Completed copies are kept"):
            move_to(other)
    assert "Copied: 4 (" in move_to(other)


def test_a_copy_keeps_the_time_in_the_etag(laptops: Collection, tmp_path: Path) -> None:
    run = make_ready_run(laptops)
    for file in run.files.all():
        os.utime(storages["results"].path(file.key), (1, 1))
    move_to(f"file://{tmp_path}/other")
    for file in run.files.all():
        assert int((tmp_path / "other" / file.key).stat().st_mtime) == int(file.modified.timestamp())


@pytest.mark.parametrize(
    "content", [None, b"", b'[\n{"asin": "B0"}\n]\n'], ids=["missing", "empty", "damaged"]
)
def test_a_damaged_file_is_reported_and_the_others_are_copied(
    laptops: Collection, other: str, settings: Settings, content: bytes | None, capsys: Any
) -> None:
    make_ready_run(laptops)
    broken, intact = ResultFile.objects.order_by("pk")
    if content is None:
        storages["results"].delete(broken.key)
    else:
        store_bytes(broken.key, content)
    with pytest.raises(CommandError, match=r"Not copied: 1\. All other files are in the "):
        move_to(other)
    assert f"{broken.name} ({broken.key}): it is " in capsys.readouterr().err
    switch(settings, other)
    assert stored_keys() == [intact.key]


def test_a_run_deleted_in_the_meantime_is_skipped(
    laptops: Collection, other: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_ready_run(laptops)
    by_collection = move._by_collection

    def deleting() -> Any:
        for number, files in by_collection():
            found = list(files)
            delete_run(run)
            yield number, iter(found)

    monkeypatch.setattr(move, "_by_collection", deleting)
    assert "Copied: 0 (" in move_to(other)


def test_a_copy_that_differs_is_removed(
    laptops: Collection, other: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_ready_run(laptops)
    read_back = move._read_back

    def damaged(file: ResultFile, target: Any) -> None:
        with target.open(file.key, "wb") as copy:
            copy.write(b"something else")
        read_back(file, target)

    monkeypatch.setattr(move, "_read_back", damaged)
    with pytest.raises(CommandError, match="differs from what was written"):
        move_to(other)
    switch(settings, other)
    assert stored_keys() == []


def test_a_storage_that_cannot_be_used(laptops: Collection, object_store: ObjectStore) -> None:
    make_ready_run(laptops)
    with pytest.raises(
        CommandError, match="The results storage can't be used: The object storage refused the request"
    ) as caught:
        move_to(object_store.url("x", secret="wrong"))
    assert "wrong" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "said"),
    [("folder", "already stores its results in the folder"), ("nowhere", "scheme isn't known")],
)
def test_the_target_must_be_another_storage(db: None, url: str, said: str) -> None:
    with pytest.raises(CommandError, match=said):
        move_to(url)


def test_an_address_with_a_secret_is_read_from_the_input(
    laptops: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_ready_run(laptops)
    monkeypatch.setattr("sys.stdin", io.StringIO(f"file://{tmp_path}/other\n"))
    assert "Copied: 2 (" in move_to("-")


def test_the_target_is_required(db: None) -> None:
    with pytest.raises(CommandError, match="one of the arguments --to --from is required"):
        call_command("move_results")
