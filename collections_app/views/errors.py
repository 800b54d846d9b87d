"""The pages for what went wrong, in the same design as all others."""

import logging
import sys
from collections.abc import Callable

from django.core.exceptions import BadRequest, PermissionDenied
from django.db import OperationalError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.shortcuts import render

from collections_app.files.delivery import RETRY_AFTER_SECONDS, TooManyStreams
from collections_app.people.access import prefetch_memberships
from collections_app.sources.base import SourceBusy, SourceTimeout, SourceUnavailable
from collections_app.system import disk

logger = logging.getLogger(__name__)

_SAFE_METHODS = {"GET", "HEAD", "OPTIONS", "TRACE"}


def bad_request(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """400."""
    return _error(request, 400, exception, BadRequest)


def forbidden(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """403."""
    return _error(request, 403, exception, PermissionDenied)


def not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """404, also for an address of nobody's, which no view has brought the memberships for."""
    if request.user.is_authenticated and not hasattr(request, "memberships"):
        prefetch_memberships(request)
    return _error(request, 404, exception, Http404)


class MethodNotAllowedPage:
    """Middleware: a 405 of Django's own, which is empty, gets a page. Scripts are told in the envelope."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Pass the request on, and put the page in place of an empty 405."""
        answer = self.get_response(request)
        if not isinstance(answer, HttpResponseNotAllowed):
            return answer
        page = _error(request, 405)
        page["Allow"] = answer["Allow"]
        return page


def too_many_downloads(request: HttpRequest, exception: TooManyStreams) -> HttpResponse:
    """429: as many files at once as one person may be sent."""
    return _try_again_later(_error(request, 429, exception, TooManyStreams))


def server_error(request: HttpRequest) -> HttpResponse:
    """500, or 503 where the database can't be used just now: the same request may work in a moment."""
    if not isinstance(sys.exception(), OperationalError):
        return _error(request, 500)
    return _try_again_later(_error(request, 503))


def source_busy(request: HttpRequest, exception: SourceBusy) -> HttpResponse:
    """503: the source of the results asks us to wait."""
    page = render(request, "source_busy.html", {"reason": str(exception)}, status=503)
    return _try_again_later(page, exception.retry_after)


class DiskFullPage:
    """Middleware that answers 503 if a request fails for lack of disk space.

    It also applies if the failed write was swallowed: a form must not look as if it had been saved.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Handle the request. Replace the response to a form that wasn't saved."""
        disk.forget_failure()
        answer = self.get_response(request)
        if request.method in _SAFE_METHODS or not disk.has_failed():
            return answer
        return disk_full(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """Return the page for a view that failed on a full disk."""
        return disk_full(request) if disk.is_full(exception) else None


def disk_full(request: HttpRequest) -> HttpResponse:
    """503: nothing can be stored."""
    logger.warning("Can't handle a request: the disk is full.")
    return _try_again_later(render(request, "disk_full.html", {"reason": disk.PROBLEM}, status=503))


def bad_gateway(request: HttpRequest, exception: SourceUnavailable) -> HttpResponse:
    """502: where the results come from doesn't answer."""
    return _error(request, 502, exception, type(exception))


def gateway_timeout(request: HttpRequest, exception: SourceTimeout) -> HttpResponse:
    """504: where the results come from takes too long."""
    return _error(request, 504, exception, SourceTimeout)


def _error(
    request: HttpRequest, status: int, error: Exception | None = None, ours: type[Exception] | None = None
) -> HttpResponse:
    # Only what we raise ourselves is said in words for people; a subclass is Django's own and may
    # name addresses and settings.
    reason = str(error) if error and type(error) is ours else ""
    return render(request, f"{status}.html", {"reason": reason}, status=status)


def _try_again_later(page: HttpResponse, seconds: int = RETRY_AFTER_SECONDS) -> HttpResponse:
    page["Retry-After"] = str(seconds)
    return page
