"""Absolute URLs of this site, for emails, examples and API responses."""

from django.conf import settings
from django.http import HttpRequest


def absolute(request: HttpRequest, path: str) -> str:
    """Return the URL of a path below PUBLIC_URL or, if that isn't set, the host of the request."""
    return (settings.PUBLIC_URL or f"{request.scheme}://{request.get_host()}") + path


def site() -> str:
    """Return what the site's URLs begin with outside of requests: PUBLIC_URL or, without it, this machine."""
    return settings.PUBLIC_URL or f"http://localhost:{settings.PORT}"


def results_of(request: HttpRequest, collection_id: int) -> str:
    """Return the URL below which the API serves a collection's files: `{run number}/{file name}`."""
    return absolute(request, f"/api/v1/results/{collection_id}")
