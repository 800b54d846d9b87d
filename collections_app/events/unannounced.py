"""Find the collections and accounts that something has happened to since events were last recorded."""

from collections.abc import Set as AbstractSet
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Q
from django.utils import timezone

from collections_app.models import Account, Collection, Run, State, Status, Verdict
from collections_app.models.acknowledgments import Problem
from collections_app.models.conditions import Condition, conditions_of
from collections_app.models.outages import with_outages
from collections_app.models.run_status import statuses_of
from collections_app.models.runs import PAST, UNANNOUNCED, RunQuerySet

_MOST_CHANGED = 1_000
# How long none of an account's lists can be read before the account counts as unavailable.
OUTAGE_AFTER = timedelta(minutes=15)
# How long a recovery waits for the verdict of the newest run, which may be that the run is broken.
_JUDGED_WITHIN = timedelta(minutes=30)

ENDED = (Status.STALLED, *statuses_of(State.FAILED), *statuses_of(State.READY))
_IS_KNOWN_TO_STALL = Q(state=State.PROCESSING, announced=Status.STALLED)


def changed_runs() -> RunQuerySet:
    """Return the runs whose state isn't announced. Reads a small index."""
    return Run.objects.filter(UNANNOUNCED).exclude(_IS_KNOWN_TO_STALL)


def newly_stalled_runs() -> RunQuerySet:
    """Return the runs whose stall isn't announced."""
    return Run.objects.with_status(Status.STALLED).exclude(announced__in=[Status.STALLED, PAST])


def with_changed_runs(*, except_for: AbstractSet[int] = frozenset()) -> set[int]:
    """Return the ids of collections with runs whose state isn't announced, but not all of them at once."""
    runs = changed_runs().exclude(collection__in=except_for)
    # Sorted and limited, because PostgreSQL assumes that most runs match, and would read all of them.
    first = runs.order_by("collection", "created_at", "number").values_list("collection", flat=True)
    return set(first[:_MOST_CHANGED])


def with_changed_problems() -> set[int]:
    """Return the ids of collections with newly stalled runs, or whose problem isn't announced."""
    unread = Collection.objects.filter(history_until=None, account__isnull=False, refreshed_at__isnull=False)
    return {
        *_collections_of(newly_stalled_runs()),
        *unread.values_list("pk", flat=True),
        *_with_unannounced_problems(),
    }


def with_changed_outages() -> set[int]:
    """Return the ids of accounts that have become unavailable or available again."""
    now = timezone.now()
    return {
        account.pk
        for account in with_outages(Account.objects.all())
        if is_unavailable(account, now) not in {None, account.announced_outage}
    }


def urgent_problem(condition: Condition) -> str:
    """Return the most urgent problem, even if it is acknowledged, or ""."""
    return next((problem.value for problem in condition.problems), "")


def last_run(collection: Collection) -> Run | None:
    """Return the newest run of a collection that has ended or stalled."""
    return collection.runs.with_status(*ENDED).newest_first().first()


def is_unavailable(account: Any, now: datetime) -> bool | None:
    """Return whether none of the account's lists can be read, or None if it isn't certain yet.

    The account comes from with_outages().
    """
    since, updated_at = account.failing_since, account.updated_at
    if not account.is_connected or since is None or (updated_at is not None and updated_at > since):
        return False
    return True if since <= now - OUTAGE_AFTER else None


def has_settled(collection: Collection) -> bool:
    """Return whether no run is processing and the newest is judged, so that no problem returns at once."""
    newest = collection.runs.newest_first().first()
    return newest is None or (newest.is_ready and not _awaits_verdict(collection, newest))


def _awaits_verdict(collection: Collection, run: Run) -> bool:
    is_judged = Verdict.objects.filter(run=run).exists()
    is_tracked = collection.account is None or collection.account.tracks_runs
    return is_tracked and not is_judged and timezone.now() - run.updated_at < _JUDGED_WITHIN


def _collections_of(runs: RunQuerySet) -> set[int]:
    return set(runs.order_by().values_list("collection", flat=True).distinct())


def _with_unannounced_problems() -> set[int]:
    found = Collection.objects.current().filter(paused_at=None)
    announced = dict(found.values_list("pk", "announced_problem"))
    problems = {pk: urgent_problem(condition) for pk, condition in conditions_of(found).items()}
    changed = {pk for pk, problem in problems.items() if problem != announced.get(pk, problem)}
    recovered = {pk for pk in changed if not problems[pk]}
    broken = {pk for pk, problem in problems.items() if problem == Problem.BROKEN}
    listed = Collection.objects.select_related("account").filter(pk__in=recovered | broken)
    to_announce = {
        each.pk for each in listed if (has_settled(each) if each.pk in recovered else _is_newly_broken(each))
    }
    return changed - recovered | to_announce


def _is_newly_broken(collection: Collection) -> bool:
    run = last_run(collection)
    return run is not None and run.number != collection.announced_run
