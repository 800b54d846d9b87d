"""Warn the managers of a team about channels that fail, so that none stops silently."""

from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Q

from collections_app.models import Channel, ChannelKind
from collections_app.notifications import mail
from collections_app.notifications.health import OFF_AFTER
from collections_app.system import database

_FIRST_AFTER = timedelta(hours=1)
_SECOND_AFTER = OFF_AFTER - timedelta(days=1)
_FAILING, _OFF_SOON, _OFF = 1, 2, 3

_SUBJECTS = {_FAILING: "sending fails", _OFF_SOON: "will be switched off tomorrow", _OFF: "switched off"}
_RETRIED = (
    "Sending to {host} has failed since {since}. Notifications are kept and retried. After "
    f"{OFF_AFTER.days} days of failures, the channel is switched off."
)
_EXPLANATIONS = {
    _FAILING: _RETRIED,
    _OFF_SOON: _RETRIED,
    _OFF: "Nothing is sent to {host} any more. Fix the receiver, then switch the channel on to send what was "
    "missed in the last 30 days.",
}


def warn() -> None:
    """Queue the warnings that are due. Email channels have none, because their warnings would fail, too."""
    now = database.now()
    failing = Q(off_since__isnull=False) | Q(failing_since__lte=now - _FIRST_AFTER)
    found = Channel.objects.filter(failing, warnings_sent__lt=_OFF).exclude(kind=ChannelKind.EMAIL)
    for channel in found.select_related("team").order_by("pk"):
        if (stage := _stage(channel, now)) > channel.warnings_sent:
            _warn(channel, stage)


def _stage(channel: Channel, now: datetime) -> int:
    if not channel.is_on:
        return _OFF
    assert channel.failing_since
    return _OFF_SOON if now - channel.failing_since >= _SECOND_AFTER else _FAILING


@transaction.atomic
def _warn(channel: Channel, stage: int) -> None:
    """Queue one warning, unless another worker has."""
    same = Channel.objects.filter(pk=channel.pk, warnings_sent=channel.warnings_sent)
    if same.update(warnings_sent=stage):
        since = channel.failing_since or channel.off_since
        explanation = _EXPLANATIONS[stage].format(
            host=channel.host, since=f"{since.day} {since:%b, %H:%M} UTC" if since else ""
        )
        mail.queue_warning(
            channel, subject=f"Channel {channel.name}: {_SUBJECTS[stage]}", explanation=explanation
        )
