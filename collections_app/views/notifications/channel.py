"""The page of a channel: its health, its rules, and what was sent."""

from typing import Any

from django.db.models import OuterRef, Subquery
from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from collections_app.models import Channel, Notification, SendingAttempt
from collections_app.notifications.sending import missed
from collections_app.people.access import Action, MemberRequest, team_member
from collections_app.views.notifications.channels import find_channel

_LISTED = 50


@team_member(Action.SEE)
@require_safe
def channel(request: MemberRequest, channel_id: int) -> HttpResponse:
    """Show a channel."""
    found = find_channel(request, channel_id)
    context = {
        "channel": found,
        "rules": found.rules.order_by("name", "pk"),
        "missed": missed(found).count(),
        "notifications": _newest(found),
    }
    return render(request, "notifications/channel.html", context)


def _newest(found: Channel) -> list[Notification]:
    """Return the newest notifications, each with its last attempt as `last_attempt`."""
    last = SendingAttempt.objects.filter(notification=OuterRef("pk")).order_by("-pk").values("pk")[:1]
    newest = found.notifications.select_related("event").annotate(last=Subquery(last)).order_by("-pk")
    listed: list[Any] = list(newest[:_LISTED])
    attempts = SendingAttempt.objects.in_bulk([each.last for each in listed if each.last])
    for each in listed:
        each.last_attempt = attempts.get(each.last)
    return listed
