"""A run's records in one file, in the format that a script asks for. Also of the newest run, as `latest`."""

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from ninja import Path

from collections_app.api.documentation import CollectionId, FormatName, RunnerId
from collections_app.api.envelope import Refused, accepted
from collections_app.api.lookup import COLLECTIONS, delivered, find_latest_run, find_run
from collections_app.files.delivery import Reader
from collections_app.models import Export, ExportState, Run
from collections_app.records.exports.create import (
    InvalidSpec,
    TooManyQueued,
    create_export,
    deliverable,
    parse_format,
    parse_spec,
)
from collections_app.records.formats.records_file import ExportSpec, Format

# How long a script waits before it asks again for what is being made.
RETRY_AFTER_SECONDS = 2


def run_records(
    request: HttpRequest,
    collection_id: Path[CollectionId],
    runner_id: Path[RunnerId],
    file_format: Path[FormatName],
) -> HttpResponseBase:
    """Answer with the records, or with 202 and how far they are.

    Raises what find_run() and deliver() raise, and Refused.
    """
    run, reader = find_run(request, collection_id, runner_id)
    return _answer(request, run, file_format, reader)


def latest_records(
    request: HttpRequest, collection_id: Path[CollectionId], file_format: Path[FormatName]
) -> HttpResponseBase:
    """Answer with the newest run's records. Raises what find_latest_run() and run_records() raise."""
    run, reader = find_latest_run(request, collection_id)
    answer = _answer(request, run, file_format, reader)
    query = request.META.get("QUERY_STRING", "")
    rest = f"records.{file_format}{'?' if query else ''}{query}"
    answer.headers["Content-Location"] = f"{COLLECTIONS}/{run.collection_id}/runs/{run.number}/{rest}"
    return answer


def _answer(request: HttpRequest, run: Run, file_format: str, reader: Reader) -> HttpResponseBase:
    export = _asked(run, _spec(request, file_format))
    return delivered(request, deliverable(export), reader) if export.is_ready else _not_yet(export)


def _asked(run: Run, spec: ExportSpec) -> Export:
    try:
        return create_export(run, spec)
    except TooManyQueued as error:
        raise Refused(429, str(error), {"Retry-After": str(RETRY_AFTER_SECONDS)}) from None


def _spec(request: HttpRequest, name: str) -> ExportSpec:
    wanted = parse_format(name)
    if wanted is None:
        raise Refused(404, f"There is nothing at this address: the formats are {', '.join(Format)}.")
    try:
        return parse_spec(wanted, request.GET.getlist("columns"), request.GET.get("excel", ""))
    except InvalidSpec as error:
        raise Refused(400, str(error)) from None


def _not_yet(export: Export) -> HttpResponseBase:
    """Raises Refused where it failed: for good (400), or until it is tried again by who asks later (500)."""
    if export.state == ExportState.FAILED:
        raise Refused(400 if export.is_final else 500, export.failure)
    state = {"state": export.state, "done": export.done, "total": export.total}
    return accepted(state, retry_after_seconds=RETRY_AFTER_SECONDS)
