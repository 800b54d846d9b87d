"""Sessions in the database, which can be read while it can't be written to."""

import logging

from django.contrib.sessions.backends.base import UpdateError
from django.contrib.sessions.backends.db import SessionStore as DatabaseSessionStore

from collections_app import disk

logger = logging.getLogger(__name__)


class SessionStore(DatabaseSessionStore):
    """Django's. On a full disk a page is shown all the same; a form is refused by DiskFullPage."""

    def save(self, must_create: bool = False) -> None:  # noqa: FBT001, FBT002  # as Django has it
        """Save the session where there is room."""
        try:
            super().save(must_create)
        except (disk.DiskFull, UpdateError) as error:
            if not (disk.is_full(error) or disk.is_full(error.__context__)):
                raise
            logger.warning("Can't save a session: the disk is full.")
