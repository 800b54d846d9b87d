"""Requests to chats."""

import json
from typing import Any

from collections_app.outgoing.request import Request


def json_request(body: dict[str, Any]) -> Request:
    """Return a request that sends JSON."""
    return Request(json.dumps(body).encode(), {"Content-Type": "application/json"})
