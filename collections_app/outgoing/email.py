"""Mail about events and channels, as text and HTML."""

from collections.abc import Sequence
from email.utils import make_msgid
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from django.core.mail import EmailMultiAlternatives
from django.template.loader import render_to_string

from collections_app.models import Channel, Event
from collections_app.outgoing.wording import cut, message
from collections_app.system.addresses import site

# Gmail cuts HTML after 102 KB: https://github.com/hteumeuleu/email-bugs/issues/41
_MOST_SECTIONS = 50
_SETTINGS = "/team/notifications"


class Mail(NamedTuple):
    """A composed email, without its recipient."""

    subject: str
    text: str
    html: str
    thread: str = ""
    unsubscribe_url: str = ""
    message_id: str = ""  # the same on every try


def build(events: Sequence[Event], *, reason: str, thread: str, unsubscribe_url: str = "") -> Mail:
    """Return the email about the events. `thread` is the same in all mail that belongs together."""
    subject, sections = message(events)
    context = {
        "sections": sections[:_MOST_SECTIONS],
        "more": max(len(sections) - _MOST_SECTIONS, 0),
        "reason": reason,
        "unsubscribe_url": unsubscribe_url,
    }
    return _mail("notification", subject, context, thread=thread, unsubscribe_url=unsubscribe_url)


def build_warning(channel: Channel, *, subject: str, explanation: str, reason: str) -> Mail:
    """Return the email that says that a channel fails."""
    context = {"channel": channel, "explanation": explanation, "reason": reason}
    return _mail("channel_warning", cut(subject, 150), context, thread=f"channel-{channel.pk}")


def to_message(mail: Mail, to: str) -> EmailMultiAlternatives:
    """Return the email for Django.

    RFC 8058 describes unsubscribing with one click, RFC 3834 Auto-Submitted.
    """
    headers = {"Message-ID": mail.message_id, "Auto-Submitted": "auto-generated"}
    if mail.thread:
        root = f"<{mail.thread}@{_domain()}>"
        headers |= {"References": root, "In-Reply-To": root}
    if mail.unsubscribe_url:
        headers["List-Unsubscribe"] = f"<{mail.unsubscribe_url}>"
        headers["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    found = EmailMultiAlternatives(mail.subject, mail.text, to=[to], headers=headers)
    found.attach_alternative(mail.html, "text/html")
    return found


def _mail(
    template: str, subject: str, context: dict[str, Any], *, thread: str, unsubscribe_url: str = ""
) -> Mail:
    context |= {"subject": subject, "settings_url": site() + _SETTINGS}
    text = render_to_string(f"email/{template}.txt", context)
    html = render_to_string(f"email/{template}.html", context)
    return Mail(subject, text, html, thread, unsubscribe_url, make_msgid(domain=_domain()))


def _domain() -> str:
    return urlsplit(site()).hostname or "localhost"
