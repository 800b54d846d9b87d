"""Blocks: the products of several runs in one file, sorted by key, for the history of a product."""

from typing import ClassVar, Self

from django.db import models
from django.db.models import Count, F, Q
from django.utils import timezone

from collections_app.models.collections import Collection
from collections_app.models.runs import Run


class BlockQuerySet(models.QuerySet["Block"]):
    """Queries for blocks."""

    def current(self, version: int) -> Self:
        """Return blocks of this version of the format, and of the current key of their collection."""
        return self.filter(version=version, settings_version=F("collection__tracking__version"))

    def stale(self, version: int) -> Self:
        """Return blocks of another version or key, and those with runs that have been deleted."""
        current = Block.objects.current(version).annotate(found=Count("runs"))
        return self.exclude(pk__in=current.filter(found=F("run_count")).values("pk"))


class Block(models.Model):
    """The products of some runs of a collection (records/tracking/blocks.py).

    Each run has at most one block. Blocks can be created again from the slices of their runs.
    """

    collection = models.ForeignKey(Collection, on_delete=models.CASCADE, related_name="blocks")
    runs = models.ManyToManyField(Run, related_name="blocks", editable=False)
    # Shows whether a run has been deleted.
    run_count = models.PositiveIntegerField("number of runs")
    # Blocks of the same level are merged into one of the next level.
    level = models.PositiveSmallIntegerField(default=0)
    version = models.PositiveSmallIntegerField(help_text="Of the format of the file.")
    settings_version = models.PositiveIntegerField(help_text="Of the collection's tracking settings.")
    key = models.CharField(max_length=200)
    size = models.PositiveBigIntegerField()
    sha256 = models.CharField(max_length=64, blank=True)
    records = models.PositiveBigIntegerField()
    created_at = models.DateTimeField(default=timezone.now)

    objects: ClassVar[models.Manager["Block"]] = BlockQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(run_count__gt=0), name="block_has_runs"),
            models.UniqueConstraint(fields=["key"], name="block_of_one_file"),
        ]
        indexes = [models.Index(fields=["collection", "level"], name="block_by_level")]

    def __str__(self) -> str:
        return f"{self.run_count} runs of {self.collection_id}"
