"""Download result file: the raw bytes, found by collection, run and name."""

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from ninja import Path

from collections_app.api.auth import calling_key
from collections_app.api.documentation import CollectionId, FileName, RunnerId
from collections_app.api.lookup import delivered, in_path, reader_with
from collections_app.models import ResultFile
from collections_app.people import access
from collections_app.sources import deliverable


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
    collection_number = in_path("collection_id", collection_id)
    run_number = in_path("runner_id", runner_id)
    collection, _ = access.collection_of([key.membership], collection_number)
    file = ResultFile.objects.downloadable(collection, run_number, file_name)
    return delivered(request, deliverable(file), reader_with(key))
