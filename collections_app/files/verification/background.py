"""Verifies runs in a thread of their own, for pages that don't wait for it."""

import logging
import threading

from collections_app.files.verification.verify import BeingVerified, Verifier
from collections_app.models import Run
from collections_app.system import background

logger = logging.getLogger(__name__)

# In a process: reading is work for the disk, and downloads go first.
_MOST_AT_ONCE = 2
_lock = threading.Lock()
_askers: set[int] = set()  # people who are verifying a run, one each


def start_verifying(run: Run, person: int) -> None:
    """Begin to read a ready run's files again. Raises BeingVerified, also where too much is read already."""
    with _lock:
        if person in _askers:
            raise BeingVerified("One of your runs is being verified. Wait for it to finish.")
        if len(_askers) >= _MOST_AT_ONCE:
            raise BeingVerified("Other runs are being verified just now. Try again in a moment.")
        _askers.add(person)
    try:
        verifier = Verifier(run)
        background.in_background(lambda: _verify(verifier, run, person), name="verify-run")
    except BaseException:
        _askers.discard(person)
        raise


def _verify(verifier: Verifier, run: Run, person: int) -> None:
    try:
        verifier.verify()
    except Exception:
        logger.exception("verify collection=%s run=%s problem=unexpected", run.collection_id, run.number)
    finally:
        _askers.discard(person)
