"""Run `manage.py work` beside the web workers, so that background work needs no other service.

Each web worker has a thread that waits for a lock. The one that gets it starts the command as a child
process, so that background work doesn't slow down pages, and restarts it when it exits. When that web
worker exits, for any reason, so does the child, and the kernel gives the lock to another web worker.

The lock is in the data folder, so each of several machines has its own background process. They claim work
in the database.
"""

import fcntl
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from django.conf import settings
from django.db import DatabaseError, connections

from collections_app import measurements, outbox
from collections_app.demo import build
from collections_app.events.unannounced import with_changed_problems, with_changed_runs
from collections_app.models import Account, Channel, Comparison, Export, Retention
from collections_app.records.exports import retention
from collections_app.records.quality import queue
from collections_app.records.tracking import blocks, comparison_files, slice_repair
from collections_app.records.tracking.slice_queue import SliceQueue
from collections_app.runs.repair import fail_interrupted_runs
from collections_app.system import database, disk

logger = logging.getLogger(__name__)

# How often to look for work. Someone may be waiting for an export or an email.
POLL_SECONDS = 2
# How long to wait before restarting a process that has exited.
RESTART_SECONDS = 10
TIDY_EVERY_SECONDS = 60
BLOCKS_EVERY_SECONDS = 60
EVENTS_EVERY_SECONDS = 10
# How long to wait for a process that is told to stop. It may have an export to put back, and mail to send.
STOP_SECONDS = 10


class Child:
    """The background process of this web worker."""

    def __init__(self) -> None:
        self.is_stopped = False
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def run(self, command: Sequence[str]) -> int:
        """Run a command, and return its exit status. Run nothing after stop()."""
        with self._lock:
            if self.is_stopped:
                return 0
            # The process exits when its input ends, which is when this process exits. In a session of its
            # own, it doesn't receive Ctrl+C.
            process = self._process = subprocess.Popen(  # noqa: S603
                command, cwd=settings.BASE_DIR, stdin=subprocess.PIPE, start_new_session=True
            )
        with process:
            return process.wait()

    def stop(self) -> None:
        """Stop the process, and wait until it has ended."""
        with self._lock:
            self.is_stopped = True
        if self._process:
            self._process.terminate()
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()


_child = Child()
_demo = Child()


def start() -> None:
    """Start in a daemon thread, which doesn't keep the web worker from exiting."""
    threading.Thread(target=_wait_for_lock, name="background", daemon=True).start()


def stop() -> None:
    """Stop the background process, and start no other.

    The server deletes its metrics when its web workers have exited, and the background process uses them.
    """
    for child in (_child, _demo):
        child.stop()


def _wait_for_lock() -> None:
    try:
        with (Path(settings.DATA_DIR) / "work.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            threading.Thread(target=disk.watch, name="disk", daemon=True).start()
            if settings.DEMO_LIVE:
                threading.Thread(target=_write_demo, name="demo", daemon=True).start()
            _run()
    except OSError as error:
        logger.warning("background problem=can't start: %s", error)


def _run() -> None:
    tidied_at = float("-inf")
    while not _child.is_stopped:
        pause = POLL_SECONDS
        try:
            if _needs_permanent_worker():
                _run_worker()
                pause = RESTART_SECONDS
            elif _has_work():
                _run_worker("--once")
            else:
                fail_interrupted_runs()
                if time.monotonic() - tidied_at > TIDY_EVERY_SECONDS:
                    tidied_at = time.monotonic()
                    retention.tidy()
                    comparison_files.tidy()
                    slice_repair.tidy()
                    measurements.measure()
        except (DatabaseError, OSError) as error:
            logger.warning("background problem=%s", database.reason(error))
        finally:
            connections.close_all()
        time.sleep(pause)


def _needs_permanent_worker() -> bool:
    """Return whether an account or a channel exists. Otherwise, a permanent process would only use memory."""
    return Account.objects.exclude(encrypted_key="").exists() or Channel.objects.exists()


def _has_work() -> bool:
    return (
        Export.objects.under_way().exists()
        or Comparison.objects.under_way().exists()
        or outbox.has_due()
        or Retention.objects.due().exists()
        or queue.has_due()
        or SliceQueue(remote=False).has_any()
        or _has_blocks_to_build()
        or _has_events_to_record()
    )


_blocks_checked_at = float("-inf")


def _has_blocks_to_build() -> bool:
    """Return whether a block is due. Look at most once a minute, because one that fails stays due."""
    global _blocks_checked_at  # noqa: PLW0603
    if time.monotonic() - _blocks_checked_at < BLOCKS_EVERY_SECONDS:
        return False
    _blocks_checked_at = time.monotonic()
    return blocks.next_task() is not None


_events_checked_at = float("-inf")


def _has_events_to_record() -> bool:
    """Return whether something has happened. Look every few seconds, because one that fails stays due."""
    global _events_checked_at  # noqa: PLW0603
    if time.monotonic() - _events_checked_at < EVENTS_EVERY_SECONDS:
        return False
    _events_checked_at = time.monotonic()
    return bool(with_changed_runs() or with_changed_problems())


def _run_worker(*options: str) -> None:
    """Run the command until it exits."""
    connections.close_all()
    status = _child.run([sys.executable, "manage.py", "work", "--with-parent", *options])
    if (status or not options) and not _child.is_stopped:
        logger.warning("background problem=the worker exited with status %s and will be restarted", status)


def _write_demo() -> None:
    """Write runs of the demo until the site stops, if the database contains the demo."""
    has_demo = build.sign_in() is not None
    connections.close_all()
    while has_demo and not _demo.is_stopped:
        _demo.run([sys.executable, "manage.py", "demo", "--live", "--with-parent", "--verbosity=0"])
        time.sleep(RESTART_SECONDS)
