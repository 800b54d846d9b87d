"""Download a result file, found by collection, run and name."""

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from collections_app.api.authentication import authenticate_and_find
from collections_app.api.deliver import deliver
from collections_app.api.endpoint import endpoint
from collections_app.api.errors import ApiError
from collections_app.api.find_run import parse_id
from collections_app.models import ApiKey
from collections_app.models.lookup import NOTHING, Address, Requested
from collections_app.people import access
from collections_app.sources import deliverable


def _authenticate(
    request: HttpRequest, collection_id: str, runner_id: str, file_name: str
) -> tuple[ApiKey, Requested]:
    try:
        address = Address(
            parse_id("collection_id", collection_id), parse_id("runner_id", runner_id), file_name
        )
    except ApiError:
        address = NOTHING  # an invalid key is reported first
    return authenticate_and_find(request, address)


@endpoint("GET", "HEAD", authenticate=_authenticate)
def download_result_file(
    request: HttpRequest, found: tuple[ApiKey, Requested], collection_id: str, runner_id: str, file_name: str
) -> HttpResponseBase:
    """Send the bytes of a file, which was found together with the key."""
    key, requested = found
    number = parse_id("runner_id", runner_id)
    collection = parse_id("collection_id", collection_id)
    access.check_collection([key.membership], collection, requested.collection)
    return deliver(request, deliverable(requested.downloadable(number)), key)
