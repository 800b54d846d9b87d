"""Add a member to the team."""

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.debug import sensitive_variables
from django.views.decorators.http import require_http_methods

from collections_app.models import Membership, Role, Team, User
from collections_app.people import access
from collections_app.people.access import Action, MemberRequest, team_member
from collections_app.people.password_links import password_path
from collections_app.system.addresses import absolute
from collections_app.views.forms import posted
from collections_app.views.team.member_forms import AddMemberForm
from collections_app.views.team.password_link import render_password_link


@team_member(Action.MANAGE_MEMBERS)
@require_http_methods(["GET", "HEAD", "POST"])
@sensitive_variables("link")
def member_add(request: MemberRequest) -> HttpResponse:
    """Show the form. On POST, add the member; a new user gets a link to set a password."""
    team = request.membership.team
    form = AddMemberForm(
        posted(request),
        roles=access.assignable_roles(request.membership),
        initial={"role": Role.MEMBER},
    )
    if form.is_valid():
        with transaction.atomic():
            member, refusal = _join(request, team, **form.cleaned_data)
            needs_link = (
                not refusal
                and not member.user.has_usable_password()
                and access.may_reset_password(request.membership, member)
            )
            link = absolute(request, password_path(member.user)) if needs_link else ""
        if refusal:
            form.add_error("email", refusal)
        elif link:
            return render_password_link(request, member.user, link, is_new=True)
        else:
            messages.success(request, f"Added {member.user.get_full_name()} to {team}.")
            return redirect("members")
    return render(request, "team/add_member.html", {"form": form})


def _join(request: MemberRequest, team: Team, *, email: str, name: str, role: str) -> tuple[Membership, str]:
    """Add a user to the team, creating the user if needed. Return the membership and why it was refused.

    A user in no team loses their password; access.may_add explains why. Raises PermissionDenied if the caller
    may no longer assign this role.
    """
    access.confirm(request, Action.MANAGE_MEMBERS)
    if role not in access.assignable_roles(request.membership):
        raise PermissionDenied(f"You may no longer assign this role in {team}.")
    user, _ = User.objects.get_or_create(email=email, defaults={"name": name})
    member = Membership(user=user, team=team, role=role)
    if user.memberships.filter(team=team).exists():
        return member, f"{user.email} is already in {team}."
    if not access.may_add(request.memberships, user):
        return member, f"You can't add {user.email}. Ask the operator to add them to {team}."
    if not user.memberships.exists():
        # The user is new or has left every team. Someone who used to sign in as them may know the password.
        user.set_unusable_password()
        user.save(update_fields=["password"])
    member.save()
    return member, ""
