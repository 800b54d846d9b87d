"""Add, change and remove the rules of a channel."""

from django.contrib import messages
from django.db import transaction
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from collections_app.models import Rule
from collections_app.people import access
from collections_app.people.access import Action, MemberRequest, team_member
from collections_app.views.forms import posted
from collections_app.views.notifications.channels import find_channel, find_rule
from collections_app.views.notifications.forms import PROBLEMS, RuleForm


@team_member(Action.SEE)
@require_http_methods(["GET", "HEAD", "POST"])
def rule_add(request: MemberRequest, channel_id: int) -> HttpResponse:
    """Show the form of a new rule. On POST, save it."""
    channel = find_channel(request, channel_id)
    new = Rule(team=channel.team, channel=channel, kinds=[*map(str, PROBLEMS)])
    return _edited(request, new)


@team_member(Action.SEE)
@require_http_methods(["GET", "HEAD", "POST"])
def rule_change(request: MemberRequest, rule_id: int) -> HttpResponse:
    """Show the form of a rule. On POST, save it."""
    return _edited(request, find_rule(request, rule_id))


@transaction.atomic
def _edited(request: MemberRequest, rule: Rule) -> HttpResponse:
    access.confirm(request, Action.SEE)
    find_channel(request, rule.channel_id)
    form = RuleForm(posted(request), instance=rule)
    if not form.is_valid():
        return render(
            request, "notifications/rule.html", {"form": form, "rule": rule, "channel": rule.channel}
        )
    form.save()
    messages.success(request, f"Saved the rule “{rule}”.")
    return redirect("channel", rule.channel_id)


@team_member(Action.SEE)
@require_POST
def rule_remove(request: MemberRequest, rule_id: int) -> HttpResponse:
    """Delete a rule."""
    rule = find_rule(request, rule_id)
    rule.delete()
    messages.success(request, f"Removed the rule “{rule}”.")
    return redirect("channel", rule.channel_id)
