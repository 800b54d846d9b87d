"""The page of a channel: its health, its rules, and what was sent."""

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from collections_app.models import Channel, ChannelKind, Notification
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
        "has_secret": found.kind == ChannelKind.WEBHOOK,
    }
    return render(request, "notifications/channel.html", context)


def _newest(found: Channel) -> list[Notification]:
    """Return the newest notifications, each with its last attempt as `last_attempt`."""
    newest = found.notifications.select_related("event").prefetch_related("log").order_by("-pk")[:_LISTED]
    listed = list(newest)
    for each in listed:
        attempts = sorted(each.log.all(), key=lambda attempt: attempt.pk)
        each.last_attempt = attempts[-1] if attempts else None
    return listed
