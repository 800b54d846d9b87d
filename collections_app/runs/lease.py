"""Leases: one process at a time writes or copies a run, and renews the run's lease while it does.

Leases are compared with the database's clock, because the machines that share it may have different times.
"""

import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from django.db import connections
from django.db.models import Q, QuerySet

from collections_app.models import Run, State
from collections_app.models.runs import RunQuerySet
from collections_app.runs import folder
from collections_app.runs.new_file import NewFile
from collections_app.system import database

logger = logging.getLogger(__name__)

# How long a lease lasts, and so how long a killed process keeps its run.
LEASE = timedelta(seconds=60)

# A lease that ends later than this was taken before the clock was set back, and is ignored. The limit is
# longer than a lease, so that a small correction of the clock doesn't end one.
_FURTHEST = 2 * LEASE

# How often a lease is renewed.
RENEW_AFTER_SECONDS = 15.0


class RunIsBeingWritten(Exception):
    """Another process is writing or copying the run. The message is for people."""


class LeaseLost(Exception):
    """Another process has taken over the run, or it has failed or been deleted."""


def new_attempt() -> str:
    """Return a unique token for a process that takes a lease."""
    return secrets.token_hex(8)


def new_expiry() -> datetime:
    """Return when a lease that is taken or renewed now expires."""
    return database.now() + LEASE


def is_held(run: Run) -> bool:
    """Whether a process is writing or copying the run, according to the row that was read."""
    return is_valid(run.lease_expires_at)


def is_valid(lease_expires_at: datetime | None) -> bool:
    """Whether a lease with this expiry is valid."""
    now = database.now()
    return lease_expires_at is not None and now < lease_expires_at <= now + _FURTHEST


def being_written() -> Q:
    """Return the condition for runs that a process is writing."""
    now = database.now()
    return Q(state=State.PROCESSING, lease_expires_at__gt=now, lease_expires_at__lte=now + _FURTHEST)


def lapsed() -> Q:
    """Return the condition for expired leases. A run without a lease doesn't match."""
    now = database.now()
    return Q(lease_expires_at__lte=now) | Q(lease_expires_at__gt=now + _FURTHEST)


def abandoned() -> Q:
    """Return the condition for runs whose writer stopped without finishing them."""
    return lapsed() & Q(state=State.PROCESSING)


@contextmanager
def kept_renewed(held: QuerySet[Any]) -> Iterator[threading.Event]:
    """Renew the lease of a row in a thread within the block, because libraries may work for minutes.

    `held` contains the row while its lease is held. The event is set once it is lost.
    """
    is_over, is_lost = threading.Event(), threading.Event()

    def renew() -> None:
        try:
            while not is_over.wait(RENEW_AFTER_SECONDS):
                if not held.update(lease_expires_at=new_expiry()):
                    is_lost.set()
                connections.close_all()
        except Exception:
            logger.exception("lease problem=can't be renewed")

    thread = threading.Thread(target=renew, name="lease", daemon=True)
    thread.start()
    try:
        yield is_lost
    finally:
        is_over.set()
        thread.join()


class Lease:
    """The lease on a run that this process writes (if it is processing) or copies (if it is ready).

    A process that is slow may lose the lease to another one. From then on it changes nothing, because each
    change of the run's row depends on the lease.
    """

    def __init__(
        self, run: Run, attempt: str, state: State, *, on_loss: Callable[[], object] = lambda: None
    ) -> None:
        """Take over a lease that was just entered in the run's row under `attempt`."""
        self._run = run
        self._attempt = attempt
        self._state = state
        self._on_loss = on_loss
        self._renewed_at = time.monotonic()

    @property
    def held_run(self) -> RunQuerySet:
        """The run's row, if the lease is still held."""
        return Run.objects.filter(pk=self._run.pk, attempt=self._attempt, state=self._state)

    def renew(self, **fields: Any) -> None:
        """Renew the lease and change other fields of the run's row. Raises LeaseLost."""
        if not self.held_run.update(**{"lease_expires_at": new_expiry()} | fields):
            self._on_loss()
            raise LeaseLost("The run was taken over by another process, failed, or was deleted.")
        self._renewed_at = time.monotonic()

    def renew_if_due(self) -> None:
        """Renew the lease if the last renewal was long enough ago. Raises LeaseLost."""
        if time.monotonic() - self._renewed_at > RENEW_AFTER_SECONDS:
            self.renew()

    @contextmanager
    def checked_if_files_vanish(self) -> Iterator[None]:
        """Raise LeaseLost rather than FileNotFoundError if another process has removed this one's files."""
        try:
            yield
        except FileNotFoundError:
            self.renew()
            raise

    def new_file(self, name: str) -> NewFile:
        """Create a file of the run. Writing to it renews the lease."""
        return NewFile(f"{folder.folder_of(self._run)}/{self._attempt}-{name}", self.renew_if_due)
