"""Files that can be made again: kept on this machine, up to a size, and made once however many ask for them.

An entry is written aside, synced and renamed, so that it is whole or not there. What a killed process leaves
behind is removed by the next one that makes that entry, or after a day.
"""

import contextlib
import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, BinaryIO, cast
from zlib import crc32

from django.core.files.storage import storages

from collections_app.files.storage.base import PART_SUFFIX
from collections_app.system.disk import RESERVE
from collections_app.system.serving import check_client, client_has_disconnected, has_client

# All entries together, in bytes; the one that was made last stays, however large it is.
MOST_BYTES = 2 * 1024**3

_STALE_SECONDS = 24 * 3600
_LOCK = ".lock"
_LOCKS = 1024
_TRY_AGAIN_SECONDS = 0.1


class BuildFailed(Exception):
    """Somebody else has just tried to make this entry, and failed."""


def cached(name: str, make: Callable[[IO[bytes]], None]) -> BinaryIO:
    """Return the entry of that name, opened; where there is none, `make` writes it first.

    Raises what `make` raises, and keeps nothing then; BuildFailed for threads that waited for it;
    ClientDisconnected for threads whose client disconnects while they wait; and OSError, for example on a
    full disk. A thread that has the entry open can still read it after it is dropped.
    """
    entry = _opened(name)
    if entry is None:
        asked_at = time.time_ns()
        with _alone(name) as lock:
            entry = _opened(name)
            if entry is None:
                _check_nobody_failed(lock, name, asked_at)
                entry = _made(name, make, lock)
    return entry


def existing(name: str) -> BinaryIO | None:
    """Return the entry of that name, opened; None where there is none."""
    return _opened(name)


def drop(name: str) -> None:
    """Remove the entry of that name, where there is one."""
    _path(name).unlink(missing_ok=True)


def scratch_path(name: str, what: str) -> Path:
    """Return where whoever makes an entry may keep something meanwhile.

    It is theirs alone for as long as `make` runs. What they leave there is removed as an unfinished entry is.
    """
    return _path(f"{name}.{what}{PART_SUFFIX}")


def _opened(name: str) -> BinaryIO | None:
    try:
        entry = _path(name).open("rb")
    except FileNotFoundError:
        return None
    with contextlib.suppress(OSError):  # a disk that can be read alone
        os.utime(entry.fileno())  # it was used just now
    return entry


def _made(name: str, make: Callable[[IO[bytes]], None], lock: IO[str]) -> BinaryIO:
    for leftover in _path("").glob(f"{name}.*{PART_SUFFIX}"):
        leftover.unlink(missing_ok=True)
    _make_room(but=name)
    try:
        with storages["converted"].open(name, "wb") as file:
            make(cast(IO[bytes], file))
    except BaseException:
        if not client_has_disconnected():  # otherwise, waiting threads can still make it
            _note_failure(lock, name)
        raise
    entry = _path(name).open("rb")
    _make_room(but=name)
    return entry


def _make_room(*, but: str) -> None:
    """Drop what was used least recently until the rest fits."""
    found = list(_files())
    left = sum(stat.st_size for _, stat in found)
    most = min(MOST_BYTES, left + shutil.disk_usage(_path("")).free - RESERVE)
    for path, stat in sorted(found, key=lambda each: each[1].st_mtime):
        is_stale_aside = path.suffix == PART_SUFFIX and time.time() - stat.st_mtime > _STALE_SECONDS
        is_droppable = path.suffix != PART_SUFFIX and path.name != but and left > most
        if is_stale_aside or is_droppable:
            path.unlink(missing_ok=True)
            left -= stat.st_size


def _files() -> Iterator[tuple[Path, os.stat_result]]:
    for path in _path("").iterdir():
        with contextlib.suppress(FileNotFoundError):  # another process makes or drops it at this moment
            if path.suffix != _LOCK:
                yield path, path.stat()


# --- one at a time ------------------------------------------------------------------------------------------


@contextmanager
def _alone(name: str) -> Iterator[IO[str]]:
    """Let others wait, in this process and in others. Two names may share a lock, which does no harm."""
    folder = _path("")
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{crc32(name.encode()) % _LOCKS:04}{_LOCK}").open("a+") as lock:
        _wait_for(lock)  # given back when the file is closed, or the process dies
        yield lock


def _wait_for(lock: IO[str]) -> None:
    """Acquire the lock. Raises ClientDisconnected."""
    while has_client():
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            check_client()
            time.sleep(_TRY_AGAIN_SECONDS)
        else:
            return
    fcntl.flock(lock, fcntl.LOCK_EX)


def _note_failure(lock: IO[str], name: str) -> None:
    with contextlib.suppress(OSError):  # on a full disk each finds out for themselves
        lock.truncate(0)
        lock.write(f"{name} {time.time_ns()}")
        lock.flush()


def _check_nobody_failed(lock: IO[str], name: str, asked_at: int) -> None:
    """Raise BuildFailed where it was tried since then: many who wait are not to fail one after the other."""
    lock.seek(0)
    tried, _, failed_at = lock.read().rpartition(" ")
    if tried == name and failed_at.isdecimal() and int(failed_at) > asked_at:
        raise BuildFailed


def _path(name: str) -> Path:
    return Path(storages["converted"].path(name))
