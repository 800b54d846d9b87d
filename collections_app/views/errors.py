"""The pages for what went wrong, in the same design as all others."""

from django.core.exceptions import BadRequest, PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render

from collections_app.sources.base import SourceTimeout, SourceUnavailable


def bad_request(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """400."""
    return _error(request, 400, exception, BadRequest)


def forbidden(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """403."""
    return _error(request, 403, exception, PermissionDenied)


def not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """404."""
    return _error(request, 404, exception, Http404)


def server_error(request: HttpRequest) -> HttpResponse:
    """500."""
    return _error(request, 500)


def bad_gateway(request: HttpRequest, exception: SourceUnavailable) -> HttpResponse:
    """502: where the results come from doesn't answer."""
    return _error(request, 502, exception, SourceUnavailable)


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
