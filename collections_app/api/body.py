"""The JSON body of a call, read without trust."""

import json
from typing import Any, NoReturn

from django.core.handlers.wsgi import WSGIRequest
from django.http import HttpRequest

from collections_app.api.envelope import Refused

MAX_BODY_SIZE = 64 * 1024
MAX_INTEGER = 2**63 - 1  # what the database's 64 bits hold

# More digits than this are not computed with (Python refuses 4,300 of them); the number is beyond
# 64 bits all the same.
_DIGITS_ENOUGH = 30


def read_body(request: HttpRequest) -> bytes:
    """Return the body; nothing, which is not JSON, where it breaks off. Raises Refused (413).

    A body that is too large is refused before the caller is known, one that is cut or garbled only after.
    """
    stream: Any = request
    if isinstance(request, WSGIRequest) and request.environ.get("wsgi.input_terminated"):
        # The server knows where the body ends, also without a Content-Length, where Django reads nothing.
        stream = request.environ["wsgi.input"]
    try:
        body: bytes = stream.read(MAX_BODY_SIZE + 1)
    except Exception:  # noqa: BLE001  # a server has errors of its own for a body that is cut or garbled
        return b""
    if len(body) > MAX_BODY_SIZE:
        raise Refused(413, f"The body is larger than {MAX_BODY_SIZE // 1024} KiB.")
    promised = request.META.get("CONTENT_LENGTH") or ""
    return b"" if promised.isdecimal() and len(body) < int(promised) else body


def parse_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object that the body is. Raises Refused (400)."""
    try:
        value = json.loads(
            body.decode(),
            object_pairs_hook=_without_repetition,
            parse_constant=_not_json,
            parse_int=lambda digits: int(digits[:_DIGITS_ENOUGH]),
        )
    except (ValueError, RecursionError):
        raise Refused(400, "The body is not valid JSON.") from None
    if not isinstance(value, dict):
        raise Refused(400, 'The body must be a JSON object, such as {"collection_id": 101}.')
    return value


def integer(
    fields: dict[str, Any], name: str, *, least: int, most: int = MAX_INTEGER, default: int | None = None
) -> int:
    """Return a field of the body that must be an integer within bounds. Raises Refused (400).

    `true`, `"101"` and `101.0` are no integers. Without a default the field is required.
    """
    if name not in fields and default is None:
        raise Refused(400, f"{name} is required.")
    value = fields.get(name, default)
    if type(value) is not int:
        raise Refused(400, f"{name} must be an integer.")
    if not least <= value <= most:
        raise Refused(400, f"{name} must be between {least} and {most}.")
    return value


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise Refused(400, "The body names a field twice.")
    return fields


def _not_json(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")
