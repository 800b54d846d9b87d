"""Messages for Discord's webhooks.

Sources: https://discord.com/developers/docs/resources/webhook#execute-webhook (content of 2,000 characters,
10 embeds) and https://discord.com/developers/docs/resources/message#embed-object-embed-limits (a title of 256
characters, a description of 4,096, 6,000 characters in all embeds).
"""

from collections.abc import Sequence
from typing import Any

from collections_app.models import Event
from collections_app.outgoing.chat import json_request
from collections_app.outgoing.markdown import escape
from collections_app.outgoing.request import Request
from collections_app.outgoing.wording import Section, cut, message, within

_LONGEST_TITLE = 256
_MOST_EMBEDS = 10
_LONGEST_DESCRIPTION = 4000
_LONGEST_TEXT = 5500  # of all embeds
_COLORS = {"bad": 0xD0453C, "notice": 0xDD9C25, "good": 0x57B98A}


def build(events: Sequence[Event]) -> Request:
    """Return the request for a message about the events."""
    subject, sections = message(events)
    shown = sections[:_MOST_EMBEDS]
    share = min(_LONGEST_TEXT // len(shown) - _LONGEST_TITLE, _LONGEST_DESCRIPTION)
    content = escape(subject)
    if len(sections) > _MOST_EMBEDS:
        content += f"\nAnd {len(sections) - _MOST_EMBEDS} more."
    embeds = [_embed(section, share) for section in shown]
    return json_request({"content": content, "embeds": embeds, "allowed_mentions": {"parse": []}})


def _embed(section: Section, most: int) -> dict[str, Any]:
    return {
        "title": cut(section.title, _LONGEST_TITLE),
        "url": section.url,
        "description": "\n".join(within(map(escape, section.lines), most)),
        "color": _COLORS[section.tone],
    }
