"""List run results: what a collection's runs look like to a script."""

import time
from datetime import timedelta
from typing import Any

from django.http import HttpRequest, HttpResponse

from collections_app.api.auth import caller
from collections_app.api.body import integer, parse_object, read_body
from collections_app.api.envelope import Refused, success
from collections_app.models import Collection, FileKind, ResultFile, State
from collections_app.models.runs import FileNames
from collections_app.people import access
from collections_app.sources import LISTING_DEADLINE, SourceBusy, source_of
from collections_app.system.addresses import results_of

DEFAULT_LIMIT = 50
MAX_LIMIT = 1000

_LISTED = ("pk", "number", "state", "extracted", "total", "created_at", "updated_at")


def list_run_results(request: HttpRequest) -> HttpResponse:
    """Return part of a collection's runs, newest first.

    Raises Refused, PermissionDenied, SourceBusy.
    """
    body = read_body(request)
    member = caller(request)
    fields = parse_object(body)
    collection_id = integer(fields, "collection_id", least=0)
    skip = integer(fields, "skip", least=0, default=0)
    limit = integer(fields, "limit", least=1, most=MAX_LIMIT, default=DEFAULT_LIMIT)
    collection, _ = access.collection_of([member], collection_id)
    _bring(collection, skip + limit)
    return success(_run_objects(collection, results_of(request, collection.pk), skip, limit))


def _bring(collection: Collection, wanted: int) -> None:
    """Have the newest runs brought up to date, and older ones brought until there are as many as wanted.

    Take at most twice the time for a list, then use the rows that exist. Raises Refused and SourceBusy if
    there are none, and it isn't known whether there should be.
    """
    until = time.monotonic() + 2 * LISTING_DEADLINE.total_seconds()
    source = source_of(collection)
    freshness = source.refresh(collection, deadline=LISTING_DEADLINE)
    if isinstance(freshness.error, SourceBusy):
        raise freshness.error
    if freshness.error:
        raise Refused(504 if freshness.is_late else 502, freshness.problem)
    while freshness.has_older and not freshness.problem and collection.runs.count() < wanted:
        left = timedelta(seconds=until - time.monotonic())
        if left <= timedelta():
            break
        freshness = source.load_older(collection, deadline=min(left, LISTING_DEADLINE))


def _run_objects(collection: Collection, folder: str, skip: int, limit: int) -> list[dict[str, Any]]:
    # What is listed is read and nothing else: to make a Run of each row would take half of the time.
    rows = collection.runs.newest_first().values_list(*_LISTED, named=True)
    runs = list(rows[skip : skip + limit])
    names = ResultFile.objects.names_of(run.pk for run in runs if run.state == State.READY)
    return [
        {
            "id": run.number,
            "collection": collection.pk,
            "is_download_generated": run.pk in names,
            "download_links": _links(names.get(run.pk), collection, f"{folder}/{run.number}/"),
            "total_exacted_result": run.extracted,
            "total_results": run.total,
            # In UTC, in whole seconds.
            "created_at": run.created_at.replace(microsecond=0),
            "updated_at": run.updated_at.replace(microsecond=0),
        }
        for run in runs
    ]


def _links(names: FileNames | None, collection: Collection, folder: str) -> dict[str, Any]:
    # A run that is not ready has no files to link to. Nor has one that is deleted at this very moment,
    # between the query for it and its files'.
    if names is None or not collection.is_category:
        pages, others = names or ([], {})
        return {
            "pages": [folder + _in_address(name) for name in pages],
            "all_pages": _link(folder, others.get(FileKind.ARCHIVE)),
        }
    full_list = _link(folder, names.others.get(FileKind.CATEGORY_LIST))
    return {
        "pages": [full_list] if full_list else [],
        "all_pages": None,
        "csv": _link(folder, names.others.get(FileKind.CATEGORY_CSV)),
    }


def _link(folder: str, name: str | None) -> str | None:
    return folder + _in_address(name) if name is not None else None


def _in_address(name: str) -> str:
    # Spaces and accents stay, as the vendor prints them. These three would end the path or change it.
    return name.replace("%", "%25").replace("#", "%23").replace("?", "%3F")
