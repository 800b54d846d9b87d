"""The API's addresses, through django-ninja: routing, OpenAPI and its Swagger UI."""

from typing import Any

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import URLPattern, URLResolver, path, re_path, register_converter
from django.urls.converters import StringConverter
from django.views.decorators.csrf import csrf_exempt
from ninja import NinjaAPI, Swagger
from ninja.openapi.schema import OpenAPISchema

from collections_app.api import documentation
from collections_app.api.envelope import Refused, View, endpoint, failure
from collections_app.api.files import download_result_file
from collections_app.api.records import latest_records, run_records
from collections_app.api.run_files import (
    latest_all,
    latest_manifest,
    run_all,
    run_manifest,
    selection_json,
    selection_zip,
)
from collections_app.api.runs import list_run_results
from collections_app.people import access


class _AnyText(StringConverter):
    """Any text: also with slashes and line breaks, and none. What is no file is for the endpoint to say."""

    regex = "(?s:.*)"


register_converter(_AnyText, "any")


class _Api(NinjaAPI):
    """django-ninja, but for the API key: the views check it themselves, at its place among the checks."""

    _document: OpenAPISchema | None = None

    def get_openapi_schema(self, **options: Any) -> OpenAPISchema:
        """Return the OpenAPI document, with the API key in it; made once: it is the same for everybody."""
        if self._document is None:
            self._document = super().get_openapi_schema(**options)
            self._document["components"]["securitySchemes"] = documentation.SECURITY
        return self._document


_api = _Api(
    title=documentation.TITLE,
    version="1",
    description=documentation.DESCRIPTION,
    docs=Swagger(documentation.SWAGGER),
    docs_decorator=access.signed_in,
    urls_namespace="api",
    openapi_extra={"security": [{name: []} for name in documentation.SECURITY]},
)
_api.post("/schedules/collections/results/download/", **documentation.LIST_RUN_RESULTS)(list_run_results)
_FILE = "/results/{collection_id}/{runner_id}/{any:file_name}"
_api.get(_FILE, **documentation.DOWNLOAD_RESULT_FILE)(download_result_file)
_api.api_operation(["HEAD"], _FILE, include_in_schema=False)(download_result_file)


def _add_file(address: str, view: View, described: dict[str, Any]) -> None:
    _api.get(address, **described)(view)
    _api.api_operation(["HEAD"], address, include_in_schema=False)(view)


_RUN = "/collections/{collection_id}/runs/{runner_id}"
_LATEST = "/collections/{collection_id}/latest"
_add_file(f"{_RUN}/manifest.json", run_manifest, documentation.RUN_MANIFEST)
_add_file(f"{_LATEST}/manifest.json", latest_manifest, documentation.LATEST_MANIFEST)
_add_file(f"{_RUN}/all.zip", run_all, documentation.RUN_ALL)
_add_file(f"{_LATEST}/all.zip", latest_all, documentation.LATEST_ALL)
_add_file(f"{_RUN}/records.{{file_format}}", run_records, documentation.RUN_RECORDS)
_add_file(f"{_LATEST}/records.{{file_format}}", latest_records, documentation.LATEST_RECORDS)
_add_file("/collections/{collection_id}/selection.zip", selection_zip, documentation.SELECTION_ZIP)
_add_file("/collections/{collection_id}/selection.json", selection_json, documentation.SELECTION_JSON)


@_api.exception_handler(Exception)
def _pass_on(request: HttpRequest, error: Exception) -> HttpResponseBase:
    raise error  # endpoint() answers, whatever DEBUG says


@access.public
@csrf_exempt
def _unknown(request: HttpRequest) -> HttpResponseBase:
    return failure(Refused(404, "There is nothing at this address."))


_VIEWS = {
    # The vendor answers every error of this one with HTTP 200.
    "list_run_results": endpoint("POST", always_200=True),
    "download_result_file": endpoint("GET", "HEAD"),
    "run_manifest": endpoint("GET", "HEAD"),
    "latest_manifest": endpoint("GET", "HEAD"),
    "run_all": endpoint("GET", "HEAD"),
    "latest_all": endpoint("GET", "HEAD"),
    "selection_zip": endpoint("GET", "HEAD"),
    "selection_json": endpoint("GET", "HEAD"),
    "run_records": endpoint("GET", "HEAD"),
    "latest_records": endpoint("GET", "HEAD"),
}


def _stated(pattern: URLPattern | URLResolver) -> URLPattern:
    assert isinstance(pattern, URLPattern)
    # The documentation states its rule by the docs_decorator; django-ninja's root has nothing to show.
    if pattern.name in _VIEWS:
        pattern.callback = access.api_key(_VIEWS[pattern.name](pattern.callback))
    elif pattern.name == "api-root":
        pattern.callback = _unknown
    return pattern


_patterns, _app_name, _namespace = _api.urls

urlpatterns = [
    path("v1/", ([_stated(pattern) for pattern in _patterns], _app_name, _namespace)),
    re_path("", _unknown),
]
