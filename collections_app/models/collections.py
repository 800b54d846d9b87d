"""Collections: the named scraping jobs of a team."""

import math
from datetime import datetime
from typing import Any, ClassVar, Self

from django.db import models
from django.utils import timezone

from collections_app.models.accounts import Account
from collections_app.models.teams import Membership, Team, User
from collections_app.models.validators import NAME_VALIDATORS
from collections_app.system.search_normalization import search_form

_LONGEST_SEARCH_NAME = 400  # a single character can become several


class Kind(models.TextChoices):
    """The type of a collection. The values are MultiCartAPI's `request_type`."""

    AMAZON = "amazon", "Amazon"
    OFFICEWORKS = "officeworks.com.au", "Officeworks"
    AMAZON_CATEGORY = "amazon_category_scrape", "Amazon category"


def search_name(name: str) -> str:
    """Return the form of a name for searching and sorting, because databases compare texts differently."""
    return search_form(name)[:_LONGEST_SEARCH_NAME].rstrip()


class CollectionQuerySet(models.QuerySet["Collection"]):
    """Queries for collections."""

    def current(self) -> Self:
        """Return collections that aren't archived."""
        return self.filter(archived_at=None)

    def connected(self) -> Self:
        """Return collections of accounts that have a key, except for archived ones."""
        return self.current().exclude(account=None).exclude(account__encrypted_key="")

    def archived(self) -> Self:
        """Return archived collections."""
        return self.exclude(archived_at=None)

    def named_like(self, text: str) -> Self:
        """Return collections whose names contain the text, ignoring case and accents."""
        return self.filter(search_name__contains=search_name(text))

    def named_similarly(self, name: str) -> Self:
        """Return collections with this name, ignoring case and accents."""
        return self.filter(search_name=search_name(name))

    def by_name(self) -> Self:
        """Sort by name, ignoring case and accents. Equal names are in the order of their creation."""
        return self.order_by("search_name", "pk")

    def after(self, name: str, pk: int) -> Self:
        """Return collections that follow the one with this name and id in the order of by_name()."""
        form = search_name(name)
        # The first condition is redundant. It lets the database start within the index.
        return self.filter(
            models.Q(search_name__gte=form),
            models.Q(search_name__gt=form) | models.Q(pk__gt=pk),
        )


class Collection(models.Model):
    """A named scraping job. Its runs are numbered from 1; a number is never used again."""

    team = models.ForeignKey(Team, on_delete=models.PROTECT, related_name="collections")
    name = models.CharField(max_length=200, validators=NAME_VALIDATORS)
    search_name = models.CharField(max_length=_LONGEST_SEARCH_NAME, blank=True, editable=False)
    kind = models.CharField("type", max_length=30, choices=Kind.choices, default=Kind.AMAZON)
    # The member who is responsible for it. Empty again once the member leaves the team.
    owner = models.ForeignKey(
        Membership, null=True, blank=True, on_delete=models.SET_NULL, related_name="owned_collections"
    )
    # The code of the currency of prices whose records name none, for pages. "" if it is unknown.
    currency = models.CharField(max_length=3, blank=True, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    archived_at = models.DateTimeField(null=True, blank=True, editable=False)
    last_run_number = models.PositiveBigIntegerField(default=0, editable=False)
    # The account that the runs come from, and the collection's id there; both or neither.
    account = models.ForeignKey(
        Account, null=True, blank=True, editable=False, on_delete=models.PROTECT, related_name="collections"
    )
    remote_id = models.PositiveBigIntegerField("id at the account", null=True, blank=True, editable=False)
    # About the account's list of runs: when it was updated, what fails now and since when, and whether older
    # runs exist.
    refreshed_at = models.DateTimeField(null=True, blank=True, editable=False)
    refresh_tried_at = models.DateTimeField(null=True, blank=True, editable=False)
    # Until when the account asked us to wait.
    retry_at = models.DateTimeField(null=True, blank=True, editable=False)
    refresh_problem = models.CharField(max_length=300, blank=True, editable=False)
    failing_since = models.DateTimeField(null=True, blank=True, editable=False)
    has_older_runs = models.BooleanField(default=False, editable=False)
    # The position in the account's list from which to read the known runs again.
    reread_from = models.PositiveBigIntegerField(default=0, editable=False)
    # Runs that the account lists but that have no rows. See sources/missing_runs.py for the format.
    unlisted = models.JSONField(default=dict, blank=True, editable=False)
    # Whether ready runs are copied automatically from the account to our own storage.
    keeps_results = models.BooleanField(default=False, editable=False)
    # The names of saved exports in addresses and in menus, so that lists need no query.
    export_menu = models.JSONField(default=list, blank=True, editable=False)
    # When the next run is expected, and when it becomes late, if known. expectations.py stores both.
    expected_at = models.DateTimeField(null=True, blank=True, editable=False)
    late_at = models.DateTimeField(null=True, blank=True, editable=False)
    # When the collection was resumed or restored. Runs that were missed before then don't make it late.
    watched_from = models.DateTimeField(null=True, blank=True, editable=False)
    # A paused collection is never late, and has no problem.
    paused_at = models.DateTimeField(null=True, blank=True, editable=False)
    paused_by = models.ForeignKey(
        User, null=True, blank=True, editable=False, on_delete=models.SET_NULL, related_name="+"
    )

    # The account's runs up to this time existed before events were recorded for the collection, so they cause
    # none. NULL before its list was read for the first time.
    history_until = models.DateTimeField(null=True, blank=True, editable=False)
    # The problem that events were last recorded for, if it lasts, and if it is Broken, the number of the run.
    announced_problem = models.CharField(max_length=10, blank=True, editable=False)
    announced_run = models.PositiveBigIntegerField(null=True, blank=True, editable=False)

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
    condition: Any  # a Condition; prefetch_conditions() sets it and the details
    details: Any
    latest_run: Any  # a Run, or None
    facts: str  # what the row shows
    latest: str  # the version of the row
    html: str  # of the row, or of its cells that change
    is_favorite: bool = False  # of the user
    changes: Any  # of the newest ready run; set with `facts`
    line: Any  # what the Overview shows

    def __str__(self) -> str:
        return self.name

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save the collection, and update its search name."""
        self.search_name = search_name(self.name)
        if "name" in (kwargs.get("update_fields") or ()):
            kwargs["update_fields"] = [*kwargs["update_fields"], "search_name"]
        super().save(*args, **kwargs)

    @property
    def retry_after(self) -> int | None:
        """The number of seconds that the account asks us to wait, or None."""
        if self.retry_at is None:
            return None
        seconds = math.ceil((self.retry_at - timezone.now()).total_seconds())
        return seconds if 0 < seconds <= Account.LONGEST_RETRY_AFTER else None  # else the clock was set back

    @property
    def observed_until(self) -> datetime | None:
        """Until when the progress of runs is known. An account that doesn't respond stalls no run."""
        return self.refreshed_at if self.is_remote else timezone.now()

    @property
    def is_late(self) -> bool:
        """Whether the expected run is late. conditions.py has the same rule for the database."""
        if self.is_ignored or self.late_at is None or self.observed_until is None:
            return False
        return self.late_at <= self.observed_until

    @property
    def is_ignored(self) -> bool:
        """Whether the collection is archived or paused, so that nothing about it is a problem."""
        return self.archived_at is not None or self.paused_at is not None

    @property
    def is_category(self) -> bool:
        """Whether runs contain a category list and a CSV instead of pages and a ZIP."""
        return self.kind == Kind.AMAZON_CATEGORY

    @property
    def possible_kinds(self) -> list[Kind]:
        """The types that fit the files of the collection's runs.

        Only an account can have runs whose files don't fit the type: they fail, and are read again.
        """
        is_open = self.is_remote and not self.runs.filter(state="ready").exists()
        return [kind for kind in Kind if is_open or (kind == Kind.AMAZON_CATEGORY) == self.is_category]

    @property
    def is_remote(self) -> bool:
        """Whether runs come from an account."""
        return self.account_id is not None

    def archive(self, *, at: datetime | None = None) -> None:
        """Hide the collection from the list. Its runs and files stay downloadable."""
        self.archived_at = at or timezone.now()
        self.save(update_fields=["archived_at"])
