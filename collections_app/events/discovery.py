"""Discover what happened from the state of runs, collections and accounts, and record it as events.

Runs become ready or fail in several places, some of them bulk updates. So each run stores the state that was
last seen here, and each collection the problem. Whatever changes them, and whether or not a worker is running
at the time, an event is recorded, and only one.

The functions need a transaction, in which the caller also writes the notifications.
"""

from typing import Any, NamedTuple

from django.utils import timezone

from collections_app.events.actors import SYSTEM
from collections_app.events.record import record
from collections_app.events.unannounced import (
    changed_runs,
    has_settled,
    is_unavailable,
    last_run,
    newly_stalled_runs,
    urgent_problem,
)
from collections_app.models import Account, Collection, Event, EventKind, Run, State, Status, Verdict
from collections_app.models.acknowledgments import NO_RUN, Problem
from collections_app.models.conditions import Condition, condition_of
from collections_app.models.outages import with_outages
from collections_app.models.runs import PAST, RunQuerySet

# How many runs of a collection to look at in one transaction.
MOST_RUNS = 200
_MOST_HISTORY = 2_000
_MOST_REASONS = 3

_KINDS = {
    Status.COMPLETED: EventKind.RUN_COMPLETED,
    Status.INCOMPLETE: EventKind.RUN_INCOMPLETE,
    Status.EMPTY: EventKind.RUN_EMPTY,
    Status.FAILED: EventKind.RUN_FAILED,
    Status.STALLED: EventKind.RUN_STALLED,
}
_PROBLEMS = {
    EventKind.RUN_INCOMPLETE: Problem.INCOMPLETE,
    EventKind.RUN_EMPTY: Problem.EMPTY,
    EventKind.RUN_FAILED: Problem.FAILED,
    EventKind.RUN_STALLED: Problem.FAILED,
    EventKind.RUN_BROKEN: Problem.BROKEN,
    EventKind.COLLECTION_LATE: Problem.LATE,
}


class Discovery(NamedTuple):
    """An event, and whether rules may notify of it."""

    event: Event
    may_notify: bool


def discover(collection_id: int) -> list[Discovery]:
    """Record what happened to a collection and its runs. There may be more if it returns MOST_RUNS events.

    Rules may notify of the last run only, and of nothing while the collection is paused or archived, or if
    the problem is acknowledged.
    """
    # With the collection locked, wait for no lock of a run: to delete a run, others lock them in reverse.
    locked = Collection.objects.select_for_update(of=("self",)).filter(pk=collection_id)
    collection = locked.select_related("account").first()
    if collection is None or _mark_history(collection):
        return []
    runs = _unannounced(collection)
    state = _State(collection, condition_of(collection), last_run(collection))
    found = [found for run in runs if (found := _announce_run(state, run))]
    if len(runs) < MOST_RUNS and not collection.is_ignored:
        found += _announce_problem(state)
    return found


def discover_outage(account_id: int) -> list[Discovery]:
    """Record that an account has become unavailable, or available again."""
    Account.objects.select_for_update().filter(pk=account_id).first()
    account: Any = with_outages(Account.objects.filter(pk=account_id)).first()
    if account is None:
        return []
    is_out = is_unavailable(account, timezone.now())
    if is_out is None or is_out == account.announced_outage:
        return []
    Account.objects.filter(pk=account_id).update(announced_outage=is_out)
    if not (account.is_connected and account.current_count):
        return []
    kind = EventKind.ACCOUNT_UNAVAILABLE if is_out else EventKind.ACCOUNT_RECOVERED
    data = {"account": account.pk, "reason": account.refresh_problem or ""}
    event = record(kind, team_id=account.team_id, target=account.name, data=data, actor=SYSTEM, in_feed=True)
    return [Discovery(event, may_notify=True)]


def record_run(run: Run) -> Event:
    """Record that a run has ended or stalled."""
    data = {"counts": _counts(run), "reason": run.failure_reason}
    return record(_KINDS[run.status], run=run, data=data, actor=SYSTEM, in_feed=True)


class _State(NamedTuple):
    """What is known about a locked collection."""

    collection: Collection
    condition: Condition
    last: Run | None


# --- runs ---------------------------------------------------------------------------------------


def _mark_history(collection: Collection) -> bool:
    """Mark an account's runs from before the collection was connected. Return whether there may be more."""
    if not collection.is_remote:
        return False
    if collection.history_until is None:
        _begin(collection)
    until = collection.history_until or NO_RUN
    runs = changed_runs().filter(collection=collection, announced="", created_at__lte=until)
    history = _locked(runs).values_list("pk", flat=True)[:_MOST_HISTORY]
    return Run.objects.filter(pk__in=list(history)).update(announced=PAST) == _MOST_HISTORY


def _begin(collection: Collection) -> None:
    """Regard the known runs as history, except for the newest one if it is still running."""
    newest = collection.runs.newest_first().first()
    if newest is None and collection.refreshed_at is None:
        return
    if newest is not None and newest.state == State.PROCESSING:
        Run.objects.filter(pk=newest.pk, announced="").update(announced=State.PROCESSING)
    collection.history_until = newest.created_at if newest else NO_RUN
    collection.save(update_fields=["history_until"])


def _unannounced(collection: Collection) -> list[Run]:
    """Return runs whose state isn't announced, the oldest first."""
    changed = _locked(changed_runs().filter(collection=collection))[:MOST_RUNS]
    stalled = _locked(newly_stalled_runs().filter(collection=collection))[:MOST_RUNS]
    runs = {run.pk: run for run in [*changed, *stalled]}
    return sorted(runs.values(), key=lambda run: (run.created_at, run.number))[:MOST_RUNS]


def _locked(runs: RunQuerySet) -> RunQuerySet:
    """Lock the runs that aren't locked, in order. A later call finds the others."""
    return runs.select_for_update(of=("self",), skip_locked=True).order_by("created_at", "number")


def _announce_run(state: _State, run: Run) -> Discovery | None:
    run.collection = state.collection
    status = run.status
    announced = Status.STALLED if status == Status.STALLED else State(run.state)
    Run.objects.filter(pk=run.pk).update(announced=announced)
    if status == Status.PROCESSING:
        return None
    return _judged(state, record_run(run), run)


# --- problems of collections --------------------------------------------------------------------


def _announce_problem(state: _State) -> list[Discovery]:
    """Record that the collection is late or has recovered, or that its last run is broken.

    The events of runs tell of other problems.
    """
    collection, before = state.collection, state.collection.announced_problem
    problem, broken = urgent_problem(state.condition), _newly_broken(state)
    if (problem == before and not broken) or not (problem or has_settled(collection)):
        return []
    collection.announced_problem = problem
    if broken or not problem:
        collection.announced_run = broken.number if broken else None
    collection.save(update_fields=["announced_problem", "announced_run"])
    if broken:
        return [_record(state, EventKind.RUN_BROKEN, broken, _broken_data(broken))]
    if problem == Problem.LATE:
        return [_record(state, EventKind.COLLECTION_LATE, None, _late_data(collection))]
    return (
        [] if problem else [_record(state, EventKind.COLLECTION_RECOVERED, state.last, {"problem": before})]
    )


def _newly_broken(state: _State) -> Run | None:
    """Return the last run if it is broken and that isn't announced."""
    if urgent_problem(state.condition) != Problem.BROKEN or state.last is None:
        return None
    return None if state.last.number == state.collection.announced_run else state.last


def _broken_data(run: Run) -> dict[str, Any]:
    verdict = Verdict.objects.filter(run=run).first()
    return {"counts": _counts(run), "reasons": verdict.reasons[:_MOST_REASONS] if verdict else []}


def _late_data(collection: Collection) -> dict[str, Any]:
    return {"expected_at": collection.expected_at and collection.expected_at.isoformat()}


def _counts(run: Run) -> dict[str, Any]:
    return {"extracted": run.extracted, "total": run.total}


def _record(state: _State, kind: EventKind, run: Run | None, data: dict[str, Any]) -> Discovery:
    event = record(kind, collection=state.collection, run=run, data=data, actor=SYSTEM, in_feed=True)
    return _judged(state, event, run)


def _judged(state: _State, event: Event, run: Run | None) -> Discovery:
    """Return the event, and whether rules may notify of it."""
    is_current = run is None or (state.last is not None and run.pk == state.last.pk)
    is_known = _PROBLEMS.get(EventKind(event.kind)) in state.condition.covered
    return Discovery(event, may_notify=is_current and not is_known and not state.collection.is_ignored)
