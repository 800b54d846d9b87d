"""Download a result file, found by collection, run and name."""

from typing import NamedTuple

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from collections_app.api.authentication import authenticate, authenticate_and_find
from collections_app.api.deliver import deliver
from collections_app.api.endpoint import endpoint
from collections_app.api.errors import ApiError
from collections_app.api.find_run import parse_id
from collections_app.models import ApiKey
from collections_app.models.lookup import Address, Requested
from collections_app.people import access
from collections_app.sources import deliverable


class _Found(NamedTuple):
    """The caller's key, and the file that the address names."""

    key: ApiKey
    requested: Requested
    collection_id: int
    number: int


def _authenticate(request: HttpRequest, collection_id: str, runner_id: str, file_name: str) -> _Found:
    try:
        number, collection = parse_id("runner_id", runner_id), parse_id("collection_id", collection_id)
    except ApiError:
        authenticate(request)  # an invalid key is reported first
        raise
    return _Found(*authenticate_and_find(request, Address(collection, number, file_name)), collection, number)


@endpoint("GET", "HEAD", authenticate=_authenticate)
def download_result_file(request: HttpRequest, found: _Found, **_: str) -> HttpResponseBase:
    """Send the bytes of a file, which was found together with the key."""
    access.check_collection([found.key.membership], found.collection_id, found.requested.collection)
    return deliver(request, deliverable(found.requested.downloadable(found.number)), found.key)
