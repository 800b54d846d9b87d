"""Download all records of one or more runs in one file, in any format."""

from collections.abc import Callable, Sequence

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from collections_app.api.deliver import add_location, deliver
from collections_app.api.endpoint import endpoint
from collections_app.api.errors import ApiError
from collections_app.api.find_run import find_collection, find_run
from collections_app.api.limits import EXPORT_RETRY_AFTER_SECONDS
from collections_app.api.responses import accepted
from collections_app.files.bundles.selection import InvalidSelection, parse, runs_of
from collections_app.models import ApiKey, Export, ExportState
from collections_app.models.queues import TooManyQueued
from collections_app.records.exports.create import (
    create_export,
    create_joint_export,
    deliverable,
    parse_format,
    spec_of_options,
)
from collections_app.records.exports.saved import create_saved, deliverable_of_saved, saved_export
from collections_app.records.exports.subject import FORMATS_OF_SEVERAL_RUNS, InvalidSpec, Subject
from collections_app.records.formats.export_formats import ExportSpec, Format
from collections_app.sources import Deliverable


@endpoint("GET", "HEAD")
def run_records(
    request: HttpRequest, key: ApiKey, collection_id: str, file_format: str, runner_id: str | None = None
) -> HttpResponseBase:
    """Send the records of a run, or of the newest one. Respond with 202 while the file is being built."""
    run = find_run(key, collection_id, runner_id)
    spec = _spec(request, file_format, tuple(Format))
    response = export_response(request, key, lambda: create_export(run, spec))
    if runner_id:
        return response
    query = request.META.get("QUERY_STRING", "")
    return add_location(response, run, f"records.{file_format}{'?' if query else ''}{query}")


@endpoint("GET", "HEAD")
def run_saved_export(
    request: HttpRequest, key: ApiKey, collection_id: str, name: str, runner_id: str | None = None
) -> HttpResponseBase:
    """Send a saved export of a run, or of the newest one. Respond with 202 while the file is being built."""
    saved = saved_export(find_collection(key, collection_id), name)
    if saved is None:
        raise ApiError(
            404, "This collection has no saved export with this name. Its settings list the names."
        )
    run = find_run(key, collection_id, runner_id)
    response = export_response(
        request, key, lambda: create_saved(run, saved), lambda export: deliverable_of_saved(export, saved)
    )
    return response if runner_id else add_location(response, run, f"exports/{saved.file_name}")


@endpoint("GET", "HEAD")
def selection_records(
    request: HttpRequest, key: ApiKey, collection_id: str, file_format: str
) -> HttpResponseBase:
    """Send the records of several runs as one table. Respond with 202 while the file is being built."""
    collection = find_collection(key, collection_id)
    # selection.json is a plain list, which is joined while it is sent.
    spec = _spec(request, file_format, FORMATS_OF_SEVERAL_RUNS)
    try:
        runs = runs_of(collection, parse(request.GET.getlist("runs"), request.GET.getlist("pages")))
    except InvalidSelection as error:
        raise ApiError(400, str(error)) from None
    return export_response(request, key, lambda: create_joint_export(Subject.table(runs), spec))


def export_response(
    request: HttpRequest,
    key: ApiKey,
    create: Callable[[], Export],
    file_of: Callable[[Export], Deliverable] = deliverable,
) -> HttpResponseBase:
    """Send the export that `create` returns, or return its progress if it isn't ready. Raises ApiError."""
    try:
        export = create()
    except InvalidSpec as error:
        raise ApiError(400, str(error)) from None
    except TooManyQueued as error:
        raise ApiError(429, str(error), {"Retry-After": str(EXPORT_RETRY_AFTER_SECONDS)}) from None
    return deliver(request, file_of(export), key) if export.is_ready else _unfinished(export)


def _spec(request: HttpRequest, name: str, formats: Sequence[Format]) -> ExportSpec:
    file_format = parse_format(name)
    if file_format is None or file_format not in formats:
        raise ApiError(404, f"Unknown format. Use one of: {', '.join(formats)}.")
    try:
        return spec_of_options(file_format, request.GET.getlist("columns"), request.GET)
    except InvalidSpec as error:
        raise ApiError(400, str(error)) from None


def _unfinished(export: Export) -> HttpResponseBase:
    """Return the progress of an export. Raises ApiError: 400 if it can never succeed, else 500."""
    if export.state == ExportState.FAILED:
        raise ApiError(400 if export.is_final else 500, export.failure)
    progress = {"state": export.state, "done": export.done, "total": export.total}
    return accepted(progress, retry_after_seconds=EXPORT_RETRY_AFTER_SECONDS)
