"""Change a member's role."""

from django.contrib import messages
from django.db import transaction
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from collections_app.models import LastOwner, Role
from collections_app.people import access
from collections_app.people.access import Action, MemberRequest, team_member
from collections_app.views.forms import posted
from collections_app.views.team.member_forms import RoleForm
from collections_app.views.team.members import manageable_member


@team_member(Action.MANAGE_MEMBERS)
@require_http_methods(["GET", "HEAD", "POST"])
@transaction.atomic
def member_role(request: MemberRequest, membership_id: int) -> HttpResponse:
    """Show the form. On POST, change the role."""
    member = manageable_member(request, membership_id)
    form = RoleForm(
        posted(request),
        roles=access.assignable_roles(request.membership),
        initial={"role": member.role},
    )
    if form.is_valid():
        role = Role(form.cleaned_data["role"])
        try:
            member.change_role(role)
            messages.success(request, f"Changed the role of {member.user.get_full_name()} to {role.label}.")
        except LastOwner as error:
            messages.error(request, str(error))
        return redirect("members")
    return render(request, "team/member_role.html", {"form": form, "member": member})
