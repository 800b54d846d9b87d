"""Channels, rules, and the notifications that wait."""

from typing import Any

from collections_app.models import Channel, ChannelKind, Event, EventKind, Notification, Rule, Team
from collections_app.system import encryption

DISCOVERED = [kind for kind in EventKind if kind.value.partition(".")[0] in {"run", "collection", "account"}]


def make_channel(team: Team, name: str = "Operations", **fields: Any) -> Channel:
    """Create a webhook that nobody listens to."""
    url = encryption.encrypt("https://hooks.example.com/secret")
    return Channel.objects.create(
        team=team, kind=ChannelKind.WEBHOOK, name=name, encrypted_url=url, host="hooks.example.com", **fields
    )


def make_rule(channel: Channel, *kinds: EventKind, **fields: Any) -> Rule:
    """Create a rule for these kinds of events, by default for all."""
    return Rule.objects.create(
        team=channel.team, channel=channel, name="Problems", kinds=[*(kinds or DISCOVERED)], **fields
    )


def notified(channel: Channel | None = None) -> list[Event]:
    """Return the events that wait to be sent, by default to any channel, the oldest first."""
    found = Notification.objects.filter(**({"channel": channel} if channel else {}))
    return [each.event for each in found.select_related("event").order_by("pk")]
