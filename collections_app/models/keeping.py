"""Which runs of an account's collection are copied to our own storage."""

from dataclasses import dataclass

from django.db.models import Count, Q

from collections_app.models.collections import Collection
from collections_app.models.retention import retention_of
from collections_app.models.runs import RunQuerySet
from collections_app.system import database


@dataclass(frozen=True)
class Keeping:
    """The progress of copying an account's runs to our own storage."""

    is_on: bool  # runs are copied automatically
    is_complete: bool = False
    kept: int = 0  # counted only while runs are being copied
    ready: int = 0


def keeping_of(collection: Collection) -> Keeping | None:
    """Return the progress of copying ready runs from the account, or None if the runs are ours."""
    if not collection.is_remote:
        return None
    if not collection.keeps_results:
        return Keeping(is_on=False)
    if not collection.has_older_runs and not runs_to_copy(collection).exists():
        return Keeping(is_on=True, is_complete=True)
    kept = Count("pk", filter=Q(state="ready", is_kept=True))
    ready = Count("pk", filter=Q(state="ready"))
    return Keeping(is_on=True, **collection.runs.aggregate(kept=kept, ready=ready))


def runs_to_copy(collection: Collection) -> RunQuerySet:
    """Return the runs to copy from the account, the oldest first.

    Runs that the collection's retention would delete aren't copied, so deleted copies don't come back.
    """
    runs, retention = collection.runs.to_keep(), retention_of(collection)
    return runs.exclude(retention.unkept(database.now())) if retention else runs
