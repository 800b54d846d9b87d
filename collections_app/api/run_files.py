"""What a script gets of a run as a whole, or of several: manifest, ZIP. The newest run is `latest`."""

from collections.abc import Callable
from urllib.parse import quote

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from ninja import Path

from collections_app.api.documentation import CollectionId, RunnerId
from collections_app.api.envelope import Refused
from collections_app.api.lookup import delivered, delivered_from_latest, find_collection, find_run
from collections_app.files.bundles.archives import ALL, run_archive, selection_archive
from collections_app.files.bundles.merged import merged_selection
from collections_app.files.bundles.selection import Selection, Unreadable, parse
from collections_app.files.verification.manifest import NAME as MANIFEST
from collections_app.files.verification.manifest import manifest
from collections_app.models import Collection, Run
from collections_app.sources import Deliverable
from collections_app.system.addresses import results_of


def run_manifest(
    request: HttpRequest, collection_id: Path[CollectionId], runner_id: Path[RunnerId]
) -> HttpResponseBase:
    """Answer with a run's manifest. Raises what find_run() and deliver() raise."""
    run, reader = find_run(request, collection_id, runner_id)
    return delivered(request, _manifest_for(request)(run), reader)


def latest_manifest(request: HttpRequest, collection_id: Path[CollectionId]) -> HttpResponseBase:
    """Answer with the newest run's manifest. Raises what find_latest_run() and deliver() raise."""
    return delivered_from_latest(request, collection_id, MANIFEST, _manifest_for(request))


def run_all(
    request: HttpRequest, collection_id: Path[CollectionId], runner_id: Path[RunnerId]
) -> HttpResponseBase:
    """Answer with a ZIP of a run's files. Raises what find_run(), run_archive() and deliver() raise."""
    run, reader = find_run(request, collection_id, runner_id)
    return delivered(request, run_archive(run), reader)


def latest_all(request: HttpRequest, collection_id: Path[CollectionId]) -> HttpResponseBase:
    """Answer with a ZIP of the newest run's files. Raises what run_all() and find_latest_run() raise."""
    return delivered_from_latest(request, collection_id, ALL, run_archive)


def selection_zip(request: HttpRequest, collection_id: Path[CollectionId]) -> HttpResponseBase:
    """Answer with one ZIP of several runs and pages. Raises what _selected() does."""
    return _selected(request, collection_id, selection_archive)


def selection_json(request: HttpRequest, collection_id: Path[CollectionId]) -> HttpResponseBase:
    """Answer with all records of several runs and pages as one list. Raises what _selected() does."""
    return _selected(request, collection_id, merged_selection)


def _selected(
    request: HttpRequest, collection_id: str, make: Callable[[Collection, Selection], Deliverable]
) -> HttpResponseBase:
    """Raises what find_collection(), `make` and deliver() raise, and Refused (400)."""
    collection, reader = find_collection(request, collection_id)
    try:
        selection = parse(request.GET.getlist("runs"), request.GET.getlist("pages"))
        made = make(collection, selection)
    except Unreadable as problem:
        raise Refused(400, str(problem)) from None
    return delivered(request, made, reader)


def _manifest_for(request: HttpRequest) -> Callable[[Run], Deliverable]:
    def made(run: Run) -> Deliverable:
        folder = f"{results_of(request, run.collection_id)}/{run.number}"
        return manifest(run, lambda file: f"{folder}/{quote(file.name, safe='')}")

    return made
