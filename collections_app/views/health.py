"""Health checks: whether the process is alive, and whether it can serve requests."""

import logging
import threading
import time
from collections.abc import Callable

from django.db import DEFAULT_DB_ALIAS, DatabaseError, connections
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, JsonResponse

from collections_app.people.access import public
from collections_app.sources.local import can_write_and_read
from collections_app.system import database, disk
from collections_app.system.background import Background, StillWorking

logger = logging.getLogger(__name__)

# Monitors give up after a few seconds.
READY_WITHIN_SECONDS = 1.5
# Anyone can call readyz as often as they like, so the result is cached.
CACHE_SECONDS = 1.0


@public
def healthz(request: HttpRequest) -> JsonResponse:
    """Return 200 as long as the process responds."""
    return JsonResponse({"status": "ok"})


@public
def readyz(request: HttpRequest) -> JsonResponse:
    """Return 200 if the database is migrated and results can be written and read, or else 503.

    Low disk space is a `warning`, a full disk a `problem`.
    """
    problem = _readiness.problem()
    if problem:
        return JsonResponse({"status": "not ready", "problem": problem}, status=503)
    warning = {"warning": _readiness.warning} if _readiness.warning else {}
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
            return "The database isn't up to date. Run manage.py migrate."
    except DatabaseError:
        return "The database is unavailable."
    return ""


def _storage() -> str:
    try:
        is_same = can_write_and_read()
    except Exception as error:  # noqa: BLE001  # each kind of storage has errors of its own
        return disk.PROBLEM if disk.is_full(error) else "Results can't be written."
    return "" if is_same else "Results can't be read."


_CHECKS: list[tuple[str, Callable[[], str]]] = [
    ("The database doesn't respond.", _database),
    ("The results storage doesn't respond.", _storage),
    ("The data folder doesn't respond.", disk.problem),
]


class _Readiness:
    """The result of the checks, which run in the background so that hanging checks don't pile up threads."""

    def __init__(self) -> None:
        self.warning = ""
        self._background = Background("readyz", most=1)
        self._lock = threading.Lock()
        self._timeout_problem = "The checks can't be run."
        self._problem = ""
        self._checked_at = float("-inf")

    def problem(self) -> str:
        """Return what is wrong, or "". A check that takes too long is a problem too."""
        with self._lock:
            if time.monotonic() - self._checked_at < CACHE_SECONDS:
                return self._problem
        try:
            return self._background.done_within(READY_WITHIN_SECONDS, "readyz", self._check)
        except StillWorking:
            return self._timeout_problem

    def _check(self) -> str:
        problem = ""
        try:
            for self._timeout_problem, check in _CHECKS:
                problem = problem or check()
            self.warning = disk.warning()
        except Exception:
            problem = "Something went wrong on our side. The error was logged."
            logger.exception("readyz problem=unexpected")
        with self._lock:
            self._problem, self._checked_at = problem, time.monotonic()
        return problem


_readiness = _Readiness()
