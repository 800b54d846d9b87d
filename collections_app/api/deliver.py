"""Send a file to a script."""

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from collections_app.api.errors import ApiError
from collections_app.api.responses import failure
from collections_app.files import delivery
from collections_app.models import ApiKey, Run
from collections_app.sources import Deliverable

_MESSAGES = {
    412: "The file has changed: it doesn't match If-Match or If-Unmodified-Since. Download it again.",
    416: "The range is outside the file. Request its size with HEAD.",
}
_KEPT_HEADERS = ("Accept-Ranges", "Content-Range", "ETag", "Last-Modified")


def deliver(request: HttpRequest, deliverable: Deliverable, key: ApiKey) -> HttpResponseBase:
    """Send a file. Add a message to 412 and 416, which otherwise have none. Raises what delivery raises."""
    downloader = delivery.Downloader(key.membership.user_id, key.pk)
    response = delivery.deliver(request, deliverable, downloader)
    message = _MESSAGES.get(response.status_code)
    if message is None:
        return response
    headers = {name: response.headers[name] for name in _KEPT_HEADERS if name in response.headers}
    return failure(ApiError(response.status_code, message, headers))


def add_location(response: HttpResponseBase, run: Run, file_name: str) -> HttpResponseBase:
    """Add the run's permanent address to a response for `latest`, which may soon mean another run."""
    address = f"/api/v1/collections/{run.collection_id}/runs/{run.number}/{file_name}"
    response.headers["Content-Location"] = address
    return response
