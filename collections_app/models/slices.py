"""Slices: the records of each run in a file that is fast to compare with others."""

from typing import ClassVar, Self

from django.db import models
from django.db.models import Q
from django.utils import timezone

from collections_app.models.runs import Run


class SliceState(models.TextChoices):
    """The status of a slice."""

    RUNNING = "running", "Running"
    READY = "ready", "Ready"
    FAILED = "failed", "Failed"


class SliceQuerySet(models.QuerySet["Slice"]):
    """Queries for slices."""

    def ready(self) -> Self:
        """Return slices that can be read."""
        return self.filter(state=SliceState.READY)

    def unready(self) -> Self:
        """Return the others. There are few, and an index finds them."""
        return self.exclude(state=SliceState.READY)

    def running(self) -> Self:
        """Return slices that a process creates, or has created until it was killed."""
        return self.unready().filter(state=SliceState.RUNNING)


class Slice(models.Model):
    """The values of a run's records as a Parquet file (records/tracking/slices.py).

    It depends on nothing but its run, and can be created again at any time.
    """

    run = models.OneToOneField(Run, on_delete=models.CASCADE, related_name="slice")
    # Files with an older version of the format are created again.
    version = models.PositiveSmallIntegerField()
    state = models.CharField(max_length=10, choices=SliceState.choices, default=SliceState.RUNNING)
    failure = models.CharField(max_length=500, blank=True)
    retry_at = models.DateTimeField(
        null=True, blank=True, help_text="When to try again after a failure. Empty means never."
    )
    failures = models.PositiveSmallIntegerField(default=0, help_text="In a row.")
    # The process that creates it, as for a run.
    attempt = models.CharField(max_length=16, blank=True, editable=False)
    lease_expires_at = models.DateTimeField(null=True, blank=True, editable=False)
    key = models.CharField(max_length=200, blank=True)
    size = models.PositiveBigIntegerField(default=0)
    sha256 = models.CharField(max_length=64, blank=True)
    records = models.PositiveBigIntegerField(default=0)
    columns = models.JSONField(default=list, help_text="The names of the columns c0, c1, ... of the file.")
    created_at = models.DateTimeField(default=timezone.now)
    needs_verdict = models.BooleanField(default=True, help_text="Whether the run has no verdict yet.")

    objects: ClassVar[models.Manager["Slice"]] = SliceQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(state__in=SliceState.values), name="slice_known_state"),
            models.CheckConstraint(
                condition=~Q(state=SliceState.READY) | Q(key__gt=""), name="slice_ready_has_bytes"
            ),
            models.CheckConstraint(
                condition=Q(state=SliceState.FAILED, failure__gt="")
                | (~Q(state=SliceState.FAILED) & Q(failure="")),
                name="slice_failed_has_a_reason",
            ),
        ]
        indexes = [
            models.Index(fields=["version"], name="slice_by_version"),
            models.Index(
                fields=["state"],
                condition=~Q(state=SliceState.READY),
                name="slice_unready",
            ),
            models.Index(
                fields=["run"], condition=Q(state=SliceState.READY, needs_verdict=True), name="slice_unjudged"
            ),
        ]

    def __str__(self) -> str:
        return f"Slice of {self.run_id}"
