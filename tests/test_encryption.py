import stat
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from django.core.exceptions import ImproperlyConfigured
from pytest_django import Settings

from collections_app.system import encryption

SECRET = "canary-4f1d.0c9be2a7"


def new_key() -> str:
    return Fernet.generate_key().decode()


@pytest.fixture(autouse=True)
def file(settings: Settings, tmp_path: Path) -> Path:
    """The file of keys, in a data folder for this test."""
    settings.DATA_DIR = tmp_path
    return tmp_path / "encryption_keys"


def test_a_token_can_be_decrypted_and_does_not_contain_the_secret() -> None:
    token = encryption.encrypt(SECRET)
    assert SECRET not in token
    assert encryption.decrypt(token) == SECRET


def test_the_same_secret_looks_different_each_time() -> None:
    assert encryption.encrypt(SECRET) != encryption.encrypt(SECRET)


def test_the_key_is_created_on_first_use_with_mode_600(file: Path) -> None:
    token = encryption.encrypt(SECRET)
    created = file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert encryption.decrypt(token) == SECRET
    assert file.read_text() == created


def test_the_setting_has_precedence_over_the_file(settings: Settings, file: Path) -> None:
    settings.ENCRYPTION_KEYS = [new_key()]
    assert encryption.decrypt(encryption.encrypt(SECRET)) == SECRET
    assert not file.exists()


def test_the_first_key_encrypts_and_all_keys_decrypt(settings: Settings) -> None:
    old, new = new_key(), new_key()
    settings.ENCRYPTION_KEYS = [old]
    token = encryption.encrypt(SECRET)
    settings.ENCRYPTION_KEYS = [new, old]
    assert encryption.decrypt(token) == SECRET
    settings.ENCRYPTION_KEYS = [new]
    with pytest.raises(encryption.SecretUnreadable):
        encryption.decrypt(token)


@pytest.mark.parametrize("token", ["", "x", "gAAAAA==", "\0"])
def test_an_invalid_token_is_unreadable(token: str) -> None:
    for read in (encryption.decrypt, encryption.reencrypt):
        with pytest.raises(encryption.SecretUnreadable):
            read(token)


def test_reencrypting_needs_the_old_key(settings: Settings) -> None:
    old, new = new_key(), new_key()
    settings.ENCRYPTION_KEYS = [old]
    token = encryption.encrypt(SECRET)
    settings.ENCRYPTION_KEYS = [new, old]
    token = encryption.reencrypt(token)
    settings.ENCRYPTION_KEYS = [new]
    assert encryption.decrypt(token) == SECRET


def test_a_key_is_added_first_and_old_keys_are_dropped(file: Path) -> None:
    [old] = encryption.keys()
    encryption.add_key()
    new, *others = encryption.keys()
    assert others == [old]
    assert new != old
    encryption.drop_old_keys()
    assert encryption.keys() == [new]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(file.parent.iterdir()) == [file]


def test_unfinished_files_with_old_keys_are_deleted(file: Path) -> None:
    encryption.add_key()
    kept = file.with_name("encryption_keys.bak")
    for path in (kept, file.with_name("encryption_keys.0123456789abcdef")):
        path.write_text(file.read_text())
    encryption.drop_old_keys()
    assert sorted(file.parent.iterdir()) == [file, kept]


@pytest.mark.parametrize("content", ["canary", "canary==", f"{'A' * 43}=\ncanary"])
def test_a_damaged_file_is_reported_and_not_changed(file: Path, content: str) -> None:
    file.write_text(content)
    with pytest.raises(ImproperlyConfigured) as error:
        encryption.encrypt(SECRET)
    assert str(error.value) == (
        f"The file {file} contains an invalid encryption key. Restore it from a backup."
    )
    assert file.read_text() == content


def test_keys_in_the_setting_are_not_changed(settings: Settings, file: Path) -> None:
    settings.ENCRYPTION_KEYS = [new_key(), new_key()]
    before = encryption.keys()
    encryption.add_key()
    encryption.drop_old_keys()
    assert encryption.keys() == before
    assert not file.exists()


def test_if_a_key_cannot_be_written_the_old_ones_stay(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = encryption.keys()

    def full(number: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        encryption.add_key()
    assert encryption.keys() == before
    assert list(file.parent.iterdir()) == [file]
