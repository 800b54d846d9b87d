"""The site's URLs, and minimal views for comparison."""

import orjson
from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

from collections_app.api.authentication import authenticate
from collections_app.models import ApiKey, ResultFile
from collections_app.people.access import api_key, collection_of, public
from dashboard.urls import urlpatterns as site


@public
def bare(request: HttpRequest) -> HttpResponse:
    """Send the user's name: a session, a user and nothing else."""
    return HttpResponse(request.user.get_username())


@csrf_exempt
@api_key(authenticate)
def run_list(request: HttpRequest, key: ApiKey) -> HttpResponse:
    """Send the same list of runs as the API, with orjson."""
    query = orjson.loads(request.body)
    collection, _ = collection_of([key.membership], query["collection_id"])
    rows = collection.runs.newest_first().values_list(
        "pk", "number", "extracted", "total", "created_at", "updated_at"
    )[: query["limit"]]
    runs = list(rows)
    files: dict[int, list[tuple[str, str]]] = {run[0]: [] for run in runs}
    found = ResultFile.objects.filter(run__in=files).order_by("run", "kind", "position")
    for run, kind, name in found.values_list("run_id", "kind", "name"):
        files[run].append((kind, name))
    folder = f"http://{request.get_host()}/api/v1/results/{collection.pk}"
    data = []
    for pk, number, extracted, total, created_at, updated_at in runs:
        links = [(kind, f"{folder}/{number}/{name}") for kind, name in files[pk]]
        data.append(
            {
                "id": number,
                "collection": collection.pk,
                "is_download_generated": True,
                "download_links": {
                    "pages": [link for kind, link in links if kind == "page"],
                    "all_pages": next(link for kind, link in links if kind == "archive"),
                },
                "total_exacted_result": extracted,
                "total_results": total,
                "created_at": created_at,
                "updated_at": updated_at,
            }
        )
    option = orjson.OPT_UTC_Z | orjson.OPT_OMIT_MICROSECONDS
    content = orjson.dumps({"code": 200, "data": data, "status": 1}, option=option)
    return HttpResponse(content, content_type="application/json")


urlpatterns = [path("bare", bare), path("run-list", run_list), *site]
