"""The Overview: the start page."""

from urllib.parse import urlencode

from django.core.exceptions import BadRequest
from django.http import HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_safe

from collections_app.models.conditions import conditions_of
from collections_app.models.outages import outages
from collections_app.people.access import Action, MemberRequest, may, signed_in
from collections_app.system import disk
from collections_app.views.collections.order import URGENCY, page_of
from collections_app.views.collections.rows import set_cells
from collections_app.views.collections.show import Show, choices, only, read_show, set_favorites
from collections_app.views.download.menu import last_night_menu, preferred_format
from collections_app.views.fragments import render_fragment
from collections_app.views.overview.last_night import Outcome, last_night_of
from collections_app.views.overview.lines import CELLS, STRIP_LENGTH, set_lines
from collections_app.views.overview.space import space_of


@signed_in
@require_safe
def overview(request: MemberRequest) -> HttpResponse:
    """Show the team's collections, those with problems first. htmx gets more lines.

    `night` selects the collections with that outcome last night, `show` the user's own, and `after` is the
    sort key of the last one before the page. A user without a team is redirected to the profile or, as an
    operator, to Operations.
    """
    if not request.memberships:
        return redirect("operations" if request.user.is_staff else "profile")
    team = request.membership.team
    show = read_show(request)
    found = only(team.collections.current(), show, request)
    known = conditions_of(found.by_name())
    night = last_night_of(team, known)
    outcome = _outcome(request.GET.get("night", ""))
    chosen = {pk: each for pk, each in known.items() if not outcome or night.outcomes.get(pk) == outcome}
    after = request.GET.get("after", "")
    page = page_of(found, URGENCY, after, chosen)
    set_lines(page.collections)
    set_cells(page.collections, preferred_format(request), CELLS)
    set_favorites(page.collections, request)
    context: dict[str, object] = {
        "collections": page.collections,
        "night": night,
        "night_menu": last_night_menu(preferred_format(request)) if night.has_results and not show else None,
        "outcome": outcome,
        "show": show,
        "choices": choices(show, lambda each: _address(outcome, each)),
        "after": after,
        "more": page.next_key and _address(outcome, show, page.next_key),
        "strip_length": STRIP_LENGTH,
        "outages": outages(team),
    }
    if may(request.membership, Action.MANAGE_COLLECTIONS):
        context |= {"low_disk": disk.low(), "space": None if after else space_of(team)}
    fragment = "overview/_lines.html" if after else "overview/_results.html"
    return render_fragment(request, "overview/page.html", fragment, context)


def _outcome(text: str) -> Outcome | None:
    try:
        return Outcome(text) if text else None
    except ValueError as error:
        raise BadRequest("Unknown “night” parameter. Go back to the Overview.") from error


def _address(outcome: Outcome | None, show: Show, after: str = "") -> str:
    parameters = {"night": outcome or "", "show": show, "after": after}
    given = urlencode({name: value for name, value in parameters.items() if value})
    return reverse("home") + (f"?{given}" if given else "")
