"""Problems of collections that rules have notified of, so that they notify once, and of the recovery."""

from typing import ClassVar

from django.db import models

from collections_app.models.channels import Rule
from collections_app.models.collections import Collection


class OpenProblem(models.Model):
    """What a rule has notified of since a collection was last without problems. Deleted when it recovers."""

    rule = models.ForeignKey(Rule, on_delete=models.CASCADE, related_name="open_problems")
    collection = models.ForeignKey(Collection, on_delete=models.CASCADE, related_name="+")
    kinds = models.JSONField(default=list, help_text="The values of EventKind that it has notified of.")
    silent = models.PositiveIntegerField(default=0, help_text="Events since the last notification.")

    objects: ClassVar[models.Manager["OpenProblem"]] = models.Manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["rule", "collection"], name="problem_open_once_per_rule")
        ]

    def __str__(self) -> str:
        return f"{self.rule_id}: {self.collection_id}"
