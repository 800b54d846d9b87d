"""Verdicts: whether each run can be trusted."""

from collections.abc import Iterable
from typing import ClassVar, NamedTuple, Self

from django.db import models
from django.db.models import Q
from django.utils import timezone

from collections_app.models.runs import Cursor, Run, RunQuerySet
from collections_app.models.teams import User


class VerdictLevel(models.TextChoices):
    """What the quality checks say about a run."""

    GOOD = "good", "Good"
    CHECK = "check", "Check"
    BROKEN = "broken", "Broken"
    LEARNING = "learning", "Learning"  # too few trusted runs to compare with


class Overrule(models.TextChoices):
    """What a member says about a run, whatever the checks say."""

    TRUSTED = "trusted", "This run is fine"
    DISTRUSTED = "distrusted", "Don't trust this run"


class RunCoverage(models.TextChoices):
    """Which columns a run fills in. Only runs of the same kind are compared."""

    FULL = "full", "Full"
    AVAILABILITY = "availability", "Availability only"


# How lists show these runs.
OVERRULED = {Overrule.TRUSTED.value: "Trusted", Overrule.DISTRUSTED.value: "Not trusted"}
IS_TRUSTED = Q(overrule=Overrule.TRUSTED) | (Q(overrule="") & ~Q(level=VerdictLevel.BROKEN))
_NOT_BROKEN = [level for level in VerdictLevel if level != VerdictLevel.BROKEN]


# How many trusted runs a run is compared with, at most and at least. With fewer, its verdict is Learning.
MOST_BASELINE, LEAST_BASELINE = 10, 3


def is_trusted(level: str | None, overrule: str | None) -> bool:
    """Return whether a run with this verdict, or without one, can be trusted. The same as IS_TRUSTED."""
    return overrule == Overrule.TRUSTED or (not overrule and level != VerdictLevel.BROKEN)


def may_be_trusted(verdict: str) -> Q:
    """Return the same condition for rows that refer to a verdict by this name, and for those without one.

    It contains no negation, which would be a condition for all runs of a block.
    """
    return (
        Q((verdict, None))
        | Q((f"{verdict}__overrule", Overrule.TRUSTED))
        | Q((f"{verdict}__overrule", ""), (f"{verdict}__level__in", _NOT_BROKEN))
    )


def is_of_kind(kind: str, prefix: str = "") -> Q:
    """Return the condition for runs of a kind, as a member chose it, or as it was recognized.

    The names of the verdict's columns begin with `prefix`.
    """
    chosen = f"{prefix}chosen_coverage"
    return Q((chosen, kind)) | Q((chosen, ""), (f"{prefix}coverage", kind))


def shown_as(value: str) -> Q:
    """Return the condition for verdicts that lists show as this level, or as overruled in this way."""
    return Q(overrule=value) if value in Overrule.values else Q(level=value, overrule="")


class ShownVerdict(NamedTuple):
    """What lists show of a verdict: its level, unless a member has overruled it."""

    level: str
    overrule: str

    @property
    def shown(self) -> str:
        """The level, or what the member says."""
        return self.overrule or self.level

    @property
    def label(self) -> str:
        """The same in words."""
        return OVERRULED.get(self.overrule) or VerdictLevel(self.level).label

    @property
    def is_trusted(self) -> bool:
        """Whether the run can be trusted."""
        return is_trusted(self.level, self.overrule)


class VerdictQuerySet(models.QuerySet["Verdict"]):
    """Queries for verdicts."""

    def trusted(self) -> Self:
        """Return the verdicts of runs that can be trusted."""
        return self.filter(IS_TRUSTED)

    def of_kind(self, kind: str) -> Self:
        """Return the verdicts of runs of a kind, as a member chose it, or as it was recognized."""
        return self.filter(is_of_kind(kind))

    def before(self, run: Run) -> Self:
        """Return the verdicts of earlier runs of the same collection, newest first."""
        at, number = run.cursor.created_at, run.cursor.number
        # The first condition is redundant, as in RunQuerySet.before().
        return self.filter(
            Q(run__created_at__lt=at) | Q(run__number__lt=number),
            run__collection=run.collection_id,
            run__created_at__lte=at,
        ).order_by("-run__created_at", "-run__number")

    def after(self, run: Run) -> Self:
        """Return the verdicts of later runs of the same collection, oldest first."""
        at, number = run.cursor.created_at, run.cursor.number
        return self.filter(
            Q(run__created_at__gt=at) | Q(run__number__gt=number),
            run__collection=run.collection_id,
            run__created_at__gte=at,
        ).order_by("run__created_at", "run__number")

    def up_to(self, cursor: Cursor) -> Self:
        """Return the verdicts of this run and earlier ones."""
        return self.filter(
            Q(run__created_at__lt=cursor.created_at)
            | Q(run__created_at=cursor.created_at, run__number__lte=cursor.number)
        )

    def baseline_of(self, run: Run, kind: str) -> Self:
        """Return the verdicts of the newest trusted earlier runs of this kind."""
        trusted = self.before(run).of_kind(kind).trusted()
        return trusted.select_related("run")[:MOST_BASELINE]

    def mark_later(self, run: Run, *kinds: str) -> None:
        """Mark the verdicts of later runs of these kinds whose baseline may contain the run.

        Call this in the transaction that changes the run's verdict, or deletes the run.
        """
        for kind in set(kinds):
            later = self.after(run).of_kind(kind)
            reached = later.trusted().select_related("run")[MOST_BASELINE - 1 : MOST_BASELINE]
            affected = later.up_to(reached[0].run.cursor) if reached else later
            self.filter(pk__in=affected.order_by().values("pk")).update(is_due=True)


class Verdict(models.Model):
    """Whether a run can be trusted, and why not.

    A run that is Broken isn't trusted. A run to check is trusted. Members can overrule both.
    """

    run = models.OneToOneField(Run, on_delete=models.CASCADE, related_name="verdict")
    level = models.CharField(max_length=10, choices=VerdictLevel.choices)
    reasons = models.JSONField(default=list)
    # Measurements of the run's records that later runs are compared with.
    profile = models.JSONField(default=dict)
    settings_version = models.PositiveIntegerField()
    coverage = models.CharField(
        "kind of run", max_length=12, choices=RunCoverage.choices, default=RunCoverage.FULL
    )
    chosen_coverage = models.CharField(max_length=12, choices=RunCoverage.choices, blank=True)
    # Products that are missing from a partial run weren't scraped; they may still exist.
    is_partial = models.BooleanField(default=False)
    # The trusted runs that the run was compared with.
    baseline = models.JSONField(default=list, help_text="Numbers of runs, newest first.")
    # Whether to judge the run again, because its baseline may have changed.
    is_due = models.BooleanField(default=False)
    overrule = models.CharField(max_length=10, choices=Overrule.choices, blank=True)
    overruled_by = models.ForeignKey(User, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    # Stays if the user is deleted.
    overruled_by_name = models.CharField(max_length=254, blank=True)
    overruled_at = models.DateTimeField(null=True, blank=True)
    judged_at = models.DateTimeField(default=timezone.now)

    objects: ClassVar[models.Manager["Verdict"]] = VerdictQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(level__in=VerdictLevel.values), name="verdict_known_level"),
            models.CheckConstraint(
                condition=Q(overrule="") | Q(overruled_at__isnull=False), name="verdict_overruled_at_a_time"
            ),
        ]
        indexes = [
            models.Index(fields=["run"], condition=Q(is_due=True), name="verdict_due"),
            models.Index(fields=["run"], condition=Q(level__in=["check", "broken"]), name="verdict_bad"),
        ]

    def __str__(self) -> str:
        return f"{self.run_id}: {self.level}"

    @property
    def is_trusted(self) -> bool:
        """Whether the run can be trusted. The same as IS_TRUSTED."""
        return is_trusted(self.level, self.overrule)

    @property
    def shown(self) -> str:
        """What lists show: the level, unless a member has overruled it."""
        return ShownVerdict(self.level, self.overrule).shown

    @property
    def label(self) -> str:
        """What lists show, in words."""
        return ShownVerdict(self.level, self.overrule).label

    @property
    def kind(self) -> str:
        """The kind of the run: as a member chose it, or as it was recognized."""
        return self.chosen_coverage or self.coverage


# Lists don't show these, and profiles are large.
_NOT_LISTED = ("profile", "baseline")


def with_verdicts(runs: RunQuerySet) -> RunQuerySet:
    """Return the runs with `verdict`, if they have one, without what lists don't show. It adds no query."""
    return runs.select_related("verdict").defer(*(f"verdict__{field}" for field in _NOT_LISTED))


def verdicts_of(runs: Iterable[Run]) -> dict[int, Verdict]:
    """Return the verdicts of completed runs by the ids of the runs, without what lists don't show."""
    ready = [run.pk for run in runs if run.is_ready]
    found = Verdict.objects.filter(run__in=ready).defer(*_NOT_LISTED) if ready else ()
    return {verdict.run_id: verdict for verdict in found}
