"""List collections, and the runs of a collection with their states, in the form of our own API."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse

from collections_app.api import query
from collections_app.api.endpoint import endpoint
from collections_app.api.find_run import find_collection
from collections_app.api.limits import DEFAULT_LIMIT, MAX_LIMIT
from collections_app.api.refresh import refresh
from collections_app.api.responses import plain
from collections_app.models import ApiKey, Collection, Run, Status, Verdict
from collections_app.models.runs import prefetch_latest_runs
from collections_app.models.verdicts import verdicts_of
from collections_app.system.addresses import absolute


@endpoint("GET", "HEAD")
def list_collections(request: HttpRequest, key: ApiKey) -> HttpResponse:
    """List the collections of the team in the order of their ids, each with its newest run."""
    after, limit = query.integer(request, "after"), limit_of(request)
    found = key.membership.team.collections.order_by("pk")
    if after is not None:
        found = found.filter(pk__gt=after)
    rows = list(found[: limit + 1])
    page = rows[:limit]
    prefetch_latest_runs(page)
    following = {"after": page[-1].pk, "limit": limit} if len(rows) > limit else None
    verdicts = verdicts_of(each.latest_run for each in page if each.latest_run)
    collections = [_collection(request, collection, verdicts) for collection in page]
    return plain({"collections": collections, "next": next_address(request, following)})


@endpoint("GET", "HEAD")
def list_collection_runs(request: HttpRequest, key: ApiKey, collection_id: str) -> HttpResponse:
    """List the runs of a collection, newest first, or those in one state."""
    collection = find_collection(key, collection_id)
    state = query.choice(request, "state", Status.values)
    before, limit = query.integer(request, "before"), limit_of(request)
    found = collection.runs.newest_first()
    if before is not None:
        found = found.before_number(before)
    if state is not None:
        found = found.with_status(Status(state))
    page = found[: limit + 1]
    refresh(collection, lambda: page.all().count() > limit)
    rows = list(page.all())
    runs = rows[:limit]
    following = {"state": state, "before": runs[-1].number, "limit": limit} if len(rows) > limit else None
    verdicts = verdicts_of(runs)
    listed = [_run(request, run, verdicts.get(run.pk)) for run in runs]
    return plain({"runs": listed, "next": next_address(request, following)})


def limit_of(request: HttpRequest) -> int:
    """Return the maximum number of entries. Raises ApiError (400)."""
    limit = query.integer(request, "limit", least=1, most=MAX_LIMIT, default=DEFAULT_LIMIT)
    assert limit is not None
    return limit


def next_address(request: HttpRequest, parameters: dict[str, Any] | None) -> str | None:
    """Return the address of the next part of a list, or None at its end."""
    if parameters is None:
        return None
    sent = {name: value for name, value in parameters.items() if value is not None}
    return absolute(request, f"{request.path}?{urlencode(sent)}")


def _collection(
    request: HttpRequest, collection: Collection, verdicts: Mapping[int, Verdict]
) -> dict[str, Any]:
    newest: Run | None = collection.latest_run
    return {
        "id": collection.pk,
        "name": collection.name,
        "type": collection.kind,
        "is_archived": collection.archived_at is not None,
        "created_at": collection.created_at.replace(microsecond=0),
        "refreshed_at": collection.refreshed_at and collection.refreshed_at.replace(microsecond=0),
        "runs": absolute(request, f"/api/v1/collections/{collection.pk}/runs"),
        "newest_run": _run(request, newest, verdicts.get(newest.pk)) if newest else None,
        "expected_at": collection.expected_at and collection.expected_at.replace(microsecond=0),
        "late": collection.is_late,
        "paused": collection.paused_at is not None,
    }


def _run(request: HttpRequest, run: Run, verdict: Verdict | None) -> dict[str, Any]:
    manifest = f"/api/v1/collections/{run.collection_id}/runs/{run.number}/manifest.json"
    return {
        "id": run.number,
        "state": run.status.value,
        "failure_reason": run.failure_reason,
        "extracted": run.extracted,
        "total": run.total,
        "created_at": run.created_at.replace(microsecond=0),
        "updated_at": run.updated_at.replace(microsecond=0),
        "manifest": absolute(request, manifest) if run.is_ready else None,
        "pinned": run.is_pinned,
        "delete_at": run.delete_at and run.delete_at.replace(microsecond=0),
        "verdict": verdict and verdict.level,
        "trusted": verdict and verdict.is_trusted,
    }
