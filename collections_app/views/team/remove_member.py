"""Remove a member from the team."""

from django.contrib import messages
from django.db import transaction
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from collections_app.models import LastOwner
from collections_app.people.access import Action, MemberRequest, team_member
from collections_app.views.team.members import manageable_member


@team_member(Action.MANAGE_MEMBERS)
@require_http_methods(["GET", "HEAD", "POST"])
@transaction.atomic
def member_remove(request: MemberRequest, membership_id: int) -> HttpResponse:
    """Ask for confirmation. On POST, remove the member."""
    member = manageable_member(request, membership_id)
    if request.method != "POST":
        return render(request, "team/remove_member.html", {"member": member})
    try:
        member.remove()
        messages.success(request, f"Removed {member.user.get_full_name()} from {member.team}.")
    except LastOwner as error:
        messages.error(request, str(error))
    return redirect("members")
