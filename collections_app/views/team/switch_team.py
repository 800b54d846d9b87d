"""Switch to another team."""

import re

from django.http import HttpResponseRedirect
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from collections_app.people.access import MemberRequest, choose_team, signed_in

_ID = re.compile(r"\d{1,18}", re.ASCII)


@signed_in
@require_POST
def team_switch(request: MemberRequest) -> HttpResponseRedirect:
    """Make another of the user's teams the current one."""
    team = request.POST.get("team", "")
    choose_team(request, int(team) if _ID.fullmatch(team) else 0)
    return redirect("collections")
