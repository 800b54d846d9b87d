#!/usr/bin/env python3
# /// script
# requires-python = ">=3.9"
# dependencies = ["requests>=2.28"]
# ///
"""Download the result files of a collection.

    export MULTICART_API_KEY=...
    python pull.py 101 --latest --verify

The files of a run are stored in DIR/COLLECTION/RUN/. A file is called NAME.part until it is complete. Files
that are already here are not downloaded again. Run the same command again to resume an interrupted download.
Downloads come from the results dashboard, or from MultiCartAPI itself, which has only the original files.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
import signal
import stat
import sys
import threading
import time
import unicodedata
import zipfile
from collections import deque
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn, TypeVar
from urllib.parse import quote, unquote, urlsplit

import requests
from urllib3.exceptions import HTTPError as BrokenTransfer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

try:
    import fcntl
except ImportError:  # Windows has no such locks, so callers must not run two pulls of a collection at once
    fcntl = None  # type: ignore[assignment]

DEFAULT_BASE_URL = "https://multicartapi.com/api/v1"
KEY_VARIABLE = "MULTICART_API_KEY"
URL_VARIABLE = "MULTICART_URL"

DONE, FAILED, REFUSED, NOTHING_NEW, NOT_READY, INTERRUPTED = 0, 1, 2, 3, 4, 130
EXIT_CODES = """\
exit codes:
  0  everything requested is here, and some of it is new
  1  something failed; run the same command again to retry and resume
  2  wrong usage, an invalid key, or no permission
  3  nothing new: everything requested was already here, or nothing changed (--changes)
  4  not ready yet: try again later, or use --wait
  130  interrupted; run the same command again to resume

The API key is read from the environment variable MULTICART_API_KEY or from --key-file.
For example, to pull from cron every hour, and run `load` only if there is something new:
  10 * * * *  python pull.py 101 --latest --quiet --key-file ~/.multicart-key --output ~/results && load
"""

ORIGINAL_FORMATS = ("pages", "zip")
CONVERTED_FORMATS = ("json", "jsonl", "csv", "xlsx", "parquet")
WITH_FILES = {"run.completed", "run.incomplete", "run.empty"}  # events of runs that have files
CHANGES_FORMATS = ("csv", "xlsx", "jsonl", "parquet")

TIMEOUT = (10, 60)  # seconds to connect, and to wait for the next byte
RETRY_DELAYS = (0.5, 1.0, 2.0, 4.0, 8.0)  # seconds before each retry; progress resets them
POLL_SECONDS = 5.0  # seconds between two checks whether a run is ready
FOLLOW_SECONDS = 15.0  # seconds between two readings of the event feed
FOLLOW_WAIT = 600.0  # seconds that --follow waits for a file to be built, unless --wait is longer
EVENTS_AT_ONCE = 1000  # the largest limit of the API
MAX_RETRY_AFTER = 120.0  # seconds
MAX_ATTEMPTS = 4  # downloads of a file from its first byte
PAGE_SIZE = 50  # the default limit of the API
REDRAW_SECONDS = 0.1  # seconds
BLOCK_SIZE = 256 * 1024  # bytes
MIN_PART_SIZE = 8 * 1024 * 1024  # bytes; a smaller part isn't worth a connection
MAX_CONNECTIONS = 16
THREADS_PER_CONNECTION = 4  # while one file is received, others are verified and synced
SAVE_EVERY = (1.0, 16 * 1024 * 1024)  # seconds and bytes
MAX_ERROR_SIZE = 4096  # bytes
MAX_JSON_SIZE = 64 * 1024 * 1024  # bytes

_T = TypeVar("_T")


# --- errors -----------------------------------------------------------------------------------------------


class PullError(Exception):
    """A run or a file can't be pulled, but others may be. The message is for the user."""

    code = FAILED  # the exit code if the pull ends here


class Rejected(PullError):
    """The server rejects the request."""

    code = REFUSED


class NotFound(Rejected):
    """The address doesn't exist."""


class NotReady(PullError):
    """The run or the file isn't ready yet."""


class TemporaryError(PullError):
    """The request failed, but may succeed later."""

    def __init__(self, text: str, pause: float | None = None) -> None:
        super().__init__(text)
        self.pause = pause  # seconds, if the server sent Retry-After


class FatalError(PullError):
    """The pull can't continue."""

    def __init__(self, text: str, code: int = REFUSED) -> None:
        super().__init__(text)
        self.code = code


class RestartDownload(Exception):
    """The partial file is useless. Download it from its first byte."""


class Cancelled(Exception):
    """Another connection that downloads the same file failed."""


_FATAL = {
    401: "The server rejected the API key.",
    402: "The server requires payment.",
    403: "This API key has no permission.",
}
_TEMPORARY = {429, 502, 503, 504}


def error_for(code: int, reason: str, pause: float | None = None) -> PullError:
    """Return the exception for an error response. `code` is its HTTP status, or the code in its envelope."""
    details = f" It says: {reason}" if reason else ""
    if code in _TEMPORARY:
        return TemporaryError(f"The server is busy or unavailable (code {code}).{details}", pause)
    if code == 404:
        return NotFound(reason or "The server has nothing at this address.")
    if 300 <= code < 400:
        return FatalError(
            "The server redirects to another address. Redirects are not followed, to protect the API key. "
            "Correct --base-url."
        )
    if code in _FATAL:
        return FatalError(_FATAL[code] + details)
    if 400 <= code < 500:
        return Rejected(f"The server rejected the request (code {code}).{details}")
    return PullError(f"The server failed (code {code}).{details}")


def invalid_response(what: str) -> PullError:
    """Return the exception for a response that doesn't come from this API."""
    return PullError(f"The server sent an invalid {what}. Check --base-url, which usually ends in /api/v1.")


def retry(attempt: Callable[[], _T]) -> _T:
    """Return the result of `attempt`. Retry temporary errors after increasing delays."""
    for pause in RETRY_DELAYS:
        try:
            return attempt()
        except TemporaryError as error:
            time.sleep(pause if error.pause is None else error.pause)
    return attempt()


def in_parallel(work: Callable[[_T], None], tasks: Iterable[_T], threads: int) -> None:
    """Call `work` for each task, in several threads. After an error, start no other task, and raise it."""
    waiting, errors = deque(tasks), list[BaseException]()
    needed = min(threads, len(waiting))
    if needed > 1:
        workers = [
            threading.Thread(target=work_on, args=[work, waiting, errors], daemon=True) for _ in range(needed)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    else:
        work_on(work, waiting, errors)
    if errors:
        raise errors[0]


def work_on(work: Callable[[_T], None], waiting: deque[_T], errors: list[BaseException]) -> None:
    """Call `work` for each waiting task until there is an error."""
    try:
        while waiting and not errors:
            try:
                task = waiting.popleft()
            except IndexError:
                return  # another thread took the last one
            work(task)
    except BaseException as error:  # noqa: BLE001  # the calling thread raises it
        errors.append(error)


# --- the server -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """A run in the list of the API."""

    collection: int
    number: int
    is_ready: bool
    created_at: datetime | None
    updated_at: str
    pages: tuple[str, ...] = ()  # file names
    archive: str = ""
    csv: str = ""
    foreign_links: int = 0  # number of links that don't lead to this run
    state: str = ""  # only the dashboard reports it
    failure_reason: str = ""
    extracted: int | None = None
    total: int | None = None

    @property
    def missing(self) -> str:
        """How many of the requested records are missing, or "" if none are or it isn't known."""
        if self.extracted is None or self.total is None or self.extracted >= self.total:
            return ""
        return f"{self.total - self.extracted:,} of {self.total:,} records missing"


@dataclass(frozen=True)
class Event:
    """An event in the dashboard's feed."""

    sequence: int
    type: str
    collection: int | None
    run: int | None


@dataclass(frozen=True)
class Item:
    """A file to pull: its address below the base URL, its local name, and its digest and size if known."""

    address: str
    name: str
    sha256: str = ""
    size: int | None = None


class Server:
    """The API: the two calls of MultiCartAPI, and those that only the dashboard has."""

    def __init__(self, base_url: str, key: str) -> None:
        self.base_url = base_url
        self._session = requests.Session()
        # Otherwise, requests sends the credentials in ~/.netrc.
        self._session.auth = lambda request: request
        self._session.headers.update({"x-api-key": key, "Accept-Encoding": "identity"})
        self._session.mount("http://", requests.adapters.HTTPAdapter(pool_maxsize=MAX_CONNECTIONS))
        self._session.mount("https://", requests.adapters.HTTPAdapter(pool_maxsize=MAX_CONNECTIONS))

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def request(self, address: str, headers: dict[str, str] | None = None, body: Any = None) -> Any:
        """Return the response, whatever its status, with its body unread. Raises TemporaryError."""
        method = "GET" if body is None else "POST"
        request = requests.Request(method, self.base_url + address, headers=headers, json=body)
        try:
            return self._session.send(
                self._session.prepare_request(request),
                allow_redirects=False,  # requests would send the API key to the other host
                timeout=TIMEOUT,
                **self._environment,
            )
        except requests.exceptions.SSLError:
            text = f"{self.base_url} doesn't support HTTPS, or its certificate is invalid. Check --base-url."
            raise FatalError(text, FAILED) from None
        except (requests.ConnectionError, requests.Timeout):
            raise TemporaryError(f"Can't connect to {self.base_url}. Check it, or try again later.") from None
        except (requests.RequestException, UnicodeError, ValueError):
            raise FatalError(f"Can't call {self.base_url}. Check --base-url.") from None

    @cached_property
    def _environment(self) -> Any:
        """The proxies and certificates that environment variables name. Reading them is slow."""
        return self._session.merge_environment_settings(self.base_url, {}, True, None, None)

    def runs(self, collection: int) -> Iterator[Run]:
        """Yield each run of a collection, newest first. Raises PullError.

        Each page begins after the last run of the previous one, so no run is lost if another is deleted
        meanwhile. A server that doesn't know `before` repeats the first page; from then on, use `skip`.
        """
        seen: set[int] = set()
        skip, knows_before = 0, True
        last: int | None = None
        while True:
            after = {"before": last} if knows_before and last is not None else {"skip": skip}
            entries = retry(lambda: self._list_runs(collection, after))  # noqa: B023  # called at once
            runs = [parse_run(entry, collection) for entry in entries]
            fresh = [run for run in runs if run.number not in seen]
            if "before" in after and len(fresh) < len(runs):
                knows_before = False
                continue
            if not fresh:
                return
            seen.update(run.number for run in fresh)
            yield from fresh
            skip += len(entries)
            last = fresh[-1].number

    def _list_runs(self, collection: int, after: dict[str, int]) -> list[Any]:
        body = {"collection_id": collection, "limit": PAGE_SIZE, "with_state": True, **after}
        with self.request("/schedules/collections/results/download/", body=body) as response:
            if response.status_code == 404:
                raise PullError(
                    f"There is no API at {self.base_url}. Check --base-url, which usually ends in /api/v1."
                )
            if response.status_code != 200:
                raise error_from(response)
            envelope = read_json(response, "list of runs")
        if not isinstance(envelope, dict) or "status" not in envelope:
            raise invalid_response("list of runs")
        if not is_true(envelope["status"]):  # the vendor sends errors with HTTP 200
            code = parse_integer(envelope.get("code")) or 0
            error = error_for(code, one_line(envelope.get("data")), retry_after(response))
            if isinstance(error, NotFound) and after != {"skip": 0}:
                return []
            raise error
        if not isinstance(envelope.get("data"), list):
            raise invalid_response("list of runs")
        return list(envelope["data"])

    def manifest(self, run: Run) -> dict[str, dict[str, Any]] | None:
        """Return the manifest's entries by file name, or None if the server has no manifests."""

        def attempt() -> Any:
            with self.request(manifest_address(run)) as response:
                if response.status_code == 404:
                    return None
                if response.status_code != 200:
                    raise error_from(response)
                return read_json(response, "manifest")

        manifest = retry(attempt)
        # A server may report an unknown address in an envelope with HTTP 200.
        if not isinstance(manifest, dict) or not isinstance(manifest.get("files"), list):
            return None
        files = [entry for entry in manifest["files"] if isinstance(entry, dict)]
        return {str(entry.get("name")): entry for entry in files}

    def changes(self, run: Run, until: float) -> tuple[int, bool]:
        """Return the number of the run that a run is compared with, and whether anything changed.

        Wait until the runs have been compared. Raises NotFound if there is no earlier run, NotReady and
        PullError.
        """
        while True:
            status, envelope, pause = retry(lambda: self._first_change(run))
            if status == 200:
                return parse_changes(envelope)
            left = until - time.monotonic()
            if left <= 0:
                raise NotReady("The runs are still being compared. Try again later, or use --wait.")
            time.sleep(min(pause, left))

    def events(self, after: int, limit: int = EVENTS_AT_ONCE) -> tuple[list[Event], int]:
        """Return the next events after a sequence number, and the newest number. Raises PullError."""

        def attempt() -> Any:
            with self.request(f"/events?after={after}&limit={limit}") as response:
                if response.status_code == 404:
                    raise FatalError("This server has no event feed. Use the results dashboard.")
                if response.status_code != 200:
                    raise error_from(response)
                return read_json(response, "list of events")

        return parse_events(retry(attempt))

    def _first_change(self, run: Run) -> tuple[int, Any, float]:
        """Return the status, the envelope, and the seconds to wait if the status is 202."""
        address = f"/collections/{run.collection}/runs/{run.number}/changes.json?limit=1"
        with self.request(address) as response:
            if response.status_code not in {200, 202}:
                raise error_from(response)
            return response.status_code, read_json(response, "list of changes"), retry_after(response) or 1.0


def parse_changes(envelope: Any) -> tuple[int, bool]:
    """Return the number of the earlier run, and whether anything changed. Raises PullError."""
    data = envelope.get("data") if isinstance(envelope, dict) else None
    fields: dict[str, Any] = data if isinstance(data, dict) else {}
    since, changes = parse_integer(fields.get("since")), fields.get("changes")
    if since is None or not isinstance(changes, list):
        raise invalid_response("list of changes")
    return since, bool(changes)


def parse_events(data: Any) -> tuple[list[Event], int]:
    """Return the events and the newest sequence number of a part of the feed. Raises PullError."""
    fields: dict[str, Any] = data if isinstance(data, dict) else {}
    newest, entries = parse_integer(fields.get("newest")), fields.get("events")
    if newest is None or not isinstance(entries, list):
        raise invalid_response("list of events")
    return [parse_event(entry) for entry in entries], newest


def parse_event(entry: Any) -> Event:
    """Return the event of an entry in the feed. Raises PullError."""
    sequence = parse_integer(entry.get("sequence")) if isinstance(entry, dict) else None
    if sequence is None:
        raise invalid_response("list of events")
    collection = entry.get("collection")
    return Event(
        sequence=sequence,
        type=str(entry.get("type")),
        collection=parse_integer(collection.get("id")) if isinstance(collection, dict) else None,
        run=parse_integer(entry.get("run")),
    )


def manifest_address(run: Run) -> str:
    """Return the address of a run's manifest."""
    return f"/collections/{run.collection}/runs/{run.number}/manifest.json"


def error_from(response: Any) -> PullError:
    """Return the exception for an error response, with the message of its envelope if it has one."""
    reason = ""
    with contextlib.suppress(PullError):
        envelope = read_json(response, "error")
        reason = one_line(envelope.get("data")) if isinstance(envelope, dict) else ""
    return error_for(response.status_code, reason, retry_after(response))


def retry_after(response: Any) -> float | None:
    """Return the seconds in Retry-After, or None."""
    text = response.headers.get("Retry-After", "").strip()
    if re.fullmatch(r"[0-9]{1,9}", text):
        return min(float(text), MAX_RETRY_AFTER)
    try:
        seconds = parsedate_to_datetime(text).timestamp() - time.time()
    except (TypeError, ValueError, OverflowError):
        return None
    return min(max(seconds, 0.0), MAX_RETRY_AFTER)


def read_json(response: Any, what: str) -> Any:
    """Return the JSON in a response. Raises PullError."""
    body = bytearray()
    for piece in iter_body(response):
        body += piece
        if len(body) > MAX_JSON_SIZE:
            raise invalid_response(what)
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise invalid_response(what) from None


def iter_body(response: Any) -> Iterator[bytes]:
    """Yield the body of a response as it arrives. Raises TemporaryError if the connection breaks."""
    # urllib3 1 has no read1, and read() waits for a complete block. With a large block, a slow server would
    # seem dead.
    raw = response.raw
    read, size = (raw.read1, BLOCK_SIZE) if hasattr(raw, "read1") else (raw.read, BLOCK_SIZE // 16)
    try:
        while piece := read(size, decode_content=False):
            yield piece
    except (BrokenTransfer, OSError, ValueError):
        raise TemporaryError("The connection was interrupted.") from None


def parse_run(entry: Any, collection: int) -> Run:
    """Return the run of an entry in the list. Raises PullError."""
    number = parse_integer(entry.get("id")) if isinstance(entry, dict) else None
    if number is None:
        raise invalid_response("list of runs")
    links = entry.get("download_links")
    links = links if isinstance(links, dict) and is_true(entry.get("is_download_generated")) else {}
    pages = links.get("pages")
    names = [file_name_in(link, collection, number) for link in (pages if isinstance(pages, list) else [])]
    archive, csv = (file_name_in(links.get(key), collection, number) for key in ("all_pages", "csv"))
    return Run(
        collection=collection,
        number=number,
        is_ready=bool(names or archive),
        created_at=parse_time(entry.get("created_at")),
        updated_at=str(entry.get("updated_at")),
        pages=tuple(name for name in names if name),
        archive=archive,
        csv=csv,
        foreign_links=names.count(""),
        state=str(entry.get("state") or ""),
        failure_reason=one_line(entry.get("failure_reason")),
        extracted=parse_integer(entry.get("total_exacted_result")),
        total=parse_integer(entry.get("total_results")),
    )


def file_name_in(link: Any, collection: int, number: int) -> str:
    """Return the file name in a link, or "" unless the link leads to this run.

    Only the name is used. Addresses are built from it and the base URL, so that the API key is never sent to
    another server.
    """
    _, found, name = (
        link.partition(f"/results/{collection}/{number}/") if isinstance(link, str) else ("",) * 3
    )
    name = unquote(re.split("[?#]", name)[0]).encode("utf-8", "replace").decode()
    return name if found and name not in {"", ".", ".."} else ""


def parse_integer(value: Any) -> int | None:
    """Return a number or a string of digits as an integer, or None if the value is neither."""
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,18}", value):
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def is_true(value: Any) -> bool:
    """Return whether a flag is set, in any of the spellings that servers use."""
    return value is True or value == 1 or (isinstance(value, str) and value.lower() in {"1", "true"})


def one_line(value: Any) -> str:
    """Return a server's message as one line that is safe to print."""
    return printable(" ".join(value.split()))[:300] if isinstance(value, str) else ""


def parse_time(value: Any) -> datetime | None:
    """Return a time in ISO format, in UTC unless it has an offset, or None if it is invalid."""
    try:
        at = datetime.fromisoformat(re.sub("[zZ]$", "+00:00", value))
    except (TypeError, ValueError):
        return None
    return at if at.tzinfo else at.replace(tzinfo=timezone.utc)


# --- names and folders ------------------------------------------------------------------------------------

_FORBIDDEN = frozenset('/\\<>:"|?*')  # separators, and what Windows forbids
_TURNS_TEXT = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_DEVICES = re.compile(r"(?i)(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9\xb9\xb2\xb3]) *(\.|$)")
_RESERVED = re.compile(r"(?i)\.part(\.json(\.new)?)?$")
_MAX_NAME_SIZE = 200  # bytes; file systems allow 255, and ".part.json.new" is appended
_MAX_EXTENSION_SIZE = 20


def safe_name(name: str) -> str:
    """Return a safe local name for a server's file name. It is never a path."""
    name = "".join("_" if c in _FORBIDDEN or is_invisible(c) else c for c in name).rstrip(" .")
    name = re.sub(r"^\.+", lambda dots: "_" * len(dots[0]), name) or "_"
    stem, dot, extension = name.rpartition(".")
    if not dot or len(extension.encode()) > _MAX_EXTENSION_SIZE:
        stem, dot, extension = name, "", ""
    room = _MAX_NAME_SIZE - len((dot + extension).encode())
    name = (stem.encode()[:room].decode(errors="ignore") + dot + extension).rstrip(" .")
    name = f"_{name}" if _DEVICES.match(name) else name
    return f"{name}_" if _RESERVED.search(name) else name


def is_invisible(character: str) -> bool:
    """Return whether a character is invisible, or changes the direction of the text."""
    return character in _TURNS_TEXT or unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"}


def printable(text: str) -> str:
    """Return a text that is safe to print to a terminal."""
    if text.isprintable():  # the usual case, a hundred times faster
        return text
    return "".join("?" if is_invisible(character) else character for character in text)


def with_unique_names(items: list[Item]) -> list[Item]:
    """Return the items, renamed so that no two names mean the same file on any system."""
    taken: dict[str, int] = {}  # name: the last number used as its prefix
    result = []
    for item in items:
        name, folded = item.name, collision_key(item.name)
        if folded in taken:
            count = taken[folded] + 1
            while f"{count}_{folded}" in taken:
                count += 1
            taken[folded] = count
            name, folded = f"{count}_{name}", f"{count}_{folded}"
        taken[folded] = 1
        result.append(Item(item.address, name, item.sha256, item.size))
    return result


def collision_key(name: str) -> str:
    """Return a text that is equal for names that mean the same file on any system.

    Windows and macOS ignore case, macOS ignores Unicode forms, and HFS+ ignores invisible characters.
    """
    visible = "".join(character for character in name if unicodedata.category(character) != "Cf")
    folded = unicodedata.normalize("NFD", visible).upper().casefold()
    return unicodedata.normalize("NFD", folded)


def open_file(path: Path, mode: str = "rb") -> BinaryIO:
    """Open a file in the mode "rb", "r+b" or, to create it, "x+b".

    Fail on a symbolic link, because this program doesn't create any.
    """
    flags = {"rb": os.O_RDONLY, "r+b": os.O_RDWR, "x+b": os.O_RDWR | os.O_CREAT | os.O_EXCL}[mode]
    flags |= getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    return os.fdopen(os.open(path, flags, 0o666), mode.replace("x", "r"))  # type: ignore[return-value]


def write_json(path: Path, value: Any) -> None:
    """Replace a JSON file atomically."""
    new = path.with_name(path.name + ".new")
    new.unlink(missing_ok=True)
    with open_file(new, "x+b") as file:
        file.write(json.dumps(value).encode())
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


def read_json_file(path: Path) -> Any:
    """Return the value in a JSON file, or None if the file is missing or invalid."""
    try:
        with open_file(path) as file:
            return json.load(file)
    except (OSError, ValueError, RecursionError):
        return None


def sync_folder(folder: Path) -> None:
    """Make renames in a folder survive a power failure."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def file_size(path: Path) -> int | None:
    """Return the size in bytes, or None if the path isn't a regular file."""
    try:
        found = path.lstat()
    except OSError:
        return None
    return found.st_size if stat.S_ISREG(found.st_mode) else None


class RunFolder:
    """The folder of a run. Its .pull.json lists the complete files. Several threads may use it."""

    def __init__(self, output: Path, run: Run) -> None:
        self.path = output / str(run.collection) / str(run.number)
        self.updated_at = run.updated_at
        create_folder(self.path)
        self._record = self.path / ".pull.json"
        known = read_json_file(self._record)
        self._known: dict[str, Any] = known if isinstance(known, dict) else {}
        self._lock = threading.Lock()
        self._saved_at = time.monotonic()
        self._is_saved = True

    def find_problem(self, item: Item, *, verify: bool) -> str | None:
        """Return None if the file is complete and up to date, "" if it is missing or outdated.

        With `verify`, check its content too, and return what is wrong with it.
        """
        path = self.path / item.name
        size = file_size(path)
        if size is None or self._known.get(item.name) != self._facts(item, size):
            return ""
        if item.size not in {None, size}:
            return f"the file has {size} bytes instead of {item.size}"
        return (find_damage(path, item.sha256) if verify else "") or None

    def note(self, item: Item) -> None:
        """Note that a file is complete. A file that isn't saved yet is downloaded again after a crash."""
        size = file_size(self.path / item.name)
        with self._lock:
            self._known[item.name] = self._facts(item, size or 0)
            self._is_saved = False
            if time.monotonic() - self._saved_at >= SAVE_EVERY[0]:
                self._save()

    def save(self) -> None:
        """Save which files are complete."""
        with self._lock:
            if not self._is_saved:
                self._save()

    def _save(self) -> None:
        sync_folder(self.path)  # first the names of the files, then the record
        write_json(self._record, self._known)
        self._saved_at, self._is_saved = time.monotonic(), True

    def _facts(self, item: Item, size: int) -> dict[str, Any]:
        return {"size": size, "address": item.address, "updated_at": self.updated_at}


def create_folder(path: Path) -> None:
    """Create a folder and its parents. Raises FatalError if a symbolic link is in the way."""
    for folder in (path.parent, path):
        if folder.is_symlink():
            raise FatalError(f"{folder} is a symbolic link, which isn't allowed here. Remove it.", FAILED)
        folder.mkdir(parents=True, exist_ok=True)


@contextlib.contextmanager
def lock_collection(output: Path, collection: int) -> Iterator[None]:
    """Lock the folder of a collection. Raises FatalError if another pull has locked it."""
    folder = output / str(collection)
    create_folder(folder)
    lock = folder / ".pull.lock"
    if not os.path.lexists(lock):
        with contextlib.suppress(FileExistsError):
            open_file(lock, "x+b").close()
    with open_file(lock, "r+b") as file:
        if fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                text = f"Another pull of collection {collection} is using this folder. Try again later."
                raise FatalError(text, FAILED) from None
        yield


# --- verification -----------------------------------------------------------------------------------------


def find_damage(path: Path, sha256: str) -> str:
    """Return what is wrong with a file, or "". Compare its SHA-256 if known, else check its format."""
    with open_file(path) as file:
        if sha256:
            return "" if sha256_of(file) == sha256 else "the SHA-256 doesn't match the server's"
        try:
            return find_format_damage(file, Path(path.name.removesuffix(".part")).suffix.lower())
        except (ValueError, RecursionError, zipfile.BadZipFile, EOFError, NotImplementedError) as error:
            return f"the file is damaged ({type(error).__name__})"


def find_damaged_ends(path: Path) -> str:
    """Return what is wrong with the first and last bytes of a JSON file or ZIP, or "".

    A server may send a web page or an empty response instead of the file.
    """
    with open_file(path) as file:
        beginning = file.read(BLOCK_SIZE)
        file.seek(max(0, file.seek(0, os.SEEK_END) - BLOCK_SIZE))
        end = file.read(BLOCK_SIZE)
    extension = Path(path.name.removesuffix(".part")).suffix.lower()
    if extension == ".json":
        first, last = beginning.removeprefix(b"\xef\xbb\xbf").lstrip()[:1], end.rstrip()[-1:]
        return "" if (first, last) in {(b"[", b"]"), (b"{", b"}")} else "the file isn't a list of records"
    if extension in {".zip", ".xlsx"}:
        return "" if beginning[:2] == b"PK" and b"PK\x05\x06" in end else "the file isn't a ZIP"
    return ""


def sha256_of(file: BinaryIO) -> str:
    """Return the SHA-256 of a file as hexadecimal digits."""
    digest = hashlib.sha256()
    while block := file.read(1024 * 1024):
        digest.update(block)
    return digest.hexdigest()


def find_format_damage(file: BinaryIO, extension: str) -> str:
    """Return what is wrong with the format of a file, or "". Raises what the parsers raise."""
    if extension == ".json":
        json.load(file, object_pairs_hook=lambda pairs: None)  # saves memory
    elif extension == ".jsonl":
        for line in file:
            json.loads(line)
    elif extension in {".zip", ".xlsx"}:
        with zipfile.ZipFile(file) as archive:
            damaged = archive.testzip()
        return f"{printable(damaged)} in the ZIP is damaged" if damaged else ""
    return ""


def digest_from(response: Any) -> str:
    """Return the SHA-256 of the complete file from Repr-Digest (RFC 9530) as hexadecimal digits, or ""."""
    match = re.search(r"sha-256=:([A-Za-z0-9+/=]+):", response.headers.get("Repr-Digest", ""))
    try:
        return base64.b64decode(match[1], validate=True).hex() if match else ""
    except ValueError:
        return ""


# --- one file ---------------------------------------------------------------------------------------------


@dataclass
class DownloadState:
    """The state of a download. It is stored in NAME.part.json, so that another process can resume."""

    address: str
    updated_at: str  # of the run
    size: int
    validator: str  # for If-Range: the ETag or the date; "" if the download can't be resumed
    sha256: str
    missing: list[list[int]] = field(default_factory=list)  # the first byte, and the byte after the last


class Download:
    """The download of a file: write NAME.part, check it, sync it, and rename it."""

    def __init__(self, server: Server, item: Item, folder: RunFolder, options: DownloadOptions) -> None:
        self.server, self.item, self.folder, self.options = server, item, folder, options
        self.final = folder.path / item.name
        self.part = folder.path / f"{item.name}.part"
        self.sidecar = folder.path / f"{item.name}.part.json"
        self.state: DownloadState | None = None
        self.connections = options.connections
        self._lock = threading.Lock()
        self._is_cancelled = threading.Event()
        self._saved = (0.0, 0)  # the time, and the number of missing bytes

    def run(self) -> None:
        """Download the file. Raises PullError."""
        problem = "the file keeps changing, or the server can't resume"
        for attempt in range(MAX_ATTEMPTS):
            try:
                with self.options.turns:
                    self._fetch(may_resume=self.options.resume and attempt == 0)
                self._raise_error_response()
                problem = self._find_problem()
                if not problem:
                    self._finish()
                    return
            except RestartDownload as restart:
                problem = str(restart) or problem
            self._discard()
        raise PullError(f"The download was discarded: {problem}. Try again later.")

    def _fetch(self, *, may_resume: bool) -> None:
        response = None
        self.state = self._stored_state() if may_resume else None
        if self.state is None:
            self._discard()
            response = self._first_response()
            self.state = self._create_state(response)
        if self.state is None:
            self._copy_all(response)
            return
        state = self.state
        state.missing = split(state.missing, self.connections if state.validator else 1)
        left = self._missing_bytes()
        self._saved = (time.monotonic(), left)
        self.options.progress.start(self.item.name, state.size, state.size - left)
        try:
            self._download_parts(state.missing, response)
        except BaseException:
            self._save()
            raise
        finally:
            self.options.progress.end(self.item.name)

    def _stored_state(self) -> DownloadState | None:
        """Return the stored state of an earlier process, or None if it can't be resumed."""
        stored = read_json_file(self.sidecar)
        try:
            state = DownloadState(**stored)
            is_valid = all(0 <= first <= end <= state.size for first, end in state.missing)
        except (TypeError, ValueError):
            return None
        is_same = (state.address, state.updated_at) == (self.item.address, self.folder.updated_at)
        is_resumable = is_same and is_valid and state.validator and file_size(self.part) == state.size
        return state if is_resumable else None

    def _first_response(self) -> Any:
        """Return the response with the complete file. Wait if it is being built. Raises PullError."""
        while True:
            response = retry(lambda: self._request({}))
            if response.status_code == 200:
                return response
            with response:
                if response.status_code != 202:
                    raise PullError(
                        f"The server sent a part instead of the complete file (code {response.status_code})."
                    )
                self._wait(response)

    def _wait(self, response: Any) -> None:
        """Wait before the next request for a file that is being built. Raises NotReady after --wait."""
        left = self.options.until - time.monotonic()
        if left <= 0:
            raise NotReady("The file is still being built. Try again later, or use --wait.")
        time.sleep(min(retry_after(response) or 1.0, left))

    def _request(self, headers: dict[str, str]) -> Any:
        response = self.server.request(self.item.address, headers)
        try:
            check_response(response, self.item.name)
        except BaseException:
            response.close()
            raise
        return response

    def _create_state(self, response: Any) -> DownloadState | None:
        """Reserve disk space and return the state of a new download, or None if its length is unknown."""
        length = response.headers.get("Content-Length", "")
        if "chunked" in response.headers.get("Transfer-Encoding", "").lower():
            return None
        if not re.fullmatch("[0-9]{1,18}", length):
            response.close()
            raise PullError("The server sent no length, so a broken download could seem complete.")
        size = int(length)
        try:
            with open_file(self.part, "x+b") as file:
                reserve(file, size)
        except OSError:
            self._discard()
            raise
        return DownloadState(
            address=self.item.address,
            updated_at=self.folder.updated_at,
            size=size,
            validator=validator_from(response),
            sha256=digest_from(response),
            missing=[[0, size]] if size else [],
        )

    def _copy_all(self, response: Any) -> None:
        """Copy a body of unknown length. Raises RestartDownload if the connection breaks."""
        with response, open_file(self.part, "x+b") as file:
            try:
                file.writelines(iter_body(response))
            except TemporaryError as error:
                time.sleep(RETRY_DELAYS[0])
                raise RestartDownload("the connection was interrupted") from error

    def _download_parts(self, parts: list[list[int]], response: Any) -> None:
        """Download all parts, the first one from `response` if it is given."""
        self._is_cancelled.clear()
        tasks = [(part, None if index else response) for index, part in enumerate(parts)]
        in_parallel(self._download_or_cancel, tasks, self.connections)

    def _download_or_cancel(self, task: tuple[list[int], Any]) -> None:
        """Download a part. If that fails, cancel the others."""
        try:
            self._download_part(*task)
        except Cancelled:
            pass  # another part failed
        except BaseException:
            self._is_cancelled.set()
            raise

    def _download_part(self, part: list[int], response: Any) -> None:
        """Download a part of the file. Reconnect if necessary.

        Raises PullError, RestartDownload, Cancelled.
        """
        failures = 0
        while part[0] < part[1]:
            before = part[0]
            try:
                if response is None:
                    response = self._request_part(part)
                self._copy(response, part)
            except TemporaryError as error:
                failures = 0 if part[0] > before else failures + 1
                if failures > len(RETRY_DELAYS):
                    raise
                pause = RETRY_DELAYS[max(failures - 1, 0)] if error.pause is None else error.pause
                if self._is_cancelled.wait(pause):
                    raise Cancelled from None
            finally:
                if response is not None:
                    response.close()
                response = None

    def _request_part(self, part: list[int]) -> Any:
        """Request the rest of a part. Raises RestartDownload if the file has changed."""
        state = self._current_state
        if not state.validator:
            raise RestartDownload("the connection was interrupted, and the server can't resume")
        headers = {"Range": f"bytes={part[0]}-{part[1] - 1}", "If-Range": state.validator}
        response = self._request(headers)
        if response.status_code == 206 and self._is_part(response, part):
            return response
        response.close()
        if response.status_code == 200:
            self.connections = 1  # the server may not support ranges
        raise RestartDownload

    def _is_part(self, response: Any, part: list[int]) -> bool:
        """Return whether a response is the requested part of the same file. Raises TemporaryError."""
        content_range = response.headers.get("Content-Range", "").strip()
        if not re.fullmatch(r"bytes [0-9]+-[0-9]+/[0-9]+", content_range):
            response.close()
            raise TemporaryError("The connection was interrupted within the headers.")
        validator = self._current_state.validator
        is_same = response.headers.get("ETag", validator) == validator or not validator.endswith('"')
        return is_same and content_range == f"bytes {part[0]}-{part[1] - 1}/{self._current_state.size}"

    def _copy(self, response: Any, part: list[int]) -> None:
        with open_file(self.part, "r+b") as file:
            file.seek(part[0])
            for piece in iter_body(response):
                data = piece[: part[1] - part[0]]
                file.write(data)
                file.flush()
                part[0] += len(data)
                self.options.progress.add(self.item.name, len(data))
                self._save_regularly(file)
                if part[0] >= part[1]:
                    return
                if self._is_cancelled.is_set():
                    raise Cancelled
        raise TemporaryError("The connection was closed early.")

    @property
    def _current_state(self) -> DownloadState:
        assert self.state is not None
        return self.state

    def _missing_bytes(self) -> int:
        return sum(end - first for first, end in self._current_state.missing)

    def _save_regularly(self, file: BinaryIO) -> None:
        seconds, count = SAVE_EVERY
        at, left = self._saved
        if time.monotonic() - at < seconds and left - self._missing_bytes() < count:
            return
        with self._lock:
            self._saved = (time.monotonic(), self._missing_bytes())
            self._write_state(file)

    def _save(self) -> None:
        """Save the state. If the disk is full, keep the previous one."""
        with self._lock, contextlib.suppress(OSError), open_file(self.part, "r+b") as file:
            self._write_state(file)

    def _write_state(self, file: BinaryIO) -> None:
        # Copy the state first, so that everything it lists is synced before it is stored.
        now = asdict(self._current_state)
        now["missing"] = [[first, end] for first, end in now["missing"] if first < end]
        os.fsync(file.fileno())
        write_json(self.sidecar, now)

    def _find_problem(self) -> str:
        """Return what is wrong with the downloaded file, or ""."""
        size = file_size(self.part)
        if self.state is not None and (size != self.state.size or self._missing_bytes()):
            return "the file is incomplete"
        problem = find_damaged_ends(self.part)
        if problem or not self.options.verify:
            return problem
        self.options.progress.check(self.item.name)
        if self.item.size not in {None, size}:
            return f"the file has {size} bytes instead of {self.item.size}"
        return find_damage(self.part, self.item.sha256 or (self.state.sha256 if self.state else ""))

    def _raise_error_response(self) -> None:
        """Raise PullError if the server sent an error in an envelope with HTTP 200."""
        if (file_size(self.part) or 0) > MAX_ERROR_SIZE:
            return
        envelope = read_json_file(self.part)
        if isinstance(envelope, dict) and envelope.keys() == {"code", "data", "status"}:
            self._discard()
            raise error_for(parse_integer(envelope["code"]) or 0, one_line(envelope["data"]))

    def _finish(self) -> None:
        with open_file(self.part, "r+b") as file:
            os.fsync(file.fileno())
        self.part.replace(self.final)
        self.sidecar.unlink(missing_ok=True)
        self.folder.note(self.item)

    def _discard(self) -> None:
        self.sidecar.unlink(missing_ok=True)
        self.part.unlink(missing_ok=True)


def reserve(file: BinaryIO, size: int) -> None:
    """Reserve disk space for a large file, so that a disk that is too small fails at once."""
    file.truncate(size)
    if size > BLOCK_SIZE and hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(file.fileno(), 0, size)
        except OSError as error:
            if error.errno in {errno.ENOSPC, errno.EFBIG, errno.EDQUOT}:
                raise  # other errors mean that the file system can't reserve space


def split(missing: list[list[int]], connections: int) -> list[list[int]]:
    """Split the missing ranges into parts for several connections, but not into tiny ones."""
    total = sum(end - first for first, end in missing)
    length = max(-(-total // connections), MIN_PART_SIZE)
    return [
        [start, min(start + length, end)] for first, end in missing for start in range(first, end, length)
    ]


def validator_from(response: Any) -> str:
    """Return a validator for If-Range: a strong ETag, else the date, else ""."""
    if response.headers.get("Accept-Ranges", "bytes").lower() == "none":
        return ""
    etag = str(response.headers.get("ETag", ""))
    return etag if etag.startswith('"') else str(response.headers.get("Last-Modified", ""))


def check_response(response: Any, name: str) -> None:
    """Raise PullError unless a response has a file, a part of it, or reports that it is being built."""
    if response.status_code not in {200, 202, 206, 416}:
        raise error_from(response)
    if response.headers.get("Content-Encoding", "identity").lower() not in {"", "identity"}:
        raise PullError("The server compressed the response, although the request forbids it.")
    if response.headers.get("Content-Type", "").lower().startswith("text/html"):
        raise PullError(f"The server sent a web page instead of {printable(name)}. Check --base-url.")


# --- output -----------------------------------------------------------------------------------------------


class Console:
    """Print results to stdout and errors to stderr, but never the API key."""

    def __init__(self, *, quiet: bool, key: str = "") -> None:
        self._quiet = quiet
        self._key = key
        self._lock = threading.Lock()

    def info(self, text: str) -> None:
        """Print a result, unless --quiet is set."""
        if not self._quiet:
            self._print(text, sys.stdout)

    def error(self, text: str) -> None:
        """Print an error."""
        self._print(f"pull: {text}", sys.stderr)

    def _print(self, text: str, stream: Any) -> None:
        text = text.replace(self._key, "(the API key)") if self._key else text
        encoding = stream.encoding or "utf-8"
        with self._lock:
            print(text.encode(encoding, "replace").decode(encoding), file=stream, flush=True)


@dataclass
class FileProgress:
    """The progress of a file, in bytes."""

    name: str
    size: int
    at_first: int
    done: int
    started: float = field(default_factory=time.monotonic)

    def __str__(self) -> str:
        seconds = max(time.monotonic() - self.started, 0.001)
        speed = (self.done - self.at_first) / seconds
        share = self.done / self.size if self.size else 1
        left = f"  {format_duration((self.size - self.done) / speed)} left" if speed else ""
        bar = "#" * int(share * 20)
        facts = f"  [{bar:<20}] {share:4.0%}  {format_size(self.done)}  {format_size(speed)}/s{left}"
        room = max(shutil.get_terminal_size().columns - len(facts) - 1, 8)
        return (self.name if len(self.name) <= room else f"…{self.name[1 - room :]}") + facts


class ProgressBar:
    """A line on the terminal with the progress of the file that grew last."""

    def __init__(self, *, is_shown: bool) -> None:
        self._is_shown = is_shown
        self._lock = threading.Lock()
        self._files: dict[str, FileProgress] = {}
        self._drawn = 0.0

    def start(self, name: str, size: int, done: int) -> None:
        """Start with a file, of which `done` bytes are already here."""
        if self._is_shown:
            with self._lock:
                self._files[name] = FileProgress(printable(name), size, done, done)

    def add(self, name: str, count: int) -> None:
        """Count received bytes."""
        if not self._is_shown:
            return
        with self._lock:
            self._files[name].done += count
            if time.monotonic() - self._drawn >= REDRAW_SECONDS:
                self._drawn = time.monotonic()
                self._draw(str(self._files[name]))

    def check(self, name: str) -> None:
        """Show that the complete file is being verified."""
        if self._is_shown:
            with self._lock:
                self._draw(f"{printable(name)}  verifying")

    def end(self, name: str) -> None:
        """Remove the line after the last file."""
        if self._is_shown:
            with self._lock:
                del self._files[name]
                if not self._files:
                    self._draw("")

    def _draw(self, text: str) -> None:
        width = shutil.get_terminal_size().columns - 1
        encoding = sys.stderr.encoding or "utf-8"
        line = text[:width].encode(encoding, "replace").decode(encoding)
        sys.stderr.write(f"\r{line:<{width}}" + ("" if text else "\r"))
        sys.stderr.flush()


def format_size(size: float) -> str:
    """Return a number of bytes in a readable unit."""
    for unit in ("bytes", "KB", "MB", "GB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TB"


def format_duration(seconds: float) -> str:
    """Return a duration as minutes and seconds, or as hours and minutes."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}:{rest:02}" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


# --- a pull -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class DownloadOptions:
    """The options of a download."""

    resume: bool
    verify: bool
    connections: int  # for each file
    turns: threading.Semaphore  # limits how many files are received at once
    until: float  # time.monotonic() at the end of --wait
    progress: ProgressBar


@dataclass
class Outcome:
    """The result of a pull, as numbers of files."""

    new: int = 0
    size: int = 0  # bytes of the new files
    here: int = 0
    unchanged: int = 0  # runs
    failed: int = 0
    waiting: int = 0

    def code(self) -> int:
        """Return the exit code."""
        if self.failed:
            return FAILED
        if self.waiting:
            return NOT_READY
        return DONE if self.new else NOTHING_NEW

    def __str__(self) -> str:
        files = "file" if self.new == 1 else "files"
        new = f"{self.new} new {files} ({format_size(self.size)})" if self.new else "nothing new"
        counts = (
            (self.here, "already here"),
            (self.unchanged, "unchanged"),
            (self.waiting, "not ready yet"),
            (self.failed, "failed"),
        )
        return ", ".join([new] + [f"{count} {label}" for count, label in counts if count])


def select_runs(server: Server, options: argparse.Namespace) -> tuple[list[Run], list[Run]]:
    """Return the requested runs: those that are ready, and those that aren't. Raises PullError."""
    ready: list[Run] = []
    unready: list[Run] = []
    for run in server.runs(options.collection):
        if options.since and run.created_at and run.created_at < options.since:
            break
        if options.run not in {None, run.number}:
            continue
        (ready if run.is_ready else unready).append(run)
        if options.run is not None or (options.is_latest and run.is_ready):
            break
    if options.run is not None and not ready + unready:
        raise FatalError(f"Collection {options.collection} has no run {options.run}.")
    return ready, unready


def wait_for_runs(server: Server, options: argparse.Namespace, until: float) -> list[Run]:
    """Return the requested runs that are ready. Wait for one if necessary. Raises PullError."""
    while True:
        ready, unready = select_runs(server, options)
        if ready:
            return ready
        if options.run is not None and unready[0].state == "failed":
            reason = unready[0].failure_reason
            raise PullError(f"Run {options.run} of collection {options.collection} failed: {reason}")
        left = until - time.monotonic()
        if left <= 0:
            raise NotReady(not_ready_message(unready, options))
        time.sleep(min(POLL_SECONDS, left))


def not_ready_message(unready: list[Run], options: argparse.Namespace) -> str:
    """Return a message that explains why no run can be pulled yet."""
    of = f"of collection {options.collection}"
    if unready and unready[0].state == "stalled":
        return f"Run {unready[0].number} {of} has stalled. It may continue."
    if unready:
        return f"Run {unready[0].number} {of} is not ready yet."
    if options.since:
        return f"No run {of} has started since {options.since:%Y-%m-%d %H:%M %Z}."
    return f"No run {of} is ready yet."


def items_to_pull(server: Server, run: Run, options: argparse.Namespace) -> list[Item]:
    """Return the files of a run in the requested format. Raises PullError."""
    if run.foreign_links:
        raise PullError(f"The server sent {run.foreign_links} links that don't lead to run {run.number}.")
    names = original_names(run, options)
    manifest = server.manifest(run) if options.verify or not names else None
    if names:
        folder = f"/results/{run.collection}/{run.number}/"
        facts = manifest or {}
        return with_unique_names([original_item(folder, name, facts.get(name, {})) for name in names])
    if manifest is None:
        raise FatalError(
            f"This server can't convert run {run.number} to {options.export or options.format}. "
            "Use the results dashboard, or --format pages."
        )
    folder = f"/collections/{run.collection}/runs/{run.number}/"
    if options.export:
        return [Item(f"{folder}exports/{quote(options.export, safe='')}", safe_name(options.export))]
    rest = "all.zip" if options.format == "zip" else f"records.{options.format}"
    columns = f"?columns={quote(options.columns, safe=',')}" if options.columns else ""
    return [Item(f"{folder}{rest}{columns}", rest)]


def original_names(run: Run, options: argparse.Namespace) -> list[str]:
    """Return the names of a run's original files in the requested format."""
    if options.export:
        return []
    if options.format == "pages":
        return list(run.pages)
    name = {"zip": run.archive, "csv": "" if options.columns else run.csv}.get(options.format, "")
    return [name] if name else []


def original_item(folder: str, name: str, facts: dict[str, Any]) -> Item:
    """Return one of a run's original files, with the digest and size of its manifest entry."""
    sha256 = facts.get("sha256")
    return Item(
        address=folder + quote(name, safe=""),
        name=safe_name(name),
        sha256=sha256.lower() if isinstance(sha256, str) else "",
        size=parse_integer(facts.get("size")),
    )


class Pull:
    """A pull of the requested runs, one after the other, and several files of a run at once."""

    def __init__(self, server: Server, options: argparse.Namespace, console: Console) -> None:
        self._server, self._options, self._console = server, options, console
        self._until = time.monotonic() + options.wait
        self._progress = ProgressBar(is_shown=sys.stderr.isatty() and not options.quiet)
        self._outcome = Outcome()
        self._lock = threading.Lock()  # of the outcome

    def run(self) -> int:
        """Pull all runs, and return the exit code. Raises FatalError, NotReady, PullError, OSError."""
        options = self._options
        runs = wait_for_runs(self._server, options, self._until)
        with lock_collection(options.output, options.collection):
            for run in runs:
                self._report(f"Run {run.number}", lambda: self._pull_run(run))  # noqa: B023  # called at once
        subject, folder = f"{len(runs)} runs", options.output / str(options.collection)
        if len(runs) == 1:
            note = f" ({runs[0].missing})" if runs[0].missing else ""
            subject, folder = f"run {runs[0].number}{note}", folder / str(runs[0].number)
        self._console.info(f"Collection {options.collection}, {subject}: {self._outcome}, in {folder}")
        return self._outcome.code()

    def _items(self, run: Run) -> list[Item]:
        """Return the files of a run to pull. Raises PullError."""
        if not self._options.changes:
            return items_to_pull(self._server, run, self._options)
        if self._server.manifest(run) is None:
            raise FatalError("This server can't compare runs. Use the results dashboard.")
        try:
            since, has_changed = self._server.changes(run, self._until)
        except NotFound as error:  # there is no earlier run
            self._console.info(f"Run {run.number}: {error}")
            has_changed = False
        if not has_changed:
            self._count(unchanged=1)
            return []
        ending = self._options.format
        address = f"/collections/{run.collection}/runs/{run.number}/changes.{ending}?since={since}"
        return [Item(address, f"changes-since-{since}.{ending}")]

    def _pull_run(self, run: Run) -> None:
        items = self._items(run)
        if not items:
            return
        folder = RunFolder(self._options.output, run)
        options = self._options_for(len(items))

        def pull(item: Item) -> None:
            name = f"Run {run.number}, {printable(item.name)}"
            self._report(name, lambda: self._pull_item(item, folder, options, name))

        try:
            in_parallel(pull, items, THREADS_PER_CONNECTION * self._options.parallel)
        finally:
            folder.save()

    def _options_for(self, files: int) -> DownloadOptions:
        """Return the options of the downloads in a run with this many files, which share the connections."""
        at_once = max(1, min(self._options.parallel, files))
        return DownloadOptions(
            resume=self._options.resume,
            verify=self._options.verify,
            connections=self._options.parallel // at_once,
            turns=threading.Semaphore(at_once),
            until=self._until,
            progress=self._progress,
        )

    def _pull_item(self, item: Item, folder: RunFolder, options: DownloadOptions, name: str) -> None:
        problem = folder.find_problem(item, verify=options.verify)
        if problem is None:
            self._count(here=1)
            return
        if problem:
            self._console.error(f"{name}: {problem}. Downloading it again.")
        Download(self._server, item, folder, options).run()
        self._count(new=1, size=file_size(folder.path / item.name) or 0)

    def _count(self, **numbers: int) -> None:
        """Add to the outcome."""
        with self._lock:
            for name, count in numbers.items():
                setattr(self._outcome, name, getattr(self._outcome, name) + count)

    def _report(self, name: str, work: Callable[[], None]) -> None:
        """Call `work`. Print and count its errors, so that the pull continues. Raises FatalError."""
        try:
            work()
        except FatalError:
            raise
        except NotReady as error:
            self._count(waiting=1)
            self._console.info(f"{name}: {error}")
        except PullError as error:
            self._count(failed=1)
            self._console.error(f"{name}: {error}")


class Follower:
    """Pulls each run of a collection as soon as the event feed reports it, until the process is stopped.

    The position in the feed is stored after the runs have been pulled, so that another process continues.
    """

    def __init__(self, server: Server, options: argparse.Namespace, console: Console) -> None:
        self._server, self._options, self._console = server, options, console
        what = [options.base_url, options.format, options.columns, options.export, options.changes]
        digest = hashlib.sha256(json.dumps(what).encode()).hexdigest()[:8]
        self._position = options.output / str(options.collection) / f".pull.events-{digest}.json"
        self._failures = 0

    def run(self) -> NoReturn:
        """Pull runs forever. Raises FatalError and, if the feed can't be read at first, PullError."""
        _, newest = self._server.events(0, limit=1)
        after = parse_integer(read_json_file(self._position))
        if after is None or after > newest:
            after = self._begin(newest)
        while True:
            after = self._pull_next(after)
            time.sleep(FOLLOW_SECONDS)

    def _begin(self, newest: int) -> int:
        """Pull the requested runs, which may be older than the newest event. Return its number."""
        self._pull(self._options)
        self._save(newest)
        return newest

    def _pull_next(self, after: int) -> int:
        """Pull the runs of the next events. Return the number of the last event that needs no retry."""
        try:
            events, newest = self._server.events(after)
        except FatalError:
            raise
        except PullError as error:
            self._console.error(str(error))
            return after
        if newest < after:  # the server was restored from a backup
            return self._begin(newest)
        return self._pull_runs(events, after) if events else after

    def _pull_runs(self, events: list[Event], after: int) -> int:
        is_done = all([self._pull(self._options_for(run)) for run in self._runs(events)])  # noqa: C419  # all of them
        self._failures = 0 if is_done else self._failures + 1
        if not is_done and self._failures < MAX_ATTEMPTS:
            return after
        self._failures = 0
        self._save(events[-1].sequence)
        return events[-1].sequence

    def _runs(self, events: list[Event]) -> list[int]:
        """Return the numbers of the runs with files, in the order of the events."""
        ours = (event for event in events if event.collection == self._options.collection)
        return list(dict.fromkeys(event.run for event in ours if event.run and event.type in WITH_FILES))

    def _options_for(self, run: int) -> argparse.Namespace:
        changed = {"run": run, "since": None, "all": False, "is_latest": False}
        wait = max(self._options.wait, FOLLOW_WAIT)
        return argparse.Namespace(**{**vars(self._options), **changed, "wait": wait})

    def _pull(self, options: argparse.Namespace) -> bool:
        """Pull runs, and print errors. Return False if a retry may succeed."""
        try:
            return Pull(self._server, options, self._console).run() not in {FAILED, NOT_READY}
        except NotReady as error:
            self._console.info(str(error))
        except PullError as error:
            self._console.error(str(error))
            return error.code == REFUSED
        except OSError as error:
            self._console.error(f"{error.filename or options.output}: {error.strerror or error}.")
        return False

    def _save(self, after: int) -> None:
        create_folder(self._position.parent)
        write_json(self._position, after)


# --- the command line -------------------------------------------------------------------------------------


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    result = argparse.ArgumentParser(
        prog="pull",
        description=__doc__,
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = result.add_argument
    add("collection", type=number, metavar="COLLECTION", help="the ID of the collection")
    runs = result.add_mutually_exclusive_group()
    runs.add_argument("--latest", action="store_true", help="pull the newest completed run (the default)")
    runs.add_argument("--run", type=number, metavar="N", help="pull run N")
    runs.add_argument(
        "--since",
        type=date,
        metavar="DATE",
        help="pull all runs since a date or time in UTC, for example 2026-06-20",
    )
    runs.add_argument("--all", action="store_true", help="pull all runs")
    add(
        "--format",
        choices=ORIGINAL_FORMATS + CONVERTED_FORMATS,
        default="pages",
        help="the format to pull (default: pages)",
    )
    add("--columns", metavar="A,B", help="pull only these columns, in a format that the dashboard creates")
    add(
        "--export",
        metavar="NAME",
        help="pull a saved export by its name in the collection's settings, for example prices.xlsx",
    )
    add(
        "--changes",
        action="store_true",
        help="pull what changed since the previous run, as CSV unless --format is set; exit with 3 if "
        "nothing did",
    )
    add(
        "--output",
        type=Path,
        default=Path(),
        metavar="DIR",
        help="the output folder (default: the current one)",
    )
    add("--resume", action=argparse.BooleanOptionalAction, default=True, help="resume interrupted downloads")
    add(
        "--verify",
        action="store_true",
        help="verify all files, including those already here, by the server's SHA-256; without one, parse "
        "the JSON and test the ZIP",
    )
    add(
        "--parallel",
        type=connections,
        default=4,
        metavar="N",
        help="the number of connections, for several files at once or for a large one (default: 4)",
    )
    add(
        "--wait",
        type=seconds,
        nargs="?",
        const=3600.0,
        default=0.0,
        metavar="SECONDS",
        help="wait until a run is ready or a file is built, for an hour unless SECONDS is given",
    )
    add(
        "--follow",
        action="store_true",
        help="then pull each new run as soon as it is completed, until interrupted; requires the dashboard",
    )
    add("--quiet", action="store_true", help="print only errors")
    add(
        "--base-url",
        type=base_url,
        metavar="URL",
        help=f"the address of the API (default: ${URL_VARIABLE}, or {DEFAULT_BASE_URL})",
    )
    add("--key-file", type=Path, metavar="FILE", help="read the API key from this file")
    return result


def number(text: str) -> int:
    """Return the number of a collection or a run."""
    if not re.fullmatch("[0-9]{1,18}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number")
    return int(text)


def seconds(text: str) -> float:
    """Return a number of seconds."""
    if not re.fullmatch(r"[0-9]{1,7}(\.[0-9]+)?", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds")
    return float(text)


def connections(text: str) -> int:
    """Return a number of connections."""
    if not re.fullmatch("[0-9]{1,2}", text) or not 1 <= int(text) <= MAX_CONNECTIONS:
        raise argparse.ArgumentTypeError(f"must be a number from 1 to {MAX_CONNECTIONS}")
    return int(text)


def date(text: str) -> datetime:
    """Return the start of a day, or a time."""
    at = parse_time(text)
    if at is None:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a date; use a form such as 2026-06-20 or 2026-06-20T12:00:00Z"
        )
    return at


def base_url(text: str) -> str:
    """Return the address of the API without a trailing slash."""
    try:
        parts = urlsplit(text)
        is_address = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_address = False
    if not is_address or parts.username is not None or parts.query or parts.fragment:
        raise argparse.ArgumentTypeError("must be an address such as https://results.example.com/api/v1")
    return text.rstrip("/")


def read_key(options: argparse.Namespace) -> str:
    """Return the API key. Raises FatalError."""
    if options.key_file:
        try:
            key = options.key_file.expanduser().read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not a text file"
            raise FatalError(f"Can't read the key file {options.key_file}: {reason}.") from None
    else:
        key = os.environ.get(KEY_VARIABLE, "").strip()
    if not key:
        raise FatalError(
            f"The API key is missing. Set the environment variable {KEY_VARIABLE}, or use --key-file."
        )
    if not re.fullmatch(r"[\x21-\x7e]+", key):
        raise FatalError(
            "That isn't a valid API key. Keys contain only letters, digits and symbols, on one line."
        )
    return str(key)


def parse_options(arguments: list[str] | None) -> argparse.Namespace:
    """Return the options from the command line and the environment. Exit with 2 if they are invalid."""
    command_line = build_parser()
    options = command_line.parse_args(arguments)
    options.is_latest = options.run is None and options.since is None and not options.all
    if options.columns and options.format not in CONVERTED_FORMATS:
        command_line.error(f"--columns requires one of these formats: {', '.join(CONVERTED_FORMATS)}")
    if options.export and (options.columns or options.format != "pages"):
        command_line.error("--export sets the format and columns; remove --format and --columns")
    if options.follow and options.run is not None:
        command_line.error("--follow can't be combined with --run")
    if options.changes:
        check_changes(command_line, options)
    if options.base_url is None:
        try:
            options.base_url = base_url(os.environ.get(URL_VARIABLE) or DEFAULT_BASE_URL)
        except argparse.ArgumentTypeError as error:
            command_line.error(f"{URL_VARIABLE}: {error}")
    return options


def check_changes(command_line: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Set the format of --changes. Exit with 2 if the options can't be combined."""
    options.format = "csv" if options.format == "pages" else options.format
    if options.format not in CHANGES_FORMATS:
        command_line.error(f"--changes requires one of these formats: {', '.join(CHANGES_FORMATS)}")
    if options.columns or options.export:
        command_line.error("--changes can't be combined with --columns or --export")


def main(arguments: list[str] | None = None) -> int:
    """Pull what the command line requests, and return the exit code. Raises KeyboardInterrupt."""
    options = parse_options(arguments)
    console = Console(quiet=options.quiet)
    try:
        key = read_key(options)
        console = Console(quiet=options.quiet, key=key)
        with contextlib.closing(Server(options.base_url, key)) as server:
            if options.follow:
                Follower(server, options, console).run()
            return Pull(server, options, console).run()
    except NotReady as error:
        console.info(str(error))
        return NOT_READY
    except PullError as error:
        console.error(str(error))
        return error.code
    except OSError as error:
        console.error(f"{error.filename or options.output}: {error.strerror or error}.")
        return FAILED


def command() -> NoReturn:
    """Run as a program. Exit at once if interrupted, because the state is already saved."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        code = main()
    except KeyboardInterrupt:
        print("pull: Interrupted. Run the same command again to resume.", file=sys.stderr)
        code = INTERRUPTED
    sys.stdout.flush()
    # A normal exit would wait for the threads that are still downloading.
    os._exit(code)


if __name__ == "__main__":
    command()
