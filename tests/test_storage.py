import os
import shutil
from pathlib import Path

import pytest
from django.core.files.storage import Storage, storages

from collections_app.files.storage.base import PART_SUFFIX
from collections_app.system import disk
from collections_app.system.disk import free_space


def write(key: str, content: bytes) -> None:
    with storages["results"].open(key, "wb") as file:
        file.write(content)


def files_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_file_appears_only_when_it_is_complete(results_folder: Path) -> None:
    with storages["results"].open("101/1/page.json", "wb") as file:
        file.write(b"[")
        assert not storages["results"].exists("101/1/page.json")
        assert [name.endswith(PART_SUFFIX) for name in files_in(results_folder)] == [True]
        file.write(b"]")
    assert files_in(results_folder) == ["101/1/page.json"]
    with storages["results"].open("101/1/page.json") as file:
        assert file.read() == b"[]"


def test_a_file_is_replaced_atomically(results_folder: Path) -> None:
    write("a.json", b"old")
    with storages["results"].open("a.json", "wb") as file:
        file.write(b"new")
        assert (results_folder / "a.json").read_bytes() == b"old"
    assert (results_folder / "a.json").read_bytes() == b"new"


def test_an_exception_leaves_nothing_behind(results_folder: Path) -> None:
    with pytest.raises(TypeError), storages["results"].open("a.json", "wb") as file:
        file.write("text is no bytes")
    assert files_in(results_folder) == []


def test_a_discarded_file_leaves_nothing_behind(results_folder: Path) -> None:
    file = storages["results"].open("a.json", "wb")
    file.write(b"half")
    file.discard()  # type: ignore[attr-defined]
    file.discard()  # type: ignore[attr-defined]
    file.close()
    assert files_in(results_folder) == []


def test_a_full_disk_leaves_nothing_behind(results_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(number: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    results_folder.mkdir()
    file = storages["results"].open("a.json", "wb")
    file.write(b"complete")
    with pytest.raises(OSError, match="No space left"):
        file.close()
    assert files_in(results_folder) == []


def test_a_file_is_synced_before_it_is_renamed(results_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    replace, fsync = Path.replace, os.fsync
    monkeypatch.setattr(os, "fsync", lambda number: (order.append("fsync"), fsync(number))[1])  # type: ignore[func-returns-value]
    monkeypatch.setattr(
        Path,
        "replace",
        lambda path, target: (order.append("rename"), replace(path, target))[1],  # type: ignore[func-returns-value]
    )
    results_folder.mkdir()
    write("a.json", b"[]")
    assert order == ["fsync", "rename", "fsync"]


def test_new_folders_are_synced(results_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    fsync = os.fsync
    monkeypatch.setattr(
        os,
        "fsync",
        lambda number: (synced.append(str(Path(f"/proc/self/fd/{number}").readlink())), fsync(number))[1],  # type: ignore[func-returns-value]
    )
    write("101/1/a.json", b"[]")
    for folder in (
        results_folder.parent,
        results_folder,
        results_folder / "101",
        results_folder / "101" / "1",
    ):
        assert str(folder) in synced


@pytest.mark.usefixtures("results_folder")
def test_a_key_cannot_lead_out_of_the_folder() -> None:
    for mode in ("rb", "wb"):
        with pytest.raises(Exception, match="outside of the base path"):
            storages["results"].open("../secret", mode)


def test_other_modes_are_rejected() -> None:
    with pytest.raises(ValueError, match="'rb' or 'wb', not 'ab'"):
        storages["results"].open("a.json", "ab")


def test_free_space_is_known_before_the_folder_exists(results_folder: Path) -> None:
    assert not results_folder.exists()
    free = free_space()
    assert free is not None
    assert 0 < free <= shutil.disk_usage(results_folder.parent).total


def test_a_bucket_has_no_known_free_space(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "storages", {"results": Storage()})
    assert free_space() is None
