"""The messages for each kind of channel."""

from collections.abc import Sequence
from datetime import datetime

from collections_app.events.payload import payload
from collections_app.models import Channel, Notification
from collections_app.outgoing import webhook
from collections_app.outgoing.request import Request
from collections_app.system import encryption


def build(channel: Channel, sent: Sequence[Notification], now: datetime) -> Request:
    """Return the request that sends the notifications. Raises SecretUnreadable."""
    return _webhook(channel, sent, now)


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
