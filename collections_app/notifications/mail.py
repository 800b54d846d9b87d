"""Mail to members, through the outbox."""

from collections.abc import Sequence
from datetime import timedelta

from django.core.mail import EmailMessage

from collections_app import outbox
from collections_app.models import Channel, ChannelKind, Membership, Notification, Role
from collections_app.notifications.unsubscribe import unsubscribe_url
from collections_app.outgoing import email
from collections_app.outgoing.email import Mail

_LASTS = timedelta(days=5)


def queue(channel: Channel, sent: Sequence[Notification]) -> bool:
    """Queue mail about the notifications to the member of the channel. Return False without a mail server."""
    assert channel.member
    rules = [each.rule for each in sent if each.rule]
    mail = email.build(
        [each.event for each in sent],
        reason=_reason(channel, [rule.name for rule in rules]),
        thread=_thread(channel, sent),
        unsubscribe_url=unsubscribe_url(rules),
    )
    return _queue(mail, channel.member)


def queue_warning(channel: Channel, *, subject: str, explanation: str) -> None:
    """Queue mail to the owners and admins of the channel's team, if there is a mail server."""
    reason = f"You get this email because you manage the team {channel.team.name}."
    mail = email.build_warning(channel, subject=subject, explanation=explanation, reason=reason)
    managers = Membership.objects.filter(
        team=channel.team, role__in=[Role.OWNER, Role.ADMIN], user__is_active=True
    )
    for member in managers.order_by("pk"):
        _queue(mail, member)


def is_ours(data: outbox.Data) -> bool:
    """Return whether the data was queued here."""
    return "member" in data


def compose(data: outbox.Data) -> EmailMessage | None:
    """Return the email, or None if the member has left, or the channel was removed."""
    member = Membership.objects.filter(pk=data["member"], user__is_active=True).select_related("user").first()
    mail = Mail(*(data[name] for name in Mail._fields))
    is_notification = bool(mail.unsubscribe_url)
    if member is None or (is_notification and not _has_channel(member)):
        return None
    return email.to_message(mail, member.user.email)


def _queue(mail: Mail, member: Membership) -> bool:
    return outbox.queue({**mail._asdict(), "member": str(member.pk)}, lasts=_LASTS)


def _has_channel(member: Membership) -> bool:
    return Channel.objects.filter(member=member, kind=ChannelKind.EMAIL).exists()


def _reason(channel: Channel, rules: Sequence[str]) -> str:
    names = list(dict.fromkeys(rules))
    if not names:
        return "You get this email because someone tested the channel."
    quoted = " and ".join(f"“{name}”" for name in names[:3])
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""  # noqa: PLR2004  # as above
    rule = "rule" if len(names) == 1 else "rules"
    return f"You get this email because of the {rule} {quoted}{more} of the team {channel.team.name}."


def _thread(channel: Channel, sent: Sequence[Notification]) -> str:
    """Return what the mail is about: a collection, or else the channel."""
    collections = {each.event.collection_id for each in sent}
    (only,) = collections if len(collections) == 1 else (None,)
    return f"channel-{channel.pk}" if only is None else f"collection-{only}"
