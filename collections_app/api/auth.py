"""Who calls: the key in the header, and the membership that it stands for."""

from django.conf import settings
from django.http import HttpRequest
from structlog.contextvars import bind_contextvars

from collections_app.api.envelope import Refused
from collections_app.models import ApiKey, Membership

HEADER = "x-api-key"

_USE_HTTPS = (
    "Use https:// for this address. If you sent an API key over http://, revoke it and create a new one."
)


def caller(request: HttpRequest) -> Membership:
    """Return the membership whose API key the request carries. Raises Refused (401, 403)."""
    return calling_key(request).membership


def calling_key(request: HttpRequest) -> ApiKey:
    """Return the API key that the request carries, its membership loaded. Raises Refused (401, 403)."""
    if settings.SECURE_SSL_REDIRECT and not request.is_secure():
        raise Refused(403, _USE_HTTPS)
    text = _sent_key(request)
    if not text:
        raise _unauthorized(f"Send your API key in the header {HEADER}.")
    key = ApiKey.objects.recognise(text) if text.isascii() and text.isprintable() else None
    if key is None:
        raise _unauthorized("This API key is unknown or was revoked.")
    member = key.membership
    bind_contextvars(key=key.prefix, user=member.user_id, team=member.team_id)
    key.note_use()
    return key


def _sent_key(request: HttpRequest) -> str:
    scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
    in_authorization = credentials.strip() if scheme.lower() in {"bearer", "token"} else ""
    return request.headers.get(HEADER, "") or in_authorization


def _unauthorized(reason: str) -> Refused:
    return Refused(401, reason, {"WWW-Authenticate": f'ApiKey header="{HEADER}"'})
