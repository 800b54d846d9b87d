"""Identify the caller by the API key in the request's headers."""

import re
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from structlog.contextvars import bind_contextvars

from collections_app.api.errors import ApiError
from collections_app.models import ApiKey
from collections_app.models.lookup import NOTHING, Address, Requested, recognize

HEADER = "x-api-key"
_IN_META = "HTTP_X_API_KEY"  # request.headers would parse the names of all headers first
CHALLENGES = f'Bearer realm="api", Token realm="api", ApiKey header="{HEADER}"'

_BLANKS = re.compile(r"[ \t]+")
_MISSING = (
    f"The API key is missing. Send one of these headers: {HEADER}: KEY, Authorization: Bearer KEY, or "
    "Authorization: Token KEY."
)
_USE_HTTPS = (
    "Use https:// for this address. If you sent an API key over http://, revoke it and create a new one."
)


def authenticate(request: HttpRequest, **_: Any) -> ApiKey:
    """Return the API key that the request carries, its membership loaded. Raises ApiError (401, 403)."""
    return authenticate_and_find(request, NOTHING)[0]


def authenticate_and_find(request: HttpRequest, address: Address) -> tuple[ApiKey, Requested]:
    """Return the API key that the request carries, and what the address names, with one query.

    The key's membership is loaded. Raises ApiError (401, 403).
    """
    require_https(request)
    text = _sent_key(request)
    if not text:
        raise _unauthorized(_MISSING)
    found = recognize(text, address) if text.isascii() and text.isprintable() else None
    if found is None:
        raise _unauthorized("This API key is unknown or was revoked. Create a new one on your profile page.")
    key, _ = found
    bind_contextvars(key=key.prefix, user=key.membership.user_id, team=key.membership.team_id)
    key.note_use()
    return found


def require_https(request: HttpRequest) -> None:
    """Raise ApiError (403) if the site uses HTTPS, but the request doesn't."""
    if settings.SECURE_SSL_REDIRECT and not request.is_secure():
        raise ApiError(403, _USE_HTTPS)


def _sent_key(request: HttpRequest) -> str:
    """Return the key in the headers, or "" without one. Raises ApiError (401) for two different keys."""
    sent = {request.META.get(_IN_META, "").strip(), _key_in_authorization(request)} - {""}
    if len(sent) > 1:
        raise _unauthorized(f"{HEADER} and Authorization contain different API keys. Send only one of them.")
    return "".join(sent)


def _key_in_authorization(request: HttpRequest) -> str:
    # Other schemes are for other servers: a proxy may ask for a password.
    sent = request.META.get("HTTP_AUTHORIZATION", "").strip()
    scheme, _, credentials = _BLANKS.sub(" ", sent).partition(" ")
    return credentials.strip() if scheme.lower() in {"bearer", "token"} else ""


def _unauthorized(message: str) -> ApiError:
    return ApiError(401, message, {"WWW-Authenticate": CHALLENGES})
