"""The error pages."""

import logging
import sys

from django.core.exceptions import BadRequest, PermissionDenied
from django.db import OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render

from collections_app.files.delivery import RETRY_AFTER_SECONDS, TooManyStreams
from collections_app.people.access import prefetch_memberships
from collections_app.sources.base import SourceBusy, SourceTimeout, SourceUnavailable
from collections_app.system import disk

logger = logging.getLogger(__name__)


def bad_request(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """Return the 400 page."""
    return _error(request, 400, exception, BadRequest)


def forbidden(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """Return the 403 page."""
    return _error(request, 403, exception, PermissionDenied)


def not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """Return the 404 page. For an unknown URL no view has run, so the memberships aren't loaded yet."""
    if request.user.is_authenticated and not hasattr(request, "memberships"):
        prefetch_memberships(request)
    return _error(request, 404, exception, Http404)


def method_not_allowed(request: HttpRequest, allowed: str) -> HttpResponse:
    """Return the 405 page. `allowed` lists the methods that the view accepts."""
    page = _error(request, 405)
    page["Allow"] = allowed
    return page


def too_many_downloads(request: HttpRequest, exception: TooManyStreams) -> HttpResponse:
    """Return the 429 page for a user who has reached the limit of simultaneous downloads."""
    return _retry_later(_error(request, 429, exception, TooManyStreams))


def server_error(request: HttpRequest) -> HttpResponse:
    """Return the 500 page, or 503 if the database is unavailable: a retry may succeed."""
    if not isinstance(sys.exception(), OperationalError):
        return _error(request, 500)
    return _retry_later(_error(request, 503))


def source_busy(request: HttpRequest, exception: SourceBusy) -> HttpResponse:
    """Return the 503 page for a source that asks us to wait."""
    page = render(request, "source_busy.html", {"reason": str(exception)}, status=503)
    return _retry_later(page, exception.retry_after)


def disk_full(request: HttpRequest) -> HttpResponse:
    """Return the 503 page for a full disk."""
    logger.warning("Can't handle a request: the disk is full.")
    return _retry_later(render(request, "disk_full.html", {"reason": disk.PROBLEM}, status=503))


def bad_gateway(request: HttpRequest, exception: SourceUnavailable) -> HttpResponse:
    """Return the 502 page for a source that fails."""
    return _error(request, 502, exception, type(exception))


def gateway_timeout(request: HttpRequest, exception: SourceTimeout) -> HttpResponse:
    """Return the 504 page for a source that takes too long."""
    return _error(request, 504, exception, SourceTimeout)


def _error(
    request: HttpRequest, status: int, error: Exception | None = None, ours: type[Exception] | None = None
) -> HttpResponse:
    # Show only messages that we wrote. Subclasses are Django's, and may reveal URLs and settings.
    reason = str(error) if error and type(error) is ours else ""
    return render(request, f"{status}.html", {"reason": reason}, status=status)


def _retry_later(page: HttpResponse, seconds: int = RETRY_AFTER_SECONDS) -> HttpResponse:
    page["Retry-After"] = str(seconds)
    return page
