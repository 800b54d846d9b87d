"""Verify runs in the background, for pages that don't wait for it."""

import logging
import threading

from collections_app.files.verification.verify import VerificationBusy, Verifier
from collections_app.models import Run
from collections_app.system import background

logger = logging.getLogger(__name__)

# Per process, because verification slows down downloads from the same disk.
_MOST_AT_ONCE = 2
_lock = threading.Lock()
_users: set[int] = set()  # who is verifying a run; one each


def start_verifying(run: Run, user_id: int) -> None:
    """Start to verify a ready run. Raises VerificationBusy, including if too many runs are being verified."""
    with _lock:
        if user_id in _users:
            raise VerificationBusy("One of your runs is being verified. Wait for it to finish.")
        if len(_users) >= _MOST_AT_ONCE:
            raise VerificationBusy("Too many runs are being verified. Try again in a moment.")
        _users.add(user_id)
    try:
        verifier = Verifier(run)
        background.in_background(lambda: _verify(verifier, run, user_id), name="verify-run")
    except BaseException:
        _users.discard(user_id)
        raise


def _verify(verifier: Verifier, run: Run, user_id: int) -> None:
    try:
        verifier.verify()
    except Exception:
        logger.exception("verify collection=%s run=%s problem=unexpected", run.collection_id, run.number)
    finally:
        _users.discard(user_id)
