"""Compare runs: reuse a stored comparison, build a small one within the request, or queue it."""

import threading
import time
from collections.abc import Iterable, Iterator
from datetime import timedelta

from django.db.models import Count, Q, Sum
from django.utils import timezone

from collections_app.models import (
    Collection,
    Comparison,
    ComparisonState,
    ResultFile,
    Run,
    SliceState,
    State,
    TrackingSettings,
)
from collections_app.models.queues import check_queue, note_use
from collections_app.records.preview.engine import UnreadableFile
from collections_app.records.tracking import comparison_files
from collections_app.records.tracking.build_comparison import NoKey, basis_of, build
from collections_app.records.tracking.change_queries import (
    NO_CHANGES,
    ChangePage,
    ChangeQuery,
    all_changes,
    query_changes,
)
from collections_app.records.tracking.compare import Entry
from collections_app.records.tracking.previous_runs import default_sinces
from collections_app.records.tracking.settings import tracking_of
from collections_app.system import disk
from collections_app.system.background import StillWorking

# How long a request builds a small comparison. After that, the background worker builds it.
_PATIENCE = 3.0  # seconds
# How many requests of a process build comparisons at a time.
_AT_ONCE = threading.BoundedSemaphore(2)
# A busy machine compares runs of this size, in records or in bytes of their files, in about 3 seconds.
_QUICK_RECORDS = 50_000
_QUICK_BYTES = 15_000_000
# How many comparisons a team's users can have in the queue.
_MOST_QUEUED = 50
# How many runs of a collection are compared without a request.
_NEWEST = 50
# A failed comparison is built again only after this time, unless a user presses the button.
_REST = timedelta(seconds=10)
# Without a request, it is built again after this time.
_LONG_REST = timedelta(hours=1)


def comparison_of(run: Run, since: Run, *, again: bool = False) -> Comparison:
    """Return the comparison of a ready run with an earlier one of the same collection.

    It may be ready, queued, running or failed. If it is ready, changes_of() returns its changes.
    With `again`, retry a failed one at once. Raises NoKey and TooManyQueued.
    """
    settings = _settings(run)
    comparison = _found_or_new(run, since)
    if _is_due_again(comparison, settings.version, again=again):
        _queue_again(comparison)
    if comparison.state == ComparisonState.QUEUED and not comparison.attempt and _is_quick(run, since):
        _build_quickly(comparison)
        _settings(run)
    return comparison


def _settings(run: Run) -> TrackingSettings:
    """Return how products are told apart. Raises NoKey if that is known to be impossible."""
    settings = tracking_of(run.collection)
    if settings.pk is not None and not settings.key:
        raise NoKey
    return settings


def changes_of(comparison: Comparison, query: ChangeQuery) -> ChangePage:
    """Return some of the changes of a comparison.

    Raises StillWorking unless it is ready and its file still exists, and what open_database() raises.
    """
    if not comparison.has_changes:
        raise StillWorking
    if not comparison.rows:
        return NO_CHANGES
    try:
        return query_changes(comparison_files.file_of(comparison), query)
    except (FileNotFoundError, UnreadableFile):
        _queue_again(comparison)
        raise StillWorking from None


def every_change_of(comparison: Comparison, query: ChangeQuery) -> Iterator[list[Entry]]:
    """Yield all selected changes of a ready comparison, in batches. Raises what open_database() raises."""
    return all_changes(comparison_files.file_of(comparison), query) if comparison.key else iter(())


def summaries_of(runs: Iterable[Run]) -> dict[int, Comparison]:
    """Return the comparison of each run with its default_since(), by the primary key of the run.

    Others are left out, and queued if both runs have slices.
    """
    ready = [run for run in runs if run.is_ready]
    sinces = default_sinces(ready)
    if not sinces:
        return {}
    stored = Comparison.objects.filter(run__in=sinces, since__in=sinces.values()).select_related("since")
    found = {each.run_id: each for each in stored if sinces[each.run_id] == each.since_id}
    versions = _versions(ready)
    current = {run: each for run, each in found.items() if not _is_outdated(each, versions.get(run))}
    _queue({run: sinces[run] for run in versions.keys() & sinces.keys() - current.keys()}, found)
    return {run: each for run, each in current.items() if each.counts}


def compare_newest(collection: Collection) -> None:
    """Queue the comparisons that lists of the newest runs show. See summaries_of()."""
    newest = collection.runs.filter(state=State.READY).select_related("collection").newest_first()
    summaries_of(newest[:_NEWEST])


def summary_of(run: Run) -> Comparison | None:
    """Return the comparison of a run with its default_since(), or None. See summaries_of()."""
    return summaries_of([run]).get(run.pk)


def _versions(runs: Iterable[Run]) -> dict[int, int]:
    """Return the version of the settings of each run, by its primary key, if its collection has a key."""
    collections = {run.pk: run.collection_id for run in runs}
    settings = TrackingSettings.objects.filter(collection__in=set(collections.values()))
    versions = {each.collection_id: each.version for each in settings if each.key}
    return {run: versions[collection] for run, collection in collections.items() if collection in versions}


def _is_outdated(comparison: Comparison, version: int | None) -> bool:
    """Whether to build a comparison again: the key has changed, or it failed long ago."""
    if comparison.is_under_way:
        return False
    return comparison.settings_version != version or (
        comparison.failed_at is not None
        and comparison.state == ComparisonState.FAILED
        and timezone.now() - comparison.failed_at > _LONG_REST
    )


def _queue(sinces: dict[int, int], found: dict[int, Comparison]) -> None:
    """Let the worker compare these runs with earlier ones, by primary keys, if both have slices."""
    if not sinces:
        return
    with_slice = Run.objects.filter(pk__in={*sinces, *sinces.values()}, slice__state=SliceState.READY)
    both = set(with_slice.values_list("pk", flat=True))
    pairs = {run: since for run, since in sinces.items() if both.issuperset((run, since))}
    with disk.best_effort("comparisons to build"):
        old = [found[run].pk for run in pairs if run in found]
        if old:
            ended = Comparison.objects.exclude(state__in=[ComparisonState.QUEUED, ComparisonState.RUNNING])
            ended.filter(pk__in=old).update(**_QUEUED)
        new = [(run, since) for run, since in pairs.items() if run not in found]
        Comparison.objects.bulk_create(
            [Comparison(run_id=run, since_id=since, settings_version=0) for run, since in new],
            ignore_conflicts=True,
        )


def _found_or_new(run: Run, since: Run) -> Comparison:
    comparison = Comparison.objects.filter(run=run, since=since).first()
    if comparison is None:
        if not _is_quick(run, since):
            requested = Comparison.objects.under_way().filter(is_requested=True)
            team = requested.filter(run__collection__team=run.collection.team_id)
            check_queue(team, _MOST_QUEUED, "comparisons")
        comparison_files.delete_least_used_of(run)
        comparison, _ = Comparison.objects.get_or_create(
            run=run, since=since, defaults={"settings_version": 0, "is_requested": True}
        )
    comparison.run, comparison.since = run, since
    note_use(comparison, timezone.now())
    if comparison.is_under_way and not comparison.is_requested:
        Comparison.objects.filter(pk=comparison.pk).update(is_requested=True)
    return comparison


def _is_due_again(comparison: Comparison, version: int, *, again: bool) -> bool:
    if comparison.state == ComparisonState.FAILED:
        failed_at = comparison.failed_at
        has_rested = failed_at is None or not timedelta() <= timezone.now() - failed_at < _REST
        return again or has_rested
    if comparison.state != ComparisonState.READY:
        return False
    is_current = comparison.settings_version == version and comparison.has_changes
    return not is_current or comparison.summary.get("basis") != basis_of(comparison)


def _queue_again(comparison: Comparison) -> None:
    ended = Comparison.objects.filter(pk=comparison.pk, state=comparison.state)
    ended.update(**_QUEUED, is_requested=True, created_at=timezone.now())
    _refresh(comparison)


# The file stays until the new one replaces it.
_QUEUED = {"state": ComparisonState.QUEUED, "failure": "", "attempt": ""}


def _refresh(comparison: Comparison) -> None:
    run, since = comparison.run, comparison.since
    comparison.refresh_from_db()
    comparison.run, comparison.since = run, since


def _build_quickly(comparison: Comparison) -> None:
    until = time.monotonic() + _PATIENCE
    if _AT_ONCE.acquire(blocking=False):
        try:
            build(comparison, must_stop=lambda: time.monotonic() > until)
        finally:
            _AT_ONCE.release()
        _refresh(comparison)


def _is_quick(run: Run, since: Run) -> bool:
    return all(map(_is_small, (run, since)))


def _is_small(run: Run) -> bool:
    if run.extracted is None or run.extracted > _QUICK_RECORDS:
        return False
    if Run.objects.filter(pk=run.pk, slice__state=SliceState.READY).exists():
        return True
    files = (
        ResultFile.objects.with_records()
        .filter(run=run)
        .aggregate(away=Count("pk", filter=Q(key="")), size=Sum("size", default=0))
    )
    # Files at an account may take any time to download.
    return bool(not files["away"] and files["size"] <= _QUICK_BYTES)
