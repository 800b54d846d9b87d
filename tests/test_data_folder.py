import stat
import threading
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from dashboard import data_folder


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_it_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    folder = data_folder.prepare(tmp_path / "new" / "data")
    assert mode(folder) == 0o700
    assert data_folder.prepare(folder) == folder


def test_a_folder_that_cannot_be_made_is_said_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ImproperlyConfigured) as error:
        data_folder.prepare(tmp_path / "file" / "data")
    assert str(error.value) == (
        f"The data folder {tmp_path}/file/data can't be made (Not a directory). "
        "Point DATA_DIR at a folder that this user may write to."
    )


def test_a_folder_that_cannot_be_written_to_is_said_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # root may write anywhere, so the answer is made up.
    monkeypatch.setattr("os.access", lambda path, how: False)
    with pytest.raises(ImproperlyConfigured, match="can't be written to") as error:
        data_folder.prepare(tmp_path)
    assert "DATA_DIR" in str(error.value)


def test_a_secret_is_made_once_and_nobody_else_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "secret_key"
    secret = data_folder.stored_secret(path)
    assert len(secret) >= 50
    assert data_folder.stored_secret(path) == secret
    assert mode(path) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_processes_that_start_at_once_agree_on_the_secret(tmp_path: Path) -> None:
    path = tmp_path / "secret_key"
    secrets: list[str] = []
    together = threading.Barrier(8)

    def start() -> None:
        together.wait()
        secrets.append(data_folder.stored_secret(path))

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(secrets) == 8
    assert set(secrets) == {path.read_text()}
    assert list(tmp_path.iterdir()) == [path]


def test_a_secret_that_came_first_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "secret_key"
    path.write_text("the first one\n")
    monkeypatch.setattr(Path, "exists", lambda self: False)
    assert data_folder.stored_secret(path) == "the first one"


def test_a_secret_that_is_kept_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "demo.json"
    data_folder.keep_secret(path, "old")
    data_folder.keep_secret(path, "new")
    assert path.read_text() == "new"
    assert mode(path) == 0o600
    assert list(tmp_path.iterdir()) == [path]
