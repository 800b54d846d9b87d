"""The Overview: the start page."""

import re
from collections.abc import Iterable, Mapping
from urllib.parse import urlencode

from django.core.exceptions import BadRequest
from django.http import HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_safe

from collections_app.models import Collection, Run, Status, Team
from collections_app.models.collection_status import Condition, conditions, prefetch_conditions
from collections_app.models.outages import outages
from collections_app.models.time_zones import zone
from collections_app.people.access import Action, MemberRequest, may, signed_in
from collections_app.system import disk
from collections_app.views.download.menu import latest_menu, preferred_format
from collections_app.views.fragments import render_fragment
from collections_app.views.overview.last_night import LastNight, Outcome, evening_before, last_night
from collections_app.views.overview.lines import STRIP_LENGTH, add_lines
from collections_app.views.page_size import PAGE_SIZE

# The position of a line in the list, and the id of its collection.
_KEY = re.compile(r"(\d{1,9})_(\d{1,18})", re.ASCII)


@signed_in
@require_safe
def overview(request: MemberRequest) -> HttpResponse:
    """Show the team's collections, those with problems first. htmx gets more lines.

    `night` selects the collections with that outcome last night, and `after` is the key of the last line
    before the page. A user without a team is redirected to the admin or the profile.
    """
    if not request.memberships:
        return redirect("admin:index" if request.user.is_staff else "profile")
    team = request.membership.team
    found = conditions(team.collections.current().by_name())
    night = _last_night(team, found)
    outcome = _outcome(request.GET.get("night", ""))
    chosen = {pk: each for pk, each in found.items() if not outcome or night.outcomes.get(pk) == outcome}
    after = request.GET.get("after", "")
    ordered = _after(_problems_first(chosen), after)
    context = {
        "collections": _lines(request, ordered[:PAGE_SIZE], found),
        "night": night,
        "outcome": outcome,
        "after": after,
        "more": _next_address(ordered, chosen, outcome),
        "now": timezone.now(),
        "strip_length": STRIP_LENGTH,
        "outages": outages(team),
        "disk_warning": disk.warning() if may(request.membership, Action.MANAGE_COLLECTIONS) else "",
    }
    fragment = "overview/_lines.html" if after else "overview/_results.html"
    return render_fragment(request, "overview/page.html", fragment, context)


def _last_night(team: Team, found: Mapping[int, Condition]) -> LastNight:
    evening = evening_before(timezone.now(), zone(team.time_zone))
    running = Run.objects.with_status(Status.PROCESSING).filter(
        collection__team=team, collection__archived_at=None, created_at__gte=evening
    )
    return last_night(found, running.values_list("collection_id", flat=True), evening)


def _outcome(text: str) -> Outcome | None:
    try:
        return Outcome(text) if text else None
    except ValueError as error:
        raise BadRequest("Unknown “night” parameter. Go back to the Overview.") from error


def _problems_first(found: Mapping[int, Condition]) -> list[int]:
    """Return the ids of collections, which are sorted by name, with the most urgent problems first."""
    return sorted(found, key=lambda pk: found[pk].urgency)


def _after(ordered: list[int], key: str) -> list[int]:
    """Return the ids after a line. If the line no longer exists, return those from its position on."""
    if not key:
        return ordered
    match = _KEY.fullmatch(key)
    if match is None:
        raise BadRequest("Invalid “after” parameter. Go back to the Overview.")
    position, pk = map(int, match.groups())
    if pk in ordered:
        return ordered[ordered.index(pk) + 1 :]
    return ordered[position:]


def _lines(request: MemberRequest, ids: Iterable[int], found: Mapping[int, Condition]) -> list[Collection]:
    by_id = Collection.objects.in_bulk(ids)
    lines = [by_id[pk] for pk in ids if pk in by_id]  # one may have been deleted since
    prefetch_conditions(lines, found)
    add_lines(lines)
    preferred = preferred_format(request)
    for line in lines:
        line.download_menu = latest_menu(line, preferred)
    return lines


def _next_address(ordered: list[int], found: Mapping[int, Condition], outcome: Outcome | None) -> str:
    """Return the address of the next lines, or "" after the last one."""
    if len(ordered) <= PAGE_SIZE:
        return ""
    position = len(found) - len(ordered) + PAGE_SIZE
    parameters = {"night": outcome} if outcome else {}
    return f"{reverse('home')}?{urlencode(parameters | {'after': f'{position}_{ordered[PAGE_SIZE - 1]}'})}"
