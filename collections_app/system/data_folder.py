"""The data folder: where the embedded database, the results and the secrets made on first use live."""

import os
import secrets
import stat
from collections.abc import Callable
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured


def prepare(folder: Path) -> Path:
    """Make the data folder, readable by its owner alone, and return it.

    From one that is there already the rights of others are taken away; its group keeps its own.
    Raises ImproperlyConfigured, in one sentence, when it can't be made or written to.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ImproperlyConfigured(
            f"The data folder {folder} can't be made ({error.strerror}). "
            "Point DATA_DIR at a folder that this user may write to."
        ) from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ImproperlyConfigured(
            f"The data folder {folder} can't be written to. "
            "Change its owner, or point DATA_DIR at a folder that this user may write to."
        )
    there = folder.stat()
    # Somebody else's folder can't be changed, and one that all users share, such as /tmp, must not be.
    if there.st_uid == os.geteuid() and there.st_mode & stat.S_IRWXO and not there.st_mode & stat.S_ISVTX:
        folder.chmod(stat.S_IMODE(there.st_mode) & ~stat.S_IRWXO)
    return folder


def _random_text() -> str:
    return secrets.token_urlsafe(50)


def get_or_create_secret(path: Path, make: Callable[[], str] = _random_text) -> str:
    """Return the secret kept in a file of mode 600, making it on first use.

    Safe when several processes start at once: the first one to link its file into place wins,
    and all of them return the same secret. Raises ImproperlyConfigured, in one sentence, when it
    can't be made or read, or is none.
    """
    try:
        if not path.exists():
            _make_secret(path, make())
        secret = path.read_text(encoding="ascii").strip()
    except OSError as error:
        raise ImproperlyConfigured(f"The secret in {path} can't be kept there ({error.strerror}).") from None
    except UnicodeDecodeError:
        secret = ""
    if not secret:
        raise ImproperlyConfigured(
            f"The file {path} holds no secret. Restore it, or delete it: then a new one is made, "
            "and everybody signs in anew."
        )
    return secret


def _make_secret(path: Path, text: str) -> None:
    aside = _written_aside(path, text)
    try:
        os.link(aside, path)
    except FileExistsError:
        pass  # Another process was first; its secret is the one that counts.
    finally:
        aside.unlink()


def write_secret(path: Path, text: str) -> None:
    """Write a file of mode 600; a kill leaves the one that was there or the new one, whole."""
    _written_aside(path, text).replace(path)


def _written_aside(path: Path, text: str) -> Path:
    aside = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    number = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(number, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        aside.unlink()
        raise
    return aside
