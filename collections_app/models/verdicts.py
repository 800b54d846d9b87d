"""Verdicts: whether each run can be trusted."""

from typing import ClassVar, Self

from django.db import models
from django.db.models import Q
from django.utils import timezone

from collections_app.models.runs import Run
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


IS_TRUSTED = Q(overrule=Overrule.TRUSTED) | (Q(overrule="") & ~Q(level=VerdictLevel.BROKEN))


class VerdictQuerySet(models.QuerySet["Verdict"]):
    """Queries for verdicts."""

    def trusted(self) -> Self:
        """Return the verdicts of runs that can be trusted."""
        return self.filter(IS_TRUSTED)


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
        return self.overrule == Overrule.TRUSTED or (not self.overrule and self.level != VerdictLevel.BROKEN)

    @property
    def kind(self) -> str:
        """The kind of the run: as a member chose it, or as it was recognized."""
        return self.chosen_coverage or self.coverage
