"""Mark the runs that a collection doesn't keep, and delete them when their grace period is over."""

import logging

from collections_app.models import Retention, Run
from collections_app.models.retention import has_expired, mark_runs
from collections_app.records.preview.removal import cache_names, delete_cached
from collections_app.runs.lease import RunIsBeingWritten
from collections_app.runs.removal import Condition, ConditionChanged, delete_copies, delete_run

logger = logging.getLogger(__name__)

# Other work of the worker waits for these.
MOST_DELETED_AT_ONCE = 50


def apply_retention(retention: Retention) -> bool:
    """Mark runs, and delete the oldest expired ones. Return whether there may be more to delete.

    Can be interrupted at any time: a run and its files are deleted as if a user had deleted it.
    """
    now = mark_runs(retention)
    expired = retention.collection.runs.filter(has_expired(retention, now)).order_by("created_at", "number")
    runs = list(expired.select_related("collection").with_files()[:MOST_DELETED_AT_ONCE])
    # The condition is evaluated again for each run, which may have become the newest good one by then.
    deleted = [_delete(run, lambda: has_expired(retention, now)) for run in runs]
    return len(deleted) == MOST_DELETED_AT_ONCE and any(deleted)


def _delete(run: Run, condition: Condition) -> bool:
    """Delete an expired run, or of an account's run the copies. Return whether it was deleted."""
    previews = cache_names(run)
    try:
        if run.collection.is_remote:
            delete_copies(run, condition=condition)
        else:
            delete_run(run, condition=condition)
    except (ConditionChanged, RunIsBeingWritten) as reason:
        logger.info("work kept collection=%s run=%s %s", run.collection_id, run.number, reason)
        return False
    delete_cached(previews)
    logger.info("work deleted collection=%s run=%s", run.collection_id, run.number)
    return True
