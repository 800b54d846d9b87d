"""A cache of files on this machine, with a maximum size. Each file is built once for all who need it.

An entry is written under another name, synced and renamed, so it is always complete. If a process is killed,
its unfinished files are deleted by the next one that builds the entry, or after a day.
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

from collections_app.files.storage.base import PART_SUFFIX, results
from collections_app.system.disk import RESERVE
from collections_app.system.serving import check_client, client_has_disconnected, has_client

# The size of all entries in bytes. The newest one stays, whatever its size.
MAX_BYTES = 2 * 1024**3

_STALE_SECONDS = 24 * 3600
_LOCK = ".lock"
_LOCKS = 1024
_TRY_AGAIN_SECONDS = 0.1
_COPIED_AT_ONCE = 1024 * 1024


class BuildFailed(Exception):
    """Another caller has just tried to build this entry, and failed."""


def cached(name: str, build: Callable[[IO[bytes]], None]) -> BinaryIO:
    """Open and return an entry. If it doesn't exist, `build` writes it first.

    Raises what `build` raises, without storing anything; BuildFailed in threads that waited for it;
    ClientDisconnected in threads whose client disconnects while they wait; and OSError, for example on a
    full disk. A thread that has the entry open can still read it after it is deleted.
    """
    entry = _opened(name)
    if entry is None:
        requested_at = time.time_ns()
        with _locked(name) as lock:
            entry = _opened(name)
            if entry is None:
                _check_recent_failure(lock, name, requested_at)
                entry = _built(name, build, lock)
    return entry


def local_copy(key: str) -> Path:
    """Return the path of a stored file on this machine. An object is copied to the cache.

    The bytes of a key must never change. Raises BuildFailed and OSError. If the storage is a folder, the file
    may not exist.
    """

    def copy(out: IO[bytes]) -> None:
        with results().open(key) as stored:
            shutil.copyfileobj(stored, out, _COPIED_AT_ONCE)

    path = results().local_path(key)
    if path is not None:
        return path
    with cached(key.replace("/", "-"), copy) as entry:
        return Path(entry.name)


def existing(name: str) -> BinaryIO | None:
    """Open and return an entry, or return None if it doesn't exist."""
    return _opened(name)


def drop(name: str) -> None:
    """Delete an entry if it exists."""
    _path(name).unlink(missing_ok=True)


def size() -> tuple[int, int]:
    """Return the number of files in the cache and their total size in bytes."""
    sizes = [stat.st_size for _, stat in _files()] if _path("").exists() else []
    return len(sizes), sum(sizes)


def scratch_path(name: str, purpose: str) -> Path:
    """Return a path for temporary data of an entry. Only `build` uses it while it runs.

    Files that remain there are deleted in the same way as unfinished entries.
    """
    return _path(f"{name}.{purpose}{PART_SUFFIX}")


def _opened(name: str) -> BinaryIO | None:
    try:
        entry = _path(name).open("rb")
    except FileNotFoundError:
        return None
    with contextlib.suppress(OSError):  # on a read-only disk
        os.utime(entry.fileno())  # record that it was used
    return entry


def _built(name: str, build: Callable[[IO[bytes]], None], lock: IO[str]) -> BinaryIO:
    for leftover in _path("").glob(f"{name}.*{PART_SUFFIX}"):
        leftover.unlink(missing_ok=True)
    _evict(but=name)
    try:
        with storages["converted"].open(name, "wb") as file:
            build(cast(IO[bytes], file))
    except BaseException:
        if not client_has_disconnected():  # otherwise, waiting threads can still build it
            _record_failure(lock, name)
        raise
    entry = _path(name).open("rb")
    _evict(but=name)
    return entry


def _evict(*, but: str) -> None:
    """Delete the least recently used entries until the others fit."""
    found = list(_files())
    left = sum(stat.st_size for _, stat in found)
    most = min(MAX_BYTES, left + shutil.disk_usage(_path("")).free - RESERVE)
    for path, stat in sorted(found, key=lambda each: each[1].st_mtime):
        is_stale = path.suffix == PART_SUFFIX and time.time() - stat.st_mtime > _STALE_SECONDS
        is_excess = path.suffix != PART_SUFFIX and path.name != but and left > most
        if is_stale or is_excess:
            path.unlink(missing_ok=True)
            left -= stat.st_size


def _files() -> Iterator[tuple[Path, os.stat_result]]:
    for path in _path("").iterdir():
        with contextlib.suppress(FileNotFoundError):  # another process renames or deletes it
            if path.suffix != _LOCK:
                yield path, path.stat()


# --- one build at a time ------------------------------------------------------------------------


@contextmanager
def _locked(name: str) -> Iterator[IO[str]]:
    """Make other threads and processes wait. Two names may share a lock, which is harmless."""
    folder = _path("")
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{crc32(name.encode()) % _LOCKS:04}{_LOCK}").open("a+") as lock:
        _wait_for(lock)  # released when the file is closed or the process ends
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


def _record_failure(lock: IO[str], name: str) -> None:
    with contextlib.suppress(OSError):  # on a full disk, each waiting thread tries to build it
        lock.truncate(0)
        lock.write(f"{name} {time.time_ns()}")
        lock.flush()


def _check_recent_failure(lock: IO[str], name: str, requested_at: int) -> None:
    """Raise BuildFailed if a build has failed since then, so that waiting threads don't all repeat it."""
    lock.seek(0)
    tried, _, failed_at = lock.read().rpartition(" ")
    if tried == name and failed_at.isdecimal() and int(failed_at) > requested_at:
        raise BuildFailed


def _path(name: str) -> Path:
    return Path(storages["converted"].path(name))
