"""The limit on how much work a team can have in a queue."""

from typing import Any

from django.db.models import QuerySet


class TooManyQueued(Exception):
    """The team has the maximum number of jobs in the queue. The message is for users."""


def check_queue(waiting: QuerySet[Any], most: int, what: str) -> None:
    """Raise TooManyQueued if a team has `most` jobs waiting. `what` names them, in the plural."""
    if waiting.count() >= most:
        raise TooManyQueued(f"Your team has {most} {what} in the queue, the maximum. Wait for one to finish.")
