"""Create a link with which a member sets a password."""

from http import HTTPStatus

from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_variables
from django.views.decorators.http import require_http_methods

from collections_app.models import User
from collections_app.people import access
from collections_app.people.access import Action, MemberRequest, team_member
from collections_app.people.password_links import password_path, queue_password_link
from collections_app.system.addresses import absolute
from collections_app.views.team.members import manageable_member


@team_member(Action.MANAGE_MEMBERS)
@require_http_methods(["GET", "HEAD", "POST"])
@sensitive_variables("link")
def member_password_link(request: MemberRequest, membership_id: int) -> HttpResponse:
    """Ask for confirmation. On POST, create the link."""
    with transaction.atomic():
        member = manageable_member(request, membership_id)
        if not access.may_reset_password(request.membership, member):
            raise PermissionDenied(
                f"{member.user.get_full_name()} is also in another team, or is an operator. "
                "Only they or an operator can reset the password."
            )
        if request.method != "POST":
            return render(request, "team/confirm_password_link.html", {"member": member})
        link = absolute(request, password_path(member.user))
    return render_password_link(request, member.user, link, is_new=False)


@never_cache
@sensitive_variables("link")
def render_password_link(request: MemberRequest, user: User, link: str, *, is_new: bool) -> HttpResponse:
    """Show the link and queue an email with it. The link is a secret, so no other response contains it."""
    context = {
        "person": user,
        "is_new": is_new,
        "link": link,
        "is_queued": queue_password_link(user.email, link=link),
    }
    status = HTTPStatus.CREATED if is_new else HTTPStatus.OK
    return render(request, "team/password_link.html", context, status=status)
