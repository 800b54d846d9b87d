"""Whether the process is alive, and whether it can do its work."""

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from django.db import DEFAULT_DB_ALIAS, DatabaseError, connections
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, JsonResponse

from collections_app.people.access import public
from collections_app.sources.local import can_write_and_read
from collections_app.system import database, disk

logger = logging.getLogger(__name__)

# Whoever asks waits for so long at most; monitors give up after a few seconds.
READY_WITHIN_SECONDS = 1.5
# What was found is said again for so long: anybody may ask, as often as they like.
LOOK_EVERY_SECONDS = 1.0


@public
def healthz(request: HttpRequest) -> JsonResponse:
    """Answer 200 as long as the process answers at all."""
    return JsonResponse({"status": "ok"})


@public
def readyz(request: HttpRequest) -> JsonResponse:
    """Answer 200 if the database is up to date and results can be written and read, else 503.

    Low disk space is reported as a `warning`; a full disk is a problem.
    """
    problem = _look.problem()
    if problem:
        return JsonResponse({"status": "not ready", "problem": problem}, status=503)
    warning = {"warning": _look.warning} if _look.warning else {}
    return JsonResponse({"status": "ready"} | warning)


def _database() -> str:
    try:
        connection = connections[DEFAULT_DB_ALIAS]
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        executor = MigrationExecutor(connection)
        if database.is_newer(executor.loader):
            return database.NEWER
        if executor.migration_plan(executor.loader.graph.leaf_nodes()):
            return "The database is of an older version. Bring it up to date: manage.py migrate."
    except DatabaseError:
        return "The database can't be used."
    return ""


def _storage() -> str:
    try:
        is_same = can_write_and_read()
    except Exception as error:  # noqa: BLE001  # each kind of storage has errors of its own
        return disk.PROBLEM if disk.is_full(error) else "Results can't be written."
    return "" if is_same else "Results can't be read."


_CHECKS: list[tuple[str, Callable[[], str]]] = [
    ("The database doesn't answer.", _database),
    ("The place where results are kept doesn't answer.", _storage),
    ("The data folder doesn't answer.", disk.problem),
]


class _Look:
    """One look at a time, in a thread: what hangs must not take more and more threads with it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.warning = ""
        self._waits_for = ""
        self._problem = ""
        self._looked_at = float("-inf")
        self._done: threading.Event | None = None

    def problem(self) -> str:
        """Return what is wrong, or "", in time: where a check takes too long, that is what's wrong."""
        with self._lock:
            if time.monotonic() - self._looked_at < LOOK_EVERY_SECONDS:
                return self._problem
            if self._done is None:
                self._done = threading.Event()
                threading.Thread(target=self._look, args=[self._done], name="readyz", daemon=True).start()
            done = self._done
        return self._problem if done.wait(READY_WITHIN_SECONDS) else self._waits_for

    def _look(self, done: threading.Event) -> None:
        problem = ""
        try:
            for self._waits_for, check in _CHECKS:
                problem = problem or check()
            self.warning = disk.warning()
        except Exception:
            problem = "Something went wrong on our side. It was logged."
            logger.exception("readyz problem=unexpected")
        finally:
            with suppress(DatabaseError):
                connections.close_all()
            with self._lock:
                self._problem, self._done, self._looked_at = problem, None, time.monotonic()
            done.set()


_look = _Look()
