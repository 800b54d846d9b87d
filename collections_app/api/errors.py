"""Convert exceptions to errors of the API. Checks of requests have their own messages."""

import logging

from django.core.exceptions import PermissionDenied
from django.db import OperationalError

from collections_app.files.delivery import RETRY_AFTER_SECONDS, TooManyStreams
from collections_app.models import NotDownloadable
from collections_app.sources import ResultNotFound, SourceBusy, SourceTimeout, SourceUnavailable
from collections_app.system import disk

logger = logging.getLogger(__name__)


class ApiError(Exception):
    """An error that is reported to the caller. The code is an HTTP status."""

    def __init__(self, code: int, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.headers = headers or {}


def api_error_for(error: Exception) -> ApiError:
    """Return how an exception is reported. Log it if it is unexpected."""
    match error:
        case ApiError():
            return error
        case PermissionDenied():
            return ApiError(403, str(error))
        case NotDownloadable() | ResultNotFound():
            return ApiError(404, str(error))
        case TooManyStreams():
            return ApiError(429, str(error), _retry_after(RETRY_AFTER_SECONDS))
        case SourceUnavailable():
            return _source_error(error)
    return _unexpected_error(error)


def _source_error(error: SourceUnavailable) -> ApiError:
    match error:
        case SourceBusy():
            return ApiError(503, str(error), _retry_after(error.retry_after))
        case SourceTimeout():
            return ApiError(504, str(error))
    return ApiError(502, str(error))


def _unexpected_error(error: Exception) -> ApiError:
    if disk.is_full(error):
        logger.warning("Can't handle an API call: the disk is full.")
        return ApiError(503, disk.PROBLEM, _retry_after(RETRY_AFTER_SECONDS))
    logger.error("The API failed", exc_info=error)
    if isinstance(error, OperationalError):
        message = "The database is unavailable. Try again in a moment."
        return ApiError(503, message, _retry_after(RETRY_AFTER_SECONDS))
    return ApiError(500, "Something went wrong on our side. The error was logged. Try again later.")


def _retry_after(seconds: int) -> dict[str, str]:
    return {"Retry-After": str(seconds)}
