"""Watchlists: the products of a collection that its team wants to see at a glance."""

from typing import ClassVar

from django.db import models
from django.utils import timezone

from collections_app.models.collections import Collection
from collections_app.models.teams import User


class WatchedProduct(models.Model):
    """A product on the watchlist of a collection."""

    MOST = 200  # per collection

    collection = models.ForeignKey(Collection, on_delete=models.CASCADE, related_name="watchlist")
    key = models.CharField(max_length=600, help_text="A JSON list of the texts of the key.")
    added_at = models.DateTimeField(default=timezone.now)
    added_by = models.ForeignKey(User, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")

    objects: ClassVar[models.Manager["WatchedProduct"]] = models.Manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["collection", "key"], name="watched_once"),
        ]

    def __str__(self) -> str:
        return f"{self.collection_id}: {self.key}"
