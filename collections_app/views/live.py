"""Shared code of the pages that poll for updates."""

import re
from datetime import timedelta

from django.core.exceptions import BadRequest
from django.utils import timezone

from collections_app.models import Collection, Run, Status
from collections_app.people.access import MemberRequest
from collections_app.sources import source_of

# How long to wait before listing an account again for a page that only polls.
REFRESH_EVERY = timedelta(seconds=15)

_NEWS = {
    Status.STALLED: "has stalled",
    Status.FAILED: "failed",
    Status.COMPLETED: "completed",
    Status.INCOMPLETE: "completed with missing records",
    Status.EMPTY: "completed without records",
}

# Rows that a page shows beyond this number are not updated.
_MOST_ROWS = 200


def parse_versions(pattern: re.Pattern[str], request: MemberRequest, name: str) -> dict[int, str]:
    """Return the versions of the rows on the page, by run number or collection id. Raises BadRequest."""
    text = request.GET.get(name, "")
    items = text.split(",") if text else []
    found = [pattern.fullmatch(item) for item in items]
    if len(items) > _MOST_ROWS or None in found:
        raise BadRequest(f"Invalid “{name}” parameter. Reload the page.")
    return {int(match[1]): match[2] for match in found if match}


def refresh_in_background(collection: Collection) -> None:
    """List an account's runs in the background, at a rate that doesn't depend on the number of open pages."""
    if not collection.is_remote:
        return
    tried_at = collection.refresh_tried_at
    if tried_at is None or timezone.now() - tried_at > REFRESH_EVERY:
        source_of(collection).refresh(collection, deadline=timedelta(0))


def news_of(run: Run) -> str:
    """Return what a screen reader announces about a run that has changed, unless it is running."""
    what = _NEWS.get(run.status)
    return f"Run {run.number} {what}." if what else ""
