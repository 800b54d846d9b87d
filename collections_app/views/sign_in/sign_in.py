"""Sign in, sign out and set passwords, with allauth's views.

allauth would apply its rate limits to HEAD and OPTIONS too, so these views apply them instead.
"""

from typing import Any

from allauth.account import views as allauth_views
from allauth.core.ratelimit import consume_or_429
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from collections_app.people import devices
from collections_app.people.access import prefetch_memberships, public, signed_in


@public
def sign_in(request: HttpRequest) -> HttpResponseBase:
    """Sign in. Other users at the same IP address can't lock out a known browser."""
    if devices.recognize(request, request.POST.get("login", "")):
        return _remembered(request, allauth_views.login(request))
    return _limited(request, "post_login") or _remembered(request, allauth_views.login(request))


@public
def sign_out(request: HttpRequest) -> HttpResponseBase:
    """Ask for confirmation, in the layout of the site. On POST, sign out."""
    if request.user.is_authenticated and request.method != "POST":
        prefetch_memberships(request)
    response: HttpResponseBase = allauth_views.logout(request)
    return response


@signed_in
def password_change(request: HttpRequest) -> HttpResponseBase:
    """Change your own password."""
    limited = _limited(request, "post_password_change")
    return limited or _remembered(request, allauth_views.password_change(request))


@public
def password_set(request: HttpRequest, **key: Any) -> HttpResponseBase:
    """Set a new password, using a link."""
    limited = _limited(request, "post_password_set")
    return limited or _remembered(request, allauth_views.password_reset_from_key(request, **key))


def _limited(request: HttpRequest, action: str) -> HttpResponseBase | None:
    """Return a 429 for too many POST requests; other methods can't guess passwords."""
    response: HttpResponseBase | None = None
    if request.method == "POST":
        response = consume_or_429(request, action=action)
    return response


def _remembered(request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
    devices.remember(request, response)
    return response
