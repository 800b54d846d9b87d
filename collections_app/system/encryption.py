"""Secrets at rest: encrypted with the first of a list of keys, readable with any of them.

The list is ENCRYPTION_KEYS or, without that, a file in the data folder that is made on first use. It is
read each time, so that a rotation needs no restart.
"""

from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from collections_app.system.data_folder import get_or_create_secret, write_secret


class SecretUnreadable(Exception):
    """A secret was encrypted with a key that is not in the list (any more)."""


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
    """Return the same secret encrypted with the first key. Raises SecretUnreadable."""
    try:
        return _fernet(keys()).rotate(token).decode()
    except InvalidToken:
        raise SecretUnreadable from None


def keys() -> list[str]:
    """Return the keys, the one that encrypts first. Raises ImproperlyConfigured, in one sentence."""
    if settings.ENCRYPTION_KEYS:
        return list(settings.ENCRYPTION_KEYS)
    stored = get_or_create_secret(_file(), _new_key).split()
    try:
        _fernet(stored)
    except ValueError:
        raise ImproperlyConfigured(
            f"The file {_file()} holds something that is no encryption key. Restore it from a backup."
        ) from None
    return stored


def add_key() -> None:
    """Put a new key before those in the data folder; the operator changes those of ENCRYPTION_KEYS."""
    if not settings.ENCRYPTION_KEYS:
        write_secret(_file(), "\n".join([_new_key(), *keys()]))


def drop_old_keys() -> None:
    """Keep only the first of the keys in the data folder."""
    if not settings.ENCRYPTION_KEYS:
        write_secret(_file(), keys()[0])
        # What a kill left of writing the file holds the old keys too.
        for left in _file().parent.glob(f"{_file().name}.{'[0-9a-f]' * 16}"):
            left.unlink()


def _fernet(texts: list[str]) -> MultiFernet:
    return MultiFernet([Fernet(text) for text in texts])


def _new_key() -> str:
    return Fernet.generate_key().decode()


def _file() -> Path:
    return Path(settings.DATA_DIR) / "encryption_keys"
