"""The cache of files: complete entries, each built once, with a maximum size."""

import errno
import fcntl
import os
import select
import shutil
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any

import pytest
from django.core.files.storage import storages

from collections_app.files.storage import cache
from collections_app.files.storage.cache import BuildFailed, cached
from collections_app.system.disk import RESERVE
from collections_app.system.serving import ClientDisconnected, serving
from tests.support import tools
from tests.support.server import environment


@pytest.fixture
def folder() -> Path:
    return Path(storages["converted"].path(""))


def entries(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


def writes(content: bytes) -> Callable[[IO[bytes]], Any]:
    return lambda out: out.write(content)


def never(out: IO[bytes]) -> None:
    pytest.fail("It exists already.")


def read(name: str, make: Callable[[IO[bytes]], Any]) -> bytes:
    with cached(name, make) as entry:
        return entry.read()


def test_an_entry_is_built_once_and_is_a_real_file(folder: Path) -> None:
    with cached("a.csv", writes(b"first")) as entry:
        assert os.fstat(entry.fileno()).st_size == 5
        assert entry.read() == b"first"
    assert read("a.csv", never) == b"first"
    assert entries(folder) == ["a.csv"]


def test_another_name_is_another_entry() -> None:
    assert read("a.csv", writes(b"first")) == b"first"
    assert read("b.csv", writes(b"second")) == b"second"


# --- what goes wrong ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [ValueError("no list"), ConnectionResetError("gone"), KeyboardInterrupt()])
def test_an_incomplete_entry_is_not_kept(folder: Path, error: BaseException) -> None:
    def break_off(out: IO[bytes]) -> None:
        out.write(b"half")
        raise error

    with pytest.raises(type(error)):
        cached("a.csv", break_off)
    assert entries(folder) == []
    assert read("a.csv", writes(b"complete")) == b"complete"


def test_on_a_full_disk_nothing_is_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_room(_number: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_room)
    with pytest.raises(OSError, match="No space left"):
        cached("a.csv", writes(b"complete"))
    assert entries(folder) == []


def test_entries_in_a_read_only_folder_can_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    read("a.csv", writes(b"complete"))

    def refuse(*_args: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(os, "utime", refuse)
    assert read("a.csv", never) == b"complete"


KILLED = """
import sys, time
import django
django.setup()
from collections_app.files.storage.cache import cached

def never_ends(out):
    out.write(b"half")
    out.flush()
    print("half of it is written", flush=True)
    time.sleep(600)

cached("a.csv", never_ends)
"""


def test_files_of_a_killed_process_are_deleted_by_the_next_build(tmp_path: Path, settings: Any) -> None:
    command = [sys.executable, "-c", KILLED]
    with tools.start(*command, env=environment(tmp_path), stdout=tools.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline()
        process.send_signal(signal.SIGKILL)
    folder = tmp_path / "converted"
    (left,) = entries(folder)
    assert left.endswith(".part")
    converted = settings.STORAGES["converted"] | {"OPTIONS": {"location": folder}}
    settings.STORAGES = settings.STORAGES | {"converted": converted}
    assert read("a.csv", writes(b"complete")) == b"complete"
    assert entries(folder) == ["a.csv"]


def test_unfinished_files_are_deleted_after_a_day(folder: Path) -> None:
    folder.mkdir()
    for name, hours in (("old.csv.1.part", 25), ("young.csv.1.part", 23)):
        (folder / name).touch()
        os.utime(folder / name, (time.time() - 3600 * hours,) * 2)
    read("a.csv", writes(b"complete"))
    assert entries(folder) == ["a.csv", "young.csv.1.part"]


# --- several at once ----------------------------------------------------------------------------------------


def slowly(out: IO[bytes]) -> None:
    out.write(b"built by ")
    time.sleep(0.3)
    out.write(b"%d" % os.getpid())


def test_many_requests_at_once_get_the_same_entry(folder: Path) -> None:
    built = []

    def make(out: IO[bytes]) -> None:
        built.append(True)
        slowly(out)

    with ThreadPoolExecutor(8) as threads:
        contents = {reader.result() for reader in [threads.submit(read, "a.csv", make) for _ in range(8)]}
    assert built == [True]
    assert len(contents) == 1
    assert entries(folder) == ["a.csv"]


SLOW = """
import os, sys, time
import django
django.setup()
from collections_app.files.storage.cache import cached

def build(out):
    print("building", flush=True)
    sys.stdin.readline()
    out.write(b"built by %d" % os.getpid())

with cached("a.csv", build) as entry:
    print(entry.read().decode(), flush=True)
"""


@pytest.mark.thorough
def test_processes_wait_for_each_other(tmp_path: Path) -> None:
    builder, waiter = (
        tools.start(
            *(sys.executable, "-c", SLOW),
            env=environment(tmp_path),
            stdin=tools.PIPE,
            stdout=tools.PIPE,
            text=True,
        )
        for _ in range(2)
    )
    assert builder.stdout
    assert waiter.stdout
    if select.select([builder.stdout, waiter.stdout], [], [], 20)[0] == [waiter.stdout]:
        builder, waiter = waiter, builder
    assert tools.eventually(lambda: bool(_waiting(tmp_path / "converted")))
    built, _ = builder.communicate("\n", timeout=tools.PATIENCE)
    found, _ = waiter.communicate("\n", timeout=tools.PATIENCE)
    assert built == f"building\nbuilt by {builder.pid}\n"
    assert found == f"built by {builder.pid}\n"


def test_threads_that_wait_for_a_failing_build_do_not_repeat_it(folder: Path) -> None:
    tried = []
    goes_on = threading.Event()

    def fail(out: IO[bytes]) -> None:
        tried.append(True)
        goes_on.wait(tools.PATIENCE)
        raise ValueError("no list")

    def outcome(_number: int) -> type[Exception] | None:
        try:
            cached("a.csv", fail).close()
        except (ValueError, BuildFailed) as error:
            return type(error)
        return None

    with ThreadPoolExecutor(4) as threads:
        outcomes = [threads.submit(outcome, number) for number in range(4)]
        assert tools.eventually(lambda: len(_waiting(folder)) == 3)
        goes_on.set()
        assert sorted(each.result().__name__ for each in outcomes) == ["BuildFailed"] * 3 + ["ValueError"]  # type: ignore[union-attr]
    assert tried == [True]
    # Later callers try again, and another entry with the same lock isn't affected.
    assert read("a.csv", writes(b"complete")) == b"complete"


def test_waiting_stops_if_the_client_disconnects(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setattr(cache, "_LOCKS", 1)
    folder.mkdir(exist_ok=True)
    ours, theirs = socket.socketpair()
    with ours, theirs, (folder / "0000.lock").open("w") as lock, serving(ours, lambda: False):
        fcntl.flock(lock, fcntl.LOCK_EX)
        leaving = threading.Timer(0.2, theirs.close)
        leaving.start()
        with pytest.raises(ClientDisconnected):
            cached("a.csv", never)
        leaving.join()


def test_a_disconnected_client_does_not_fail_others_that_wait(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "_LOCKS", 1)
    ours, theirs = socket.socketpair()
    with ours, ThreadPoolExecutor(1) as threads:

        def leave(out: IO[bytes]) -> None:
            readers.append(threads.submit(read, "a.csv", writes(b"complete")))
            assert tools.eventually(lambda: bool(_waiting(folder)))
            theirs.close()
            raise ConnectionResetError

        readers: list[Future[bytes]] = []
        with serving(ours, lambda: False), pytest.raises(ConnectionResetError):
            cached("a.csv", leave)
        assert readers[0].result(20) == b"complete"


def _waiting(folder: Path) -> list[str]:
    """Return the kernel's lines about processes that wait for a lock in the folder."""
    numbers = {str(path.stat().st_ino) for path in folder.glob("*.lock")} if folder.is_dir() else set()
    lines = Path("/proc/locks").read_text().splitlines()
    return [line for line in lines if "->" in line and line.split()[6].rpartition(":")[2] in numbers]


def test_a_failure_does_not_affect_another_entry_with_the_same_lock(
    monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    monkeypatch.setattr(cache, "_LOCKS", 1)
    folder.mkdir()
    # A caller with the lock fails while another one begins to wait.
    with (folder / "0000.lock").open("w") as lock, ThreadPoolExecutor(1) as threads:
        fcntl.flock(lock, fcntl.LOCK_EX)
        reader = threads.submit(read, "b.csv", writes(b"complete"))
        assert tools.eventually(lambda: bool(_waiting(folder)))
        lock.write(f"a.csv {time.time_ns()}")
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_UN)
        assert reader.result() == b"complete"


# --- its size -----------------------------------------------------------------------------------------------


def used(folder: Path, name: str, seconds_ago: float) -> None:
    os.utime(folder / name, (time.time() - seconds_ago,) * 2)


def test_the_least_recently_used_entries_are_deleted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "MAX_BYTES", 250)
    read("a.csv", writes(bytes(100)))
    read("b.csv", writes(bytes(100)))
    used(folder, "a.csv", 20)
    used(folder, "b.csv", 10)
    assert read("a.csv", never) == bytes(100)  # used just now, so b is older
    read("c.csv", writes(bytes(100)))
    assert entries(folder) == ["a.csv", "c.csv"]


def test_the_newest_entry_stays_whatever_its_size(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "MAX_BYTES", 250)
    read("a.csv", writes(bytes(100)))
    assert read("b.csv", writes(bytes(300))) == bytes(300)
    assert entries(folder) == ["b.csv"]


def test_an_open_entry_stays_readable_after_it_is_deleted(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "MAX_BYTES", 0)
    with cached("a.csv", writes(b"complete")) as entry:
        read("b.csv", writes(b"another"))
        assert entries(folder) == ["b.csv"]
        assert entry.read() == b"complete"


def test_an_entry_being_written_is_not_deleted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "MAX_BYTES", 0)

    def build_during_another_build(out: IO[bytes]) -> None:
        out.write(b"first half, ")
        out.flush()
        read("b.csv", writes(b"another"))
        out.write(b"second half")

    assert read("a.csv", build_during_another_build) == b"first half, second half"


def test_the_last_free_space_is_not_used(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read("a.csv", writes(bytes(100)))
    used(folder, "a.csv", 10)
    free = RESERVE - 50
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: shutil._ntuple_diskusage(10**12, 10**12, free))
    read("b.csv", writes(bytes(10)))
    assert entries(folder) == ["b.csv"]


def test_files_that_vanish_during_cleanup_are_skipped(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read("a.csv", writes(b"complete"))
    (folder / "gone.csv").symlink_to(folder / "nowhere")
    assert read("b.csv", writes(b"another")) == b"another"
