"""Switch to another team."""

from urllib.parse import urlsplit

from django.http import HttpResponseRedirect
from django.shortcuts import redirect
from django.urls import Resolver404, resolve
from django.views.decorators.http import require_POST

from collections_app.people.access import MemberRequest, choose_team, referring_page, signed_in

# Every member of every team may open them.
_PAGES = {"home", "collections", "members", "profile"}


@signed_in
@require_POST
def team_switch(request: MemberRequest) -> HttpResponseRedirect:
    """Switch to another of the user's teams. Stay on the same page if every team has it."""
    choose_team(request, request.POST.get("team", ""))
    return redirect(_same_page(referring_page(request)))


def _same_page(address: str) -> str:
    """Return the name of the page at an address, or of the Overview."""
    try:
        name = resolve(urlsplit(address).path).view_name
    except Resolver404:
        return "home"
    return name if name in _PAGES else "home"
