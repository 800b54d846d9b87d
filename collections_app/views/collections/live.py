"""Updates of the rows in both lists of collections."""

import re
from collections.abc import Callable, Sequence

from django.core.exceptions import PermissionDenied
from django.http import HttpResponse, JsonResponse
from django.template.loader import render_to_string
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from collections_app.models import Collection, Run, Status
from collections_app.models.conditions import prefetch_conditions
from collections_app.people.access import NOT_YOURS, Action, MemberRequest, team_member
from collections_app.views.collections.rows import CELLS, set_html, set_versions
from collections_app.views.download.menu import preferred_format
from collections_app.views.live import news_of, parse_versions

# As in rows.py.
_VERSION = rf"\d{{1,18}}\.(?:late\.)?[0-9a-f]{{8}}\.(?:none|{'|'.join(Status.values)})"
_SEEN = re.compile(rf"(\d{{1,18}})\.({_VERSION})", re.ASCII)


@team_member(Action.SEE)
@require_safe
@never_cache
def collections_live(request: MemberRequest) -> HttpResponse:
    """Return the collections whose rows differ from those that were `seen`, or 204 if none does."""
    return changed_rows(request, set_versions, CELLS)


def changed_rows(
    request: MemberRequest, set_versions: Callable[[Sequence[Collection]], None], cells: str
) -> HttpResponse:
    """Return the rows that differ from those that were `seen`, as JSON, or 204 if none does.

    `set_versions` sets their versions, and `cells` is the template of the cells that change.
    """
    seen = parse_versions(_SEEN, request, "seen")
    # In all teams: the user may have switched teams since the page was loaded.
    teams = [membership.team_id for membership in request.memberships]
    found = list(Collection.objects.filter(team__in=teams, pk__in=seen).select_related("team").by_name())
    if len(found) < len(seen):
        raise PermissionDenied(NOT_YOURS)
    prefetch_conditions(found)
    set_versions(found)
    changed = [each for each in found if each.latest != seen[each.pk]]
    if not changed:
        return HttpResponse(status=204)
    set_html(changed, preferred_format(request), cells)
    return JsonResponse([_changed(each, seen[each.pk]) for each in changed], safe=False)


def _changed(collection: Collection, seen: str) -> dict[str, object]:
    return {
        "id": collection.pk,
        "html": render_to_string("collections/_live_row.html", {"collection": collection}),
        "news": f"{collection}: {_news(collection, seen)}",
    }


def _news(collection: Collection, seen: str) -> str:
    """Return what a screen reader announces about a collection whose row has changed."""
    run: Run | None = collection.latest_run
    if collection.is_late and ".late." not in seen:
        return "The next run is late."
    if run is None:
        return "No runs left."
    number, *_, status = seen.split(".")
    if int(number) > run.number:
        return f"Run {run.number} is now the newest."
    if (int(number), status) == (run.number, run.status):
        return "Its status has changed."
    return news_of(run) or f"Run {run.number} started."
