"""Comparisons: what changed between two runs of a collection."""

from typing import ClassVar, Self

from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from collections_app.models.runs import Run


class ComparisonState(models.TextChoices):
    """The status of a comparison."""

    QUEUED = "queued", "Waiting"
    RUNNING = "running", "Running"
    READY = "ready", "Ready"
    FAILED = "failed", "Failed"


class ComparisonQuerySet(models.QuerySet["Comparison"]):
    """Queries for comparisons."""

    def under_way(self) -> Self:
        """Return queued and running comparisons."""
        return self.filter(state__in=[ComparisonState.QUEUED, ComparisonState.RUNNING])


class Comparison(models.Model):
    """The changes between an earlier run and a later one.

    The counts stay. The file with the changes is deleted when it hasn't been used for long, and created again
    when it is needed.
    """

    run = models.ForeignKey(
        Run, on_delete=models.CASCADE, related_name="comparisons", help_text="The later run."
    )
    since = models.ForeignKey(
        Run, on_delete=models.CASCADE, related_name="later_comparisons", help_text="The earlier run."
    )
    settings_version = models.PositiveIntegerField(help_text="Of the collection's tracking settings.")
    state = models.CharField(max_length=10, choices=ComparisonState.choices, default=ComparisonState.QUEUED)
    is_requested = models.BooleanField(default=False, help_text="By a user, who may be waiting for it.")
    failure = models.CharField(max_length=500, blank=True)
    failed_at = models.DateTimeField(null=True, blank=True)
    attempt = models.CharField(max_length=16, blank=True, editable=False)
    lease_expires_at = models.DateTimeField(null=True, blank=True, editable=False)
    # The number of products of each kind of change, as in the API.
    counts = models.JSONField(default=dict)
    # Other figures for pages, such as median changes of prices, changed columns and volatile columns.
    summary = models.JSONField(default=dict)
    # Empty if the file was deleted.
    key = models.CharField(max_length=200, blank=True)
    size = models.PositiveBigIntegerField(default=0)
    sha256 = models.CharField(max_length=64, blank=True)
    rows = models.PositiveBigIntegerField(default=0)
    created_at = models.DateTimeField(default=timezone.now)
    used_at = models.DateTimeField(default=timezone.now)

    objects: ClassVar[models.Manager["Comparison"]] = ComparisonQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["run", "since"], name="comparison_once"),
            models.CheckConstraint(
                condition=Q(state__in=ComparisonState.values), name="comparison_known_state"
            ),
            models.CheckConstraint(condition=~Q(run=F("since")), name="comparison_of_two_runs"),
            models.CheckConstraint(
                condition=Q(state=ComparisonState.FAILED, failure__gt="")
                | (~Q(state=ComparisonState.FAILED) & Q(failure="")),
                name="comparison_failed_has_a_reason",
            ),
        ]
        indexes = [
            models.Index(
                fields=["created_at"],
                condition=Q(state__in=["queued", "running"]),
                name="comparison_under_way",
            ),
            models.Index(fields=["used_at"], condition=Q(key__gt=""), name="comparison_least_used"),
        ]

    def __str__(self) -> str:
        return f"{self.since_id} to {self.run_id}"

    @property
    def is_ready(self) -> bool:
        """Whether the counts are known."""
        return self.state == ComparisonState.READY

    @property
    def is_under_way(self) -> bool:
        """Whether it is queued or running."""
        return self.state in {ComparisonState.QUEUED, ComparisonState.RUNNING}

    @property
    def has_changes(self) -> bool:
        """Whether the changes can be read, because their file exists or there are none."""
        return self.is_ready and (bool(self.key) or not self.rows)
