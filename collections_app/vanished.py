"""Rows that are deleted between two queries of the same request.

A run that a view has found may be gone by the time the view stores something about it. The view knows best
what to answer then, so it is called once more. A mistake of ours fails the second time as well.
"""

import logging
from collections.abc import Callable
from typing import TypeVar

from django.core.exceptions import ObjectDoesNotExist
from django.db import DatabaseError, IntegrityError

logger = logging.getLogger(__name__)

T = TypeVar("T")


def is_vanished(error: Exception) -> bool:
    """Whether an error may be about a row that has been deleted since it was read."""
    # save(update_fields=...) raises DatabaseError itself where there is no row to update.
    return isinstance(error, ObjectDoesNotExist | IntegrityError | IndexError) or type(error) is DatabaseError


def tried_again(answer: Callable[[], T], prepare: Callable[[], object] = lambda: None) -> T:
    """Return what `answer` returns; where a row vanished under it, prepare and call it once more."""
    try:
        return answer()
    except Exception as error:
        if not is_vanished(error):
            raise
        logger.warning("A row was deleted during a request; retrying: %r", error)
    prepare()
    return answer()
