"""Exports: every record of a run as one file, in a format that somebody asked for."""

from datetime import datetime
from typing import ClassVar, Self

from django.db import models
from django.db.models import Q
from django.utils import timezone

from collections_app.models.runs import Run
from collections_app.system import disk


class ExportState(models.TextChoices):
    """Where an export stands."""

    QUEUED = "queued", "Waiting"
    RUNNING = "running", "Being made"
    READY = "ready", "Ready"
    FAILED = "failed", "Failed"


class ExportQuerySet(models.QuerySet["Export"]):
    """Questions about exports."""

    def under_way(self) -> Self:
        """Those that somebody waits for, the one that was asked for first first."""
        return self.filter(state__in=[ExportState.QUEUED, ExportState.RUNNING]).order_by("created_at", "pk")

    def newest_first(self) -> Self:
        """In the order of a run's list of them."""
        return self.order_by("-created_at", "-pk")


class Export(models.Model):
    """A run's records as one file. It is made once, whoever asks; a run's files never change.

    What is made can be made again at any time: it is dropped when nobody has wanted it for long, or when
    others need its room.
    """

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="exports")
    format = models.CharField(max_length=10)
    columns = models.JSONField(default=list, help_text="The chosen columns in their order; empty: all.")
    excel = models.BooleanField("for spreadsheets", default=False)
    # Stands for the format, the columns and the option, so that there is one of each.
    digest = models.CharField(max_length=64, editable=False)
    state = models.CharField(max_length=10, choices=ExportState.choices, default=ExportState.QUEUED)
    failure = models.CharField(max_length=1000, blank=True)
    is_final = models.BooleanField(
        "can't be made", default=False, help_text="Making it again would fail in the same way."
    )
    done = models.PositiveBigIntegerField("records done", default=0)
    total = models.PositiveBigIntegerField("records in all", null=True, default=0)
    failed_at = models.DateTimeField(null=True, blank=True)
    # Who makes it; as of a run.
    attempt = models.CharField(max_length=16, blank=True, editable=False)
    lease_expires_at = models.DateTimeField(null=True, blank=True, editable=False)
    key = models.CharField(max_length=200, blank=True)
    size = models.PositiveBigIntegerField(default=0)
    sha256 = models.CharField(max_length=64, blank=True)
    modified = models.DateTimeField(null=True, blank=True, help_text="When the bytes were written.")
    created_at = models.DateTimeField(default=timezone.now, help_text="When it was asked for.")
    used_at = models.DateTimeField(default=timezone.now, help_text="When it was last asked for.")

    objects: ClassVar[models.Manager["Export"]] = ExportQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["run", "digest"], name="export_made_once"),
            models.CheckConstraint(condition=Q(state__in=ExportState.values), name="export_known_state"),
            models.CheckConstraint(
                condition=~Q(state=ExportState.READY) | Q(key__gt="", modified__isnull=False),
                name="export_ready_has_bytes",
            ),
            models.CheckConstraint(
                condition=Q(state=ExportState.FAILED, failure__gt="")
                | (~Q(state=ExportState.FAILED) & Q(failure="")),
                name="export_failed_has_a_reason",
            ),
        ]
        indexes = [
            models.Index(
                fields=["created_at"], condition=Q(state__in=["queued", "running"]), name="export_under_way"
            ),
            models.Index(fields=["state", "used_at"], name="export_least_used"),
        ]

    def __str__(self) -> str:
        return f"Run {self.run_id} as {self.format}"

    @property
    def is_ready(self) -> bool:
        """Whether the file is there."""
        return self.state == ExportState.READY

    @property
    def is_under_way(self) -> bool:
        """Whether it is being made, or will be."""
        return self.state in {ExportState.QUEUED, ExportState.RUNNING}

    @property
    def etag(self) -> str:
        """The strong ETag of a ready export, in nginx's own form as that of a run's file."""
        assert self.modified is not None
        return f'"{int(self.modified.timestamp()):x}-{self.size:x}"'

    def note_use(self, at: datetime) -> None:
        """Remember that it was wanted; at most once a minute, as that is exact enough."""
        if (at - self.used_at).total_seconds() > _USE_IS_NOTED_AFTER_SECONDS:
            with disk.best_effort(f"the use of export {self.pk}"):
                Export.objects.filter(pk=self.pk).update(used_at=at)
            self.used_at = at


_USE_IS_NOTED_AFTER_SECONDS = 60
