"""The Operations page. It reads only stored figures and never lists the storage."""

from django.http import HttpResponse
from django.views.decorators.http import require_safe

from collections_app.people.access import MemberRequest, operator
from collections_app.views.fragments import render_fragment
from collections_app.views.operations.accounts import accounts
from collections_app.views.operations.disks import disks
from collections_app.views.operations.failures import recent_failures
from collections_app.views.operations.queues import queues
from collections_app.views.operations.storage import largest_collections, largest_teams, use_by_kind
from collections_app.views.operations.versions import versions, workers


@operator
@require_safe
def operations(request: MemberRequest) -> HttpResponse:
    """Show the status of the site. htmx gets more teams or collections.

    `teams` or `collections` is the key of the last row before the page, in the list of that name.
    """
    teams, collections = request.GET.get("teams", ""), request.GET.get("collections", "")
    context: dict[str, object] = {"after_teams": teams, "after_collections": collections}
    if not collections:
        context["teams"] = largest_teams(teams)
    if not teams:
        context["collections"] = largest_collections(collections)
    if not (teams or collections):
        context |= _state_of_the_site()
    fragment = "operations/_collection_rows.html" if collections else "operations/_team_rows.html"
    return render_fragment(request, "operations/page.html", fragment, context)


def _state_of_the_site() -> dict[str, object]:
    return {
        "disks": disks(),
        "kinds": use_by_kind(),
        "queues": queues(),
        "failures": recent_failures(),
        "accounts": accounts(),
        "versions": versions(),
        "workers": workers(),
    }
