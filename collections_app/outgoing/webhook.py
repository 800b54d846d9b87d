"""Signed webhooks, by the Standard Webhooks specification 1.0.0.

Source: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from collections_app.outgoing.request import Request

_PREFIX = "whsec_"
_KEY_BYTES = 32


def new_secret() -> str:
    """Return a new signing key, in the form that receivers expect."""
    return _PREFIX + base64.b64encode(secrets.token_bytes(_KEY_BYTES)).decode()


def build(uid: str, payload: dict[str, Any], *, at: datetime, keys: Sequence[str]) -> Request:
    """Return the request for an event. `at` is the time of the attempt. All keys sign it."""
    body = json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()
    timestamp = str(int(at.timestamp()))
    signed = b".".join((uid.encode(), timestamp.encode(), body))
    headers = {
        "Content-Type": "application/json",
        "webhook-id": uid,
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(f"v1,{_signature(key, signed)}" for key in keys),
    }
    return Request(body, headers)


def _signature(key: str, signed: bytes) -> str:
    secret = base64.b64decode(key.removeprefix(_PREFIX))
    return base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode()
