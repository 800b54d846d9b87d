"""Download result file: the raw bytes, found by collection, run and name."""

import re

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from ninja import Path

from collections_app import access
from collections_app.api.auth import calling_key
from collections_app.api.body import MAX_INTEGER
from collections_app.api.documentation import CollectionId, FileName, RunnerId
from collections_app.api.envelope import Refused, failure
from collections_app.delivery import Reader, deliver
from collections_app.models import ResultFile
from collections_app.sources import deliverable

_REFUSALS = {
    412: "The file is not the one that If-Match or If-Unmodified-Since names.",
    416: "The range lies outside the file.",
}
_KEPT_HEADERS = ("Accept-Ranges", "Content-Range", "ETag", "Last-Modified")
_INTEGER = re.compile("0*([0-9]{1,19})", re.ASCII)


def download_result_file(
    request: HttpRequest,
    collection_id: Path[CollectionId],
    runner_id: Path[RunnerId],
    file_name: Path[FileName],
) -> HttpResponseBase:
    """Answer with a file's bytes.

    Raises Refused, PermissionDenied, NotDownloadable, and what deliver() raises.
    """
    key = calling_key(request)
    collection_number = _in_path("collection_id", collection_id)
    run_number = _in_path("runner_id", runner_id)
    collection, _ = access.collection_of([key.membership], collection_number)
    file = ResultFile.objects.downloadable(collection, run_number, file_name)
    reader = Reader(key.membership.user_id, key.pk)
    return _in_envelope(deliver(request, deliverable(file), reader))


def _in_envelope(answer: HttpResponseBase) -> HttpResponseBase:
    """Return a refusal of deliver()'s, which has headers alone, with a reason."""
    reason = _REFUSALS.get(answer.status_code)
    if reason is None:
        return answer
    headers = {name: answer.headers[name] for name in _KEPT_HEADERS if name in answer.headers}
    return failure(Refused(answer.status_code, reason, headers))


def _in_path(name: str, text: str) -> int:
    match = _INTEGER.fullmatch(text)
    number = int(match.group(1)) if match else -1
    if not 0 <= number <= MAX_INTEGER:
        raise Refused(404, f"There is nothing at this address: {name} must be an integer.")
    return number
