"""The list of channels."""

from django.conf import settings
from django.db.models import Prefetch
from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from collections_app.models import Rule
from collections_app.people.access import Action, MemberRequest, team_member
from collections_app.views.notifications.channels import channels_of


@team_member(Action.SEE)
@require_safe
def notifications(request: MemberRequest) -> HttpResponse:
    """Show the team's channels, or the member's own one, each with its rules."""
    rules = Prefetch("rules", queryset=Rule.objects.order_by("name", "pk"))
    context = {"channels": channels_of(request).prefetch_related(rules), "has_mail": bool(settings.EMAIL_URL)}
    return render(request, "notifications/page.html", context)
