"""The messages for each kind of channel."""

from collections.abc import Callable, Sequence
from datetime import datetime

from collections_app.events.payload import payload
from collections_app.models import Channel, ChannelKind, Event, Notification
from collections_app.outgoing import discord, mattermost, slack, teams, webhook
from collections_app.outgoing.request import Request
from collections_app.system import encryption

_CHATS: dict[ChannelKind, Callable[[Sequence[Event]], Request]] = {
    ChannelKind.SLACK: slack.build,
    ChannelKind.TEAMS: teams.build,
    ChannelKind.DISCORD: discord.build,
    ChannelKind.MATTERMOST: mattermost.build,
}


def build(channel: Channel, sent: Sequence[Notification], now: datetime) -> Request:
    """Return the request that sends the notifications to a URL. Raises SecretUnreadable."""
    if channel.kind == ChannelKind.WEBHOOK:
        return _webhook(channel, sent, now)
    return _CHATS[ChannelKind(channel.kind)]([each.event for each in sent])


def _webhook(channel: Channel, sent: Sequence[Notification], now: datetime) -> Request:
    (notification,) = sent
    event = notification.event
    return webhook.build(event.uid, payload(event), at=now, keys=_keys(channel, now))


def _keys(channel: Channel, now: datetime) -> list[str]:
    """Return the signing keys of a webhook, the newest first."""
    encrypted = [channel.encrypted_secret]
    if channel.old_secret_until and channel.old_secret_until > now:
        encrypted.append(channel.encrypted_old_secret)
    return [encryption.decrypt(each) for each in encrypted if each]
