"""Updates of the lines of the Overview."""

from django.http import HttpResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from collections_app.people.access import Action, MemberRequest, team_member
from collections_app.views.collections.live import changed_rows
from collections_app.views.overview.lines import CELLS, set_lines


@team_member(Action.SEE)
@require_safe
@never_cache
def overview_live(request: MemberRequest) -> HttpResponse:
    """Return the collections whose lines differ from those that were `seen`, or 204 if none does."""
    return changed_rows(request, set_lines, CELLS)
