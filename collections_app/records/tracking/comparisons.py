"""Compare runs: reuse a stored comparison, build a small one within the request, or queue it."""

import threading
import time
from collections.abc import Iterable, Iterator
from datetime import timedelta

from django.db.models import Count, Q, Sum
from django.utils import timezone

from collections_app.models import (
    Comparison,
    ComparisonState,
    ResultFile,
    Run,
    SliceState,
    TrackingSettings,
)
from collections_app.models.queues import check_queue
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
# A failed comparison is built again only after this time, unless a user presses the button.
_REST = timedelta(seconds=10)


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
    sinces = default_sinces(run for run in runs if run.is_ready)
    if not sinces:
        return {}
    stored = Comparison.objects.filter(run__in=sinces, since__in=sinces.values()).select_related("since")
    found = {each.run_id: each for each in stored if sinces[each.run_id] == each.since_id}
    old = _outdated(found.values())
    if old:
        Comparison.objects.filter(pk__in=old, state=ComparisonState.READY).update(**_QUEUED)
    _queue({run: since for run, since in sinces.items() if run not in found})
    return {run: each for run, each in found.items() if each.counts and each.pk not in old}


def summary_of(run: Run) -> Comparison | None:
    """Return the comparison of a run with its default_since(), or None. See summaries_of()."""
    return summaries_of([run]).get(run.pk)


def _outdated(comparisons: Iterable[Comparison]) -> set[int]:
    """Return the primary keys of comparisons by another key than that of their collections."""
    settings = TrackingSettings.objects.filter(collection__runs__in=[each.run_id for each in comparisons])
    versions = dict(settings.values_list("collection__runs", "version"))
    return {each.pk for each in comparisons if each.counts and each.settings_version != versions[each.run_id]}


def _queue(sinces: dict[int, int]) -> None:
    """Let the worker compare these runs with earlier ones, by primary keys, if both have slices."""
    if not sinces:
        return
    with_slice = Run.objects.filter(pk__in={*sinces, *sinces.values()}, slice__state=SliceState.READY)
    both = set(with_slice.values_list("pk", flat=True))
    pairs = [pair for pair in sinces.items() if both.issuperset(pair)]
    if pairs:
        rows = [Comparison(run_id=run, since_id=since, settings_version=0) for run, since in pairs]
        with disk.best_effort("comparisons to build"):
            Comparison.objects.bulk_create(rows, ignore_conflicts=True)


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
    comparison.note_use(timezone.now())
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
