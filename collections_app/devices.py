"""Browsers that somebody has signed in with before, recognized by a signed cookie.

Guessing a password elsewhere locks none of them out (OWASP calls this "device cookies"). A cookie belongs to
one account, ends when the account's password changes, and stays when its owner signs out.
"""

import secrets
from datetime import timedelta

from django.conf import settings
from django.core.signing import BadSignature, TimestampSigner
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils.crypto import salted_hmac

from collections_app.models import User

_KEPT_FOR = timedelta(days=365)


def recognize(request: HttpRequest, email: str) -> str:
    """Return the id of the browser if it has signed in to this account before, else ""."""
    email = User.objects.normalize_email(email)
    cookie = request.COOKIES.get(_cookie_name(email))
    user = User.objects.filter(email=email).first() if cookie else None
    if not cookie or not user:
        return ""
    try:
        return _signer(user).unsign(cookie, max_age=_KEPT_FOR)
    except BadSignature:
        return ""


def note_sign_in(request: HttpRequest, user: User) -> None:
    """Note that whoever sends this request has proved to be the user."""
    request.proved_user = user  # type: ignore[attr-defined]  # read in remember()


def remember(request: HttpRequest, response: HttpResponseBase) -> None:
    """Give the browser a cookie if note_sign_in() was called for the request."""
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
    # Finding it needs no database, so an unknown address takes no other time than a known one.
    return f"device_{salted_hmac('known device', email).hexdigest()[:16]}"


def _signer(user: User) -> TimestampSigner:
    return TimestampSigner(salt=f"known device:{user.pk}:{user.get_session_auth_hash()}")
