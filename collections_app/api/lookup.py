"""What the ids in a script's address stand for: the caller's collection, and a run of it."""

import re
from collections.abc import Callable

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from collections_app.api.auth import calling_key
from collections_app.api.body import MAX_INTEGER
from collections_app.api.envelope import Refused, failure
from collections_app.files.delivery import Reader, deliver
from collections_app.models import ApiKey, Collection, Run
from collections_app.models.runs import RunFailed
from collections_app.people import access
from collections_app.sources import Deliverable, latest_run

COLLECTIONS = "/api/v1/collections"

_REFUSALS = {
    412: "The file is not the one that If-Match or If-Unmodified-Since names.",
    416: "The range lies outside the file.",
}
_KEPT_HEADERS = ("Accept-Ranges", "Content-Range", "ETag", "Last-Modified")
_INTEGER = re.compile("0*([0-9]{1,19})", re.ASCII)


def find_collection(request: HttpRequest, collection_id: str) -> tuple[Collection, Reader]:
    """Return the collection of that id, if it is the caller's, and who that is.

    Raises Refused, PermissionDenied.
    """
    key = calling_key(request)
    collection, _ = access.collection_of([key.membership], in_path("collection_id", collection_id))
    return collection, reader_with(key)


def find_run(request: HttpRequest, collection_id: str, runner_id: str) -> tuple[Run, Reader]:
    """Return the ready run of that number, and who calls.

    Raises Refused, for a run that failed with 409, so that a script knows not to wait; PermissionDenied;
    NotDownloadable.
    """
    key = calling_key(request)
    collection_number = in_path("collection_id", collection_id)
    run_number = in_path("runner_id", runner_id)
    collection, _ = access.collection_of([key.membership], collection_number)
    try:
        return collection.runs.ready_run(run_number), reader_with(key)
    except RunFailed as error:
        raise Refused(409, str(error)) from None


def find_latest_run(request: HttpRequest, collection_id: str) -> tuple[Run, Reader]:
    """Return the newest ready run, and who calls.

    Raises as find_run() does, SourceUnavailable and SourceTimeout.
    """
    collection, reader = find_collection(request, collection_id)
    return latest_run(collection), reader


def reader_with(key: ApiKey) -> Reader:
    """Return whom a key's files are sent to."""
    return Reader(key.membership.user_id, key.pk)


def in_path(name: str, text: str) -> int:
    """Return an integer of the address. Raises Refused (404)."""
    match = _INTEGER.fullmatch(text)
    number = int(match.group(1)) if match else -1
    if not 0 <= number <= MAX_INTEGER:
        raise Refused(404, f"There is nothing at this address: {name} must be an integer.")
    return number


def delivered(request: HttpRequest, deliverable: Deliverable, reader: Reader) -> HttpResponseBase:
    """Deliver, and give a refusal of deliver()'s, which has headers alone, a reason."""
    answer = deliver(request, deliverable, reader)
    reason = _REFUSALS.get(answer.status_code)
    if reason is None:
        return answer
    headers = {name: answer.headers[name] for name in _KEPT_HEADERS if name in answer.headers}
    return failure(Refused(answer.status_code, reason, headers))


def delivered_from_latest(
    request: HttpRequest, collection_id: str, rest: str, make: Callable[[Run], Deliverable]
) -> HttpResponseBase:
    """Deliver something of the newest run, and name its own address, which stays when a newer one comes."""
    run, reader = find_latest_run(request, collection_id)
    answer = delivered(request, make(run), reader)
    answer.headers["Content-Location"] = f"{COLLECTIONS}/{run.collection_id}/runs/{run.number}/{rest}"
    return answer
