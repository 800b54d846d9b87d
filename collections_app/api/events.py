"""The event feed: what happened to the team's runs, collections and accounts, for scripts."""

from django.http import HttpRequest, HttpResponse

from collections_app.api import query
from collections_app.api.endpoint import endpoint
from collections_app.api.lists import limit_of, next_address
from collections_app.api.responses import plain
from collections_app.events.payload import payload
from collections_app.models import ApiKey, Event, EventSequence
from collections_app.system.addresses import absolute


@endpoint("GET", "HEAD")
def list_events(request: HttpRequest, key: ApiKey) -> HttpResponse:
    """List the events of the team after a sequence number, oldest first."""
    team_id = key.membership.team_id
    after, limit = query.integer(request, "after", default=0) or 0, limit_of(request)
    # Read the newest number first: events that are added in between are only listed.
    newest = EventSequence.objects.filter(pk=team_id).values_list("last", flat=True).first()
    events = list(Event.objects.after(team_id, after)[: limit + 1])
    following = {"after": events[limit - 1].sequence, "limit": limit} if len(events) > limit else None
    site = absolute(request, "")
    return plain(
        {
            "events": [payload(event, site=site) for event in events[:limit]],
            "newest": newest or 0,
            "next": next_address(request, following),
        }
    )
