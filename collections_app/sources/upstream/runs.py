"""The lists of runs that accounts send. Only this module and our own API contain the API's JSON names."""

import json
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, cast
from urllib.parse import unquote, urlsplit

from collections_app.files.names import CATEGORY_LIST
from collections_app.models import Collection, FileKind, ResultFile
from collections_app.sources.base import SourceUnavailable
from collections_app.sources.upstream.error_messages import NO_LIST, REDIRECTED, raise_for_list
from collections_app.sources.upstream.http import BufferedResponse, Server, endpoint_of
from collections_app.sources.upstream.server import (
    at_account,
    folder_of_run,
    integer,
    logged_errors,
    server_of,
    server_with_key,
)

logger = logging.getLogger(__name__)

_LIST_PATH = "/schedules/collections/results/download/"

# A run with more pages can't be shown: the rows of its files are written in one transaction.
MAX_PAGES = 10_000
_INVALID_IN_NAMES = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff/\\\\]")
_MAX_NAME_LENGTH = cast(int, ResultFile._meta.get_field("remote_name").max_length)
_FIRST_YEAR, _LAST_YEAR = 1970, 9998  # outside are markers for "no time", such as year 1

_UNAUTHORIZED = 401
# Errors that a server reports only to a key that it accepts.
_ERRORS_WITH_A_VALID_KEY = {400, 403, 404}


@dataclass(frozen=True)
class RemoteFile:
    """A file that the account lists for a run."""

    kind: FileKind
    position: int  # a page's number, from 1; 0 for other files
    remote_name: str  # the last part of its URL, decoded


@dataclass(frozen=True)
class RemoteRun:
    """A run in the account's list. Each field has been checked."""

    number: int
    is_ready: bool
    extracted: int | None  # None if the account doesn't report it
    total: int | None
    created_at: datetime
    updated_at: datetime
    files: tuple[RemoteFile, ...]  # of a ready run; empty if some of its files are known to be missing

    @property
    def has_only_a_category_list(self) -> bool:
        """Whether its only file has the name of a category list, whatever the collection's type."""
        return [file.remote_name for file in self.files] == [CATEGORY_LIST]


@dataclass(frozen=True)
class UnreadableRun:
    """A run in the account's list that can't be shown."""

    number: int | None
    reason: str  # for members, such as "no valid time"


@dataclass(frozen=True)
class Listing:
    """A part of an account's list of runs, newest first."""

    entries: Sequence[RemoteRun | UnreadableRun]

    @cached_property
    def runs(self) -> list[RemoteRun]:
        """The runs that can be shown, each once."""
        by_number: dict[int, RemoteRun] = {}
        for entry in self.entries:
            if isinstance(entry, RemoteRun):
                by_number.setdefault(entry.number, entry)
        return list(by_number.values())


def list_runs(collection: Collection, *, skip: int, limit: int, seconds: float) -> Listing:
    """Return a part of the account's list of a collection's runs, newest first. Takes at most `seconds`.

    Logs each run that can't be read. The collection need not be saved. Raises SourceUnavailable and
    SourceTimeout with a message for members.
    """
    account, remote_id = at_account(collection)
    with logged_errors("list", f"account={account.pk} collection={collection.pk}"):
        server = server_of(account)
        response = _request_runs(server, remote_id, skip=skip, limit=limit, seconds=seconds)
        entries = _data_of(response, server.name)
    if len(entries) > limit:
        _log_problem(collection, None, f"{len(entries)} runs were sent, {limit} were requested")
    return Listing([_entry_of(entry, collection) for entry in entries[:limit]])


def try_key(base_url: str, key: str, *, seconds: float) -> None:
    """Check that a server has the API and accepts the key, by calling it.

    Raises SourceUnavailable and SourceTimeout with a message for the person who connects the account.
    """
    endpoint = endpoint_of(base_url)
    host = urlsplit(base_url).hostname if endpoint else ""
    with logged_errors("key", f"server={endpoint.origin if endpoint else None}"):
        server = server_with_key(key, f"The server {host}".strip(), base_url)
        # Any collection will do: only a valid key is told whether it may see the collection.
        response = _request_runs(server, 1, skip=0, limit=1, seconds=seconds)
        if response.status_code in {401, 403}:
            raise _key_rejected(server)
        envelope = _envelope_of(response, server.name)
        code = _code_of(envelope, response)
        if code == _UNAUTHORIZED:
            raise _key_rejected(server)
        if not envelope["status"] and code not in _ERRORS_WITH_A_VALID_KEY:
            raise_for_list(code, response.headers, server.name)


def _key_rejected(server: Server) -> SourceUnavailable:
    return SourceUnavailable(f"{server.name} rejected the API key. Check the key and the base address.")


# --- responses ------------------------------------------------------------------------------------


def _request_runs(
    server: Server, remote_id: int, *, skip: int, limit: int, seconds: float
) -> BufferedResponse:
    payload = {"collection_id": remote_id, "skip": skip, "limit": limit}
    return server.post_json(_LIST_PATH, payload, seconds=seconds)


def _data_of(response: BufferedResponse, who: str) -> list[object]:
    envelope = _envelope_of(response, who)
    if not envelope["status"]:
        raise_for_list(_code_of(envelope, response), response.headers, who)
    data = envelope.get("data")
    if not isinstance(data, list):
        raise SourceUnavailable(NO_LIST.format(who=who))
    return data


def _envelope_of(response: BufferedResponse, who: str) -> dict[str, Any]:
    """Return the object that contains everything, with a `status` of 1 or 0."""
    if 300 <= response.status_code < 400:  # noqa: PLR2004
        raise SourceUnavailable(REDIRECTED.format(who=who))
    try:
        envelope = json.loads(response.body)
    except (ValueError, RecursionError):
        envelope = None
    if not isinstance(envelope, dict) or "status" not in envelope:
        # A 404 without an envelope is about the URL, not about a collection.
        if response.status_code in {200, 404}:
            raise SourceUnavailable(NO_LIST.format(who=who))
        raise_for_list(response.status_code, response.headers, who)
    return {**envelope, "status": int(_is_true(envelope["status"]) and _is_success(response.status_code))}


def _code_of(envelope: Mapping[str, Any], response: BufferedResponse) -> int:
    if not _is_success(response.status_code):
        return response.status_code
    return integer(envelope.get("code")) or 0


def _is_success(status: int) -> bool:
    return 200 <= status < 300  # noqa: PLR2004


# --- one run ------------------------------------------------------------------------------------------------


class _Unreadable(Exception):
    """A run can't be shown. The message is for operators, and `reason` is for members."""

    def __init__(self, problem: str, reason: str) -> None:
        super().__init__(problem)
        self.reason = reason


def _entry_of(entry: object, collection: Collection) -> RemoteRun | UnreadableRun:
    try:
        return _run_of(entry, collection)
    except _Unreadable as problem:
        number = entry.get("id") if isinstance(entry, dict) else None
        _log_problem(collection, number, str(problem))
        return UnreadableRun(integer(number), problem.reason)


def _run_of(entry: object, collection: Collection) -> RemoteRun:
    if not isinstance(entry, dict):
        raise _Unreadable("it isn't an object", "not a run")
    number = integer(entry.get("id"))
    if number is None:
        raise _Unreadable("it has no ID", "no valid ID")
    if (its_collection := integer(entry.get("collection"))) not in {None, collection.remote_id}:
        raise _Unreadable(f"it belongs to collection {its_collection}", "in another collection")
    created_at, updated_at = _time(entry.get("created_at")), _time(entry.get("updated_at"))
    at = created_at or updated_at
    if at is None:
        raise _Unreadable("it has no time", "no valid time")
    is_ready = _is_true(entry.get("is_download_generated"))
    files, rejected = _files_of(entry.get("download_links"), collection, number) if is_ready else ((), 0)
    if is_ready and (rejected or not files):
        _log_problem(collection, number, f"ready with {len(files)} valid and {rejected} invalid links")
    return RemoteRun(
        number=number,
        is_ready=is_ready,
        extracted=_count(entry, "total_exacted_result", "total_extracted_result"),
        total=_count(entry, "total_results"),
        created_at=at,
        updated_at=updated_at or at,
        files=files,
    )


def _files_of(links: object, collection: Collection, number: int) -> tuple[tuple[RemoteFile, ...], int]:
    """Return the files that a ready run's links lead to, and how many links were rejected.

    Returns no files if a page was rejected: the others could be mistaken for the complete run. Raises
    _Unreadable if there are too many pages.
    """
    links = links if isinstance(links, dict) else {}
    listed = links.get("pages")
    pages = listed if isinstance(listed, list) else []
    if len(pages) > MAX_PAGES:
        raise _Unreadable(f"it has {len(pages)} pages", f"more than {MAX_PAGES:,} pages")
    if collection.is_category:
        wanted = [(FileKind.CATEGORY_LIST, 0, link) for link in pages]
    else:
        wanted = [(FileKind.PAGE, position, link) for position, link in enumerate(pages, 1)]
        if links.get("all_pages") is not None:
            wanted.append((FileKind.ARCHIVE, 0, links["all_pages"]))
    named = [(kind, position, _name_in(link, collection, number)) for kind, position, link in wanted]
    rejected = [kind for kind, _, name in named if name is None]
    # A category has exactly one list. Several pages or a ZIP belong to another type.
    is_other_type = collection.is_category and (len(wanted) > 1 or links.get("all_pages") is not None)
    if is_other_type or set(rejected) - {FileKind.ARCHIVE}:
        return (), len(rejected)
    files = tuple(RemoteFile(kind, position, name) for kind, position, name in named if name is not None)
    return files, len(rejected)


def _name_in(link: object, collection: Collection, number: int) -> str | None:
    """Return the file's name in a link, or None if it doesn't lead to this run at the account."""
    account, _ = at_account(collection)
    base = endpoint_of(account.base_url)
    endpoint = endpoint_of(link) if isinstance(link, str) else None
    if base is None or endpoint is None or endpoint.origin != base.origin:
        return None
    folder = base.path.rstrip("/") + folder_of_run(collection, number)
    if not endpoint.path.startswith(folder):
        return None
    try:
        name = unquote(endpoint.path.removeprefix(folder), errors="strict")
    except UnicodeDecodeError:
        return None
    is_safe = name not in {".", ".."} and not _INVALID_IN_NAMES.search(name)
    return name if is_safe and 0 < len(name) <= _MAX_NAME_LENGTH else None


def _count(entry: Mapping[str, object], *spellings: str) -> int | None:
    """Return a record count from the first spelling that has one, or None."""
    return next((n for n in (integer(entry.get(name)) for name in spellings) if n is not None), None)


def _is_true(value: object) -> bool:
    return value is True or value == 1 or (isinstance(value, str) and value.strip().lower() in {"true", "1"})


def _time(value: object) -> datetime | None:
    """Return a time, or None if it isn't valid. Without a time zone, it is in UTC."""
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value.strip())
        moment = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return moment if _FIRST_YEAR <= moment.year <= _LAST_YEAR else None


def _log_problem(collection: Collection, number: object, problem: str) -> None:
    logger.warning(
        "upstream run not understood: account=%s collection=%s run=%.40r problem=%s",
        collection.account_id,
        collection.pk,
        number,
        problem,
    )
