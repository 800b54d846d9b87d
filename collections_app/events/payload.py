"""The public form of an event, as webhooks and the feed for scripts send it."""

from typing import Any

from django.conf import settings
from django.urls import reverse

from collections_app.models import Event

# Facts of events that receivers outside the site may see.
_PUBLIC = ("counts", "reason", "reasons", "problem", "summary")


def payload(event: Event) -> dict[str, Any]:
    """Return the event as JSON. It contains no secrets and no personal data."""
    found: dict[str, Any] = {
        "type": event.kind,
        "id": event.uid,
        "sequence": event.sequence,
        "time": f"{event.at:%Y-%m-%dT%H:%M:%SZ}",
        "team": event.team_id,
    }
    if event.collection_id is not None:
        found["collection"] = {"id": event.collection_id, "name": event.collection_name}
    if event.run_number is not None:
        found["run"] = event.run_number
        found["manifest"] = _manifest(event.collection_id, event.run_number)
    return found | {name: event.data[name] for name in _PUBLIC if name in event.data}


def _manifest(collection_id: int | None, number: int) -> str:
    path = reverse("api:run_manifest", args=[collection_id, number])
    return f"{settings.PUBLIC_URL}{path}"
