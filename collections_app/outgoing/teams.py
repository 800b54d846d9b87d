"""Messages for Microsoft Teams: adaptive cards, posted to a workflow for webhooks.

Sources: https://learn.microsoft.com/en-us/connectors/teams/#known-issues-and-limitations-with-actions (a
message has at most 28 KB) and https://adaptivecards.io/explorer/ (Teams shows version 1.4 on all devices).
"""

from collections.abc import Sequence
from typing import Any

from collections_app.models import Event
from collections_app.outgoing.chat import json_request
from collections_app.outgoing.markdown import escape, link
from collections_app.outgoing.request import Request
from collections_app.outgoing.wording import Section, message, within

# Bytes of the texts. Other clients found that Teams refuses some messages of more than 21 KB.
_LONGEST_TEXT = 14_000
_COLORS = {"bad": "Attention", "notice": "Warning", "good": "Good"}


def build(events: Sequence[Event]) -> Request:
    """Return the request for a message about the events."""
    subject, sections = message(events)
    body = [_block(escape(subject), weight="Bolder", size="Medium")]
    left = _LONGEST_TEXT
    for shown, section in enumerate(sections):
        blocks = _blocks(section)
        left -= sum(map(_size, blocks))
        if left < 0:
            body.append(_block(f"And {len(sections) - shown} more."))
            break
        body += blocks
    return json_request({"type": "message", "attachments": [_attachment(body)]})


def _attachment(body: list[dict[str, Any]]) -> dict[str, Any]:
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": body,
        "msteams": {"width": "Full"},
    }
    return {"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None, "content": card}


def _blocks(section: Section) -> list[dict[str, Any]]:
    first, *others = within(map(escape, section.lines), _LONGEST_TEXT // 4)
    blocks = [
        _block(link(section.title, section.url), spacing="Medium"),
        _block(first, color=_COLORS[section.tone], spacing="None"),
    ]
    return [*blocks, *(_block(line, spacing="Small") for line in others)]


def _block(text: str, **style: str) -> dict[str, Any]:
    return {"type": "TextBlock", "text": text, "wrap": True, **style}


def _size(block: dict[str, Any]) -> int:
    # JSON in ASCII: six bytes for each other letter.
    return len(json_request(block).body)
