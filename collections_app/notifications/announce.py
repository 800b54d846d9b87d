"""Record what happened, together with the notifications of it."""

from collections.abc import Callable

from django.db import transaction

from collections_app.events import discovery
from collections_app.events.discovery import Discovery
from collections_app.notifications.matching import notify


def announce(collection_id: int) -> int:
    """Record what happened to a collection and its runs. Return the number of events."""
    return _announce(discovery.discover, collection_id)


def announce_outage(account_id: int) -> int:
    """Record that an account has become unavailable, or available again. Return the number of events."""
    return _announce(discovery.discover_outage, account_id)


@transaction.atomic
def _announce(discover: Callable[[int], list[Discovery]], pk: int) -> int:
    found = discover(pk)
    for event, may_notify in found:
        if may_notify:
            notify(event)
    return len(found)
