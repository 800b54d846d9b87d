"""The team's members: who is in it, adding, roles, removing, password links."""

from collections import Counter
from http import HTTPStatus

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_variables
from django.views.decorators.http import require_http_methods, require_safe

from collections_app.models import ApiKey, LastOwner, Membership, Role, Team, User
from collections_app.people import access
from collections_app.people.access import Action, MemberRequest, team_member
from collections_app.people.passwords import password_path, queue_password_link
from collections_app.system.addresses import absolute
from collections_app.views.forms import AddMemberForm, RoleForm, posted


@team_member(Action.SEE)
@require_safe
def members(request: MemberRequest) -> HttpResponse:
    """Show who is in the team; who may revoke anyone's keys sees the team's keys as well."""
    team = request.membership.team
    people = team.memberships.by_role().select_related("user").prefetch_related("user__memberships")
    keys = ApiKey.objects.active().filter(membership__team=team).select_related("membership__user")
    keys_of = Counter(key.membership_id for key in keys)
    context = {
        "people": [
            {
                "membership": member,
                "active_keys": keys_of[member.pk],
                "manageable": access.may_manage(request.membership, member),
                "password_resettable": access.may_reset_password(request.membership, member),
            }
            for member in people
        ],
        "keys": keys if access.may(request.membership, Action.REVOKE_ANY_KEY) else None,
    }
    return render(request, "team/members.html", context)


@team_member(Action.MANAGE_MEMBERS)
@require_http_methods(["GET", "HEAD", "POST"])
@sensitive_variables("link")
def member_add(request: MemberRequest) -> HttpResponse:
    """Add somebody to the team; somebody new gets an account, and a link to set its password."""
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
            return _show_password_link(request, member.user, link, is_new=True)
        else:
            messages.success(request, f"Added {member.user.get_full_name()} to {team}.")
            return redirect("members")
    return render(request, "team/add_member.html", {"form": form})


def _join(request: MemberRequest, team: Team, *, email: str, name: str, role: str) -> tuple[Membership, str]:
    """Make somebody a member, with a new account where there is none; return it, and why not if not.

    An account in no team forgets its password; access.may_add says why. Raises PermissionDenied where
    the person may no longer give this role.
    """
    access.confirm(request, Action.MANAGE_MEMBERS)
    if role not in access.assignable_roles(request.membership):
        raise PermissionDenied(f"You may no longer make somebody an {role} of {team}.")
    user, _ = User.objects.get_or_create(email=email, defaults={"name": name})
    member = Membership(user=user, team=team, role=role)
    if user.memberships.filter(team=team).exists():
        return member, f"{user.email} is in {team} already."
    if not access.may_add(request.memberships, user):
        return (
            member,
            f"{user.email} has an account that is not yours to add. Ask the operator to add it to {team}.",
        )
    if not user.memberships.exists():
        # New, or of nobody any more; whoever had the account may know its password.
        user.set_unusable_password()
        user.save(update_fields=["password"])
    member.save()
    return member, ""


@team_member(Action.MANAGE_MEMBERS)
@require_http_methods(["GET", "HEAD", "POST"])
@transaction.atomic
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
    return render(request, "team/member_role.html", {"form": form, "member": member})


@team_member(Action.MANAGE_MEMBERS)
@require_http_methods(["GET", "HEAD", "POST"])
@transaction.atomic
def member_remove(request: MemberRequest, membership_id: int) -> HttpResponse:
    """Ask, and then take a member out of the team."""
    member = _manageable(request, membership_id)
    if request.method != "POST":
        return render(request, "team/remove_member.html", {"member": member})
    try:
        member.remove()
        messages.success(request, f"Removed {member.user.get_full_name()} from {member.team}.")
    except LastOwner as error:
        messages.error(request, str(error))
    return redirect("members")


@team_member(Action.MANAGE_MEMBERS)
@require_http_methods(["GET", "HEAD", "POST"])
@sensitive_variables("link")
def member_password_link(request: MemberRequest, membership_id: int) -> HttpResponse:
    """Ask, and then make a link with which a member sets a new password."""
    with transaction.atomic():
        member = _manageable(request, membership_id)
        if not access.may_reset_password(request.membership, member):
            raise PermissionDenied(
                f"{member.user.get_full_name()} is in another team too, or is an operator. "
                "Such a password is changed by its owner alone, or by an operator."
            )
        if request.method != "POST":
            return render(request, "team/confirm_password_link.html", {"member": member})
        link = absolute(request, password_path(member.user))
    return _show_password_link(request, member.user, link, is_new=False)


def _manageable(request: MemberRequest, membership_id: int) -> Membership:
    """Return the membership, which stays as it is until the transaction ends.

    Raises Http404 for one of another team or one that is gone, PermissionDenied for a higher role.
    """
    access.confirm(request, Action.MANAGE_MEMBERS)
    member = request.membership.team.memberships.select_related("user").filter(pk=membership_id).first()
    if member is None:
        raise Http404("There is no such member in this team. They may have been removed already.")
    if not access.may_manage(request.membership, member):
        raise PermissionDenied(f"An {member.get_role_display().lower()} is managed by the team's owners.")
    return member


@never_cache
@sensitive_variables("link")
def _show_password_link(request: MemberRequest, user: User, link: str, *, is_new: bool) -> HttpResponse:
    # The link is a secret, so it is in this one answer and nowhere else.
    context = {
        "person": user,
        "is_new": is_new,
        "link": link,
        "is_queued": queue_password_link(user.email, link=link),
    }
    status = HTTPStatus.CREATED if is_new else HTTPStatus.OK
    return render(request, "team/password_link.html", context, status=status)
