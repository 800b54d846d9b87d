"""Refresh an account's runs before they are listed."""

import time
from collections.abc import Callable
from datetime import timedelta

from collections_app.api.errors import ApiError
from collections_app.models import Collection
from collections_app.sources import LISTING_DEADLINE, SourceBusy, source_of


def refresh(collection: Collection, is_full: Callable[[], bool]) -> None:
    """Refresh the newest runs, and load older ones until the requested part of the list is full.

    Stop after twice the time limit of a list, and use the runs that are known by then. If none are known,
    and they should be, raise ApiError or SourceBusy.
    """
    until = time.monotonic() + 2 * LISTING_DEADLINE.total_seconds()
    source = source_of(collection)
    freshness = source.refresh(collection, deadline=LISTING_DEADLINE)
    if isinstance(freshness.error, SourceBusy):
        raise freshness.error
    if freshness.error:
        raise ApiError(504 if freshness.is_late else 502, freshness.problem)
    while freshness.has_older and not freshness.problem and not is_full():
        left = timedelta(seconds=until - time.monotonic())
        if left <= timedelta():
            break
        freshness = source.load_older(collection, deadline=min(left, LISTING_DEADLINE))
