"""Verifies runs in a thread of their own, for pages that don't wait for it."""

import logging
import threading
from collections.abc import Callable

from django.db import connections

from collections_app.models import Run
from collections_app.proof.verify import BeingVerified, Verifier

logger = logging.getLogger(__name__)

# In a process: reading is work for the disk, and downloads go first.
_MOST_AT_ONCE = 2
_free = threading.BoundedSemaphore(_MOST_AT_ONCE)


def start_verifying(run: Run) -> None:
    """Begin to read a ready run's files again. Raises BeingVerified, also where too much is read already."""
    if not _free.acquire(blocking=False):
        raise BeingVerified("Other runs are being verified just now. Try again in a moment.")
    try:
        verifier = Verifier(run)
        _in_background(lambda: _verify(verifier, run))
    except BaseException:
        _free.release()
        raise


def _verify(verifier: Verifier, run: Run) -> None:
    try:
        verifier.verify()
    except Exception:
        logger.exception("verify collection=%s run=%s problem=unexpected", run.collection_id, run.number)
    finally:
        _free.release()


def _in_background(work: Callable[[], None]) -> None:
    def worked() -> None:
        try:
            work()
        finally:
            connections.close_all()

    # It doesn't keep the process from ending: after a minute the run can be verified anew.
    threading.Thread(target=worked, name="verify-run", daemon=True).start()
