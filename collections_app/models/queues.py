"""What exports and comparisons have in common: users share them, and a team can queue a limited number."""

from datetime import datetime
from typing import Any

from django.db.models import QuerySet

from collections_app.system import disk

_USE_IS_NOTED_AFTER_SECONDS = 60


class TooManyQueued(Exception):
    """The team has the maximum number of jobs in the queue. The message is for users."""


def check_queue(waiting: QuerySet[Any], most: int, what: str) -> None:
    """Raise TooManyQueued if a team has `most` jobs waiting. `what` names them, in the plural."""
    if waiting.count() >= most:
        raise TooManyQueued(f"Your team has {most} {what} in the queue, the maximum. Wait for one to finish.")


def note_use(row: Any, at: datetime) -> None:
    """Update `used_at` of an export or a comparison, at most once a minute."""
    if (at - row.used_at).total_seconds() > _USE_IS_NOTED_AFTER_SECONDS:
        with disk.best_effort(f"the use of {row._meta.verbose_name} {row.pk}"):
            type(row).objects.filter(pk=row.pk).update(used_at=at)
        row.used_at = at
