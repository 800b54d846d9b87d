"""Who is notified: channels, rules, and the notifications that wait to be sent."""

from datetime import UTC, datetime
from typing import ClassVar, Self

from django.db import models
from django.db.models import Q
from django.utils import timezone

from collections_app.models.collections import Collection
from collections_app.models.events import Event, EventKind
from collections_app.models.teams import Membership, Team
from collections_app.models.validators import NAME_VALIDATORS
from collections_app.system import encryption


class ChannelKind(models.TextChoices):
    """How a channel receives notifications."""

    EMAIL = "email", "Email"
    WEBHOOK = "webhook", "Webhook"
    SLACK = "slack", "Slack"
    TEAMS = "teams", "Microsoft Teams"
    DISCORD = "discord", "Discord"
    MATTERMOST = "mattermost", "Mattermost"


class Channel(models.Model):
    """A place to send notifications to: a member's email address, or a URL.

    URLs are secrets, because most contain one, so pages show only the host.
    """

    MOST = 50  # per team

    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="channels")
    kind = models.CharField(max_length=12, choices=ChannelKind.choices)
    name = models.CharField(max_length=100, validators=NAME_VALIDATORS)
    # The member whose email address it is; for other kinds, NULL. It ends when the member leaves.
    member = models.ForeignKey(
        Membership, null=True, blank=True, on_delete=models.CASCADE, related_name="channels"
    )
    encrypted_url = models.TextField(blank=True, editable=False)
    host = models.CharField(max_length=260, blank=True, editable=False)
    # The signing key of a webhook, and the previous one, which also signs until the given time.
    encrypted_secret = models.TextField(blank=True, editable=False)
    encrypted_old_secret = models.TextField(blank=True, editable=False)
    old_secret_until = models.DateTimeField(null=True, blank=True, editable=False)
    # The hour in the team's time zone at which a daily digest is sent. NULL: at once.
    digest_hour = models.PositiveSmallIntegerField(null=True, blank=True)
    created_by_name = models.CharField(max_length=254, blank=True, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    # Health. Without `failing_since`, the last attempt succeeded, or there was none.
    last_success_at = models.DateTimeField(null=True, blank=True, editable=False)
    failing_since = models.DateTimeField(null=True, blank=True, editable=False)
    failures = models.PositiveIntegerField(default=0, editable=False, help_text="In a row.")
    last_error = models.CharField(max_length=300, blank=True, editable=False)
    # Before this time, only tests are sent: the receiver asked for a pause, failed, or got many messages.
    paused_until = models.DateTimeField(null=True, blank=True, editable=False)
    # A channel that is off keeps its notifications; switching it on offers to send them.
    off_since = models.DateTimeField(null=True, blank=True, editable=False)
    off_reason = models.CharField(max_length=300, blank=True, editable=False)
    # How many of the warnings about its failures were mailed.
    warnings_sent = models.PositiveSmallIntegerField(default=0, editable=False)
    # While a worker sends to the channel, when another one may take over.
    leased_until = models.DateTimeField(null=True, blank=True, editable=False)

    objects: ClassVar[models.Manager["Channel"]] = models.Manager()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(kind__in=ChannelKind.values), name="channel_known_kind"),
            models.CheckConstraint(
                condition=Q(kind=ChannelKind.EMAIL, member__isnull=False, encrypted_url="")
                | ~Q(kind=ChannelKind.EMAIL) & Q(member=None, encrypted_url__gt=""),
                name="channel_member_or_url",
            ),
            models.CheckConstraint(
                condition=Q(digest_hour=None) | Q(digest_hour__lt=24), name="channel_digest_hour"
            ),
            models.UniqueConstraint(
                fields=["member"], condition=Q(kind=ChannelKind.EMAIL), name="channel_once_per_member"
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def url(self) -> str:
        """The URL, only for calls. Raises SecretUnreadable."""
        return encryption.decrypt(self.encrypted_url)

    @property
    def receiver(self) -> str:
        """Where notifications go, as it may be shown."""
        return self.member.user.email if self.member else self.host

    @property
    def is_on(self) -> bool:
        """Whether notifications are sent."""
        return self.off_since is None


class Rule(models.Model):
    """Which events of which collections a channel is notified of."""

    MOST = 200  # per team

    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="rules")
    channel = models.ForeignKey(Channel, on_delete=models.CASCADE, related_name="rules")
    name = models.CharField(max_length=100, validators=NAME_VALIDATORS)
    is_on = models.BooleanField(default=True)
    # With neither collections nor a part of their names, all collections of the team.
    collections = models.ManyToManyField(Collection, blank=True, related_name="rules")
    collections_like = models.CharField("collections whose names contain", max_length=200, blank=True)
    kinds = models.JSONField(default=list, help_text="The values of EventKind.")
    # The changes of products that count, if `kinds` contains PRODUCTS_CHANGED (notifications/conditions.py).
    conditions = models.JSONField(default=dict, blank=True)
    # After the first failure in a row, notify of every Nth again. 0: not before the collection has recovered.
    repeat_every = models.PositiveSmallIntegerField(default=0)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects: ClassVar[models.Manager["Rule"]] = models.Manager()

    def __str__(self) -> str:
        return self.name

    @property
    def kind_labels(self) -> list[str]:
        """What it notifies of, in words."""
        return [kind.label for kind in EventKind if kind.value in self.kinds]


class Mute(models.Model):
    """A collection, or a product of it, that a rule doesn't notify of."""

    rule = models.ForeignKey(Rule, on_delete=models.CASCADE, related_name="mutes")
    collection = models.ForeignKey(Collection, on_delete=models.CASCADE, related_name="+")
    key = models.CharField(max_length=600, blank=True, help_text="A JSON list of texts; empty for all.")
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects: ClassVar[models.Manager["Mute"]] = models.Manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["rule", "collection", "key"], name="muted_once")]

    def __str__(self) -> str:
        return f"{self.rule_id}: {self.collection_id} {self.key}"


class NotificationState(models.TextChoices):
    """The state of a notification."""

    WAITING = "waiting", "Waiting"
    SENT = "sent", "Sent"
    FAILED = "failed", "Failed"  # it isn't retried automatically
    SKIPPED = "skipped", "Skipped"  # missed while the channel was off, and not wanted any more


class NotificationQuerySet(models.QuerySet["Notification"]):
    """Queries for notifications."""

    def due(self, now: datetime) -> Self:
        """Return notifications that wait for this time or an earlier one, the longest waiting first."""
        return self.filter(state=NotificationState.WAITING, due_at__lte=now).order_by("due_at", "pk")

    def missed(self) -> Self:
        """Return those that weren't sent, because sending failed too often or the channel is off."""
        waiting = Q(state=NotificationState.WAITING, channel__off_since__isnull=False)
        return self.filter(waiting | Q(state=NotificationState.FAILED), is_test=False)


class Notification(models.Model):
    """An event to send to a channel. It is written in the transaction that writes the event."""

    # Tests are due at this time, so that an index finds them before everything else that waits.
    TEST_DUE_AT = datetime(2000, 1, 1, tzinfo=UTC)

    event = models.ForeignKey(Event, on_delete=models.CASCADE, related_name="notifications")
    channel = models.ForeignKey(Channel, on_delete=models.CASCADE, related_name="notifications")
    rule = models.ForeignKey(Rule, null=True, on_delete=models.SET_NULL, related_name="+")
    state = models.CharField(
        max_length=8, choices=NotificationState.choices, default=NotificationState.WAITING
    )
    is_test = models.BooleanField(default=False)
    attempts = models.PositiveIntegerField(default=0)
    created_at = models.DateTimeField(default=timezone.now)
    # When to try next.
    due_at = models.DateTimeField(default=timezone.now)
    sent_at = models.DateTimeField(null=True)

    objects: ClassVar[models.Manager["Notification"]] = NotificationQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["event", "channel"], name="notified_once_per_channel"),
            models.CheckConstraint(
                condition=Q(state__in=NotificationState.values), name="notification_known_state"
            ),
        ]
        indexes = [
            models.Index(
                fields=["channel", "due_at"], condition=Q(state="waiting"), name="notification_waiting"
            ),
            models.Index(fields=["channel", "sent_at"], condition=Q(state="sent"), name="notification_sent"),
            models.Index(fields=["created_at"], name="notification_by_age"),
            models.Index(fields=["channel", "-id"], name="notification_by_channel"),
        ]

    last_attempt: "SendingAttempt | None"  # set by the page of a channel

    def __str__(self) -> str:
        return f"{self.event_id} to {self.channel_id}"


class SendingAttempt(models.Model):
    """One attempt to send a notification to a URL, for the log of the channel."""

    LONGEST_ANSWER = 1024
    LONGEST_ERROR = 300

    notification = models.ForeignKey(Notification, on_delete=models.CASCADE, related_name="log")
    at = models.DateTimeField(default=timezone.now)
    seconds = models.FloatField()
    status = models.PositiveSmallIntegerField(null=True, help_text="The HTTP status, if there was one.")
    answer = models.CharField(max_length=LONGEST_ANSWER, blank=True, help_text="The first KB of the body.")
    error = models.CharField(max_length=LONGEST_ERROR, blank=True)

    objects: ClassVar[models.Manager["SendingAttempt"]] = models.Manager()

    class Meta:
        indexes = [models.Index(fields=["at"], name="attempt_by_age")]

    def __str__(self) -> str:
        return f"{self.notification_id}: {self.status or self.error}"
