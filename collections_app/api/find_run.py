"""Find the collection and the run that an address names."""

import re

from collections_app.api.errors import ApiError
from collections_app.api.limits import MAX_INTEGER
from collections_app.models import ApiKey, Collection, Run
from collections_app.models.runs import RunFailed
from collections_app.people import access
from collections_app.sources import latest_run

_INTEGER = re.compile("0*([0-9]{1,19})", re.ASCII)


def find_collection(key: ApiKey, collection_id: str) -> Collection:
    """Return a collection of the caller's team. Raises ApiError (404), PermissionDenied."""
    collection, _ = access.collection_of([key.membership], parse_id("collection_id", collection_id))
    return collection


def find_run(key: ApiKey, collection_id: str, runner_id: str | None) -> Run:
    """Return a completed run, the newest one if `runner_id` is None.

    Raises ApiError (409 for a failed run, so that scripts stop waiting for it), PermissionDenied,
    NotDownloadable and, for the newest run, SourceUnavailable.
    """
    if runner_id is None:
        return latest_run(find_collection(key, collection_id))
    number = parse_id("runner_id", runner_id)
    try:
        return find_collection(key, collection_id).runs.ready_run(number)
    except RunFailed as error:
        raise ApiError(409, str(error)) from None


def parse_id(name: str, text: str) -> int:
    """Return an integer of the address. Raises ApiError (404)."""
    match = _INTEGER.fullmatch(text)
    number = int(match.group(1)) if match else -1
    if not 0 <= number <= MAX_INTEGER:
        raise ApiError(404, f"{name} must be an integer. Check the address.")
    return number
