"""Messages for Mattermost's incoming webhooks.

Source: https://developers.mattermost.com/integrate/webhooks/incoming/ (they are compatible with Slack's, but
have Markdown instead of blocks). A post has at most 16,383 characters.
"""

from collections.abc import Sequence

from collections_app.models import Event
from collections_app.outgoing.chat import json_request
from collections_app.outgoing.markdown import escape, link
from collections_app.outgoing.request import Request
from collections_app.outgoing.wording import Section, message, within

_LONGEST_TEXT = 14_000


def build(events: Sequence[Event]) -> Request:
    """Return the request for a message about the events."""
    subject, sections = message(events)
    texts = within(map(_text, sections), _LONGEST_TEXT)
    return json_request({"text": "\n\n".join([f"#### {escape(subject)}", *texts])})


def _text(section: Section) -> str:
    lines = [f"- {escape(line)}" for line in section.lines]
    return "\n".join([f"**{link(section.title, section.url)}**", *within(lines, _LONGEST_TEXT // 2)])
