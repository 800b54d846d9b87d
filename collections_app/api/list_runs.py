"""List the runs of a collection."""

from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest, HttpResponse

from collections_app.api.endpoint import endpoint
from collections_app.api.errors import ApiError
from collections_app.api.limits import DEFAULT_LIMIT, MAX_LIMIT
from collections_app.api.refresh import refresh
from collections_app.api.request_body import boolean, integer, parse_object
from collections_app.api.responses import success
from collections_app.models import ApiKey, Collection, FileKind, ResultFile, State
from collections_app.models.run_status import StatusFacts
from collections_app.models.runs import FileNames, RunQuerySet
from collections_app.people import access
from collections_app.system.addresses import results_of

_LISTED = ("pk", "number", "state", "extracted", "total", "created_at", "updated_at")
_LISTED_WITH_STATE = (*_LISTED, "stalls_at", "failure_reason")


@endpoint("POST", always_200=True)
def list_run_results(request: HttpRequest, key: ApiKey, body: bytes) -> HttpResponse:
    """Return part of a collection's runs, newest first."""
    fields = parse_object(body)
    collection_id = integer(fields, "collection_id", least=0)
    page, with_state = _requested_page(fields), boolean(fields, "with_state")
    collection, _ = access.collection_of([key.membership], collection_id)
    refresh(collection, lambda: page.is_full(collection))
    return success(_run_objects(collection, results_of(request, collection.pk), page, with_state=with_state))


@dataclass(frozen=True)
class _Page:
    """A part of the list of runs."""

    limit: int
    skip: int = 0
    before: int | None = None  # the number of a run

    def runs_of(self, collection: Collection) -> RunQuerySet:
        """Return the runs of this part that have rows."""
        runs = collection.runs.newest_first()
        if self.before is not None:
            runs = runs.before_number(self.before)
        return runs[self.skip : self.skip + self.limit]

    def is_full(self, collection: Collection) -> bool:
        """Whether all runs of this part have rows."""
        return self.runs_of(collection).count() == self.limit


def _requested_page(fields: dict[str, Any]) -> _Page:
    limit = integer(fields, "limit", least=1, most=MAX_LIMIT, default=DEFAULT_LIMIT)
    if "before" not in fields:
        return _Page(limit, skip=integer(fields, "skip", least=0, default=0))
    if "skip" in fields:
        raise ApiError(400, "before and skip can't be combined. Send only one of them.")
    return _Page(limit, before=integer(fields, "before", least=0))


def _run_objects(
    collection: Collection, folder: str, page: _Page, *, with_state: bool
) -> list[dict[str, Any]]:
    # Read only the listed columns. Creating a Run for each row would take half of the time.
    columns = _LISTED_WITH_STATE if with_state else _LISTED
    runs = list(page.runs_of(collection).values_list(*columns, named=True))
    names = ResultFile.objects.names_of(run.pk for run in runs if run.state == State.READY)
    return [
        {
            "id": run.number,
            "collection": collection.pk,
            "is_download_generated": run.pk in names,
            "download_links": _links(names.get(run.pk), collection, f"{folder}/{run.number}/"),
            "total_exacted_result": run.extracted,
            "total_results": run.total,
            "created_at": run.created_at.replace(microsecond=0),
            "updated_at": run.updated_at.replace(microsecond=0),
            **(_state(run, collection) if with_state else {}),
        }
        for run in runs
    ]


def _state(run: Any, collection: Collection) -> dict[str, str]:
    facts = StatusFacts(run.state, run.extracted, run.total, run.stalls_at, collection.observed_until)
    return {"state": facts.status.value, "failure_reason": run.failure_reason}


def _links(names: FileNames | None, collection: Collection, folder: str) -> dict[str, Any]:
    # A run has no names if it isn't ready, or if it was deleted between the two queries.
    if names is None or not collection.is_category:
        pages, others = names or ([], {})
        return {
            "pages": [folder + _escape(name) for name in pages],
            "all_pages": _link(folder, others.get(FileKind.ARCHIVE)),
        }
    full_list = _link(folder, names.others.get(FileKind.CATEGORY_LIST))
    return {
        "pages": [full_list] if full_list else [],
        "all_pages": None,
        "csv": _link(folder, names.others.get(FileKind.CATEGORY_CSV)),
    }


def _link(folder: str, name: str | None) -> str | None:
    return folder + _escape(name) if name is not None else None


def _escape(name: str) -> str:
    # Keep spaces and accents as the vendor does. Only these three would end or change the path.
    return name.replace("%", "%25").replace("#", "%23").replace("?", "%3F")
