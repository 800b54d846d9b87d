"""Collections: named scrape jobs of a team."""

import math
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Self
from unicodedata import combining, normalize

from django.db import models
from django.utils import timezone
from django.utils.functional import cached_property

from collections_app.models.accounts import Account
from collections_app.models.teams import Team

_LONGEST_SEARCH_NAME = 400  # a single character can become several


class Kind(models.TextChoices):
    """What a collection scrapes. The values are the vendor's `request_type`."""

    AMAZON = "amazon", "Amazon"
    OFFICEWORKS = "officeworks.com.au", "Officeworks"
    AMAZON_CATEGORY = "amazon_category_scrape", "Amazon category"


def search_form(name: str) -> str:
    """Return a name as it is searched and sorted by: without regard to case and accents.

    What a database does on its own is for the letters of English alone, or differs between databases.
    """
    plain = "".join(letter for letter in normalize("NFKD", name) if not combining(letter))
    return plain.casefold()[:_LONGEST_SEARCH_NAME]


@dataclass(frozen=True)
class Keeping:
    """How far the runs of an account are copied into our own storage."""

    is_on: bool  # they are copied by themselves
    is_complete: bool = False  # nothing is left to copy
    kept: int = 0  # of a copying that goes on
    ready: int = 0


class CollectionQuerySet(models.QuerySet["Collection"]):
    """Questions about collections."""

    def current(self) -> Self:
        """Those that are not archived."""
        return self.filter(archived_at=None)

    def archived(self) -> Self:
        """Those that are archived."""
        return self.exclude(archived_at=None)

    def named_like(self, text: str) -> Self:
        """Those whose name contains the text, in any case, with or without accents."""
        return self.filter(search_name__contains=search_form(text))

    def by_name(self) -> Self:
        """By name, whatever the case and the accents; equal names in the order they were made in."""
        return self.order_by("search_name", "pk")

    def after(self, name: str, pk: int) -> Self:
        """Those that follow the collection of this name and id in by_name()'s order."""
        place = search_form(name)
        # The first condition is redundant; it is what lets the database start at the right
        # place of the index instead of reading everything before it.
        return self.filter(
            models.Q(search_name__gte=place), models.Q(search_name__gt=place) | models.Q(pk__gt=pk)
        )


class Collection(models.Model):
    """A named scrape job. Its runs are numbered from 1 on; a number is never used twice."""

    team = models.ForeignKey(Team, on_delete=models.PROTECT, related_name="collections")
    name = models.CharField(max_length=200)
    search_name = models.CharField(max_length=_LONGEST_SEARCH_NAME, blank=True, editable=False)
    kind = models.CharField("type", max_length=30, choices=Kind.choices, default=Kind.AMAZON)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    archived_at = models.DateTimeField(null=True, blank=True, editable=False)
    last_run_number = models.PositiveBigIntegerField(default=0, editable=False)
    # The account whose runs these are, and the collection's id there; both or neither.
    account = models.ForeignKey(
        Account, null=True, blank=True, editable=False, on_delete=models.PROTECT, related_name="collections"
    )
    remote_id = models.PositiveBigIntegerField("id at the account", null=True, blank=True, editable=False)
    # What is known of the account's list of runs: how old it is, why it isn't newer, and whether it goes on.
    refreshed_at = models.DateTimeField(null=True, blank=True, editable=False)
    refresh_tried_at = models.DateTimeField(null=True, blank=True, editable=False)
    # Until when the account asked us to wait, when it was last tried.
    retry_at = models.DateTimeField(null=True, blank=True, editable=False)
    refresh_problem = models.CharField(max_length=300, blank=True, editable=False)
    has_older_runs = models.BooleanField(default=False, editable=False)
    # Runs that the account lists but our rows lack. See sources/unlisted.py for the format.
    unlisted = models.JSONField(default=dict, blank=True, editable=False)
    # Whether ready runs are copied from the account into our own storage by themselves.
    keeps_results = models.BooleanField(default=False, editable=False)

    objects: ClassVar[models.Manager["Collection"]] = CollectionQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=~models.Q(name=""), name="collection_has_a_name"),
            models.CheckConstraint(condition=models.Q(kind__in=Kind.values), name="collection_known_kind"),
            models.CheckConstraint(condition=models.Q(last_run_number__gte=0), name="collection_counts_up"),
            models.CheckConstraint(
                condition=models.Q(account=None, remote_id=None)
                | models.Q(account__isnull=False, remote_id__isnull=False),
                name="collection_account_and_id",
            ),
            models.UniqueConstraint(fields=["account", "remote_id"], name="collection_once_per_account"),
        ]
        indexes = [models.Index(fields=["team", "search_name", "id"], name="collection_by_name")]

    # Set by lists of collections.
    latest_run: Any  # a Run, or None
    latest: str

    def __str__(self) -> str:
        return self.name

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save the collection, and with its name what it is searched and sorted by."""
        self.search_name = search_form(self.name)
        if "name" in (kwargs.get("update_fields") or ()):
            kwargs["update_fields"] = [*kwargs["update_fields"], "search_name"]
        super().save(*args, **kwargs)

    @property
    def retry_after(self) -> int | None:
        """How many seconds the account asks us to wait, or None if it doesn't."""
        if self.retry_at is None:
            return None
        seconds = math.ceil((self.retry_at - timezone.now()).total_seconds())
        return seconds if 0 < seconds <= Account.LONGEST_RETRY_AFTER else None  # else the clock was set back

    @property
    def is_category(self) -> bool:
        """Whether the runs hold a category list and a CSV instead of pages and a ZIP."""
        return self.kind == Kind.AMAZON_CATEGORY

    @property
    def is_remote(self) -> bool:
        """Whether the runs are those of an account."""
        return self.account_id is not None

    @cached_property
    def keeping(self) -> Keeping | None:
        """How far the completed runs are copied from the account; None where the runs are ours."""
        if not self.is_remote:
            return None
        if not self.keeps_results:
            return Keeping(is_on=False)
        if not self.has_older_runs and not self.runs.to_keep().exists():
            return Keeping(is_on=True, is_complete=True)
        # They are counted only for as long as the copying goes on.
        return Keeping(
            is_on=True,
            **self.runs.aggregate(
                kept=models.Count("pk", filter=models.Q(state="ready", is_kept=True)),
                ready=models.Count("pk", filter=models.Q(state="ready")),
            ),
        )

    def archive(self, *, at: datetime | None = None) -> None:
        """Take the collection out of the list; its runs and files stay, and stay downloadable."""
        self.archived_at = at or timezone.now()
        self.save(update_fields=["archived_at"])

    def restore(self) -> None:
        """Bring an archived collection back into the list."""
        self.archived_at = None
        self.save(update_fields=["archived_at"])
