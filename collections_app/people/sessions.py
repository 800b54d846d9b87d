"""Database sessions that can still be read when the disk is full."""

import logging

from django.contrib.sessions.backends.base import UpdateError
from django.contrib.sessions.backends.db import SessionStore as DatabaseSessionStore

from collections_app.system import disk

logger = logging.getLogger(__name__)


class SessionStore(DatabaseSessionStore):
    """Django's store, except that pages still work on a full disk. DiskFullPage refuses forms."""

    def save(self, must_create: bool = False) -> None:  # noqa: FBT001, FBT002  # Django's signature
        """Save the session unless the disk is full."""
        try:
            super().save(must_create)
        except (disk.DiskFull, UpdateError) as error:
            if not (disk.is_full(error) or disk.is_full(error.__context__)):
                raise
            logger.warning("Can't save a session: the disk is full.")

    def delete(self, session_key: str | None = None) -> None:
        """Delete the session unless the disk is full. The browser still forgets its cookie."""
        try:
            super().delete(session_key)
        except disk.DiskFull:
            logger.warning("Can't delete a session: the disk is full.")
