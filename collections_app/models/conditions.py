"""The condition of a collection: one rule for the Overview, other pages, the API and the worker.

The condition follows from the status of the last run (run_status.py), the deadline of the next run
(expectations.py), and whether people paused, archived or acknowledged the collection. `Condition` is the
rule. `conditions_of` needs three queries for any number of collections. `prefetch_conditions` reads more, for
the rows of a page.

The last run is the newest one that isn't processing. A stalled run counts as failed. A successful run is
Completed and lacks no records. A run that isn't trusted (verdicts.py) is a problem, whatever its status.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from functools import lru_cache
from typing import NamedTuple, TypeVar

from django.db.models import Case, Exists, F, IntegerField, OuterRef, Q, Subquery, Value, When
from django.db.models.functions import Coalesce
from django.utils import timezone

from collections_app.models.acknowledgments import NO_RUN, Acknowledgment, Problem
from collections_app.models.collections import Collection, CollectionQuerySet
from collections_app.models.run_status import State, Status, StatusFacts, unscraped
from collections_app.models.runs import CountUpTo, Run, RunQuerySet
from collections_app.models.teams import User
from collections_app.models.time_zones import zone
from collections_app.models.verdicts import ShownVerdict, may_be_trusted

T = TypeVar("T")

# Stop counting failed runs in a row here.
MOST_FAILURES = 100
# Search only this many ready runs for a successful one, because all of them may lack records.
_SUCCESS_AMONG = 1_000

# Of runs whose status is a problem.
PROBLEMS = {
    Status.FAILED: Problem.FAILED,
    Status.EMPTY: Problem.EMPTY,
    Status.INCOMPLETE: Problem.INCOMPLETE,
}
# Their verdicts say nothing else.
_WORSE_THAN_BROKEN = {Status.FAILED, Status.EMPTY}
_URGENCIES = list(Problem)
_NOTHING: frozenset[Problem] = frozenset()


class NoProblem(Exception):
    """The collection has no problem to acknowledge."""

    def __str__(self) -> str:
        return "This collection has no problem to acknowledge."


class LastRun(NamedTuple):
    """The newest run of a collection that has ended."""

    status: Status  # Failed, if the run has stalled
    is_recent: bool  # whether it started since the given time
    missing: int  # requested records that it doesn't have, or 0 if unknown
    verdict: ShownVerdict | None = None

    @property
    def problem(self) -> Problem | None:
        """The problem of the run, or None."""
        is_broken = self.verdict is not None and not self.verdict.is_trusted
        if is_broken and self.status not in _WORSE_THAN_BROKEN:
            return Problem.BROKEN
        return PROBLEMS.get(self.status)


class Condition(NamedTuple):
    """The condition of a collection now. `covered` are the problems that are acknowledged."""

    last: LastRun | None
    is_late: bool
    is_paused: bool
    is_archived: bool
    covered: frozenset[Problem]

    @property
    def last_status(self) -> Status | None:
        """The status of the last run."""
        return self.last.status if self.last else None

    @property
    def problems(self) -> list[Problem]:
        """All problems, acknowledged or not, the most urgent first."""
        of_run = self.last.problem if self.last else None
        if self.is_archived or self.is_paused or not (of_run or self.is_late):
            return []
        return [each for each in Problem if each == of_run or (each == Problem.LATE and self.is_late)]

    @property
    def problem(self) -> Problem | None:
        """The most urgent problem that isn't acknowledged, or None."""
        return next((problem for problem in self.problems if problem not in self.covered), None)

    @property
    def is_acknowledged(self) -> bool:
        """Whether there are problems, and all of them are acknowledged."""
        return bool(self.problems) and self.problem is None

    @property
    def urgency(self) -> int:
        """The position in lists that begin with problems. Paused and archived collections come last."""
        if not self.problems:
            return len(_URGENCIES) + (2 if self.is_paused or self.is_archived else 1)
        return _URGENCIES.index(self.problem) if self.problem else len(_URGENCIES)


def conditions_of(found: CollectionQuerySet, *, since: datetime | None = None) -> dict[int, Condition]:
    """Return the conditions of collections by their ids, in their order, with three queries.

    `since` is the time that makes last runs recent. Without it, none is.
    """
    last_runs, covered = _last_runs(found, since), _covered(found)
    facts = _observed(found).values_list("pk", _is(_IS_LATE), _is(_IS_PAUSED), _is(_IS_ARCHIVED))
    return {
        pk: Condition(
            last_runs.get(pk), bool(is_late), bool(is_paused), bool(is_archived), covered.get(pk, _NOTHING)
        )
        for pk, is_late, is_paused, is_archived in facts
    }


@dataclass(frozen=True)
class CollectionDetails:
    """What lists show about a collection, besides its condition."""

    failures: int  # the number of failed and stalled runs in a row; at most MOST_FAILURES
    newest_run: Run | None  # may be processing
    last_run: Run | None
    last_successful_run: Run | None
    newest_ready_run: Run | None
    acknowledgment: Acknowledgment | None  # only if it covers a current problem

    @property
    def failure_count(self) -> str:
        """The number of failed and stalled runs in a row, such as "3" or "100 or more"."""
        return f"{self.failures} or more" if self.failures == MOST_FAILURES else str(self.failures)


def prefetch_conditions(
    collections: Sequence[Collection], known: Mapping[int, Condition] | None = None
) -> None:
    """Set each collection's `condition`, `details` and `latest_run`, in at most nine queries.

    `known` are conditions that were read before, if any. Raises Collection.DoesNotExist if one was deleted.
    """
    listed = Collection.objects.filter(pk__in=[collection.pk for collection in collections])
    by_id = conditions_of(listed) if known is None else {each.pk: known[each.pk] for each in collections}
    runs, failures, notes = _runs_of(listed), _failures(listed, by_id), _acknowledgments(listed, by_id)
    for collection in collections:
        newest, last, successful, ready = _of(collection, runs)
        for run in filter(None, (newest, last, successful, ready)):
            run.collection = collection
        collection.condition = _of(collection, by_id)
        collection.details = CollectionDetails(
            failures.get(collection.pk, 0), newest, last, successful, ready, notes.get(collection.pk)
        )
        collection.latest_run = newest


def acknowledge(collection: Collection, *, by: User, note: str, until: date) -> Acknowledgment:
    """Acknowledge all current problems of the collection. Replace an earlier acknowledgment.

    On the day `until`, they need attention again. Raises NoProblem.
    """
    prefetch_conditions([collection])
    problems, last = collection.condition.problems, collection.details.last_run
    if not problems:
        raise NoProblem
    begin = datetime.combine(until, time(), zone(collection.team.time_zone))
    acknowledgment, _ = Acknowledgment.objects.update_or_create(
        collection=collection,
        defaults={
            "by": by,
            "note": note,
            "created_at": timezone.now(),
            "until": begin,
            "last_run_at": last.created_at if last else NO_RUN,
            "run_problem": next((each for each in problems if each != Problem.LATE), ""),
            "covers_late": Problem.LATE in problems,
        },
    )
    return acknowledgment


def condition_of(collection: Collection) -> Condition:
    """Return the condition of one collection. Raises Collection.DoesNotExist."""
    return _of(collection, conditions_of(Collection.objects.filter(pk=collection.pk)))


def withdraw_acknowledgment(collection: Collection) -> None:
    """Delete the acknowledgment, if any, so that the problem needs attention again."""
    Acknowledgment.objects.filter(collection=collection).delete()


def _of(collection: Collection, found: Mapping[int, T]) -> T:
    """Return what was found about a collection. Raises Collection.DoesNotExist if it was deleted."""
    try:
        return found[collection.pk]
    except KeyError:
        raise Collection.DoesNotExist from None


# --- the queries --------------------------------------------------------------------------------
# They are short, because compiling a long one takes Django longer than running it for all collections.

_IS_LATE = Q(late_at__lte=F("observed"))
_IS_PAUSED = Q(paused_at__isnull=False)
_IS_ARCHIVED = Q(archived_at__isnull=False)
_IS_NOT_BROKEN = may_be_trusted("verdict")


def _last_runs(found: CollectionQuerySet, since: datetime | None) -> dict[int, LastRun]:
    last = Run.objects.filter(pk__in=_observed(found).values(last=_first(_ended())))
    is_recent = _is(Q(created_at__gte=since)) if since else Value(0)
    columns = last.values_list(
        *("collection_id", is_recent, "state", "extracted", "total", "verdict__level", "verdict__overrule")
    )
    return {
        pk: _last_run(bool(recent), state, (extracted, total), (level, overrule))
        for pk, recent, state, extracted, total, level, overrule in columns
    }


@lru_cache(maxsize=10_000)  # many collections have equal ones
def _last_run(
    is_recent: bool,  # noqa: FBT001
    state: str,
    counts: tuple[int | None, int | None],
    verdict: tuple[str | None, str | None],
) -> LastRun:
    """Return a last run. If its state is PROCESSING, it has stalled, and counts as failed."""
    if state != State.READY:
        return LastRun(Status.FAILED, is_recent, missing=0)
    level, overrule = verdict
    return LastRun(
        StatusFacts(state, *counts, None, None).status,
        is_recent,
        unscraped(*counts),
        ShownVerdict(level, overrule or "") if level else None,
    )


def _covered(found: CollectionQuerySet) -> dict[int, frozenset[Problem]]:
    """Return the problems that current acknowledgments cover, by collection."""
    since = _successful().filter(
        _IS_NOT_BROKEN, created_at__gt=OuterRef("last_run_at"), collection=OuterRef("collection")
    )
    lasting = Acknowledgment.objects.filter(
        ~Exists(since), collection__in=found.values("pk"), until__gt=timezone.now()
    )
    return {each.collection_id: each.covered for each in lasting}


def _runs_of(listed: CollectionQuerySet) -> dict[int, list[Run | None]]:
    """Return the newest, the last, the last successful and the newest ready run of each collection."""
    of_it = Run.objects.filter(collection=OuterRef("pk"))
    newest = _observed(listed).values_list(
        "pk", _first(of_it), _first(_ended()), _first(of_it.filter(state=State.READY))
    )
    ids = {pk: run_ids for pk, *run_ids in newest}
    runs = Run.objects.in_bulk({run_id for run_ids in ids.values() for run_id in run_ids})
    found = {pk: [runs.get(run_id) for run_id in run_ids] for pk, run_ids in ids.items()}
    lacking = [pk for pk, (*_, ready) in found.items() if ready and not _is_successful(ready)]
    earlier = _last_successful(listed.filter(pk__in=lacking)) if lacking else {}
    return {
        pk: [run, last, earlier.get(pk) if pk in lacking else ready, ready]
        for pk, (run, last, ready) in found.items()
    }


def _is_successful(ready: Run) -> bool:
    return unscraped(ready.extracted, ready.total) == 0


def _last_successful(listed: CollectionQuerySet) -> dict[int, Run]:
    """Return the last successful run of each collection, if it has one among the newest ready runs."""
    ready = Run.objects.filter(collection=OuterRef("pk"), state=State.READY)
    oldest = Coalesce(_first(ready, "created_at", after=_SUCCESS_AMONG - 1), Value(NO_RUN))
    successful = _successful().filter(collection=OuterRef("pk"), created_at__gte=OuterRef("oldest"))
    ids = listed.annotate(oldest=oldest).values_list(_first(successful), flat=True)
    return {run.collection_id: run for run in Run.objects.filter(pk__in=[pk for pk in ids if pk])}


def _failures(listed: CollectionQuerySet, by_id: Mapping[int, Condition]) -> dict[int, int]:
    """Return the number of failed and stalled runs in a row of the collections whose last run failed."""
    failed = [pk for pk, condition in by_id.items() if condition.last_status == Status.FAILED]
    if not failed:
        return {}
    ready = Run.objects.filter(collection=OuterRef("pk"), state=State.READY)
    counted = _observed(listed.filter(pk__in=failed)).annotate(
        ready_at=Coalesce(_first(ready, "created_at"), Value(NO_RUN)), ready_number=_first(ready, "number")
    )
    return dict(counted.values_list("pk", CountUpTo(MOST_FAILURES, _failed().newest_first())))


def _acknowledgments(listed: CollectionQuerySet, by_id: Mapping[int, Condition]) -> dict[int, Acknowledgment]:
    covered = [pk for pk, condition in by_id.items() if condition.covered & {*condition.problems}]
    notes = Acknowledgment.objects.filter(collection__in=covered).select_related("by") if covered else ()
    return {each.collection_id: each for each in notes}


def _observed(found: CollectionQuerySet) -> CollectionQuerySet:
    """Annotate collections with `observed`, which is Collection.observed_until."""
    return found.annotate(
        observed=Case(When(account=None, then=Value(timezone.now())), default=F("refreshed_at"))
    )


def _ended() -> RunQuerySet:
    """Return the runs of the collection in the outer query that are ready, failed or stalled."""
    has_ended = Q(state__in=[State.READY, State.FAILED]) | Q(stalls_at__lte=OuterRef("observed"))
    return Run.objects.filter(has_ended, collection=OuterRef("pk"))


def _successful() -> RunQuerySet:
    return Run.objects.with_status(Status.COMPLETED)


def _failed() -> RunQuerySet:
    """Return the failed and stalled runs that are newer than the newest ready one of their collection."""
    at, number = OuterRef("ready_at"), OuterRef("ready_number")
    return _ended().filter(
        Q(created_at__gt=at) | Q(number__gt=number),
        created_at__gte=at,  # redundant, but lets the database start within the index
        state__in=[State.FAILED, State.PROCESSING],  # so that it uses the index of these
    )


def _first(runs: RunQuerySet, field: str = "pk", *, after: int = 0) -> Subquery:
    """Return a field of the newest run, or with `after`, of the run after that many newer ones."""
    return Subquery(runs.newest_first().values(field)[after : after + 1])


def _is(condition: Q) -> Case:
    """Return an expression that is 1 or 0, not a boolean, which Django would convert in each row."""
    return Case(When(condition, then=1), default=0, output_field=IntegerField())
