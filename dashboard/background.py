"""What goes on in the background of a served site, without another service: `manage.py work`.

Each web worker has a thread that waits for a lock. Whoever gets it starts the command as a process of its
own, so that copying and counting don't slow the pages, and starts it anew when it ends. When that web worker
ends, however it does, so does the process, and the kernel gives the lock to another worker.

The lock is in the data folder: of several machines on one PostgreSQL each has its own such process. They
share the work, since each piece of it is claimed in the tables.
"""

import fcntl
import logging
import subprocess
import sys
import threading
import time
from pathlib import Path

from django.conf import settings
from django.db import DatabaseError, connections

from collections_app import outbox
from collections_app.models import Account, Export
from collections_app.records.exports import retention
from collections_app.runs.repair import fail_interrupted_runs
from collections_app.system import database, disk

logger = logging.getLogger(__name__)

# How often to look for work. Someone may be waiting for an export or a mail.
LOOK_EVERY_SECONDS = 2
# Before a process that ended is started anew.
REST_SECONDS = 10
REPAIR_EVERY_SECONDS = 60


def start() -> None:
    """Begin in a thread that doesn't keep the web worker from ending."""
    threading.Thread(target=_wait_for_the_lock, name="background", daemon=True).start()


def _wait_for_the_lock() -> None:
    try:
        with (Path(settings.DATA_DIR) / "work.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            threading.Thread(target=disk.watch, name="disk", daemon=True).start()
            _go_on()
    except OSError as error:
        logger.warning("background problem=nothing goes on: %s", error)


def _go_on() -> None:
    repaired_at = float("-inf")
    while True:
        rest = LOOK_EVERY_SECONDS
        try:
            if _is_needed():
                _work()
                rest = REST_SECONDS
            elif Export.objects.under_way().exists() or outbox.has_due():
                _work("--once")
            elif time.monotonic() - repaired_at > REPAIR_EVERY_SECONDS:
                repaired_at = time.monotonic()
                fail_interrupted_runs()
                retention.tidy()
        except (DatabaseError, OSError) as error:
            logger.warning("background problem=%s", database.reason(error))
        finally:
            connections.close_all()
        time.sleep(rest)


def _is_needed() -> bool:
    """Whether there is always something to do: a process costs memory."""
    return Account.objects.exclude(encrypted_key="").exists()


def _work(*options: str) -> None:
    """Start the command, and return when it ends."""
    connections.close_all()
    command = [sys.executable, "manage.py", "work", "--with-parent", *options]
    # Nothing is written to its input, which ends with this process. Ctrl-C is not for it.
    with subprocess.Popen(  # noqa: S603
        command, cwd=settings.BASE_DIR, stdin=subprocess.PIPE, start_new_session=True
    ) as process:
        status = process.wait()
    if status or not options:
        logger.warning("background problem=the worker ended with status %s and is started anew", status)
