"""Encryption of stored secrets, with the first of a list of keys. Any key of the list can decrypt them.

The list is in ENCRYPTION_KEYS or else in a file in the data folder, which is created on first use. The file
is read each time, so a rotation needs no restart.
"""

from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from collections_app.system.data_folder import get_or_create_secret, write_secret


class SecretUnreadable(Exception):
    """A secret was encrypted with a key that isn't in the list."""


def encrypt(text: str) -> str:
    """Return the text encrypted with the first key."""
    return _fernet(keys()).encrypt(text.encode()).decode()


def decrypt(token: str) -> str:
    """Return the text of a token. Raises SecretUnreadable."""
    try:
        return _fernet(keys()).decrypt(token).decode()
    except InvalidToken:
        raise SecretUnreadable from None


def reencrypt(token: str) -> str:
    """Return the token encrypted again, with the first key. Raises SecretUnreadable."""
    try:
        return _fernet(keys()).rotate(token).decode()
    except InvalidToken:
        raise SecretUnreadable from None


def keys() -> list[str]:
    """Return the keys, beginning with the one that encrypts. Raises ImproperlyConfigured."""
    if settings.ENCRYPTION_KEYS:
        return list(settings.ENCRYPTION_KEYS)
    stored = get_or_create_secret(_file(), _new_key).split()
    try:
        _fernet(stored)
    except ValueError:
        raise ImproperlyConfigured(
            f"The file {_file()} contains an invalid encryption key. Restore it from a backup."
        ) from None
    return stored


def add_key() -> None:
    """Add a new first key to the data folder. Operators change ENCRYPTION_KEYS themselves."""
    if not settings.ENCRYPTION_KEYS:
        write_secret(_file(), "\n".join([_new_key(), *keys()]))


def drop_old_keys() -> None:
    """Delete all keys in the data folder except for the first."""
    if not settings.ENCRYPTION_KEYS:
        write_secret(_file(), keys()[0])
        # Unfinished files of a killed process contain old keys too.
        for left in _file().parent.glob(f"{_file().name}.{'[0-9a-f]' * 16}"):
            left.unlink()


def _fernet(texts: list[str]) -> MultiFernet:
    return MultiFernet([Fernet(text) for text in texts])


def _new_key() -> str:
    return Fernet.generate_key().decode()


def _file() -> Path:
    return Path(settings.DATA_DIR) / "encryption_keys"
