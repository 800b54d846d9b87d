"""Collections: named scrape jobs of a team."""

from datetime import datetime
from typing import TYPE_CHECKING, ClassVar, Self

from django.db import models, transaction
from django.db.models.functions import Lower
from django.utils import timezone

from collections_app.models.teams import Team

if TYPE_CHECKING:
    from collections_app.models.runs import Run


class Kind(models.TextChoices):
    """What a collection scrapes. The values are the vendor's `request_type`."""

    AMAZON = "amazon", "Amazon"
    OFFICEWORKS = "officeworks.com.au", "Officeworks"
    AMAZON_CATEGORY = "amazon_category_scrape", "Amazon category"


class CollectionQuerySet(models.QuerySet["Collection"]):
    """Questions about collections."""

    def current(self) -> Self:
        """Those that are not archived."""
        return self.filter(archived_at=None)

    def archived(self) -> Self:
        """Those that are archived."""
        return self.exclude(archived_at=None)

    def named_like(self, text: str) -> Self:
        """Those whose name contains the text, in any case."""
        return self.filter(name__icontains=text)

    def by_name(self) -> Self:
        """In the order of the alphabet; equal names in the order they were made in."""
        return self.alias(lower_name=Lower("name")).order_by("lower_name", "pk")

    def after(self, name: str, pk: int) -> Self:
        """Those that follow the collection of this name and id in by_name()'s order."""
        lower_name = Lower(models.Value(name))
        # The first condition is redundant; it is what lets the database start at the right
        # place of the index instead of reading everything before it.
        return self.alias(lower_name=Lower("name")).filter(
            models.Q(lower_name__gte=lower_name),
            models.Q(lower_name__gt=lower_name) | models.Q(pk__gt=pk),
        )


class Collection(models.Model):
    """A named scrape job. Its runs are numbered from 1 on; a number is never used twice."""

    team = models.ForeignKey(Team, on_delete=models.PROTECT, related_name="collections")
    name = models.CharField(max_length=200)
    kind = models.CharField("type", max_length=30, choices=Kind.choices, default=Kind.AMAZON)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    archived_at = models.DateTimeField(null=True, blank=True, editable=False)
    last_run_number = models.PositiveBigIntegerField(default=0, editable=False)

    objects: ClassVar[models.Manager["Collection"]] = CollectionQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=~models.Q(name=""), name="collection_has_a_name"),
            models.CheckConstraint(condition=models.Q(kind__in=Kind.values), name="collection_known_kind"),
            models.CheckConstraint(condition=models.Q(last_run_number__gte=0), name="collection_counts_up"),
        ]
        indexes = [models.Index("team", Lower("name"), "id", name="collection_by_name")]

    def __str__(self) -> str:
        return self.name

    @property
    def is_category(self) -> bool:
        """Whether the runs hold a category list and a CSV instead of pages and a ZIP."""
        return self.kind == Kind.AMAZON_CATEGORY

    def archive(self, *, at: datetime | None = None) -> None:
        """Take the collection out of the list; its runs and files stay, and stay downloadable."""
        self.archived_at = at or timezone.now()
        self.save(update_fields=["archived_at"])

    def restore(self) -> None:
        """Bring an archived collection back into the list."""
        self.archived_at = None
        self.save(update_fields=["archived_at"])

    @transaction.atomic
    def next_run(self, **fields: object) -> "Run":
        """Make the next run, Processing, under the next free number."""
        Collection.objects.filter(pk=self.pk).update(last_run_number=models.F("last_run_number") + 1)
        self.refresh_from_db(fields=["last_run_number"])
        return self.runs.create(number=self.last_run_number, **fields)
