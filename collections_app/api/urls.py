"""The addresses of the API."""

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import include, path, re_path
from django.views.decorators.csrf import csrf_exempt

from collections_app.api.authentication import require_https
from collections_app.api.changes import run_change_file, run_changes
from collections_app.api.docs import openapi_json, openapi_view
from collections_app.api.download_file import download_result_file
from collections_app.api.download_records import run_records, run_saved_export, selection_records
from collections_app.api.download_run import run_all, run_manifest, selection_json, selection_zip
from collections_app.api.errors import ApiError
from collections_app.api.events import list_events
from collections_app.api.list_runs import list_run_results
from collections_app.api.lists import list_collection_runs, list_collections
from collections_app.api.products import product_history
from collections_app.api.quality import run_quality
from collections_app.api.responses import failure
from collections_app.people.access import public


@public
@csrf_exempt
def _unknown(request: HttpRequest) -> HttpResponseBase:
    try:
        require_https(request)
    except ApiError as error:
        return failure(error)
    return failure(ApiError(404, "This address doesn't exist. The API documentation lists all addresses."))


_RUN = "collections/<collection_id>/runs/<runner_id>"
_LATEST = "collections/<collection_id>/latest"
_SELECTION = "collections/<collection_id>/selection"

# Django tries them in this order.
_v1 = [
    # Not <path:file_name>: an empty name, or one with a line break, needs the same checks.
    re_path(
        r"^results/(?P<collection_id>[^/]+)/(?P<runner_id>[^/]+)/(?P<file_name>(?s:.*))$",
        download_result_file,
        name="download_result_file",
    ),
    path("", _unknown, name="api-root"),
    path("docs", openapi_view, name="openapi-view"),
    path("openapi.json", openapi_json, name="openapi-json"),
    path("schedules/collections/results/download/", list_run_results, name="list_run_results"),
    path("collections", list_collections, name="list_collections"),
    path("events", list_events, name="list_events"),
    path("collections/<collection_id>/runs", list_collection_runs, name="list_collection_runs"),
    path(f"{_RUN}/manifest.json", run_manifest, name="run_manifest"),
    path(f"{_LATEST}/manifest.json", run_manifest, name="latest_manifest"),
    path(f"{_RUN}/all.zip", run_all, name="run_all"),
    path(f"{_LATEST}/all.zip", run_all, name="latest_all"),
    path(f"{_RUN}/records.<file_format>", run_records, name="run_records"),
    path(f"{_LATEST}/records.<file_format>", run_records, name="latest_records"),
    path(f"{_RUN}/quality.json", run_quality, name="run_quality"),
    path(f"{_RUN}/changes.json", run_changes, name="run_changes"),
    path(f"{_LATEST}/changes.json", run_changes, name="latest_changes"),
    path(f"{_RUN}/changes.<file_format>", run_change_file, name="run_change_file"),
    path(f"{_LATEST}/changes.<file_format>", run_change_file, name="latest_change_file"),
    path(f"{_RUN}/exports/<name>", run_saved_export, name="run_saved_export"),
    path(f"{_LATEST}/exports/<name>", run_saved_export, name="latest_saved_export"),
    # Not <path:product_key>: a key may contain a line break.
    re_path(
        r"^collections/(?P<collection_id>[^/]+)/products/(?P<product_key>(?s:.+))\.json$",
        product_history,
        name="product_history",
    ),
    path(f"{_SELECTION}.zip", selection_zip, name="selection_zip"),
    path(f"{_SELECTION}.json", selection_json, name="selection_json"),
    path(f"{_SELECTION}.<file_format>", selection_records, name="selection_records"),
]

urlpatterns = [path("api/v1/", include((_v1, "api"))), path("api/", include([re_path("", _unknown)]))]
