"""The server of an account: the key that it is called with, and what its status codes mean."""

import logging
import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NoReturn

from collections_app.models import Account, Collection, NotConnected
from collections_app.sources.base import ResultNotFound, SourceBusy, SourceTimeout, SourceUnavailable
from collections_app.sources.upstream.http import TOO_SLOW, Server, retry_after_of
from collections_app.system.serving import ClientDisconnected

logger = logging.getLogger(__name__)

_RESULTS_PATH = "/results"
_MAX_INTEGER = 2**63 - 1
_INTEGER = re.compile(r"\s*(0*[0-9]{1,19})(?:\.0*)?\s*", re.ASCII)

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


def at_account(collection: Collection) -> tuple[Account, int]:
    """Return a collection's account, and the collection's ID there."""
    assert collection.account is not None
    assert collection.remote_id is not None
    return collection.account, collection.remote_id


def name_of(account: Account) -> str:
    """Return the name of an account for the beginning of a sentence."""
    return f"The account “{account}”"


def server_of(account: Account) -> Server:
    """Return the server of an account. Raises SourceUnavailable if the account isn't connected."""
    try:
        key = account.key
    except NotConnected as problem:
        raise SourceUnavailable(str(problem)) from None
    return server_with_key(key, name_of(account), account.base_url)


def server_with_key(key: str, name: str, base_url: str) -> Server:
    """Return a server that is called with a key. Raises SourceUnavailable if the key isn't valid."""
    if not (key and key.isascii() and key.isprintable() and key == key.strip()):
        raise SourceUnavailable("That isn't a valid API key. Keys contain only letters, digits and symbols.")
    return Server(name, base_url, {"x-api-key": key})


def folder_of_run(collection: Collection, number: int) -> str:
    """Return the path of a run's files, below the account's base URL."""
    return f"{_RESULTS_PATH}/{collection.remote_id}/{number}/"


@contextmanager
def logged_errors(request: str, context: str) -> Iterator[None]:
    """Log an error: our sentence, and the type of its cause."""
    try:
        yield
    except ClientDisconnected:
        raise SourceUnavailable("The client disconnected.") from None
    except (ResultNotFound, SourceUnavailable) as problem:
        cause = type(problem.__context__).__name__ if problem.__context__ else None
        logger.warning("upstream %s failed: %s problem=%s cause=%s", request, context, problem, cause)
        raise


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


def integer(value: object) -> int | None:
    """Return a number from the API that fits into the database, or None. It may be written as a string."""
    match value:
        case bool():
            return None
        case int():
            number = value
        case float() if value.is_integer():
            number = int(value)
        case str() if found := _INTEGER.fullmatch(value):
            number = int(found.group(1))
        case _:
            return None
    return number if 0 <= number <= _MAX_INTEGER else None
