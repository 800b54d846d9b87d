"""Send notifications to channels.

One worker at a time sends to a channel, one message at a time: it claims the channel with a lease in the
channel's row. A notification is sent at least once: if a worker is killed after the receiver has accepted
it, it is sent again, with the same id.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet

from collections_app.events.record import record
from collections_app.models import (
    Channel,
    ChannelKind,
    EventKind,
    Notification,
    NotificationState,
    SendingAttempt,
)
from collections_app.models.channels import NotificationQuerySet
from collections_app.notifications import health, mail, messages
from collections_app.notifications.batching import next_message
from collections_app.notifications.health import Outcome
from collections_app.notifications.matching import due_at
from collections_app.notifications.retries import pause_after
from collections_app.outgoing.guard import Refused, Unreachable
from collections_app.outgoing.request import post
from collections_app.outgoing.webhook import new_secret
from collections_app.system import database, encryption

logger = logging.getLogger(__name__)

# Half of it is longer than one message takes if resolving its host and sending it are slow.
_LEASE = timedelta(minutes=4)
OLD_SECRET_LASTS = timedelta(hours=24)
KEPT_FOR = timedelta(days=30)
_MOST_DELETED = 5_000  # in one transaction
_MOST_CHANNELS = 5_000


# --- for pages ----------------------------------------------------------------------------------


def send_test(channel: Channel) -> Notification:
    """Have the worker send a test to the channel soon, once, even if the channel is off.

    If it succeeds, the channel is switched on.
    """
    with transaction.atomic():
        event = record(EventKind.CHANNEL_TESTED, team_id=channel.team_id, target=channel.name)
        return Notification.objects.create(
            event=event, channel=channel, is_test=True, due_at=Notification.TEST_DUE_AT
        )


def resend(notifications: QuerySet[Notification]) -> int:
    """Have the worker send the notifications again. Return how many there are."""
    found = Notification.objects.filter(pk__in=notifications.values("pk"), is_test=False)
    return found.update(state=NotificationState.WAITING, attempts=0, due_at=database.now())


def missed(channel: Channel) -> NotificationQuerySet:
    """Return the channel's notifications that weren't sent."""
    return Notification.objects.filter(channel=channel).missed()


def switch_on(channel: Channel, *, missed: bool) -> None:
    """Switch the channel on, and send what was missed, or skip it."""
    with transaction.atomic():
        found = Notification.objects.filter(channel=channel).missed()
        if missed:
            resend(found)
        else:
            found.update(state=NotificationState.SKIPPED)
        Channel.objects.filter(pk=channel.pk).update(**health.healthy())
    channel.refresh_from_db()


def rotate_secret(channel: Channel) -> str:
    """Give a webhook a new signing key, and return it. The old one also signs for 24 hours."""
    secret = new_secret()
    with transaction.atomic():
        locked = Channel.objects.select_for_update().get(pk=channel.pk)
        channel.encrypted_old_secret = locked.encrypted_secret
        channel.old_secret_until = database.now() + OLD_SECRET_LASTS if locked.encrypted_secret else None
        channel.encrypted_secret = encryption.encrypt(secret)
        channel.save(update_fields=["encrypted_secret", "encrypted_old_secret", "old_secret_until"])
    return secret


def reschedule(channel: Channel) -> None:
    """Let waiting notifications follow the channel's digest hour. Call this when it has changed."""
    at = due_at(channel, database.now())
    waiting = channel.notifications.filter(state=NotificationState.WAITING, attempts=0, is_test=False)
    waiting.update(due_at=at)


# --- for the worker -----------------------------------------------------------------------------


def channels_due(*, except_for: set[int]) -> list[tuple[int, int]]:
    """Return the ids of channels that have something to send, and of their teams. Don't claim them."""
    now = database.now()
    due = Notification.objects.filter(channel=OuterRef("pk")).due(now)
    is_ready = Q(off_since=None) & (Q(paused_until=None) | Q(paused_until__lte=now))
    found = Channel.objects.filter(
        _is_free(now), is_ready & Exists(due) | Exists(due.filter(due_at=Notification.TEST_DUE_AT))
    ).exclude(pk__in=except_for)
    return list(found.order_by("pk").values_list("pk", "team_id")[:_MOST_CHANNELS])


def send_due(channel_id: int, *, must_stop: Callable[[], bool] = lambda: False) -> bool:
    """Send what is due to the channel, until nothing is. Return whether anything was sent."""
    lease = _Lease.claim(channel_id)
    if lease is None:
        return False
    has_sent = False
    try:
        while not must_stop() and _send_next(lease):
            has_sent = True
    finally:
        lease.update(leased_until=None)
    return has_sent


def tidy() -> None:
    """Delete notifications, and attempts to send them, that are older than 30 days."""
    before = database.now() - KEPT_FOR
    for found in (
        SendingAttempt.objects.filter(at__lt=before),
        Notification.objects.filter(created_at__lt=before),
    ):
        model = found.model
        while pks := list(found.values_list("pk", flat=True)[:_MOST_DELETED]):
            model._default_manager.filter(pk__in=pks).delete()


def _is_free(now: datetime) -> Q:
    # A lease that lasts longer was taken before the clock was set back.
    return Q(leased_until=None) | Q(leased_until__lte=now) | Q(leased_until__gt=now + _LEASE)


@dataclass
class _Lease:
    """A claim on a channel. Its end identifies it."""

    channel_id: int
    until: datetime

    @classmethod
    def claim(cls, channel_id: int) -> "_Lease | None":
        """Claim the channel. Return None if another worker has."""
        now = database.now()
        free = Channel.objects.filter(_is_free(now), pk=channel_id)
        return cls(channel_id, now + _LEASE) if free.update(leased_until=now + _LEASE) else None

    def update(self, **changes: object) -> bool:
        """Change the channel's row. Return False if it was deleted, or another worker has claimed it."""
        return bool(Channel.objects.filter(pk=self.channel_id, leased_until=self.until).update(**changes))

    def is_held(self) -> bool:
        """Return whether this worker still has the channel. Lock the channel until the transaction ends."""
        return self.update(leased_until=self.until)

    def renew(self) -> Channel | None:
        """Extend the lease if it ends soon. Return the channel, or None if the lease was lost."""
        now = database.now()
        if self.until - now < _LEASE / 2:
            if not self.update(leased_until=now + _LEASE):
                return None
            self.until = now + _LEASE
        mine = Channel.objects.filter(pk=self.channel_id, leased_until=self.until)
        return mine.select_related("team", "member__user").first()


def _send_next(lease: _Lease) -> bool:
    """Send one message. Return whether there was one."""
    channel = lease.renew()
    if channel is None:
        return False
    now = database.now()
    sent = next_message(channel, now, hold=lambda until: lease.update(paused_until=until))
    if not sent:
        return False
    outcome = None if channel.kind == ChannelKind.EMAIL else _deliver(channel, sent, now)
    with transaction.atomic():
        if lease.is_held():
            # Mail is queued and noted in one transaction.
            _note(channel, sent, outcome or _mail(channel, sent))
    return True


def _mail(channel: Channel, sent: list[Notification]) -> Outcome:
    is_queued = mail.queue(channel, sent)
    return (
        Outcome()
        if is_queued
        else Outcome("This site has no mail server. Ask its operator to set EMAIL_URL.")
    )


def _deliver(channel: Channel, sent: list[Notification], now: datetime) -> Outcome:
    """Send the notifications to the channel's URL as one message."""
    try:
        url, request = channel.url, messages.build(channel, sent, now)
    except encryption.SecretUnreadable:
        return Outcome("No encryption key can read its URL or signing key. Enter them again.", is_final=True)
    database.release_connections()
    started_at = time.monotonic()
    try:
        answer = post(url, request)
    except (Refused, Unreachable) as error:
        return Outcome(str(error), seconds=time.monotonic() - started_at)
    problem = "" if answer.is_success else _meaning(answer.status)
    seconds = time.monotonic() - started_at
    return Outcome(problem, answer.status, answer.body, answer.pause, answer.is_gone, seconds)


def _meaning(status: int) -> str:
    if status // 100 == 3:  # noqa: PLR2004  # the statuses of redirects
        return f"It redirects (HTTP {status}). Enter the URL that it redirects to."
    return f"It responded with HTTP {status}."


def _note(channel: Channel, sent: list[Notification], outcome: Outcome) -> None:
    """Store the outcome. Needs a transaction in which the channel is locked."""
    now = database.now()
    if outcome.error:
        logger.warning("send channel=%s count=%s problem=%s", channel.pk, len(sent), outcome.error)
        _retry(sent, outcome, now)
        changes = health.after_failure(channel, outcome, now)
    else:
        if not channel.is_on:
            _offer_missed(channel)
        _of(sent).update(state=NotificationState.SENT, sent_at=now)
        changes = health.after_success(now)
    Channel.objects.filter(pk=channel.pk).update(**changes)
    _log(sent, outcome, now)


def _of(sent: list[Notification]) -> QuerySet[Notification]:
    return Notification.objects.filter(pk__in=[each.pk for each in sent])


def _offer_missed(channel: Channel) -> None:
    """Don't send what was missed at once, because a page asks whether to."""
    waiting = Notification.objects.filter(channel=channel, state=NotificationState.WAITING, is_test=False)
    waiting.update(state=NotificationState.FAILED)


def _retry(sent: list[Notification], outcome: Outcome, now: datetime) -> None:
    """Retry the message later, with all of its notifications, unless it was tried often enough."""
    attempts = max(each.attempts for each in sent) + 1
    pause = None if sent[0].is_test else pause_after(attempts)
    if pause is None:
        _of(sent).update(state=NotificationState.FAILED, attempts=attempts)
    else:
        _of(sent).update(attempts=attempts, due_at=now + max(pause, outcome.pause or timedelta()))


def _log(sent: list[Notification], outcome: Outcome, now: datetime) -> None:
    stored = set(_of(sent).values_list("pk", flat=True))
    SendingAttempt.objects.bulk_create(
        SendingAttempt(
            notification=each,
            at=now,
            seconds=outcome.seconds,
            status=outcome.status,
            answer=outcome.answer,
            error=outcome.error[: SendingAttempt.LONGEST_ERROR],
        )
        for each in sent
        if each.pk in stored
    )
