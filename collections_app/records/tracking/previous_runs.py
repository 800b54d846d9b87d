"""The earlier runs that a run is compared with."""

from collections.abc import Iterable

from django.db.models import CharField, Exists, OuterRef, Q, Subquery, Value
from django.db.models.functions import Coalesce, NullIf
from django.db.models.lookups import Exact

from collections_app.models import Run, RunCoverage, SliceState, State, Verdict
from collections_app.models.run_status import IS_EMPTY, IS_INCOMPLETE
from collections_app.models.runs import RunQuerySet
from collections_app.models.verdicts import IS_TRUSTED

# A product that one of this many runs before the earlier run contains has returned, instead of being new.
_MOST_EARLIER = 30

_KIND = Coalesce(
    NullIf("verdict__chosen_coverage", Value("")),
    "verdict__coverage",
    Value(RunCoverage.FULL.value),
    output_field=CharField(),
)


def default_since(run: Run) -> Run | None:
    """Return the newest earlier run of the same kind that can be trusted, or None.

    A run without a verdict can be trusted.
    """
    found = Run.objects.filter(pk__in=default_sinces([run]).values())
    return found.select_related("collection__account").first()


def default_sinces(runs: Iterable[Run]) -> dict[int, int]:
    """Return the primary key of each run's default_since(), by the primary key of the run.

    Runs without one are left out.
    """
    earlier = _trusted(Run.objects.filter(collection=OuterRef("collection"))).filter(
        Exact(_KIND, OuterRef("kind")),
        # Redundant; see RunQuerySet.before().
        Q(created_at__lte=OuterRef("created_at")),
        Q(created_at__lt=OuterRef("created_at")) | Q(number__lt=OuterRef("number")),
    )
    found = Run.objects.filter(pk__in=[run.pk for run in runs]).annotate(kind=_KIND)
    found = found.annotate(since=Subquery(earlier.newest_first().values("pk")[:1]))
    return {run: since for run, since in found.values_list("pk", "since") if since is not None}


def earlier_runs(since: Run) -> list[Run]:
    """Return the runs before the earlier run of a comparison that have a slice, newest first."""
    return list(_with_slice(since).before(since.cursor).newest_first()[:_MOST_EARLIER])


def complete_run_between(since: Run, run: Run) -> Run | None:
    """Return the newest trusted and complete run of the same kind between two runs that has a slice."""
    between = _trusted(_with_slice(run)).filter(Exact(_KIND, _kind_of(run)))
    between = between.exclude(IS_INCOMPLETE | IS_EMPTY)
    between = between.exclude(Exists(Verdict.objects.filter(run=OuterRef("pk"), is_partial=True)))
    return between.before(run.cursor).after(since.cursor).newest_first().first()


def is_partial(run: Run) -> bool:
    """Whether products that a run lacks may not have been scraped."""
    return run.is_partial or Verdict.objects.filter(run=run, is_partial=True).exists()


def _with_slice(run: Run) -> RunQuerySet:
    runs = Run.objects.filter(collection=run.collection_id, slice__state=SliceState.READY)
    return runs.select_related("collection__account")


def _kind_of(run: Run) -> str:
    verdict = Verdict.objects.filter(run=run).first()
    return verdict.kind if verdict else RunCoverage.FULL


def _trusted(runs: RunQuerySet) -> RunQuerySet:
    distrusted = Verdict.objects.filter(~IS_TRUSTED, run=OuterRef("pk"))
    return runs.filter(~Exists(distrusted), state=State.READY)
