"""Convert positions in the list of runs to text for URLs, and back."""

import re
from datetime import UTC, datetime

from django.core.exceptions import BadRequest

from collections_app.models.runs import Cursor

_CURSOR = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6})Z_(\d{1,18})", re.ASCII)


def format_cursor(cursor: Cursor) -> str:
    """Return the text of a cursor."""
    time = cursor.created_at.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds")
    return f"{time}Z_{cursor.number}"


def parse_cursor(text: str) -> Cursor:
    """Return the cursor that a text describes. Raises BadRequest."""
    match = _CURSOR.fullmatch(text)
    try:
        if match:
            return Cursor(datetime.fromisoformat(match[1]).replace(tzinfo=UTC), int(match[2]))
    except ValueError:
        pass  # an impossible date or time
    raise BadRequest("Invalid position in the list of runs. Go back to the first runs.")
