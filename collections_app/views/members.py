"""The team's members: who is in it, adding, roles, removing, password links."""

from http import HTTPStatus

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Count, Q
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_variables
from django.views.decorators.http import require_http_methods, require_safe

from collections_app import access
from collections_app.access import Action, MemberRequest, team_member
from collections_app.accounts import mail_password_link, password_link
from collections_app.models import ApiKey, LastOwner, Membership, Role, Team, User
from collections_app.views.forms import AddMemberForm, RoleForm, posted


@team_member(Action.SEE)
@require_safe
def members(request: MemberRequest) -> HttpResponse:
    """Show who is in the team; who may revoke anyone's keys sees the team's keys as well."""
    team = request.membership.team
    keys_in_use = Count("api_keys", filter=Q(api_keys__revoked_at=None))
    people = (
        team.memberships.by_role()
        .select_related("user")
        .annotate(keys_in_use=keys_in_use)
        .prefetch_related("user__memberships")
    )
    keys = ApiKey.objects.active().filter(membership__team=team).select_related("membership__user")
    context = {
        "people": [
            {
                "membership": member,
                "manageable": access.may_manage(request.membership, member),
                "password_resettable": access.may_reset_password(request.membership, member),
            }
            for member in people
        ],
        "keys": keys if access.may(request.membership, Action.REVOKE_ANY_KEY) else None,
    }
    return render(request, "members/list.html", context)


@team_member(Action.MANAGE_MEMBERS)
@require_http_methods(["GET", "HEAD", "POST"])
def member_add(request: MemberRequest) -> HttpResponse:
    """Add somebody to the team; somebody new gets an account, and a link to set its password."""
    team = request.membership.team
    form = AddMemberForm(
        posted(request),
        roles=access.assignable_roles(request.membership),
        initial={"role": Role.MEMBER},
    )
    if form.is_valid():
        user, refusal = _join(request, team, **form.cleaned_data)
        if refusal:
            form.add_error("email", refusal)
        elif not user.has_usable_password():
            return _show_password_link(request, user, is_new=True)
        else:
            messages.success(request, f"Added {user.get_full_name()} to {team}.")
            return redirect("members")
    return render(request, "members/add.html", {"form": form})


@transaction.atomic
def _join(request: MemberRequest, team: Team, *, email: str, name: str, role: str) -> tuple[User, str]:
    """Make somebody a member, with a new account where there is none; return it, and why not if not."""
    user, _ = User.objects.get_or_create(email=email, defaults={"name": name})
    if user.memberships.filter(team=team).exists():
        return user, f"{user.email} is in {team} already."
    if not access.may_add(request.memberships, user):
        return (
            user,
            f"{user.email} has an account that is not yours to add. Ask the operator to add it to {team}.",
        )
    if not user.memberships.exists():
        # New, or of nobody any more; whoever had the account may know its password.
        user.set_unusable_password()
        user.save(update_fields=["password"])
    Membership.objects.create(user=user, team=team, role=role)
    return user, ""


@team_member(Action.MANAGE_MEMBERS)
@require_http_methods(["GET", "HEAD", "POST"])
def member_role(request: MemberRequest, membership_id: int) -> HttpResponse:
    """Give a member another role."""
    member = _manageable(request, membership_id)
    form = RoleForm(
        posted(request),
        roles=access.assignable_roles(request.membership),
        initial={"role": member.role},
    )
    if form.is_valid():
        role = Role(form.cleaned_data["role"])
        try:
            member.change_role(role)
            messages.success(request, f"{member.user.get_full_name()} is now: {role.label}.")
        except LastOwner as error:
            messages.error(request, str(error))
        return redirect("members")
    return render(request, "members/role.html", {"form": form, "member": member})


@team_member(Action.MANAGE_MEMBERS)
@require_http_methods(["GET", "HEAD", "POST"])
def member_remove(request: MemberRequest, membership_id: int) -> HttpResponse:
    """Ask, and then take a member out of the team."""
    member = _manageable(request, membership_id)
    if request.method != "POST":
        return render(request, "members/remove.html", {"member": member})
    try:
        member.remove()
        messages.success(request, f"Removed {member.user.get_full_name()} from {member.team}.")
    except LastOwner as error:
        messages.error(request, str(error))
    return redirect("members")


@team_member(Action.MANAGE_MEMBERS)
@require_http_methods(["GET", "HEAD", "POST"])
def member_password_link(request: MemberRequest, membership_id: int) -> HttpResponse:
    """Ask, and then make a link with which a member sets a new password."""
    member = _manageable(request, membership_id)
    if not access.may_reset_password(request.membership, member):
        raise PermissionDenied(
            f"{member.user.get_full_name()} is in another team too, or is an operator. "
            "Such a password is changed by its owner alone, or by an operator."
        )
    if request.method != "POST":
        return render(request, "members/password_link_ask.html", {"member": member})
    return _show_password_link(request, member.user, is_new=False)


def _manageable(request: MemberRequest, membership_id: int) -> Membership:
    """Return the membership. Raises Http404 for one of another team, PermissionDenied for a higher role."""
    member = request.membership.team.memberships.select_related("user").filter(pk=membership_id).first()
    if member is None:
        raise Http404("There is no such member in this team. They may have been removed already.")
    if not access.may_manage(request.membership, member):
        raise PermissionDenied(f"An {member.get_role_display().lower()} is managed by the team's owners.")
    return member


@never_cache
@sensitive_variables("link")
def _show_password_link(request: MemberRequest, user: User, *, is_new: bool) -> HttpResponse:
    # The link is a secret, so it is in this one answer and nowhere else.
    link = password_link(request, user)
    context = {
        "person": user,
        "is_new": is_new,
        "link": link,
        "mailed": mail_password_link(request, user, link),
    }
    status = HTTPStatus.CREATED if is_new else HTTPStatus.OK
    return render(request, "members/password_link.html", context, status=status)
