"""Channels and rules of a team."""

from collections_app.models import Channel, ChannelKind, EventKind, Rule, Team
from collections_app.outgoing.webhook import new_secret
from collections_app.system import encryption

URL = "https://hooks.example.com/canary-7c1e"


def make_webhook(team: Team, name: str = "Pipeline", url: str = URL) -> Channel:
    """Return a new webhook with a rule for failed runs."""
    channel = Channel.objects.create(
        team=team,
        kind=ChannelKind.WEBHOOK,
        name=name,
        host="hooks.example.com",
        encrypted_url=encryption.encrypt(url),
        encrypted_secret=encryption.encrypt(new_secret()),
    )
    Rule.objects.create(team=team, channel=channel, name="Failures", kinds=[EventKind.RUN_FAILED.value])
    return channel
