"""The errors that an account's status codes mean, in sentences for members."""

import math
from collections.abc import Mapping
from typing import NoReturn

from collections_app.sources.base import ResultNotFound, SourceBusy, SourceTimeout, SourceUnavailable
from collections_app.sources.upstream.http import TOO_SLOW, retry_after_of

_BAD_REQUEST = "{who} didn't understand the request. Check its base address."
_PROBLEMS = {
    400: "{who} didn't understand the request. Check its base address and the collection's ID.",
    401: "{who} rejected the API key. An admin can enter a new one.",
    402: "{who} requires payment. Contact the person who manages the plan.",
    403: "{who} has no access to this collection. Check the collection's ID.",
    404: "{who} doesn't have this collection. Check the collection's ID.",
    405: _BAD_REQUEST,
    413: _BAD_REQUEST,
}
NO_LIST = "{who} didn't send a list of runs. Check its base address, or try again later."
REDIRECTED = "{who} redirects to another address. Check its base address."
_SERVER_ERROR = "{who} reports an internal error (code {code}). Try again later."
_UNEXPECTED = "{who} sent an unexpected response (code {code}). Try again later."
_TOO_MANY_REQUESTS = "{who} is receiving too many requests. Try again in {wait}."
_UNAVAILABLE = "{who} is unavailable. Try again in {wait}."
_RETRY_AFTER = 60  # seconds to wait after a 429 without Retry-After


def raise_for_list(code: int, headers: Mapping[str, str], who: str) -> NoReturn:
    """Raise the error for a code that the server sent instead of a list of runs."""
    _check_server(code, headers, who)
    raise SourceUnavailable(_PROBLEMS.get(code, NO_LIST).format(who=who))


def raise_for_file(code: int, headers: Mapping[str, str], who: str) -> NoReturn:
    """Raise the error for a code that the server sent instead of a file."""
    _check_server(code, headers, who)
    if code == 404:  # noqa: PLR2004
        raise ResultNotFound("The account no longer has this file.")
    if code in {401, 403}:
        raise SourceUnavailable(
            f"{who} denied access to this file (code {code}). An admin can check the API key."
        )
    problem = REDIRECTED if 300 <= code < 400 else _UNEXPECTED  # noqa: PLR2004
    raise SourceUnavailable(problem.format(who=who, code=code))


def _check_server(code: int, headers: Mapping[str, str], who: str) -> None:
    """Raise an error if a code is about the server, whatever was requested."""
    seconds = retry_after_of(headers)
    if code == 429:  # noqa: PLR2004
        seconds = seconds or _RETRY_AFTER
        raise SourceBusy(_TOO_MANY_REQUESTS.format(who=who, wait=_in_words(seconds)), seconds)
    if code == 503 and seconds is not None:  # noqa: PLR2004
        raise SourceBusy(_UNAVAILABLE.format(who=who, wait=_in_words(seconds)), seconds)
    if code == 504:  # noqa: PLR2004
        raise SourceTimeout(TOO_SLOW.format(who=who))
    if 500 <= code < 600:  # noqa: PLR2004
        raise SourceUnavailable(_SERVER_ERROR.format(who=who, code=code))


def _in_words(seconds: int) -> str:
    if seconds < 120:  # noqa: PLR2004
        return f"{seconds} second{'s' * (seconds != 1)}"
    return f"{math.ceil(seconds / 60)} minutes"
