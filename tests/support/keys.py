"""Recognize an API key as the API does."""

from collections_app.models import ApiKey, lookup


def recognize(text: str) -> ApiKey | None:
    """Return the active key with this text, or None."""
    found = lookup.recognize(text)
    return found[0] if found else None
