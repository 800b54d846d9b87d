"""How the API answers in JSON: an envelope of code, data and status, for good news and bad."""

import json
import logging
from collections.abc import Callable
from functools import wraps
from typing import Any

import msgspec
from django.core.exceptions import PermissionDenied
from django.db import OperationalError
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from collections_app.files.delivery import RETRY_AFTER_SECONDS, TooManyStreams
from collections_app.models import NotDownloadable
from collections_app.sources import NotTheFile, ResultNotFound, SourceBusy, SourceTimeout, SourceUnavailable
from collections_app.system import disk
from collections_app.system.vanished import retry_if_vanished

logger = logging.getLogger(__name__)

View = Callable[..., HttpResponseBase]


class Refused(Exception):
    """A call that is refused; the caller is told the code and the reason."""

    def __init__(self, code: int, reason: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(reason)
        self.code = code
        self.headers = headers or {}


def success(data: object) -> HttpResponse:
    """Answer with the data that was asked for, all of it from the database."""
    return _answer(msgspec.json.encode({"code": 200, "data": data, "status": 1}))


def accepted(data: object, *, retry_after_seconds: int) -> HttpResponse:
    """Answer that what was asked for is being made, and when to ask again."""
    answer = _answer(msgspec.json.encode({"code": 202, "data": data, "status": 1}))
    answer.status_code = 202
    answer.headers["Retry-After"] = str(retry_after_seconds)
    return answer


def failure(refused: Refused, *, always_200: bool = False) -> HttpResponse:
    """Answer with the reason of a refusal."""
    envelope = {"code": refused.code, "data": str(refused), "status": 0}
    # A reason may quote what was sent. Half of a surrogate pair has no UTF-8; its JSON escape is what
    # backslashreplace makes of it.
    text = json.dumps(envelope, ensure_ascii=False, separators=(",", ":"))
    answer = _answer(text.encode("utf-8", "backslashreplace"))
    answer.status_code = 200 if always_200 else refused.code
    for name, value in refused.headers.items():
        answer.headers[name] = value
    return answer


def endpoint(*methods: str, always_200: bool = False) -> Callable[[View], View]:
    """Answer other methods with 405, and every error of the view in the envelope.

    The HTTP status of an error is its code; with `always_200` it is 200, and only the envelope says
    what went wrong. What nobody foresaw is logged with its traceback and answered with code 500.
    """

    def decorate(view: View) -> View:
        @wraps(view)
        def answered(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            if request.method not in methods:
                return failure(_wrong_method(methods), always_200=always_200)
            try:
                return retry_if_vanished(lambda: view(request, *args, **kwargs))
            except Exception as error:  # noqa: BLE001  # this is the boundary: whatever happens is answered
                disk.forget_failure()  # the caller is told
                return failure(_refusal(error), always_200=always_200)

        return answered

    return decorate


def _refusal(error: Exception) -> Refused:  # a line for each kind
    match error:
        case Refused():
            return error
        case PermissionDenied():
            return Refused(403, str(error))
        case NotDownloadable() | ResultNotFound():
            return Refused(404, str(error))
        case TooManyStreams():
            return Refused(429, str(error), {"Retry-After": str(RETRY_AFTER_SECONDS)})
        case SourceUnavailable():
            return _refusal_of_source(error)
    return _broken(error)


def _broken(error: Exception) -> Refused:
    """Return the response for an unexpected error, and log it."""
    if disk.is_full(error):
        logger.warning("Can't handle an API call: the disk is full.")
        return Refused(503, disk.PROBLEM, {"Retry-After": str(RETRY_AFTER_SECONDS)})
    logger.error("The API failed", exc_info=error)
    if isinstance(error, OperationalError):
        reason = "The database can't be used just now. Try again in a moment."
        return Refused(503, reason, {"Retry-After": str(RETRY_AFTER_SECONDS)})
    return Refused(500, "Something went wrong on our side. It was logged; try again later.")


def _refusal_of_source(error: SourceUnavailable) -> Refused:
    match error:
        case SourceBusy():
            return Refused(503, str(error), {"Retry-After": str(error.retry_after)})
        case SourceTimeout():
            return Refused(504, "The place where this file is kept took too long to answer. Try again later.")
        case NotTheFile():
            return Refused(502, str(error))
    return Refused(502, "The place where this file is kept does not answer. Try again later.")


def _wrong_method(methods: tuple[str, ...]) -> Refused:
    return Refused(405, f"Call this address by {' or '.join(methods)}.", {"Allow": ", ".join(methods)})


def _answer(content: bytes) -> HttpResponse:
    # A 404 may turn into a file at any moment, so nobody may keep it.
    return HttpResponse(content, content_type="application/json", headers={"Cache-Control": "no-store"})
