"""The changes between two runs as a file."""

from dataclasses import replace

from django.contrib import messages
from django.core.exceptions import BadRequest
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_safe

from collections_app.models import Collection, Comparison, Run
from collections_app.models.queues import TooManyQueued
from collections_app.people.access import Action, MemberRequest, collection_member
from collections_app.records.exports.create import create_changes_export, deliverable
from collections_app.records.tracking.build_comparison import NoKey
from collections_app.records.tracking.comparisons import comparison_of
from collections_app.views.changes.earlier import find_since
from collections_app.views.changes.query import ChangesQuery, read_query
from collections_app.views.download.menu import (
    FORMAT_NAMES,
    Choice,
    DownloadMenu,
    preferred_first,
    remember_format,
)
from collections_app.views.exports import created, requested_spec
from collections_app.views.file_response import file_response
from collections_app.views.run.lookup import find_ready_run

_LATER = "The file is being created. Download it again in a moment."


@collection_member(Action.SEE, is_file=True)
@require_safe
def run_changes_file(
    request: MemberRequest, collection: Collection, number: int, file_format: str
) -> HttpResponseBase:
    """Send the changes that the page's parameters select, or redirect to the page if they aren't ready."""
    query = read_query(request.GET, collection)
    run = find_ready_run(collection, number)
    if query.since is None:
        raise BadRequest("The “since” parameter is missing. It must be the number of an earlier run.")
    spec = requested_spec(request, file_format)
    comparison = _ready_comparison(run, query)
    if comparison is not None:
        wanted = replace(query.changes, after=0, limit=None)
        export = created(request, lambda: create_changes_export(comparison, wanted, spec))
        remember_format(request, spec.format)
        if export is not None and export.is_ready:
            return file_response(request, lambda: deliverable(export))
        if export is not None:
            messages.info(request, export.failure or _LATER)
    return redirect(reverse("run_changes", args=[collection.pk, number]) + query.address())


def _ready_comparison(run: Run, query: ChangesQuery) -> Comparison | None:
    """Return the comparison if it is ready. Otherwise, the page says why not. Raises Http404, BadRequest."""
    since = find_since(run, query)
    if since is None:
        return None
    try:
        comparison = comparison_of(run, since)
    except (NoKey, TooManyQueued):
        return None
    return comparison if comparison.is_ready else None


def changes_menu(run: Run, query: ChangesQuery, preferred: str) -> DownloadMenu:
    """Return the menu of the changes that a query selects."""
    folder = reverse("run", args=[run.collection_id, run.number])
    choices = [
        Choice(each, name, f"{folder}changes.{each}{query.address()}") for each, name in FORMAT_NAMES.items()
    ]
    return DownloadMenu(f"the changes since run {query.since}", preferred_first(choices, preferred))
