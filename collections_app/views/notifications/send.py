"""Send a test, send notifications again, and switch a channel on."""

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from collections_app.notifications import sending
from collections_app.people.access import Action, MemberRequest, team_member
from collections_app.views.forms import is_id
from collections_app.views.notifications.channels import find_channel


@team_member(Action.SEE)
@require_POST
def channel_test(request: MemberRequest, channel_id: int) -> HttpResponse:
    """Have a test sent."""
    channel = find_channel(request, channel_id)
    sending.send_test(channel)
    messages.info(request, "The test is being sent. Reload this page in a moment to see the result.")
    return redirect("channel", channel.pk)


@team_member(Action.SEE)
@require_POST
def channel_resend(request: MemberRequest, channel_id: int) -> HttpResponse:
    """Have the selected notifications sent again."""
    channel = find_channel(request, channel_id)
    chosen = list(filter(is_id, request.POST.getlist("notification")))
    count = sending.resend(channel.notifications.filter(pk__in=chosen))
    if count:
        messages.info(request, f"{count} notification{'' if count == 1 else 's'} will be sent again.")
    else:
        messages.error(request, "Select the notifications to send again.")
    return redirect("channel", channel.pk)


@team_member(Action.SEE)
@require_POST
def channel_switch_on(request: MemberRequest, channel_id: int) -> HttpResponse:
    """Switch the channel on. Send what was missed, or skip it."""
    channel = find_channel(request, channel_id)
    sending.switch_on(channel, missed=request.POST.get("missed") == "send")
    messages.success(request, f"Switched on “{channel}”.")
    return redirect("channel", channel.pk)
