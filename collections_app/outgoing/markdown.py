"""Text in Markdown, as Discord, Mattermost and Teams read it."""

import re


def escape(text: str) -> str:
    """Return text in which there are no links, mentions and formatting."""
    escaped = re.sub(r"([\\`*_{}\[\]()#+\-.!|~<>:])", r"\\\1", text)
    # There is no escape for mentions. A zero-width space separates the name.
    return escaped.replace("@", "@\u200b")


def link(text: str, url: str) -> str:
    """Return a link to one of our own URLs."""
    return f"[{escape(text)}]({url})"
