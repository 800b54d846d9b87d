"""The folder in which the processes of a server put their figures together.

In memory where there is such a place: on a full disk, writing there would end a worker. It is named after its
server's process and port, and locked while that process or a worker lives. So it also tells whether there are
workers whose server was killed.
"""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

# None: a folder for temporary files, as Python finds it.
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108


def new_folder(port: int) -> Path:
    """Make a folder for this server's figures, and remove those of servers that are gone with all workers."""
    folder = Path(tempfile.mkdtemp(prefix=f"metrics-{os.getpid()}-{port}-", dir=MEMORY))
    _lock(folder)
    for other in _folders_of_killed_servers():
        with contextlib.suppress(OSError):
            lock = _lock(other)
            shutil.rmtree(other)
            os.close(lock)
    return folder


def has_orphans(port: int) -> bool:
    """Whether there are workers whose server listened on this port and was killed."""
    folders = _folders_of_killed_servers()
    return any(_is_locked(folder) for folder in folders if folder.name.split("-")[2] == str(port))


def _folders_of_killed_servers() -> Iterator[Path]:
    # Servers in other containers, whose processes can't be seen here, have theirs locked.
    for folder in Path(MEMORY or tempfile.gettempdir()).glob("metrics-*-*"):
        if not Path("/proc", folder.name.split("-")[1]).exists():
            yield folder


def _is_locked(folder: Path) -> bool:
    try:
        os.close(_lock(folder))
    except BlockingIOError:
        return True
    except OSError:
        return False  # it has just been removed
    return False


def _lock(folder: Path) -> int:
    """Lock a folder, for as long as this process or a worker has what is returned open. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
