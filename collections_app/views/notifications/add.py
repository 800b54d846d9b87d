"""Add a channel."""

from http import HTTPStatus

from django.contrib import messages
from django.db import transaction
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables
from django.views.decorators.http import require_http_methods

from collections_app.models import Channel
from collections_app.people import access
from collections_app.people.access import Action, MemberRequest, team_member
from collections_app.views.forms import posted
from collections_app.views.notifications.forms import ChannelForm, add_first_rule


@team_member(Action.SEE)
@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@sensitive_post_parameters("url")
@sensitive_variables("secret")
def channel_add(request: MemberRequest) -> HttpResponse:
    """Show the form. On POST, save the channel and its first rule. Only this response shows a signing key."""
    with transaction.atomic():
        if request.method == "POST":
            access.confirm(request, Action.SEE)
        form = ChannelForm(posted(request), request.membership)
        if form.is_valid() and _has_room(form):
            secret = form.save()
            add_first_rule(form.channel)
            if secret:
                return show_secret(request, form.channel, secret, HTTPStatus.CREATED)
            messages.success(request, f"Added the channel “{form.channel}”. Send a test to try it.")
            return redirect("channel", form.channel.pk)
    return render(request, "notifications/add.html", {"form": form})


def _has_room(form: ChannelForm) -> bool:
    if Channel.objects.filter(team=form.channel.team_id).count() < Channel.MOST:
        return True
    form.add_error(None, f"Your team has {Channel.MOST} channels, the maximum. Remove one first.")
    return False


@sensitive_variables("secret")
def show_secret(request: MemberRequest, channel: Channel, secret: str, status: HTTPStatus) -> HttpResponse:
    """Show the signing key of a webhook, once."""
    context = {"channel": channel, "secret": secret}
    return render(request, "notifications/secret.html", context, status=status)
