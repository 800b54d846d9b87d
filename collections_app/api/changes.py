"""What changed between two runs: as a JSON list in parts, or as one file in any format."""

from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

import msgspec
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from collections_app.api import query
from collections_app.api.deliver import add_location
from collections_app.api.download_records import export_response
from collections_app.api.endpoint import endpoint
from collections_app.api.errors import ApiError
from collections_app.api.find_run import find_run
from collections_app.api.limits import DEFAULT_CHANGES, EXPORT_RETRY_AFTER_SECONDS, MAX_LIMIT
from collections_app.api.responses import accepted, success
from collections_app.models import ApiKey, Comparison, Run, State
from collections_app.models.queues import TooManyQueued
from collections_app.models.runs import check_ready
from collections_app.records.exports.changes import LAYOUTS
from collections_app.records.exports.create import create_changes_export, parse_format, parse_spec
from collections_app.records.exports.subject import InvalidSpec
from collections_app.records.formats.export_formats import ExportSpec, Format
from collections_app.records.preview.concurrency import TooManyQueries
from collections_app.records.preview.engine import QueryTimeout
from collections_app.records.tracking.build_comparison import NoKey
from collections_app.records.tracking.change_file import json_value
from collections_app.records.tracking.change_queries import ChangePage, ChangeQuery
from collections_app.records.tracking.compare import Entry
from collections_app.records.tracking.comparisons import changes_of, comparison_of
from collections_app.records.tracking.counts import Counts
from collections_app.records.tracking.keys import texts_of
from collections_app.records.tracking.kinds import ChangeKind
from collections_app.records.tracking.previous_runs import default_since
from collections_app.system.addresses import absolute
from collections_app.system.background import StillWorking

# changes.json is a list in parts.
FILE_FORMATS = (Format.CSV, Format.XLSX, Format.JSONL, Format.PARQUET)
_RETRY = {"Retry-After": str(EXPORT_RETRY_AFTER_SECONDS)}
_COUNTS = tuple(Counts().by_name())


@endpoint("GET", "HEAD")
def run_changes(
    request: HttpRequest, key: ApiKey, collection_id: str, runner_id: str | None = None
) -> HttpResponseBase:
    """List what changed in a run, or in the newest one. Respond with 202 while the runs are compared."""
    number, wanted = query.integer(request, "since"), _query(request)
    wanted = replace(wanted, limit=wanted.limit or DEFAULT_CHANGES)
    run = find_run(key, collection_id, runner_id)
    comparison = _comparison(run, _since(run, number))
    response = _listed(request, comparison, wanted) if comparison.is_ready else _unfinished(comparison)
    return response if runner_id else add_location(response, run, _with_query(request, "changes.json"))


@endpoint("GET", "HEAD")
def run_change_file(
    request: HttpRequest, key: ApiKey, collection_id: str, file_format: str, runner_id: str | None = None
) -> HttpResponseBase:
    """Send what changed in a run, or in the newest one, as a file. Respond with 202 while it is built."""
    spec = _spec(request, file_format)
    number, wanted = query.integer(request, "since"), _query(request)
    layout = LAYOUTS[query.choice(request, "layout", tuple(LAYOUTS)) or "long"]
    run = find_run(key, collection_id, runner_id)
    comparison = _comparison(run, _since(run, number))
    if comparison.is_ready:
        create = lambda: create_changes_export(comparison, wanted, spec, layout=layout)  # noqa: E731
        response = export_response(request, key, create)
    else:
        response = _unfinished(comparison)
    name = f"changes.{file_format}"
    return response if runner_id else add_location(response, run, _with_query(request, name))


def _with_query(request: HttpRequest, name: str) -> str:
    text = request.META.get("QUERY_STRING", "")
    return f"{name}?{text}" if text else name


def _query(request: HttpRequest) -> ChangeQuery:
    """Return the query in the parameters of a request. Raises ApiError (400)."""
    return ChangeQuery(
        kinds=tuple(map(ChangeKind, query.choices(request, "what", tuple(ChangeKind)))),
        min_percent=query.decimal(request, "min_percent"),
        after=query.integer(request, "after", default=0) or 0,
        limit=query.integer(request, "limit", least=1, most=MAX_LIMIT),
    )


def _spec(request: HttpRequest, name: str) -> ExportSpec:
    file_format = parse_format(name)
    if file_format not in FILE_FORMATS:
        raise ApiError(404, f"Unknown format. Use one of: json, {', '.join(FILE_FORMATS)}.")
    try:
        return parse_spec(file_format, (), request.GET.get("excel", ""), request.GET.get("separator", ""))
    except InvalidSpec as error:
        raise ApiError(400, str(error)) from None


def _since(run: Run, number: int | None) -> Run:
    """Return the earlier run: the one with this number, or default_since(). Raises ApiError."""
    if number is None:
        since = default_since(run)
        if since is None:
            raise ApiError(404, _no_earlier_run(run))
        return since
    found = run.collection.runs.filter(number=number).select_related("collection__account").first()
    if (found is None and number > run.number) or (found and not _is_before(found, run)):
        raise ApiError(400, f"since must be a run before run {run.number}.")
    return check_ready(number, found)


def _no_earlier_run(run: Run) -> str:
    if run.collection.runs.filter(state=State.READY).before(run.cursor).exists():
        return f"No earlier run of the same kind as run {run.number} can be trusted. Choose one with since."
    return f"There is no earlier run to compare run {run.number} with."


def _is_before(run: Run, other: Run) -> bool:
    return (run.created_at, run.number) < (other.created_at, other.number)


def _comparison(run: Run, since: Run) -> Comparison:
    try:
        return comparison_of(run, since)
    except NoKey as error:
        raise ApiError(409, str(error)) from None
    except TooManyQueued as error:
        raise ApiError(429, str(error), _RETRY) from None


def _unfinished(comparison: Comparison) -> HttpResponseBase:
    """Return the progress of a comparison. Raises ApiError (500) if it failed."""
    if comparison.failure:
        raise ApiError(500, comparison.failure)
    progress = {"state": comparison.state, "done": 0, "total": None}
    return accepted(progress, retry_after_seconds=EXPORT_RETRY_AFTER_SECONDS)


def _listed(request: HttpRequest, comparison: Comparison, wanted: ChangeQuery) -> HttpResponseBase:
    try:
        page = changes_of(comparison, wanted)
    except StillWorking:
        comparison.refresh_from_db()
        return _unfinished(comparison)
    except TooManyQueries as error:
        raise ApiError(429, str(error), _RETRY) from None
    except QueryTimeout:
        raise ApiError(503, "The changes can't be read in time. Try again later.", _RETRY) from None
    return success(
        {
            "run": comparison.run.number,
            "since": comparison.since.number,
            "key": comparison.summary["key"],
            # PostgreSQL doesn't keep the order of keys.
            "counts": {name: comparison.counts.get(name, 0) for name in _COUNTS},
            "changes": [_change(entry) for entry in page.entries],
            "next": _next(request, comparison, wanted, page),
        }
    )


def _change(entry: Entry) -> dict[str, Any]:
    return {
        "key": texts_of(entry.key),
        "title": entry.title,
        "column": entry.column,
        "kind": entry.kind,
        "was": msgspec.Raw(json_value(entry.was)),
        "now": msgspec.Raw(json_value(entry.now)),
        "percent": None if entry.percent is None else float(entry.percent),
    }


def _next(request: HttpRequest, comparison: Comparison, wanted: ChangeQuery, page: ChangePage) -> str | None:
    """Return the address of the next part, which names both runs, or None at the end."""
    if page.next is None:
        return None
    run = comparison.run
    parameters: dict[str, object] = {
        "since": comparison.since.number,
        "what": ",".join(wanted.kinds),
        "min_percent": wanted.min_percent,
        "limit": wanted.limit,
        "after": page.next,
    }
    sent = urlencode({name: value for name, value in parameters.items() if value not in {None, ""}}, safe=",")
    return absolute(request, f"/api/v1/collections/{run.collection_id}/runs/{run.number}/changes.json?{sent}")
