"""Download a result file, found by collection, run and name."""

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from collections_app.api.deliver import deliver
from collections_app.api.endpoint import endpoint
from collections_app.api.find_run import find_collection, parse_id
from collections_app.models import ApiKey, ResultFile
from collections_app.sources import deliverable


@endpoint("GET", "HEAD")
def download_result_file(
    request: HttpRequest, key: ApiKey, collection_id: str, runner_id: str, file_name: str
) -> HttpResponseBase:
    """Send the bytes of a file."""
    number = parse_id("runner_id", runner_id)
    collection = find_collection(key, collection_id)
    file = ResultFile.objects.downloadable(collection, number, file_name)
    return deliver(request, deliverable(file), key)
