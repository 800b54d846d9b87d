"""Read and check the JSON body of a request."""

import json
from typing import Any, NoReturn

from django.core.handlers.wsgi import WSGIRequest
from django.http import HttpRequest

from collections_app.api.errors import ApiError
from collections_app.api.limits import MAX_BODY_SIZE, MAX_INTEGER

# Python doesn't convert more than 4,300 digits to an integer. This many are already too large for 64 bits.
_MAX_DIGITS = 30

_SEND_AN_OBJECT = 'Send an object such as {"collection_id": 101}.'


def read_body(request: HttpRequest) -> bytes:
    """Return the body, or b"" if it is incomplete. Raises ApiError (413).

    b"" isn't JSON, so an incomplete body becomes an error (400) once the API key has been checked.
    """
    stream: Any = request
    if isinstance(request, WSGIRequest) and request.environ.get("wsgi.input_terminated"):
        # Without a Content-Length, Django would read nothing. This server's stream ends with the body.
        stream = request.environ["wsgi.input"]
    try:
        body: bytes = stream.read(MAX_BODY_SIZE + 1)
    except Exception:  # noqa: BLE001  # each server raises its own errors for a broken body
        return b""
    if len(body) > MAX_BODY_SIZE:
        raise ApiError(413, f"The request body is too large. Send at most {MAX_BODY_SIZE // 1024} KiB.")
    length = request.META.get("CONTENT_LENGTH") or ""
    return b"" if length.isdecimal() and len(body) < int(length) else body


def parse_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object in the body. Raises ApiError (400)."""
    try:
        value = json.loads(
            body.decode(),
            object_pairs_hook=_reject_duplicates,
            parse_constant=_reject_constant,
            parse_int=lambda digits: int(digits[:_MAX_DIGITS]),
        )
    except (ValueError, RecursionError):
        raise ApiError(400, f"The request body is not valid JSON. {_SEND_AN_OBJECT}") from None
    if not isinstance(value, dict):
        raise ApiError(400, f"The request body is not a JSON object. {_SEND_AN_OBJECT}")
    return value


def integer(
    fields: dict[str, Any], name: str, *, least: int, most: int = MAX_INTEGER, default: int | None = None
) -> int:
    """Return an integer field. Without a default the field is required. Raises ApiError (400).

    `true`, `"101"` and `101.0` are not integers.
    """
    if name not in fields and default is None:
        raise ApiError(400, f"{name} is required. Send it in the request body.")
    value = fields.get(name, default)
    if type(value) is not int:
        raise ApiError(400, f"{name} must be an integer.")
    if not least <= value <= most:
        raise ApiError(400, f"{name} must be between {least} and {most}.")
    return value


def boolean(fields: dict[str, Any], name: str) -> bool:
    """Return a boolean field, or False if it is missing. Raises ApiError (400)."""
    value = fields.get(name, False)
    if type(value) is not bool:
        raise ApiError(400, f"{name} must be true or false.")
    return value


def _reject_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise ApiError(400, "The request body contains a field twice. Send each field once.")
    return fields


def _reject_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")
