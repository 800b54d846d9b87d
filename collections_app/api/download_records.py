"""Download all records of a run in one file, in any format."""

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from collections_app.api.deliver import add_location, deliver
from collections_app.api.endpoint import endpoint
from collections_app.api.errors import ApiError
from collections_app.api.find_run import find_run
from collections_app.api.limits import EXPORT_RETRY_AFTER_SECONDS
from collections_app.api.responses import accepted
from collections_app.models import ApiKey, Export, ExportState, Run
from collections_app.records.exports.create import (
    InvalidSpec,
    TooManyQueued,
    create_export,
    deliverable,
    parse_format,
    parse_spec,
    with_filters,
)
from collections_app.records.formats.export_formats import ExportSpec, Format


@endpoint("GET", "HEAD")
def run_records(
    request: HttpRequest, key: ApiKey, collection_id: str, file_format: str, runner_id: str | None = None
) -> HttpResponseBase:
    """Send the records of a run, or of the newest one. Respond with 202 while the file is being built."""
    run = find_run(key, collection_id, runner_id)
    export = _export(run, _spec(request, file_format))
    response = deliver(request, deliverable(export), key) if export.is_ready else _unfinished(export)
    if runner_id:
        return response
    query = request.META.get("QUERY_STRING", "")
    return add_location(response, run, f"records.{file_format}{'?' if query else ''}{query}")


def _export(run: Run, spec: ExportSpec) -> Export:
    try:
        return create_export(run, spec)
    except TooManyQueued as error:
        raise ApiError(429, str(error), {"Retry-After": str(EXPORT_RETRY_AFTER_SECONDS)}) from None


def _spec(request: HttpRequest, name: str) -> ExportSpec:
    file_format = parse_format(name)
    if file_format is None:
        raise ApiError(404, f"Unknown format. The formats are {', '.join(Format)}.")
    try:
        spec = parse_spec(
            file_format,
            request.GET.getlist("columns"),
            request.GET.get("excel", ""),
            request.GET.get("separator", ""),
            request.GET.get("q", ""),
        )
        return with_filters(spec, request.GET.getlist("filter"))
    except InvalidSpec as error:
        raise ApiError(400, str(error)) from None


def _unfinished(export: Export) -> HttpResponseBase:
    """Return the progress of an export. Raises ApiError: 400 if it can never succeed, else 500."""
    if export.state == ExportState.FAILED:
        raise ApiError(400 if export.is_final else 500, export.failure)
    progress = {"state": export.state, "done": export.done, "total": export.total}
    return accepted(progress, retry_after_seconds=EXPORT_RETRY_AFTER_SECONDS)
