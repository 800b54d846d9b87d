"""The Overview: the start page."""

from typing import Any
from urllib.parse import urlencode

from django.core.exceptions import BadRequest
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.cache import patch_vary_headers
from django.views.decorators.http import require_safe

from collections_app.models.conditions import conditions_of
from collections_app.models.outages import outages
from collections_app.people.access import Action, MemberRequest, may, signed_in
from collections_app.system import disk
from collections_app.views.collections.order import URGENCY, Page, page_of
from collections_app.views.collections.rows import set_html
from collections_app.views.collections.show import Show, choices, only, read_show, set_favorites
from collections_app.views.download.menu import last_night_menu, preferred_format
from collections_app.views.fragments import render_fragment, wants_fragment
from collections_app.views.overview.last_night import Outcome, evening_of, last_night_of
from collections_app.views.overview.lines import LINE, STRIP_LENGTH, set_lines
from collections_app.views.overview.space import space_of


@signed_in
@require_safe
def overview(request: MemberRequest) -> HttpResponse:
    """Show the team's collections, those with problems first. htmx gets more lines, or last night's results.

    `night` selects the collections with that outcome last night, `show` the user's own, and `after` is the
    sort key of the last one before the page. A user without a team is redirected to the profile or, as an
    operator, to Operations.
    """
    if not request.memberships:
        return redirect("operations" if request.user.is_staff else "profile")
    show, outcome = read_show(request), _outcome(request.GET.get("night", ""))
    found = only(request.membership.team.collections.current(), show, request)
    evening = evening_of(request.membership.team)
    known = conditions_of(found.by_name(), since=evening)
    night = last_night_of(known, evening)
    context = {"night": night, "outcome": outcome, "show": show, "address": _address(outcome, show)}
    if wants_fragment(request) and request.htmx.target == "last-night":
        response = render(request, "overview/_last_night.html", context)
    else:
        chosen = {pk: each for pk, each in known.items() if outcome in {None, night.outcomes.get(pk)}}
        page = page_of(found, URGENCY, request.GET.get("after", ""), chosen)
        response = _page(request, page, show, outcome, context)
    patch_vary_headers(response, ["HX-Target"])
    return response


def _page(
    request: MemberRequest, page: Page, show: Show, outcome: Outcome | None, context: dict[str, Any]
) -> HttpResponse:
    """Return the lines of the collections, in the page or, for htmx, without it."""
    preferred, after = preferred_format(request), request.GET.get("after", "")
    set_lines(page.collections)
    set_favorites(page.collections, request)
    set_html(page.collections, preferred, LINE)
    context |= {
        "collections": page.collections,
        "night_menu": last_night_menu(preferred) if context["night"].has_results and not show else None,
        "choices": choices(show, lambda each: _address(outcome, each)),
        "after": after,
        "more": page.next_key and _address(outcome, show, page.next_key),
        "strip_length": STRIP_LENGTH,
        "outages": outages(request.membership.team),
    }
    if may(request.membership, Action.MANAGE_COLLECTIONS):
        space = None if after else space_of(request.membership.team)
        context |= {"low_disk": disk.low(), "space": space}
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
