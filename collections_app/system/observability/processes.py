"""The folder where the processes of a server combine their metrics.

It is in memory if possible, because on a full disk a write to it would kill a worker. Its name contains the
server's process ID and port, and it is locked while the server or a worker is alive. So it also shows whether
there are workers whose server was killed.
"""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

# None means the default folder for temporary files.
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108


def new_folder(port: int) -> Path:
    """Create a folder for the metrics of this server. Remove the folders of servers without processes."""
    folder = Path(tempfile.mkdtemp(prefix=f"metrics-{os.getpid()}-{port}-", dir=MEMORY))
    _lock(folder)
    for other in _folders_of_killed_servers():
        with contextlib.suppress(OSError):
            lock = _lock(other)
            shutil.rmtree(other)
            os.close(lock)
    return folder


def has_orphans(port: int) -> bool:
    """Return whether there are workers whose server listened on this port and was killed."""
    folders = _folders_of_killed_servers()
    return any(_is_locked(folder) for folder in folders if folder.name.split("-")[2] == str(port))


def _folders_of_killed_servers() -> Iterator[Path]:
    # This includes servers in other containers, whose processes are invisible here. Their folders are locked.
    for folder in Path(MEMORY or tempfile.gettempdir()).glob("metrics-*-*"):
        if not Path("/proc", folder.name.split("-")[1]).exists():
            yield folder


def _is_locked(folder: Path) -> bool:
    try:
        os.close(_lock(folder))
    except BlockingIOError:
        return True
    except OSError:
        return False  # it has been removed in the meantime
    return False


def _lock(folder: Path) -> int:
    """Lock a folder until this process and its workers close the returned descriptor. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
