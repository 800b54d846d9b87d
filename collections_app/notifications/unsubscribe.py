"""Signed links that switch rules off without signing in."""

from collections.abc import Iterable

from django.core import signing

from collections_app.models import Rule
from collections_app.system.addresses import site

_SALT = "unsubscribe"


def unsubscribe_url(rules: Iterable[Rule]) -> str:
    """Return a link that switches the rules off. Without rules, return ""."""
    ids = sorted({rule.pk for rule in rules})
    return f"{site()}/unsubscribe/{signing.dumps(ids, salt=_SALT)}" if ids else ""


def read_token(token: str) -> list[int]:
    """Return the ids of the rules of a link. They may have been deleted. Raises signing.BadSignature."""
    found: list[int] = signing.loads(token, salt=_SALT)
    return found
