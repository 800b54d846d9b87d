import errno
import stat
import threading
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from collections_app.system import data_folder


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_only_the_owner_can_read_it(tmp_path: Path) -> None:
    folder = data_folder.prepare(tmp_path / "new" / "data")
    assert mode(folder) == 0o700
    assert data_folder.prepare(folder) == folder


@pytest.mark.parametrize(
    ("before", "after"), [(0o755, 0o750), (0o777, 0o770), (0o750, 0o750), (0o700, 0o700), (0o1777, 0o1777)]
)
def test_others_lose_their_permissions(tmp_path: Path, before: int, after: int) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data").chmod(before)
    data_folder.prepare(tmp_path / "data")
    assert mode(tmp_path / "data") == after


def test_a_folder_of_another_owner_is_not_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.chmod(0o777)
    monkeypatch.setattr("os.geteuid", lambda: tmp_path.stat().st_uid + 1)
    data_folder.prepare(tmp_path)
    assert mode(tmp_path) == 0o777


@pytest.mark.parametrize("content", [b"", b" \n", b"\xff\x00\xfe"])
def test_a_file_without_a_secret_is_reported_in_one_sentence(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "secret_key"
    path.write_bytes(content)
    with pytest.raises(ImproperlyConfigured, match=f"^The file {path} contains no secret. Restore it"):
        data_folder.get_or_create_secret(path)
    assert path.read_bytes() == content


def test_a_folder_instead_of_a_secret_is_reported_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"can't be created or read \(Is a directory\)"):
        data_folder.get_or_create_secret(tmp_path)


def test_a_secret_that_cannot_be_written_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(number: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(ImproperlyConfigured, match="No space left on device"):
        data_folder.get_or_create_secret(tmp_path / "secret_key")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_created_is_reported_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ImproperlyConfigured) as error:
        data_folder.prepare(tmp_path / "file" / "data")
    assert str(error.value) == (
        f"The data folder {tmp_path}/file/data can't be created (Not a directory). "
        "Set DATA_DIR to a folder that this user can write to."
    )


def test_a_read_only_folder_is_reported_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # os.access() is replaced because root can write anywhere.
    monkeypatch.setattr("os.access", lambda path, how: False)
    with pytest.raises(ImproperlyConfigured, match="isn't writable") as error:
        data_folder.prepare(tmp_path)
    assert "DATA_DIR" in str(error.value)


def test_a_secret_is_created_once_with_mode_600(tmp_path: Path) -> None:
    path = tmp_path / "secret_key"
    secret = data_folder.get_or_create_secret(path)
    assert len(secret) >= 50
    assert data_folder.get_or_create_secret(path) == secret
    assert mode(path) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_processes_that_start_together_use_the_same_secret(tmp_path: Path) -> None:
    path = tmp_path / "secret_key"
    secrets: list[str] = []
    together = threading.Barrier(8)

    def start() -> None:
        together.wait()
        secrets.append(data_folder.get_or_create_secret(path))

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(secrets) == 8
    assert set(secrets) == {path.read_text()}
    assert list(tmp_path.iterdir()) == [path]


def test_the_first_secret_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "secret_key"
    path.write_text("the first one\n")
    monkeypatch.setattr(Path, "exists", lambda self: False)
    assert data_folder.get_or_create_secret(path) == "the first one"


def test_write_secret_replaces_the_old_secret(tmp_path: Path) -> None:
    path = tmp_path / "demo.json"
    data_folder.write_secret(path, "old")
    data_folder.write_secret(path, "new")
    assert path.read_text() == "new"
    assert mode(path) == 0o600
    assert list(tmp_path.iterdir()) == [path]
