"""List run results: what a collection's runs look like to a script."""

import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from django.http import HttpRequest, HttpResponse

from collections_app import access
from collections_app.addresses import absolute
from collections_app.api.auth import caller
from collections_app.api.body import integer, parse_object, read_body
from collections_app.api.envelope import Refused, success
from collections_app.models import Collection, ResultFile, Run
from collections_app.sources import LISTING_DEADLINE, source_of

RESULTS = "/api/v1/results"
DEFAULT_LIMIT = 50
MAX_LIMIT = 1000


def list_run_results(request: HttpRequest) -> HttpResponse:
    """Answer with a part of a collection's runs, newest first. Raises Refused, PermissionDenied."""
    body = read_body(request)
    member = caller(request)
    fields = parse_object(body)
    collection_id = integer(fields, "collection_id", least=0)
    skip = integer(fields, "skip", least=0, default=0)
    limit = integer(fields, "limit", least=1, most=MAX_LIMIT, default=DEFAULT_LIMIT)
    collection, _ = access.collection_of([member], collection_id)
    _bring(collection, skip + limit)
    runs = collection.runs.newest_first().with_files()[skip : skip + limit]
    return success(_run_objects(runs, collection, absolute(request, f"{RESULTS}/{collection.pk}")))


def _bring(collection: Collection, wanted: int) -> None:
    """Have the newest runs brought up to date, and older ones brought until there are as many as wanted.

    Within twice the time for a list; then the rows that there are must do. Raises Refused where there are
    none, and nobody knows whether there should be.
    """
    until = time.monotonic() + 2 * LISTING_DEADLINE.total_seconds()
    source = source_of(collection)
    freshness = source.refresh(collection, deadline=LISTING_DEADLINE)
    if freshness.as_of is None and freshness.problem:
        raise Refused(504 if freshness.is_late else 502, freshness.problem)
    while freshness.has_older and not freshness.problem and collection.runs.count() < wanted:
        left = timedelta(seconds=until - time.monotonic())
        if left <= timedelta():
            break
        freshness = source.reach_back(collection, deadline=min(left, LISTING_DEADLINE))


def _run_objects(runs: Iterable[Run], collection: Collection, folder: str) -> list[dict[str, Any]]:
    return [
        {
            "id": run.number,
            "collection": collection.pk,
            "is_download_generated": run.is_ready,
            "download_links": _links(run, collection, f"{folder}/{run.number}"),
            "total_exacted_result": run.extracted,
            "total_results": run.total,
            "created_at": _time(run.created_at),
            "updated_at": _time(run.updated_at),
        }
        for run in runs
    ]


def _links(run: Run, collection: Collection, folder: str) -> dict[str, Any]:
    # A run that is not ready has no files to link to.
    if not run.is_ready or not collection.is_category:
        return {"pages": [_url(folder, page) for page in run.pages], "all_pages": _url(folder, run.archive)}
    return {
        # Empty where the run is deleted at this very moment, between the query for it and its files'.
        "pages": [_url(folder, run.category_list)] if run.category_list else [],
        "all_pages": None,
        "csv": _url(folder, run.category_csv),
    }


def _url(folder: str, file: ResultFile | None) -> str | None:
    return f"{folder}/{_in_address(file.name)}" if file else None


def _in_address(name: str) -> str:
    # Spaces and accents stay, as the vendor prints them. These three would end the path or change it.
    return name.replace("%", "%25").replace("#", "%23").replace("?", "%3F")


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
