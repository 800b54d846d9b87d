"""Change or remove a channel, and give a webhook a new signing key."""

from http import HTTPStatus

from django.contrib import messages
from django.db import transaction
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables
from django.views.decorators.http import require_http_methods

from collections_app.models import ChannelKind
from collections_app.notifications.sending import reschedule, rotate_secret
from collections_app.people import access
from collections_app.people.access import Action, MemberRequest, team_member
from collections_app.views.forms import posted
from collections_app.views.notifications.add import show_secret
from collections_app.views.notifications.channels import find_channel
from collections_app.views.notifications.forms import ChannelForm


@team_member(Action.SEE)
@require_http_methods(["GET", "HEAD", "POST"])
@sensitive_post_parameters("url")
@transaction.atomic
def channel_change(request: MemberRequest, channel_id: int) -> HttpResponse:
    """Show the form. On POST, save the name, the digest and, if there is one, the new URL."""
    access.confirm(request, Action.SEE)
    channel = find_channel(request, channel_id)
    form = ChannelForm(posted(request), request.membership, find_channel(request, channel_id))
    if not form.is_valid():
        return render(request, "notifications/change_channel.html", {"form": form, "channel": channel})
    form.save()
    if form.channel.digest_hour != channel.digest_hour:
        reschedule(form.channel)
    messages.success(request, f"Saved the channel “{form.channel}”.")
    return redirect("channel", channel_id)


@team_member(Action.SEE)
@require_http_methods(["GET", "HEAD", "POST"])
@transaction.atomic
def channel_remove(request: MemberRequest, channel_id: int) -> HttpResponse:
    """Ask for confirmation. On POST, delete the channel, its rules and its log."""
    access.confirm(request, Action.SEE)
    channel = find_channel(request, channel_id)
    if request.method != "POST":
        return render(request, "notifications/remove_channel.html", {"channel": channel})
    channel.delete()
    messages.success(request, f"Removed the channel “{channel}” and its rules.")
    return redirect("notifications")


@team_member(Action.MANAGE_CHANNELS)
@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@sensitive_variables("secret")
@transaction.atomic
def channel_rotate(request: MemberRequest, channel_id: int) -> HttpResponse:
    """Ask for confirmation. On POST, give a webhook a new signing key, which only this response shows."""
    access.confirm(request, Action.MANAGE_CHANNELS)
    channel = find_channel(request, channel_id)
    if request.method != "POST" or channel.kind != ChannelKind.WEBHOOK:
        return render(request, "notifications/rotate.html", {"channel": channel})
    return show_secret(request, channel, rotate_secret(channel), HTTPStatus.OK)
