"""Which channels and rules a member may see and change."""

from django.db.models import QuerySet
from django.http import Http404

from collections_app.models import Channel, Rule
from collections_app.people import access
from collections_app.people.access import Action, MemberRequest


def channels_of(request: MemberRequest) -> QuerySet[Channel]:
    """Return the team's channels, by name. Members who don't manage channels have only their own."""
    membership = request.membership
    found = Channel.objects.filter(team=membership.team).select_related("team", "member__user")
    if not access.may(membership, Action.MANAGE_CHANNELS):
        found = found.filter(member=membership)
    return found.order_by("name", "pk")


def find_channel(request: MemberRequest, channel_id: int) -> Channel:
    """Return a channel of the member. Raises Http404."""
    channel = channels_of(request).filter(pk=channel_id).first()
    if channel is None:
        raise Http404("There is no such channel. It may have been removed, or it belongs to someone else.")
    return channel


def find_rule(request: MemberRequest, rule_id: int) -> Rule:
    """Return a rule of one of the member's channels. Raises Http404."""
    rule = Rule.objects.filter(channel__in=channels_of(request), pk=rule_id).select_related("channel").first()
    if rule is None:
        raise Http404("There is no such rule. It may have been removed, or it belongs to someone else.")
    return rule
