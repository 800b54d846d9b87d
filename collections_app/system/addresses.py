"""Absolute addresses of this site, for links that leave it: mails, examples, the API's answers."""

from django.conf import settings
from django.http import HttpRequest


def absolute(request: HttpRequest, path: str) -> str:
    """Return the address of a path, under PUBLIC_URL or under the address that the request came to."""
    return (settings.PUBLIC_URL or f"{request.scheme}://{request.get_host()}") + path


def results_of(request: HttpRequest, collection_id: int) -> str:
    """Return the address below which scripts get a collection's files: `{run number}/{file name}`."""
    return absolute(request, f"/api/v1/results/{collection_id}")
