"""Events: everything that happens, written once and never changed.

The activity log shows events, and notifications are sent because of them. Events have no foreign keys, and
copy names, so that deleting a user, a collection or a run doesn't change them.
"""

import secrets
from typing import ClassVar, Self

from django.db import models
from django.db.models import F
from django.utils import timezone

_ID_BYTES = 16


class EventKind(models.TextChoices):
    """What happened. The values are the API's `type`."""

    # Discovered by the worker (events/discovery.py). Only these can cause notifications.
    RUN_COMPLETED = "run.completed", "Run completed"
    RUN_FAILED = "run.failed", "Run failed"
    RUN_STALLED = "run.stalled", "Run stalled"
    RUN_INCOMPLETE = "run.incomplete", "Run incomplete"
    RUN_EMPTY = "run.empty", "Run empty"
    RUN_BROKEN = "run.broken", "Run broken"
    COLLECTION_LATE = "collection.late", "Run late"
    COLLECTION_RECOVERED = "collection.recovered", "Collection recovered"
    PRODUCTS_CHANGED = "products.changed", "Products changed"
    ACCOUNT_UNAVAILABLE = "account.unavailable", "Account unavailable"
    ACCOUNT_RECOVERED = "account.recovered", "Account available again"
    # Done by people, scripts and commands.
    SIGNED_IN = "user.signed_in", "Signed in"
    SIGN_IN_FAILED = "user.sign_in_failed", "Failed to sign in"
    SIGNED_OUT = "user.signed_out", "Signed out"
    PASSWORD_CHANGED = "user.password_changed", "Changed the password"
    MEMBER_INVITED = "member.invited", "Invited a member"
    MEMBER_JOINED = "member.joined", "Joined the team"
    MEMBER_ROLE_CHANGED = "member.role_changed", "Changed a role"
    MEMBER_REMOVED = "member.removed", "Removed a member"
    TEAM_CHANGED = "team.changed", "Changed the team"
    KEY_CREATED = "key.created", "Created an API key"
    KEY_REVOKED = "key.revoked", "Revoked an API key"
    ACCOUNT_CREATED = "account.created", "Connected an account"
    ACCOUNT_CHANGED = "account.changed", "Changed an account"
    ACCOUNT_DISCONNECTED = "account.disconnected", "Disconnected an account"
    COLLECTION_CREATED = "collection.created", "Created a collection"
    COLLECTION_CHANGED = "collection.changed", "Changed a collection"
    COLLECTION_ARCHIVED = "collection.archived", "Archived a collection"
    COLLECTION_RESTORED = "collection.restored", "Restored a collection"
    COLLECTION_PAUSED = "collection.paused", "Paused a collection"
    COLLECTION_RESUMED = "collection.resumed", "Resumed a collection"
    PROBLEM_ACKNOWLEDGED = "collection.acknowledged", "Acknowledged a problem"
    RUN_UPLOADED = "run.uploaded", "Uploaded a run"
    RUN_DELETED = "run.deleted", "Deleted a run"
    RUN_PINNED = "run.pinned", "Pinned a run"
    RUN_UNPINNED = "run.unpinned", "Unpinned a run"
    VERDICT_OVERRULED = "verdict.overruled", "Overruled a verdict"
    DOWNLOADED = "file.downloaded", "Downloaded a file"
    CHANNEL_CHANGED = "channel.changed", "Changed a channel"
    CHANNEL_TESTED = "channel.tested", "Tested a channel"
    RULE_CHANGED = "rule.changed", "Changed a rule"
    LOG_EXPORTED = "log.exported", "Exported the activity log"
    COMMAND_RUN = "command.run", "Ran a command"
    ADMIN_CHANGED = "admin.changed", "Changed data in the admin"


class ActorKind(models.TextChoices):
    """Who caused an event."""

    USER = "user", "Member"
    KEY = "key", "API key"
    COMMAND = "command", "Command line"
    SYSTEM = "system", "System"
    UNKNOWN = "unknown", "Unknown"  # such as a failed sign-in


class EventQuerySet(models.QuerySet["Event"]):
    """Queries for events."""

    def of_team(self, team_id: int) -> Self:
        """Return the team's events, newest first."""
        return self.filter(team_id=team_id).order_by("-pk")

    def after(self, team_id: int, sequence: int) -> Self:
        """Return the team's events in the feed for scripts after this sequence number, oldest first."""
        return self.filter(team_id=team_id, sequence__gt=sequence).order_by("sequence")


def new_id() -> str:
    """Return a new id of an event. Scripts and webhooks see it."""
    return f"evt_{secrets.token_hex(_ID_BYTES)}"


class Event(models.Model):
    """Something that happened. Rows are only added, and deleted when their time is over."""

    uid = models.CharField(max_length=40, unique=True, default=new_id, editable=False)
    # NULL if it concerns no team, such as a failed sign-in with an unknown address.
    team_id = models.BigIntegerField(null=True, editable=False)
    # The position in the team's feed for scripts. NULL for events that aren't in the feed.
    sequence = models.BigIntegerField(null=True, editable=False)
    kind = models.CharField(max_length=30, editable=False)  # of EventKind, which grows without migrations
    at = models.DateTimeField(default=timezone.now, editable=False)
    actor_kind = models.CharField(max_length=10, choices=ActorKind.choices, editable=False)
    actor_id = models.BigIntegerField(null=True, editable=False, help_text="The id of the user.")
    actor_name = models.CharField(max_length=300, blank=True, editable=False)
    address = models.CharField("IP address", max_length=45, blank=True, editable=False)
    browser = models.CharField(max_length=200, blank=True, editable=False)
    collection_id = models.BigIntegerField(null=True, editable=False)
    collection_name = models.CharField(max_length=200, blank=True, editable=False)
    run_number = models.BigIntegerField(null=True, editable=False)
    target = models.CharField(
        max_length=300, blank=True, editable=False, help_text="What it was done to, such as a file's name."
    )
    # {"before": ..., "after": ...} of a change; other facts of other events. Never a secret.
    data = models.JSONField(default=dict, editable=False)

    objects: ClassVar[models.Manager["Event"]] = EventQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["team_id", "sequence"], name="event_sequence_once_per_team"),
        ]
        indexes = [
            models.Index(fields=["team_id", "-id"], name="event_newest_first"),
            models.Index(fields=["team_id", "kind", "-id"], name="event_by_kind"),
            models.Index(fields=["team_id", "collection_id", "-id"], name="event_by_collection"),
            models.Index(fields=["team_id", "actor_id", "-id"], name="event_by_actor"),
            models.Index(fields=["kind", "at"], name="event_by_age"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.uid}"

    @property
    def label(self) -> str:
        """What happened, in words. Rows may be older or newer than this code's kinds."""
        return next((kind.label for kind in EventKind if kind.value == self.kind), self.kind)


class EventSequence(models.Model):
    """The last sequence number in a team's feed.

    The transaction that adds an event to the feed locks this row, so numbers are committed in their order,
    and a script that reads the feed misses none.
    """

    team_id = models.BigIntegerField(primary_key=True)
    last = models.BigIntegerField(default=0)

    def __str__(self) -> str:
        return f"{self.team_id}: {self.last}"


def next_sequence(team_id: int) -> int:
    """Return the next number in the team's feed. Needs a transaction."""
    EventSequence.objects.bulk_create([EventSequence(team_id=team_id)], ignore_conflicts=True)
    EventSequence.objects.filter(pk=team_id).update(last=F("last") + 1)
    return EventSequence.objects.values_list("last", flat=True).get(pk=team_id)
