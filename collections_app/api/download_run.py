"""Download the manifest or the ZIP of a run, or files of several runs at once."""

from collections.abc import Callable
from urllib.parse import quote

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from collections_app.api.deliver import add_location, deliver
from collections_app.api.endpoint import endpoint
from collections_app.api.errors import ApiError
from collections_app.api.find_run import find_collection, find_run
from collections_app.files.bundles.merged import merged_selection
from collections_app.files.bundles.selection import InvalidSelection, Selection, parse
from collections_app.files.bundles.zip_downloads import ALL, run_archive, selection_archive
from collections_app.files.verification.manifest import NAME as MANIFEST
from collections_app.files.verification.manifest import manifest
from collections_app.models import ApiKey, Collection, Run
from collections_app.sources import Deliverable
from collections_app.system.addresses import results_of


@endpoint("GET", "HEAD")
def run_manifest(
    request: HttpRequest, key: ApiKey, collection_id: str, runner_id: str | None = None
) -> HttpResponseBase:
    """Send the manifest of a run, or of the newest one."""
    run = find_run(key, collection_id, runner_id)
    response = deliver(request, _manifest(request, run), key)
    return response if runner_id else add_location(response, run, MANIFEST)


@endpoint("GET", "HEAD")
def run_all(
    request: HttpRequest, key: ApiKey, collection_id: str, runner_id: str | None = None
) -> HttpResponseBase:
    """Send a ZIP of all files of a run, or of the newest one."""
    run = find_run(key, collection_id, runner_id)
    response = deliver(request, run_archive(run), key)
    return response if runner_id else add_location(response, run, ALL)


@endpoint("GET", "HEAD")
def selection_zip(request: HttpRequest, key: ApiKey, collection_id: str) -> HttpResponseBase:
    """Send one ZIP of several runs and pages."""
    return _send_selection(request, key, collection_id, selection_archive)


@endpoint("GET", "HEAD")
def selection_json(request: HttpRequest, key: ApiKey, collection_id: str) -> HttpResponseBase:
    """Send the records of several runs and pages as one JSON list."""
    return _send_selection(request, key, collection_id, merged_selection)


def _send_selection(
    request: HttpRequest,
    key: ApiKey,
    collection_id: str,
    build: Callable[[Collection, Selection], Deliverable],
) -> HttpResponseBase:
    collection = find_collection(key, collection_id)
    try:
        selection = parse(request.GET.getlist("runs"), request.GET.getlist("pages"))
        bundle = build(collection, selection)
    except InvalidSelection as error:
        raise ApiError(400, str(error)) from None
    return deliver(request, bundle, key)


def _manifest(request: HttpRequest, run: Run) -> Deliverable:
    folder = f"{results_of(request, run.collection_id)}/{run.number}"
    return manifest(run, lambda file: f"{folder}/{quote(file.name, safe='')}")
