"""Which of the waiting notifications of a channel become its next message.

Webhooks get each event on its own. People get one message per run, one per day if the channel is a digest,
and at most 10 in 10 minutes: what comes after them is sent as one.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable
from datetime import datetime, timedelta

from collections_app.models import Channel, ChannelKind, Notification, NotificationState

MOST_EVENTS = 500  # in one message
BURST = 10
BURST_TIME = timedelta(minutes=10)


def next_message(
    channel: Channel, now: datetime, *, hold: Callable[[datetime], object]
) -> list[Notification]:
    """Return the notifications to send to the channel as one message now, or [].

    `hold` is called with the time until which the channel has to wait, if it has had too many messages.
    """
    waiting = _waiting(channel, now)
    if not waiting or waiting[0].is_test or channel.kind == ChannelKind.WEBHOOK:
        return waiting[:1]
    if channel.digest_hour is not None:
        return waiting
    return _within_limits(channel, waiting, now, hold)


def _waiting(channel: Channel, now: datetime) -> list[Notification]:
    """Return the due notifications, tests first. A channel that is off or paused gets only tests."""
    due = Notification.objects.filter(channel=channel).due(now).select_related("event", "rule")
    if not channel.is_on or (channel.paused_until and channel.paused_until > now):
        due = due.filter(due_at=Notification.TEST_DUE_AT)
    return list(due[: 1 if channel.kind == ChannelKind.WEBHOOK else MOST_EVENTS])


def _within_limits(
    channel: Channel, waiting: list[Notification], now: datetime, hold: Callable[[datetime], object]
) -> list[Notification]:
    """Return the notifications of one run or, if there would be too many messages, all of them."""
    recent = _recent_messages(channel, now)
    if len(recent) >= BURST:
        hold(min(recent) + BURST_TIME)
        return []
    groups: dict[Hashable, list[Notification]] = defaultdict(list)
    for each in waiting:
        groups[_subject(each)].append(each)
    # After a pause, everything that waited is one message as well.
    if channel.paused_until or len(groups) + len(recent) > BURST:
        return waiting
    return next(iter(groups.values()))


def _recent_messages(channel: Channel, now: datetime) -> list[datetime]:
    """Return when the last messages were sent. The notifications of a message have the same time."""
    sent = Notification.objects.filter(
        channel=channel, state=NotificationState.SENT, sent_at__gt=now - BURST_TIME, is_test=False
    )
    return [at for at in sent.values_list("sent_at", flat=True).distinct() if at]


def _subject(notification: Notification) -> Hashable:
    """Return what the notification is about: a run, or else the event itself."""
    event = notification.event
    is_about_run = event.collection_id is not None and event.run_number is not None
    return (event.collection_id, event.run_number) if is_about_run else event.pk
