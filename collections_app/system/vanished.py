"""Rows and cached files that are deleted while a request uses them.

A run that a view has read may be deleted before the view stores something about it. The view knows how to
respond to a missing run, so call it again. If the cause is a bug, the view fails again.
"""

import logging
from collections.abc import Callable
from typing import TypeVar

from django.core.exceptions import ObjectDoesNotExist
from django.db import DatabaseError, IntegrityError

logger = logging.getLogger(__name__)

T = TypeVar("T")

_VANISHED = (ObjectDoesNotExist, IntegrityError, IndexError, FileNotFoundError)


def is_vanished(error: Exception) -> bool:
    """Return whether the cause of an error may be a row or file that was deleted after it was found."""
    # save(update_fields=...) raises plain DatabaseError if there is no row to update.
    return isinstance(error, _VANISHED) or type(error) is DatabaseError


def retry_if_vanished(respond: Callable[[], T], prepare: Callable[[], object] = lambda: None) -> T:
    """Return what `respond` returns. If it fails because something was deleted, prepare and call it again."""
    try:
        return respond()
    except Exception as error:
        if not is_vanished(error):
            raise
        logger.warning("Something was deleted during a request; retrying: %r", error)
    prepare()
    return respond()
