"""The JSON envelope of the API's responses: code, data, and status."""

import json

import msgspec
from django.http import HttpResponse

from collections_app.api.errors import ApiError


def success(data: object) -> HttpResponse:
    """Return a response with data."""
    return _response(msgspec.json.encode({"code": 200, "data": data, "status": 1}))


def plain(data: dict[str, object]) -> HttpResponse:
    """Return a response with data and no envelope."""
    return _response(msgspec.json.encode(data))


def accepted(data: object, *, retry_after_seconds: int) -> HttpResponse:
    """Return a 202 response: the file is still being built."""
    response = _response(msgspec.json.encode({"code": 202, "data": data, "status": 1}), 202)
    response.headers["Retry-After"] = str(retry_after_seconds)
    return response


def failure(error: ApiError, *, always_200: bool = False) -> HttpResponse:
    """Return a response with an error. With `always_200`, only the envelope contains its code."""
    envelope = {"code": error.code, "data": str(error), "status": 0}
    # A message may quote the request, and half of a surrogate pair has no UTF-8 form. backslashreplace writes
    # it as the JSON escape.
    text = json.dumps(envelope, ensure_ascii=False, separators=(",", ":"))
    response = _response(text.encode("utf-8", "backslashreplace"), 200 if always_200 else error.code)
    for name, value in error.headers.items():
        response.headers[name] = value
    return response


def _response(content: bytes, status: int = 200) -> HttpResponse:
    # A 404 may become a file at any moment, so caches must not store it.
    headers = {"Cache-Control": "no-store"}
    return HttpResponse(content, content_type="application/json", status=status, headers=headers)
