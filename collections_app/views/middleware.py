"""The middleware that shapes responses: headers, compression, cookie names and error pages.

Two more are elsewhere: `system/observability/requests.py` logs requests, `people/access.py` decides who may
call a view.
"""

from collections.abc import Callable
from typing import Any

from csp.constants import HEADER as POLICY_HEADER
from csp.utils import build_policy
from django.conf import global_settings, settings
from django.contrib.auth.signals import user_logged_in
from django.core.exceptions import MiddlewareNotUsed
from django.dispatch import receiver
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseNotAllowed
from django.middleware.gzip import GZipMiddleware
from django.utils.cache import has_vary_header

from collections_app.system import disk
from collections_app.system.observability.requests import GetResponse
from collections_app.views import errors

_UNUSED_FEATURES = (
    "accelerometer",
    "camera",
    "display-capture",
    "geolocation",
    "gyroscope",
    "magnetometer",
    "microphone",
    "midi",
    "payment",
    "usb",
)
_PERMISSIONS_POLICY = ", ".join(f"{feature}=()" for feature in _UNUSED_FEATURES)

_SESSION_COOKIE = "cookie_name"
_SAFE_METHODS = {"GET", "HEAD", "OPTIONS", "TRACE"}


def add_headers(get_response: GetResponse) -> GetResponse:
    """Return middleware that adds headers which Django has no setting for. Headers set by a view win."""

    def middleware(request: HttpRequest) -> HttpResponseBase:
        response = get_response(request)
        response.setdefault("Cross-Origin-Resource-Policy", "same-origin")
        response.setdefault("Permissions-Policy", _PERMISSIONS_POLICY)
        # nginx adds its own Cache-Control when it sends the file.
        if has_vary_header(response, "Cookie") and "X-Accel-Redirect" not in response:
            response.setdefault("Cache-Control", "private, no-cache")
        return response

    return middleware


def add_content_security_policy(get_response: GetResponse) -> GetResponse:
    """Return middleware that adds CONTENT_SECURITY_POLICY, except to Django's pages for debugging.

    django-csp's own middleware builds the policy for each response, because a view could change it.
    """
    policy = build_policy()

    def middleware(request: HttpRequest) -> HttpResponseBase:
        response = get_response(request)
        if not (settings.DEBUG and response.status_code in {404, 500}):
            response.setdefault(POLICY_HEADER, policy)
        return response

    return middleware


class CompressPages(GZipMiddleware):
    """Compress HTML. Files and API responses keep their size, ETag and ranges.

    Django adds a random number of bytes, so the size reveals nothing about the page (BREACH).
    """

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        """Compress the response if it is a page or a fragment."""
        if response.streaming or not response.get("Content-Type", "").startswith("text/html"):
            return response
        return super().process_response(request, response)


def accept_old_cookie_names(get_response: GetResponse) -> GetResponse:
    """Return middleware that also reads cookies without the prefix `__Host-`, so that users stay signed in.

    Another host can set such a cookie. It therefore never replaces a cookie with the prefix, and never
    resumes a session that was started under the new name.
    """
    if settings.SESSION_COOKIE_NAME == global_settings.SESSION_COOKIE_NAME:
        raise MiddlewareNotUsed

    def middleware(request: HttpRequest) -> HttpResponseBase:
        cookies = request.COOKIES
        if global_settings.CSRF_COOKIE_NAME in cookies:
            cookies.setdefault(settings.CSRF_COOKIE_NAME, cookies[global_settings.CSRF_COOKIE_NAME])
        if global_settings.SESSION_COOKIE_NAME in cookies and settings.SESSION_COOKIE_NAME not in cookies:
            _resume_session(request, cookies[global_settings.SESSION_COOKIE_NAME])
        return get_response(request)

    return middleware


def _resume_session(request: HttpRequest, key: str) -> None:
    session = type(request.session)(key)
    if session.keys() and session.get(_SESSION_COOKIE) != settings.SESSION_COOKIE_NAME:
        session.modified = True  # sends the cookie under its new name
        request.session = session


@receiver(user_logged_in)
def _store_cookie_name(request: HttpRequest, **_: Any) -> None:
    request.session[_SESSION_COOKIE] = settings.SESSION_COOKIE_NAME


class MethodNotAllowedPage:
    """Replace Django's empty 405 response with a page. The API returns its own."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Handle the request. Replace an empty 405 response."""
        response = self.get_response(request)
        if isinstance(response, HttpResponseNotAllowed):
            return errors.method_not_allowed(request, response["Allow"])
        return response


class DiskFullPage:
    """Return a 503 page if a request fails for lack of disk space.

    This includes writes whose error was swallowed: a form must not look as if it had been saved.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Handle the request. Replace the response to a form that wasn't saved."""
        disk.forget_failure()
        response = self.get_response(request)
        if request.method in _SAFE_METHODS or not disk.has_failed():
            return response
        page = errors.disk_full(request)
        # Signing out still signs the browser out.
        page.cookies.update(
            {name: cookie for name, cookie in response.cookies.items() if cookie["max-age"] == 0}
        )
        return page

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """Return the page if the view failed because the disk is full."""
        return errors.disk_full(request) if disk.is_full(exception) else None
