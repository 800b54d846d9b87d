"""Exports: all records of a run, or of several runs, as one file in a requested format."""

from typing import ClassVar, Self

from django.db import models
from django.db.models import Q
from django.utils import timezone

from collections_app.models.runs import Run


class ExportState(models.TextChoices):
    """The status of an export."""

    QUEUED = "queued", "Waiting"
    RUNNING = "running", "Running"
    READY = "ready", "Ready"
    FAILED = "failed", "Failed"


class Layout(models.TextChoices):
    """How an export combines the records of its runs."""

    RUN = "run", "One run"
    RUNS = "runs", "Several runs of a collection in one table"
    SHEETS = "sheets", "A workbook with a sheet for each run"
    CHANGES = "changes", "The changes between two runs, one per row"
    PRODUCTS = "products", "The changes between two runs, one product per row"


class ExportQuerySet(models.QuerySet["Export"]):
    """Queries for exports."""

    def under_way(self) -> Self:
        """Return queued and running exports, the oldest first."""
        return self.filter(state__in=[ExportState.QUEUED, ExportState.RUNNING]).order_by("created_at", "pk")

    def newest_first(self) -> Self:
        """Sort the newest first."""
        return self.order_by("-created_at", "-pk")


class Export(models.Model):
    """The records of one or more runs as one file. All users share it, because a run's files never change.

    It can be created again at any time, so it is deleted when it hasn't been used for long, or when other
    exports need its space.
    """

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="exports")
    layout = models.CharField(max_length=10, choices=Layout.choices, default=Layout.RUN)
    # The runs besides `run`, in any order. `run_count` shows whether one of them has been deleted.
    other_runs = models.ManyToManyField(Run, related_name="joint_exports", editable=False)
    run_count = models.PositiveIntegerField("number of runs", default=1, editable=False)
    format = models.CharField(max_length=10)
    columns = models.JSONField(default=list, help_text="The chosen columns in order. Empty means all.")
    excel = models.BooleanField("for spreadsheets", default=False)
    separator = models.CharField(max_length=1, default=",", help_text="Between the columns of a CSV.")
    search = models.CharField(
        max_length=200, blank=True, help_text="Only the records that match it are exported."
    )
    filters = models.JSONField(
        default=list, help_text="Only the records that match all of them are exported."
    )
    allows_missing = models.BooleanField(
        "allows missing columns", default=False, help_text="Chosen columns that no record has are empty."
    )
    # Identifies the runs, the format, the columns and the options, so that each export exists once.
    digest = models.CharField(max_length=64, editable=False)
    state = models.CharField(max_length=10, choices=ExportState.choices, default=ExportState.QUEUED)
    failure = models.CharField(max_length=1000, blank=True)
    is_final = models.BooleanField(
        "can't be created", default=False, help_text="Creating it again would fail in the same way."
    )
    done = models.PositiveBigIntegerField("records done", default=0)
    total = models.PositiveBigIntegerField("total records", null=True, default=0)
    failed_at = models.DateTimeField(null=True, blank=True)
    # The process that builds it, as for a run.
    attempt = models.CharField(max_length=16, blank=True, editable=False)
    lease_expires_at = models.DateTimeField(null=True, blank=True, editable=False)
    key = models.CharField(max_length=200, blank=True)
    size = models.PositiveBigIntegerField(default=0)
    sha256 = models.CharField(max_length=64, blank=True)
    modified = models.DateTimeField(null=True, blank=True, help_text="When the bytes were written.")
    created_at = models.DateTimeField(default=timezone.now, help_text="When it was requested.")
    used_at = models.DateTimeField(default=timezone.now, help_text="When it was last requested.")

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
        """Whether the file can be downloaded."""
        return self.state == ExportState.READY

    @property
    def is_under_way(self) -> bool:
        """Whether it is queued or running."""
        return self.state in {ExportState.QUEUED, ExportState.RUNNING}

    @property
    def etag(self) -> str:
        """The strong ETag of a ready export, in nginx's format as for a run's file."""
        assert self.modified is not None
        return f'"{int(self.modified.timestamp()):x}-{self.size:x}"'

    @property
    def has_changes(self) -> bool:
        """Whether it contains the changes between two runs."""
        return self.layout in {Layout.CHANGES, Layout.PRODUCTS}

    def runs(self) -> list[Run]:
        """Return the runs whose records it contains: newest first, or in the order of the sheets.

        If it contains changes, the earlier run comes last.
        """
        if self.layout == Layout.RUN:
            return [self.run]
        runs = [self.run, *self.other_runs.select_related("collection__account")]
        if self.has_changes:
            return runs
        return sorted(runs, key=by_collection if self.layout == Layout.SHEETS else newest_first)


def newest_first(run: Run) -> int:
    """Return the key that sorts a collection's runs, the newest first."""
    return -run.number


def by_collection(run: Run) -> tuple[str, int]:
    """Return the key that sorts runs of different collections as lists of collections are sorted."""
    return run.collection.search_name, run.collection_id
