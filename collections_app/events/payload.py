"""The public form of an event, in the feed for scripts and in webhooks."""

from datetime import UTC
from typing import Any

from django.conf import settings
from django.urls import reverse

from collections_app.models import Event, EventKind

# A webhook has at most 4 KB, of which a text of this length can take half in UTF-8.
LONGEST_REASON = 500

_OF_ACCOUNTS = {EventKind.ACCOUNT_UNAVAILABLE, EventKind.ACCOUNT_RECOVERED}
_WITHOUT_FILES = {EventKind.RUN_FAILED, EventKind.RUN_STALLED}


def payload(event: Event, *, site: str | None = None) -> dict[str, Any]:
    """Return the JSON of an event in the feed: less than 4 KB in UTF-8, and no secrets.

    `site` is what addresses begin with, by default PUBLIC_URL.
    """
    return {
        "type": event.kind,
        "id": event.uid,
        "sequence": event.sequence,
        "time": event.at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "team": event.team_id,
        "collection": _collection(event),
        "run": event.run_number,
        "counts": event.data.get("counts", {}),
        "manifest": _manifest(event, settings.PUBLIC_URL if site is None else site),
        "account": event.target if event.kind in _OF_ACCOUNTS else "",
        "reason": str(event.data.get("reason") or "")[:LONGEST_REASON],
    }


def _collection(event: Event) -> dict[str, Any] | None:
    if event.collection_id is None:
        return None
    return {"id": event.collection_id, "name": event.collection_name}


def _manifest(event: Event, site: str) -> str | None:
    if event.run_number is None or event.kind in _WITHOUT_FILES:
        return None
    return site + reverse("api:run_manifest", args=[event.collection_id, event.run_number])
