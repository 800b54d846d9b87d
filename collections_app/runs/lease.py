"""Who writes or copies a run: a promise, renewed again and again, to be alive until a certain time.

The time is the database's: those who share it may be on machines whose clocks differ.
"""

import secrets
import time
from datetime import datetime, timedelta

from django.db.models import Q

from collections_app.models import Run, State
from collections_app.system import database

# A writer that was killed is taken for dead after this time.
LEASE = timedelta(seconds=60)

# A lease that ends later than this from now was taken before the clock was put back, and tells nothing.
# Longer than a lease, so that a small correction of the clock costs no writer its run.
_FURTHEST = 2 * LEASE

# A writer that is busy renews its lease this often.
RENEW_AFTER_SECONDS = 15.0


class RunIsBeingWritten(Exception):
    """Somebody writes or copies this run just now; the message says so, in plain English."""


class WriterLost(Exception):
    """The run was given to somebody else, failed or deleted in the meantime."""


def new_attempt() -> str:
    """Return a token for a writer that no other has."""
    return secrets.token_hex(8)


def new_expiry() -> datetime:
    """Return until when a lease that is taken or renewed now holds."""
    return database.now() + LEASE


def is_held(run: Run) -> bool:
    """Whether, by what was read of the run, somebody who is taken to be alive writes or copies it."""
    return is_alive(run.lease_expires_at)


def is_alive(lease_expires_at: datetime | None) -> bool:
    """Whether somebody with this lease is taken to be alive."""
    now = database.now()
    return lease_expires_at is not None and now < lease_expires_at <= now + _FURTHEST


def is_being_written(run: Run) -> bool:
    """Whether, by what was read of the run, a writer that is taken to be alive writes it."""
    return run.state == State.PROCESSING and is_held(run)


def written() -> Q:
    """Return the condition of is_being_written() for a query."""
    now = database.now()
    return Q(state=State.PROCESSING, lease_expires_at__gt=now, lease_expires_at__lte=now + _FURTHEST)


def lapsed() -> Q:
    """Return the condition for runs whose holder is taken for dead. One without a lease is nobody's."""
    now = database.now()
    return Q(lease_expires_at__lte=now) | Q(lease_expires_at__gt=now + _FURTHEST)


def abandoned() -> Q:
    """Return the condition for runs whose writer is taken for dead."""
    return lapsed() & Q(state=State.PROCESSING)


class Pulse:
    """Tells when it is time to renew a lease."""

    def __init__(self) -> None:
        self.renewed()

    def renewed(self) -> None:
        """Start counting anew."""
        self._renewed_at = time.monotonic()

    def is_due(self) -> bool:
        """Whether the last renewal was long enough ago."""
        return time.monotonic() - self._renewed_at > RENEW_AFTER_SECONDS
