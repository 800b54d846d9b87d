"""Accept the names that cookies had before they got the prefix `__Host-`."""

from typing import Any

from django.conf import global_settings, settings
from django.contrib.auth.signals import user_logged_in
from django.core.exceptions import MiddlewareNotUsed
from django.dispatch import receiver
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from collections_app.system.observability.requests import GetResponse

_BEGAN_AS = "cookie_name"


def accept_old_names(get_response: GetResponse) -> GetResponse:
    """Return middleware that keeps people signed in if their cookies still have the old names.

    Another host may have set an old cookie, so it never replaces a new one, and never opens a session that
    began under the new name.
    """
    if settings.SESSION_COOKIE_NAME == global_settings.SESSION_COOKIE_NAME:
        raise MiddlewareNotUsed

    def accepted(request: HttpRequest) -> HttpResponseBase:
        cookies = request.COOKIES
        if global_settings.CSRF_COOKIE_NAME in cookies:
            cookies.setdefault(settings.CSRF_COOKIE_NAME, cookies[global_settings.CSRF_COOKIE_NAME])
        if global_settings.SESSION_COOKIE_NAME in cookies and settings.SESSION_COOKIE_NAME not in cookies:
            _resume_session(request, cookies[global_settings.SESSION_COOKIE_NAME])
        return get_response(request)

    return accepted


def _resume_session(request: HttpRequest, key: str) -> None:
    session = type(request.session)(key)
    if session.keys() and session.get(_BEGAN_AS) != settings.SESSION_COOKIE_NAME:
        session.modified = True  # sends the cookie under its new name
        request.session = session


@receiver(user_logged_in)
def _note_cookie_name(request: HttpRequest, **_: Any) -> None:
    request.session[_BEGAN_AS] = settings.SESSION_COOKIE_NAME
