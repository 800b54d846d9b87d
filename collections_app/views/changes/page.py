"""The page of what changed between two runs."""

from typing import Any

from django.http import Http404
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_safe
from django_htmx.http import HttpResponseClientRefresh

from collections_app.models import Collection, Run, Verdict
from collections_app.models.verdicts import IS_TRUSTED
from collections_app.people.access import Action, MemberRequest, collection_member
from collections_app.records.preview.concurrency import queries_of
from collections_app.records.tracking.previous_runs import is_partial
from collections_app.views.changes.download import changes_menu, requested_file
from collections_app.views.changes.earlier import earlier_choices, find_since
from collections_app.views.changes.query import ChangesQuery, read_query
from collections_app.views.changes.results import UNFINISHED, changes_or_reason
from collections_app.views.download.menu import preferred_format
from collections_app.views.exports import render_exports
from collections_app.views.fragments import wants_fragment
from collections_app.views.run.lookup import neighbors
from collections_app.views.run.table import render_result


@collection_member(Action.SEE)
@require_safe
def run_changes(request: MemberRequest, collection: Collection, number: int) -> HttpResponseBase:
    """Show what changed in a run `since` an earlier one. htmx gets the changes only.

    `what`, `column`, `min_percent`, `min_amount` and `q` filter the changes, `sort` and `dir` order them, and
    `after` skips that many. With `wait`, htmx reloads the page once the runs have been compared. `start` is
    the id of a file whose progress is shown, and whose download starts automatically.
    """
    query = read_query(request.GET, collection)
    run = collection.runs.filter(number=number).first()
    if run is None:
        raise Http404(f"This collection has no run {number}.")
    since = find_since(run, query)
    if since is not None and query.since is None:
        # Both numbers are in the address, so that a link shows the same forever.
        here = reverse("run_changes", args=[collection.pk, number])
        return redirect(here + query.address(since=since.number))
    context: dict[str, Any] = {"collection": collection, "run": run, "since": since, "query": query}
    context |= requested_file(request, run, query)
    if request.htmx.target == "exports":
        return render_exports(request, "changes/page.html", context)
    with queries_of(request.user.pk):
        context |= changes_or_reason(run, since, query)
    if context["state"] == "ready":
        context["menu"] = changes_menu(run, query, preferred_format(request))
    if not wants_fragment(request):
        context |= _around(run, since, query)
    elif "wait" in request.GET and context["state"] not in UNFINISHED:
        return HttpResponseClientRefresh()
    fragment = "changes/_rows.html" if query.changes.after else "changes/_results.html"
    return render_result(request, "changes/page.html", fragment, context, is_refused="is_refused" in context)


def _around(run: Run, since: Run | None, query: ChangesQuery) -> dict[str, Any]:
    """Return the context for the rest of the page: other runs, and why to read the changes with care."""
    context: dict[str, Any] = {**neighbors(run), "earlier": earlier_choices(run, since, query)}
    if since is not None:
        distrusted = Verdict.objects.filter(~IS_TRUSTED, run__in=[since, run]).order_by("run__number")
        context["distrusted"] = list(distrusted.values_list("run__number", flat=True))
        context["is_partial"] = is_partial(run)
        context["is_since_partial"] = is_partial(since)
    return context
