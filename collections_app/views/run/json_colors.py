"""Color JSON with HTML."""

import re

from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

# Longer texts stay plain, because each value adds markup.
_LONGEST = 100_000

_TOKEN = re.compile(
    r'(?P<text>"(?:[^"\\]|\\.)*+"?)(?P<colon>\s*+:)?|(?P<number>-?[0-9][0-9.eE+-]*+)|(?P<word>true|false|null)'
)


def colored(json: str) -> SafeString:
    """Return indented JSON as HTML with classes for its keys, texts, numbers and words."""
    if len(json) > _LONGEST:
        return SafeString(escape(json))
    parts: list[str] = []
    end = 0
    for token in _TOKEN.finditer(json):
        kind = "key" if token["colon"] else token.lastgroup
        value = token["text"] or token[0]
        parts += [escape(json[end : token.start()]), f'<span class="json-{kind}">{escape(value)}</span>']
        end = token.start() + len(value)
    parts.append(escape(json[end:]))
    return mark_safe("".join(parts))  # noqa: S308  # all values are escaped
