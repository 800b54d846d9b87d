"""The data folder, which contains the embedded database, the results, and generated secrets."""

import os
import secrets
import stat
from collections.abc import Callable
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured


def prepare(folder: Path) -> Path:
    """Create the data folder, which only its owner can read, and return it.

    If it exists, remove the permissions of others, but not those of its group. Raises ImproperlyConfigured if
    it can't be created or isn't writable.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ImproperlyConfigured(
            f"The data folder {folder} can't be created ({error.strerror}). "
            "Set DATA_DIR to a folder that this user can write to."
        ) from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ImproperlyConfigured(
            f"The data folder {folder} isn't writable. "
            "Change its owner, or set DATA_DIR to a folder that this user can write to."
        )
    found = folder.stat()
    # Only the owner can change permissions, and a folder that all users share, such as /tmp, must keep them.
    if found.st_uid == os.geteuid() and found.st_mode & stat.S_IRWXO and not found.st_mode & stat.S_ISVTX:
        folder.chmod(stat.S_IMODE(found.st_mode) & ~stat.S_IRWXO)
    return folder


def _random_text() -> str:
    return secrets.token_urlsafe(50)


def get_or_create_secret(path: Path, create: Callable[[], str] = _random_text) -> str:
    """Return the secret in a file with mode 600. Create it on first use.

    If several processes start at once, all of them return the secret of the one that links its file first.
    Raises ImproperlyConfigured if the file can't be created or read, or is empty.
    """
    try:
        if not path.exists():
            _create_secret(path, create())
        secret = path.read_text(encoding="ascii").strip()
    except OSError as error:
        raise ImproperlyConfigured(
            f"The file {path} can't be created or read ({error.strerror}). Check its owner and the disk."
        ) from None
    except UnicodeDecodeError:
        secret = ""
    if not secret:
        raise ImproperlyConfigured(
            f"The file {path} contains no secret. Restore it. If you delete it, a new secret is created, "
            "and all users have to sign in again."
        )
    return secret


def _create_secret(path: Path, text: str) -> None:
    temporary = _temporary_file(path, text)
    try:
        os.link(temporary, path)
    except FileExistsError:
        pass  # another process was first
    finally:
        temporary.unlink()


def write_secret(path: Path, text: str) -> None:
    """Replace a file with mode 600. If the process is killed, the old or the new file remains."""
    _temporary_file(path, text).replace(path)


def _temporary_file(path: Path, text: str) -> Path:
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    number = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(number, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        temporary.unlink()
        raise
    return temporary
