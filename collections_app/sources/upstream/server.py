"""The server of an account, and the key that it is called with."""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager

from collections_app.models import Account, Collection, NotConnected
from collections_app.sources.base import ResultNotFound, SourceUnavailable
from collections_app.sources.upstream.http import Server
from collections_app.system.serving import ClientDisconnected

logger = logging.getLogger(__name__)

_RESULTS_PATH = "/results"
_MAX_INTEGER = 2**63 - 1
_INTEGER = re.compile(r"\s*(0*[0-9]{1,19})(?:\.0*)?\s*", re.ASCII)


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
