"""Messages for Slack's incoming webhooks.

Sources: https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks,
https://docs.slack.dev/reference/block-kit/blocks (a header has 150 characters, a section 3,000, a message 50
blocks) and https://docs.slack.dev/messaging/formatting-message-text (how to escape text). All blocks of a
message have about 13,000 characters: https://github.com/slackapi/bolt-js/issues/2509.
"""

from collections.abc import Sequence
from typing import Any

from collections_app.models import Event
from collections_app.outgoing.chat import json_request
from collections_app.outgoing.request import Request
from collections_app.outgoing.wording import Section, cut, message, within

_LONGEST_HEADER = 150
_LONGEST_SECTION = 2300  # without its title
_LONGEST_TEXT = 10_000  # of all sections


def build(events: Sequence[Event]) -> Request:
    """Return the request for a message about the events."""
    subject, sections = message(events)
    texts = within(map(_text, sections), _LONGEST_TEXT)
    blocks = [_header(subject), *(_block(text) for text in texts)]
    return json_request({"text": escape(subject), "blocks": blocks, "unfurl_links": False})


def escape(text: str) -> str:
    """Return text in which Slack finds no links, mentions and formatting."""
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    # A zero-width space, because there is no escape for these.
    return "".join(f"{each}\u200b" if each in "*_~`" else each for each in escaped)


def _text(section: Section) -> str:
    return "\n".join(
        [f"*<{section.url}|{escape(section.title)}>*", *within(map(escape, section.lines), _LONGEST_SECTION)]
    )


def _block(text: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text}}


def _header(subject: str) -> dict[str, Any]:
    text = cut(subject, _LONGEST_HEADER)
    return {"type": "header", "text": {"type": "plain_text", "text": text, "emoji": False}}
