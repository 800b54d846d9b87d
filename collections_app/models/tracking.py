"""How the products of a collection are told apart, so that runs can be compared."""

from collections.abc import Sequence

from django.db import models, transaction
from django.utils import timezone

from collections_app.models.collections import Collection
from collections_app.models.teams import User


class TrackingSettings(models.Model):
    """The key of a collection: the columns that name a product, such as its ASIN.

    The site suggests a key, and uses it until a member chooses another one. Without columns there is no key,
    and the runs can't be compared.
    """

    collection = models.OneToOneField(Collection, on_delete=models.CASCADE, related_name="tracking")
    key_columns = models.JSONField(default=list, help_text="The names of the columns.")
    is_suggested = models.BooleanField(default=True)
    # Changes with the key. Comparisons, verdicts and blocks of other versions are created again.
    version = models.PositiveIntegerField(default=1)
    # The process that creates blocks of the collection, as for a run.
    attempt = models.CharField(max_length=16, blank=True, editable=False)
    lease_expires_at = models.DateTimeField(null=True, blank=True, editable=False)
    # The version for which the verdicts of all runs were made, or marked to be made again.
    verdicts_version = models.PositiveIntegerField(default=0)
    changed_at = models.DateTimeField(null=True, blank=True)
    changed_by = models.ForeignKey(User, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")

    def __str__(self) -> str:
        return f"{self.collection_id}: {', '.join(self.key_columns)}"

    @property
    def key(self) -> tuple[str, ...]:
        """The columns that name a product."""
        return tuple(self.key_columns)


@transaction.atomic
def set_key(
    collection: Collection, columns: Sequence[str], *, by: User, is_suggested: bool = False
) -> TrackingSettings:
    """Save the key that a member chose, or with `is_suggested`, the one that the site suggests.

    Another key has another version.
    """
    TrackingSettings.objects.get_or_create(collection=collection)
    tracking = TrackingSettings.objects.select_for_update().get(collection=collection)
    tracking.version += tracking.key_columns != list(columns)
    tracking.key_columns, tracking.is_suggested = list(columns), is_suggested
    tracking.changed_at, tracking.changed_by = timezone.now(), by
    tracking.save()
    return tracking
