"""Recognize browsers that have signed in before, by a signed cookie.

Password guessing from elsewhere doesn't lock them out. OWASP calls this "device cookies". A cookie belongs to
one user. It is valid until the user's password changes, even if the user signs out.
"""

import secrets
from datetime import timedelta
from typing import cast

from django.conf import settings
from django.core.signing import BadSignature, TimestampSigner
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils.crypto import salted_hmac

from collections_app.models import User

_KEPT_FOR = timedelta(days=365)


def recognize(request: HttpRequest, email: str) -> str:
    """Return the browser's id if this user has signed in there before, else ""."""
    email = User.objects.normalize_email(email)
    if email not in (found := _recognized(request)):
        found[email] = _device(request, email)
    return found[email]


def _recognized(request: HttpRequest) -> dict[str, str]:
    """Return the earlier results of recognize() for the request. The view and the limits both call it."""
    return cast(dict[str, str], request.__dict__.setdefault("recognized_devices", {}))


def _device(request: HttpRequest, email: str) -> str:
    cookie = request.COOKIES.get(_cookie_name(email))
    user = User.objects.filter(email=email).first() if cookie else None
    if not cookie or not user:
        return ""
    try:
        return _signer(user).unsign(cookie, max_age=_KEPT_FOR)
    except BadSignature:
        return ""


def note_sign_in(request: HttpRequest, user: User) -> None:
    """Note that the sender of this request has proved to be the user."""
    request.proved_user = user  # type: ignore[attr-defined]  # read in remember()


def remember(request: HttpRequest, response: HttpResponseBase) -> None:
    """Set a cookie if note_sign_in() was called for the request."""
    user: User | None = getattr(request, "proved_user", None)
    if user:
        response.set_cookie(
            _cookie_name(user.email),
            _signer(user).sign(secrets.token_hex(16)),
            max_age=_KEPT_FOR,
            path=reverse("account_login"),
            secure=settings.SESSION_COOKIE_SECURE,
            httponly=True,
            samesite="Strict",
        )


def _cookie_name(email: str) -> str:
    # The name doesn't depend on the database, so unknown addresses take as long as known ones.
    return f"device_{salted_hmac('known device', email).hexdigest()[:16]}"


def _signer(user: User) -> TimestampSigner:
    return TimestampSigner(salt=f"known device:{user.pk}:{user.get_session_auth_hash()}")
