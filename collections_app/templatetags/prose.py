"""Text with paragraphs and `code`, as in the OpenAPI document."""

import re

from django import template
from django.utils.html import escape, linebreaks
from django.utils.safestring import SafeString, mark_safe

register = template.Library()

_CODE = re.compile("`([^`]+)`")


@register.filter
def code_spans(text: str) -> SafeString:
    """Return the text as HTML, with its `code` as elements."""
    return mark_safe(_CODE.sub(r"<code>\1</code>", escape(text)))  # noqa: S308  # it is escaped


@register.filter
def prose(text: str) -> SafeString:
    """Return the text as paragraphs of HTML, with its `code` as elements."""
    return mark_safe(linebreaks(code_spans(text)))  # noqa: S308  # it is escaped
