"""The list of the team's members."""

from collections import Counter

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from collections_app.models import ApiKey, Membership
from collections_app.people import access
from collections_app.people.access import Action, MemberRequest, team_member


@team_member(Action.SEE)
@require_safe
def members(request: MemberRequest) -> HttpResponse:
    """Show the team's members. Users who may revoke any key also see all keys."""
    team = request.membership.team
    people = team.memberships.by_role().select_related("user").prefetch_related("user__memberships")
    keys = ApiKey.objects.active().filter(membership__team=team).select_related("membership__user")
    key_counts = Counter(key.membership_id for key in keys)
    context = {
        "people": [
            {
                "membership": member,
                "active_keys": key_counts[member.pk],
                "manageable": access.may_manage(request.membership, member),
                "password_resettable": access.may_reset_password(request.membership, member),
            }
            for member in people
        ],
        "keys": keys if access.may(request.membership, Action.REVOKE_ANY_KEY) else None,
    }
    return render(request, "team/members.html", context)


def manageable_member(request: MemberRequest, membership_id: int) -> Membership:
    """Return a membership that the user may change, and lock the team until the transaction ends.

    Raises Http404 if the team has no such member, and PermissionDenied for a higher role.
    """
    access.confirm(request, Action.MANAGE_MEMBERS)
    member = request.membership.team.memberships.select_related("user").filter(pk=membership_id).first()
    if member is None:
        raise Http404("This team has no such member. They may have been removed.")
    if not access.may_manage(request.membership, member):
        raise PermissionDenied(f"Only owners can manage an {member.get_role_display().lower()}.")
    return member
