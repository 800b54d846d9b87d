#!/usr/bin/env python3
# /// script
# requires-python = ">=3.9"
# dependencies = ["requests>=2.28"]
# ///
"""Pull the result files of a collection: resumed, checked, and nothing twice.

    export MULTICART_API_KEY=...
    python pull.py 101 --latest --verify

The files of a run come to DIR/COLLECTION/RUN/. Each is written beside, as NAME.part, and renamed once it is
whole; one that is here already is left alone. An interrupted pull goes on where it was when it is called
again. It pulls from the results dashboard, or from MultiCartAPI itself, which has the original files alone.
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
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn, TypeVar
from urllib.parse import quote, unquote, urlsplit

import requests
from urllib3.exceptions import HTTPError as BrokenTransfer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

try:
    import fcntl
except ImportError:  # Windows: there two pulls at once are nobody's business but the caller's
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
  3  nothing new: everything requested was here already
  4  not ready yet: try again later, or use --wait
  130  interrupted; run the same command again to resume

The API key comes from the environment variable MULTICART_API_KEY, or from a file by --key-file.
From cron, at ten past every hour, and `load` only when there is something new:
  10 * * * *  python pull.py 101 --latest --quiet --key-file ~/.multicart-key --output ~/results && load
"""

ORIGINALS = ("pages", "zip")
CONVERTED = ("json", "jsonl", "csv", "xlsx", "parquet")

TIMEOUT = (10, 60)  # seconds to connect, and without a byte
PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0)  # seconds before each further try; progress starts them over
POLL = 5.0  # seconds between two looks whether a run is ready
LONGEST_PAUSE = 120.0  # seconds that a server may ask us to wait at most
TIMES_ANEW = 4  # how often a file is begun from its first byte, before it counts as failed
RUNS_AT_ONCE = 50  # what the API lists by default
DRAWN_EVERY = 0.1  # seconds
BLOCK = 256 * 1024  # bytes
LEAST_PART = 8 * 1024 * 1024  # bytes: less is not worth a connection of its own
MOST_CONNECTIONS = 16
NOTED_EVERY = (1.0, 16 * 1024 * 1024)  # seconds and bytes, after which progress is written down
LONGEST_REFUSAL = 4096  # bytes
LONGEST_ANSWER = 64 * 1024 * 1024  # bytes of a list or a manifest

_T = TypeVar("_T")


# --- what can go wrong ------------------------------------------------------------------------------------


class Problem(Exception):
    """One thing can't be done; the others may be. Its text is for people."""

    code = FAILED  # what a pull ends with that comes no further


class Refusal(Problem):
    """The server refuses this one thing."""

    code = REFUSED


class Missing(Refusal):
    """There is nothing at this address."""


class NotReady(Problem):
    """It will be there later."""


class Trouble(Problem):
    """Something that passes: worth another try."""

    def __init__(self, text: str, pause: float | None = None) -> None:
        super().__init__(text)
        self.pause = pause  # seconds, where the server said


class Stop(Problem):
    """Nothing else will work either."""

    def __init__(self, text: str, code: int = REFUSED) -> None:
        super().__init__(text)
        self.code = code


class Anew(Exception):
    """What is here of a file is worth nothing: begin from its first byte."""


class Stopped(Exception):
    """Another connection of the same file failed."""


_STOPS = {
    401: "The server doesn't accept the API key.",
    402: "The server asks for a payment first.",
    403: "This is not allowed with this API key.",
}
_PASSING = {429, 502, 503, 504}


def problem_of(code: int, reason: str, pause: float | None = None) -> Problem:
    """Return what a refusal means for us, by its code: an HTTP status, or that of the envelope."""
    said = f" It says: {reason}" if reason else ""
    if code in _PASSING:
        return Trouble(f"The server can't answer now (code {code}).{said}", pause)
    if code == 404:
        return Missing(reason or "There is nothing at this address.")
    if 300 <= code < 400:
        return Stop(
            "The server sends us to another address, which is not followed, as the API key would go along. "
            "Correct --base-url."
        )
    if code in _STOPS:
        return Stop(_STOPS[code] + said)
    if 400 <= code < 500:
        return Refusal(f"The server refuses this (code {code}).{said}")
    return Problem(f"The server failed (code {code}).{said}")


def not_understood(what: str) -> Problem:
    """Return the problem of an answer that is no API's."""
    return Problem(f"The server's {what} can't be understood. Is --base-url right? It ends in /api/v1.")


def patiently(attempt: Callable[[], _T]) -> _T:
    """Return what an attempt gives; passing troubles are waited out, longer each time."""
    for pause in PAUSES:
        try:
            return attempt()
        except Trouble as trouble:
            time.sleep(pause if trouble.pause is None else trouble.pause)
    return attempt()


# --- the server -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """A run, as the API lists it."""

    collection: int
    number: int
    is_ready: bool
    created_at: datetime | None
    updated_at: str
    pages: tuple[str, ...] = ()  # names of files
    archive: str = ""
    csv: str = ""
    refused: int = 0  # links that lead elsewhere


@dataclass(frozen=True)
class Item:
    """A file to pull: where it is below the base URL, what it is called here, and its proof where known."""

    address: str
    name: str
    sha256: str = ""
    size: int | None = None


class Server:
    """The API: the seed's two calls, and those that only the dashboard has."""

    def __init__(self, base_url: str, key: str) -> None:
        self.base_url = base_url
        self._session = requests.Session()
        # Without this, requests sends what it finds in ~/.netrc.
        self._session.auth = lambda request: request
        self._session.headers.update({"x-api-key": key, "Accept-Encoding": "identity"})
        self._session.mount("http://", requests.adapters.HTTPAdapter(pool_maxsize=MOST_CONNECTIONS))
        self._session.mount("https://", requests.adapters.HTTPAdapter(pool_maxsize=MOST_CONNECTIONS))

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def ask(self, address: str, headers: dict[str, str] | None = None, question: Any = None) -> Any:
        """Return the answer of any status, its body unread. Raises Trouble."""
        method = "GET" if question is None else "POST"
        try:
            return self._session.request(
                method,
                self.base_url + address,
                headers=headers,
                json=question,
                stream=True,
                allow_redirects=False,  # the key would go along
                timeout=TIMEOUT,
            )
        except requests.exceptions.SSLError:
            raise Stop(f"{self.base_url} speaks no HTTPS, or its certificate is not valid.", FAILED) from None
        except (requests.ConnectionError, requests.Timeout):
            raise Trouble(f"{self.base_url} can't be reached.") from None
        except (requests.RequestException, UnicodeError, ValueError):
            raise Stop(f"{self.base_url} can't be called. Is --base-url right?") from None

    def runs(self, collection: int) -> Iterator[Run]:
        """Yield the runs of a collection, newest first, each once. Raises Problem."""
        seen: set[int] = set()
        skip = 0
        while True:
            entries = patiently(lambda: self._entries(collection, skip))  # noqa: B023  # called at once
            runs = [run_of(entry, collection) for entry in entries]
            fresh = [run for run in runs if run.number not in seen]
            if not fresh:
                return
            seen.update(run.number for run in fresh)
            yield from fresh
            skip += len(entries)

    def _entries(self, collection: int, skip: int) -> list[Any]:
        question = {"collection_id": collection, "skip": skip, "limit": RUNS_AT_ONCE}
        with self.ask("/schedules/collections/results/download/", question=question) as answer:
            if answer.status_code == 404:
                raise Problem(
                    f"There is no API at {self.base_url}. Is --base-url right? It usually ends in /api/v1."
                )
            if answer.status_code != 200:
                raise refusal_of(answer)
            envelope = json_of(answer, "list of runs")
        if not isinstance(envelope, dict) or "status" not in envelope:
            raise not_understood("list of runs")
        if not is_true(envelope["status"]):  # the vendor refuses with HTTP 200 too
            code = integer(envelope.get("code")) or 0
            problem = problem_of(code, text_of(envelope.get("data")), pause_of(answer))
            if isinstance(problem, Missing) and skip:
                return []
            raise problem
        if not isinstance(envelope.get("data"), list):
            raise not_understood("list of runs")
        return list(envelope["data"])

    def has_failed(self, run: Run) -> bool:
        """Whether a run has no files and never will. The dashboard alone tells, and not in its list."""

        def attempt() -> bool:
            with self.ask(manifest_of(run)) as answer:
                return bool(answer.status_code == 409)

        return patiently(attempt)

    def manifest(self, run: Run) -> dict[str, dict[str, Any]] | None:
        """Return what is known of a run's files by their names; None where the server knows no manifests."""

        def attempt() -> Any:
            with self.ask(manifest_of(run)) as answer:
                if answer.status_code == 404:
                    return None
                if answer.status_code != 200:
                    raise refusal_of(answer)
                return json_of(answer, "manifest")

        manifest = patiently(attempt)
        # A server that knows no such address may say so in the envelope, with HTTP 200.
        if not isinstance(manifest, dict) or not isinstance(manifest.get("files"), list):
            return None
        files = [entry for entry in manifest["files"] if isinstance(entry, dict)]
        return {str(entry.get("name")): entry for entry in files}


def manifest_of(run: Run) -> str:
    """Return the address of a run's manifest."""
    return f"/collections/{run.collection}/runs/{run.number}/manifest.json"


def refusal_of(answer: Any) -> Problem:
    """Return what an answer that isn't good means; the reason is that of its envelope, if it has one."""
    reason = ""
    with contextlib.suppress(Problem):
        envelope = json_of(answer, "answer")
        reason = text_of(envelope.get("data")) if isinstance(envelope, dict) else ""
    return problem_of(answer.status_code, reason, pause_of(answer))


def pause_of(answer: Any) -> float | None:
    """Return for how many seconds the server asks us to wait."""
    text = answer.headers.get("Retry-After", "").strip()
    if re.fullmatch(r"[0-9]{1,9}", text):
        return min(float(text), LONGEST_PAUSE)
    try:
        seconds = parsedate_to_datetime(text).timestamp() - time.time()
    except (TypeError, ValueError, OverflowError):
        return None
    return min(max(seconds, 0.0), LONGEST_PAUSE)


def json_of(answer: Any, what: str) -> Any:
    """Return the JSON of an answer. Raises Problem."""
    body = bytearray()
    for piece in pieces_of(answer):
        body += piece
        if len(body) > LONGEST_ANSWER:
            raise not_understood(what)
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise not_understood(what) from None


def pieces_of(answer: Any) -> Iterator[bytes]:
    """Yield the body of an answer as it comes. Raises Trouble where it breaks off."""
    # With urllib3 1, which has no read1, a block is waited for: a small one, or a slow server looks dead.
    read = getattr(answer.raw, "read1", None)
    try:
        while piece := (
            read(BLOCK, decode_content=False) if read else answer.raw.read(BLOCK // 16, decode_content=False)
        ):
            yield piece
    except (BrokenTransfer, OSError, ValueError):
        raise Trouble("The connection broke off.") from None


def run_of(entry: Any, collection: int) -> Run:
    """Return a run from its entry in the list. Raises Problem."""
    number = integer(entry.get("id")) if isinstance(entry, dict) else None
    if number is None:
        raise not_understood("list of runs")
    links = entry.get("download_links")
    links = links if isinstance(links, dict) and is_true(entry.get("is_download_generated")) else {}
    listed = links.get("pages")
    named = [name_in(link, collection, number) for link in (listed if isinstance(listed, list) else [])]
    pages = tuple(name for name in named if name)
    archive, csv = (name_in(links.get(key), collection, number) for key in ("all_pages", "csv"))
    return Run(
        collection=collection,
        number=number,
        is_ready=bool(named or archive),
        created_at=moment(entry.get("created_at")),
        updated_at=str(entry.get("updated_at")),
        pages=pages,
        archive=archive,
        csv=csv,
        refused=len(named) - len(pages),
    )


def name_in(link: Any, collection: int, number: int) -> str:
    """Return the file's name in a link; "" unless it leads to this very run.

    Nothing else of a link is used: the address that is called is made from the name, so that the key goes
    nowhere but to the base URL.
    """
    _, found, name = (
        link.partition(f"/results/{collection}/{number}/") if isinstance(link, str) else ("",) * 3
    )
    name = unquote(re.split("[?#]", name)[0]).encode("utf-8", "replace").decode()
    return name if found and name not in {"", ".", ".."} else ""


def integer(value: Any) -> int | None:
    """Return a number, also from its digits; None where it is none."""
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,18}", value):
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def is_true(value: Any) -> bool:
    """Whether a flag is set, however it is spelt."""
    return value is True or value == 1 or (isinstance(value, str) and value.lower() in {"1", "true"})


def text_of(value: Any) -> str:
    """Return what a server says as one line that a terminal can show."""
    return shown(" ".join(value.split()))[:300] if isinstance(value, str) else ""


def moment(value: Any) -> datetime | None:
    """Return a moment, in UTC where nothing else is said; None where it is none."""
    try:
        at = datetime.fromisoformat(re.sub("[zZ]$", "+00:00", value))
    except (TypeError, ValueError):
        return None
    return at if at.tzinfo else at.replace(tzinfo=timezone.utc)


# --- names and folders ------------------------------------------------------------------------------------

_REFUSED_IN_NAMES = frozenset('/\\<>:"|?*')  # what separates folders, and what Windows refuses
_BACKWARDS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")  # makes names read so
_DEVICES = re.compile(r"(?i)(con|prn|aux|nul|com[0-9]|lpt[0-9])(\.|$)")
_OURS = re.compile(r"(?i)\.part(\.json(\.new)?)?$")
_LONGEST_NAME = 200  # bytes; 255 is what disks take, and ".part.json.new" is added
_LONGEST_ENDING = 20


def safe_name(name: str) -> str:
    """Return a server's name for a file as one that can do no harm here: a name, never a path."""
    name = "".join("_" if c in _REFUSED_IN_NAMES or is_unseen(c) else c for c in name).rstrip(" .")
    name = re.sub(r"^\.+", lambda dots: "_" * len(dots[0]), name) or "_"
    name = f"_{name}" if _DEVICES.match(name) else name
    stem, dot, ending = name.rpartition(".")
    if not dot or len(ending.encode()) > _LONGEST_ENDING:
        stem, dot, ending = name, "", ""
    room = _LONGEST_NAME - len((dot + ending).encode())
    name = stem.encode()[:room].decode(errors="ignore") + dot + ending
    return f"{name}_" if _OURS.search(name) else name


def is_unseen(character: str) -> bool:
    """Whether a character is none that can be seen, or turns others around."""
    return character in _BACKWARDS or unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"}


def shown(text: str) -> str:
    """Return a text as a terminal can show it."""
    return "".join("?" if is_unseen(character) else character for character in text)


def distinct(items: list[Item]) -> list[Item]:
    """Return the items with names of which no two are the same, also for a disk that knows no capitals."""
    taken: dict[str, int] = {}  # the last number put before each name
    result = []
    for item in items:
        name, folded = item.name, unicodedata.normalize("NFC", item.name).casefold()
        if folded in taken:
            count = taken[folded] + 1
            while f"{count}_{folded}" in taken:
                count += 1
            taken[folded] = count
            name, folded = f"{count}_{name}", f"{count}_{folded}"
        taken[folded] = 1
        result.append(Item(item.address, name, item.sha256, item.size))
    return result


def opened(path: Path, mode: str = "rb") -> BinaryIO:
    """Open a file of ours: "rb", "r+b", or "x+b", a new one.

    One that is a symbolic link is refused, as somebody else put it there.
    """
    flags = {"rb": os.O_RDONLY, "r+b": os.O_RDWR, "x+b": os.O_RDWR | os.O_CREAT | os.O_EXCL}[mode]
    flags |= getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    return os.fdopen(os.open(path, flags, 0o666), mode.replace("x", "r"))  # type: ignore[return-value]


def write_whole(path: Path, value: Any) -> None:
    """Write a value as JSON: aside, synced, renamed."""
    aside = path.with_name(path.name + ".new")
    aside.unlink(missing_ok=True)
    with opened(aside, "x+b") as file:
        file.write(json.dumps(value).encode())
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)


def read_whole(path: Path) -> Any:
    """Return the value that was written; None where there is none to be read."""
    try:
        with opened(path) as file:
            return json.load(file)
    except (OSError, ValueError, RecursionError):
        return None


def sync_folder(folder: Path) -> None:
    """Have the names in a folder survive a power cut."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def size_here(path: Path) -> int | None:
    """Return the size of a file in bytes; None where there is no regular one."""
    try:
        found = path.lstat()
    except OSError:
        return None
    return found.st_size if stat.S_ISREG(found.st_mode) else None


class Folder:
    """Where a run's files are, and what is known of those that are whole: .pull.json."""

    def __init__(self, output: Path, run: Run) -> None:
        self.path = output / str(run.collection) / str(run.number)
        self.updated_at = run.updated_at
        make_folder(self.path)
        self._record = self.path / ".pull.json"
        known = read_whole(self._record)
        self._known: dict[str, Any] = known if isinstance(known, dict) else {}

    def fault(self, item: Item, *, verify: bool) -> str | None:
        """Return None where the file is here, whole and of the run as it is now; "" where it isn't.

        With `verify` its bytes are read, and what is wrong with them is returned.
        """
        path = self.path / item.name
        size = size_here(path)
        if size is None or self._known.get(item.name) != self._facts(item, size):
            return ""
        if item.size not in {None, size}:
            return f"it has {size} bytes, not {item.size}"
        return (fault_of(path, item.sha256) if verify else "") or None

    def note(self, item: Item) -> None:
        """Write down that a file is whole."""
        size = size_here(self.path / item.name)
        self._known[item.name] = self._facts(item, size or 0)
        write_whole(self._record, self._known)

    def _facts(self, item: Item, size: int) -> dict[str, Any]:
        return {"size": size, "address": item.address, "updated_at": self.updated_at}


def make_folder(path: Path) -> None:
    """Make a run's folder below the output folder. Raises Stop."""
    for folder in (path.parent, path):
        if folder.is_symlink():
            raise Stop(f"{folder} is a symbolic link; nothing is written through it. Remove it.", FAILED)
        folder.mkdir(parents=True, exist_ok=True)


@contextlib.contextmanager
def alone(output: Path, collection: int) -> Iterator[None]:
    """Hold the lock of a collection's folder. Raises Stop where another pull holds it."""
    folder = output / str(collection)
    make_folder(folder)
    lock = folder / ".pull.lock"
    if not os.path.lexists(lock):
        with contextlib.suppress(FileExistsError):
            opened(lock, "x+b").close()
    with opened(lock, "r+b") as file:
        if fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Stop(f"Another pull of collection {collection} is at work here.", FAILED) from None
        yield


# --- proof ------------------------------------------------------------------------------------------------


def fault_of(path: Path, sha256: str) -> str:
    """Return what is wrong with a file, "" if nothing is: by its SHA-256, else by what its form tells."""
    with opened(path) as file:
        if sha256:
            return "" if sha256_of(file) == sha256 else "its SHA-256 is not the one that the server states"
        try:
            return form_fault(file, Path(path.name.removesuffix(".part")).suffix.lower())
        except (ValueError, RecursionError, zipfile.BadZipFile, EOFError, NotImplementedError) as error:
            return f"it is damaged ({type(error).__name__})"


def fault_of_ends(path: Path) -> str:
    """Return what is wrong with the first and last bytes of a JSON file or ZIP, or "" if they are valid.

    A server may send a web page or nothing at all in place of a file.
    """
    with opened(path) as file:
        beginning = file.read(BLOCK)
        file.seek(max(0, file.seek(0, os.SEEK_END) - BLOCK))
        end = file.read(BLOCK)
    ending = Path(path.name.removesuffix(".part")).suffix.lower()
    if ending == ".json":
        first, last = beginning.removeprefix(b"\xef\xbb\xbf").lstrip()[:1], end.rstrip()[-1:]
        return "" if (first, last) in {(b"[", b"]"), (b"{", b"}")} else "it isn't a list of records"
    if ending in {".zip", ".xlsx"}:
        return "" if beginning[:2] == b"PK" and b"PK\x05\x06" in end else "it isn't a ZIP"
    return ""


def sha256_of(file: BinaryIO) -> str:
    """Return the SHA-256 of a file in hexadecimal digits."""
    digest = hashlib.sha256()
    while block := file.read(1024 * 1024):
        digest.update(block)
    return digest.hexdigest()


def form_fault(file: BinaryIO, ending: str) -> str:
    """Return what is wrong with a file's form; may raise what reading it raises."""
    if ending == ".json":
        json.load(file, object_pairs_hook=lambda pairs: None)  # without keeping what was read
    elif ending == ".jsonl":
        for line in file:
            json.loads(line)
    elif ending in {".zip", ".xlsx"}:
        with zipfile.ZipFile(file) as archive:
            damaged = archive.testzip()
        return f"its member {shown(damaged)} is damaged" if damaged else ""
    return ""


def stated_digest(answer: Any) -> str:
    """Return the SHA-256 of the whole file that an answer states (RFC 9530), in hexadecimal digits, or ""."""
    match = re.search(r"sha-256=:([A-Za-z0-9+/=]+):", answer.headers.get("Repr-Digest", ""))
    try:
        return base64.b64decode(match[1], validate=True).hex() if match else ""
    except ValueError:
        return ""


# --- one file ---------------------------------------------------------------------------------------------


@dataclass
class Plan:
    """What is known of a file on its way, kept in NAME.part.json so that another process can go on."""

    address: str
    updated_at: str  # of the run
    size: int
    validator: str  # the ETag, or else the date: for If-Range; "" where the file can't be resumed
    sha256: str
    missing: list[list[int]] = field(default_factory=list)  # first byte, and the one behind the last


class Download:
    """A file's way into its folder: beside as NAME.part, then checked, synced and renamed."""

    def __init__(self, server: Server, item: Item, folder: Folder, how: How) -> None:
        self.server, self.item, self.folder, self.how = server, item, folder, how
        self.final = folder.path / item.name
        self.part = folder.path / f"{item.name}.part"
        self.sidecar = folder.path / f"{item.name}.part.json"
        self.plan: Plan | None = None
        self.connections = how.connections
        self._lock = threading.Lock()
        self._is_over = threading.Event()
        self._noted = (0.0, 0)  # when, and how many bytes were missing

    def run(self) -> None:
        """Pull the file. Raises Problem."""
        fault = "it changes at the server, or can't be resumed there"
        for attempt in range(TIMES_ANEW):
            try:
                self._fetch(may_resume=self.how.resume and attempt == 0)
                self._check_is_no_refusal()
                fault = self._fault()
                if not fault:
                    self._finish()
                    return
            except Anew as reason:
                fault = str(reason) or fault
            self._discard()
        raise Problem(f"not kept, as {fault}.")

    def _fetch(self, *, may_resume: bool) -> None:
        answer = None
        self.plan = self._stored_plan() if may_resume else None
        if self.plan is None:
            self._discard()
            answer = self._first_answer()
            self.plan = self._begin(answer)
        if self.plan is None:
            self._copy_to_the_end(answer)
            return
        plan = self.plan
        plan.missing = split(plan.missing, self.connections if plan.validator else 1)
        left = self._left()
        self._noted = (time.monotonic(), left)
        self.how.progress.start(self.item.name, plan.size, plan.size - left)
        try:
            self._fill_all(plan.missing, answer)
        except BaseException:
            self._note()
            raise
        finally:
            self.how.progress.end()

    def _stored_plan(self) -> Plan | None:
        """Return the plan of an earlier process, where its part of the file is still worth something."""
        stored = read_whole(self.sidecar)
        try:
            plan = Plan(**stored)
            is_whole = all(0 <= first <= end <= plan.size for first, end in plan.missing)
        except (TypeError, ValueError):
            return None
        belongs = (plan.address, plan.updated_at) == (self.item.address, self.folder.updated_at)
        return plan if belongs and is_whole and plan.validator and size_here(self.part) == plan.size else None

    def _first_answer(self) -> Any:
        """Return the answer with the whole file; one that is being made is waited for. Raises Problem."""
        while True:
            answer = patiently(lambda: self._good_answer({}))
            if answer.status_code == 200:
                return answer
            with answer:
                if answer.status_code != 202:
                    raise Problem(
                        f"The server sent a part that nobody asked for (code {answer.status_code})."
                    )
                self._wait_for(answer)

    def _wait_for(self, answer: Any) -> None:
        """Wait as an answer of 202 asks for, as long as there is time. Raises NotReady."""
        left = self.how.until - time.monotonic()
        if left <= 0:
            raise NotReady("It is being made, and is not ready yet.")
        time.sleep(min(pause_of(answer) or 1.0, left))

    def _good_answer(self, headers: dict[str, str]) -> Any:
        answer = self.server.ask(self.item.address, headers)
        try:
            check(answer, self.item.name)
        except BaseException:
            answer.close()
            raise
        return answer

    def _begin(self, answer: Any) -> Plan | None:
        """Return a plan for what an answer brings, its place on the disk taken; None of unknown length."""
        length = answer.headers.get("Content-Length", "")
        if "chunked" in answer.headers.get("Transfer-Encoding", "").lower():
            return None
        if not re.fullmatch("[0-9]{1,18}", length):
            answer.close()
            raise Problem("The server does not say how long it is: nobody could tell a part from the whole.")
        size = int(length)
        try:
            with opened(self.part, "x+b") as file:
                reserve(file, size)
        except OSError:
            self._discard()
            raise
        return Plan(
            address=self.item.address,
            updated_at=self.folder.updated_at,
            size=size,
            validator=validator_of(answer),
            sha256=stated_digest(answer),
            missing=[[0, size]] if size else [],
        )

    def _copy_to_the_end(self, answer: Any) -> None:
        """Copy a body whose length only its end tells. Raises Anew where it breaks off."""
        with answer, opened(self.part, "x+b") as file:
            try:
                file.writelines(pieces_of(answer))
            except Trouble as trouble:
                time.sleep(PAUSES[0])
                raise Anew("the connection breaks off") from trouble

    def _fill_all(self, parts: list[list[int]], answer: Any) -> None:
        """Bring everything that is missing: the first part from the answer that is there already."""
        self._is_over.clear()
        if len(parts) <= 1:
            for part in parts:
                self._fill(part, answer)
            return
        waiting = deque((part, None if index else answer) for index, part in enumerate(parts))
        errors: list[BaseException] = []
        workers = [
            threading.Thread(target=self._work, args=[waiting, errors], daemon=True)
            for _ in range(min(self.connections, len(parts)))
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        if errors:
            raise errors[0]

    def _work(self, waiting: deque[tuple[list[int], Any]], errors: list[BaseException]) -> None:
        """Bring parts until none is waiting, or one failed."""
        try:
            while not self._is_over.is_set():
                self._fill(*waiting.popleft())
        except (IndexError, Stopped):
            pass  # none is left, or another worker failed
        except BaseException as error:  # noqa: BLE001  # the main thread raises it
            errors.append(error)
            self._is_over.set()

    def _fill(self, part: list[int], answer: Any) -> None:
        """Bring a part of the file, over as many connections as it takes. Raises Problem, Anew, Stopped."""
        failures = 0
        while part[0] < part[1]:
            before = part[0]
            try:
                if answer is None:
                    answer = self._ask_for(part)
                self._copy(answer, part)
            except Trouble as trouble:
                failures = 0 if part[0] > before else failures + 1
                if failures > len(PAUSES):
                    raise
                pause = PAUSES[max(failures - 1, 0)] if trouble.pause is None else trouble.pause
                if self._is_over.wait(pause):
                    raise Stopped from None
            finally:
                if answer is not None:
                    answer.close()
                answer = None

    def _ask_for(self, part: list[int]) -> Any:
        """Return an answer with the rest of a part. Raises Anew where the file is not what it was."""
        plan = self._plan
        if not plan.validator:
            raise Anew("the connection breaks off, and the server doesn't let us resume")
        asked = {"Range": f"bytes={part[0]}-{part[1] - 1}", "If-Range": plan.validator}
        answer = self._good_answer(asked)
        if answer.status_code == 206 and self._is_part(answer, part):
            return answer
        answer.close()
        if answer.status_code == 200:
            self.connections = 1  # for a server that knows no ranges
        raise Anew

    def _is_part(self, answer: Any, part: list[int]) -> bool:
        """Whether an answer brings the part that was asked for, of the same file. Raises Trouble."""
        content_range = answer.headers.get("Content-Range", "").strip()
        if not re.fullmatch(r"bytes [0-9]+-[0-9]+/[0-9]+", content_range):
            answer.close()
            raise Trouble("The connection broke off in the head of an answer.")
        validator = self._plan.validator
        is_same = answer.headers.get("ETag", validator) == validator or not validator.endswith('"')
        return is_same and content_range == f"bytes {part[0]}-{part[1] - 1}/{self._plan.size}"

    def _copy(self, answer: Any, part: list[int]) -> None:
        with opened(self.part, "r+b") as file:
            file.seek(part[0])
            for piece in pieces_of(answer):
                wanted = piece[: part[1] - part[0]]
                file.write(wanted)
                file.flush()
                part[0] += len(wanted)
                self.how.progress.add(len(wanted))
                self._note_now_and_then(file)
                if part[0] >= part[1]:
                    return
                if self._is_over.is_set():
                    raise Stopped
        raise Trouble("The connection ended early.")

    @property
    def _plan(self) -> Plan:
        assert self.plan is not None
        return self.plan

    def _left(self) -> int:
        return sum(end - first for first, end in self._plan.missing)

    def _note_now_and_then(self, file: BinaryIO) -> None:
        seconds, count = NOTED_EVERY
        at, left = self._noted
        if time.monotonic() - at < seconds and left - self._left() < count:
            return
        with self._lock:
            self._noted = (time.monotonic(), self._left())
            self._write_plan(file)

    def _note(self) -> None:
        """Write down how far the file is; on a full disk the note from before has to do."""
        with self._lock, contextlib.suppress(OSError), opened(self.part, "r+b") as file:
            self._write_plan(file)

    def _write_plan(self, file: BinaryIO) -> None:
        # Noted first and synced then: what is said to be here must be on the disk.
        now = asdict(self._plan)
        now["missing"] = [[first, end] for first, end in now["missing"] if first < end]
        os.fsync(file.fileno())
        write_whole(self.sidecar, now)

    def _fault(self) -> str:
        """Return what is wrong with the file that was brought, "" if nothing is."""
        size = size_here(self.part)
        if self.plan is not None and (size != self.plan.size or self._left()):
            return f"{size} bytes came of {self.plan.size}"
        fault = fault_of_ends(self.part)
        if fault or not self.how.verify:
            return fault
        self.how.progress.check(self.item.name)
        if self.item.size not in {None, size}:
            return f"it has {size} bytes, not the {self.item.size} that the server states"
        return fault_of(self.part, self.item.sha256 or (self.plan.sha256 if self.plan else ""))

    def _check_is_no_refusal(self) -> None:
        """Check that what came is no envelope that says no, with HTTP 200. Raises Problem."""
        if (size_here(self.part) or 0) > LONGEST_REFUSAL:
            return
        envelope = read_whole(self.part)
        if isinstance(envelope, dict) and envelope.keys() == {"code", "data", "status"}:
            self._discard()
            raise problem_of(integer(envelope["code"]) or 0, text_of(envelope["data"]))

    def _finish(self) -> None:
        with opened(self.part, "r+b") as file:
            os.fsync(file.fileno())
        self.part.replace(self.final)
        sync_folder(self.folder.path)
        self.sidecar.unlink(missing_ok=True)
        self.folder.note(self.item)

    def _discard(self) -> None:
        self.sidecar.unlink(missing_ok=True)
        self.part.unlink(missing_ok=True)


def reserve(file: BinaryIO, size: int) -> None:
    """Take a file's place on the disk, so that a disk that is too small says so at once."""
    file.truncate(size)
    if size and hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(file.fileno(), 0, size)
        except OSError as error:
            if error.errno in {errno.ENOSPC, errno.EFBIG, errno.EDQUOT}:
                raise  # other errors: this file system can't reserve


def split(missing: list[list[int]], connections: int) -> list[list[int]]:
    """Return what is missing in parts that keep this many connections busy, each worth one."""
    total = sum(end - first for first, end in missing)
    length = max(-(-total // connections), LEAST_PART)
    return [
        [start, min(start + length, end)] for first, end in missing for start in range(first, end, length)
    ]


def validator_of(answer: Any) -> str:
    """Return what If-Range may name: a strong ETag, else the date; "" where there is neither."""
    if answer.headers.get("Accept-Ranges", "bytes").lower() == "none":
        return ""
    etag = str(answer.headers.get("ETag", ""))
    return etag if etag.startswith('"') else str(answer.headers.get("Last-Modified", ""))


def check(answer: Any, name: str) -> None:
    """Check that an answer brings a file, a part of it, or the promise of one. Raises Problem."""
    if answer.status_code not in {200, 202, 206, 416}:
        raise refusal_of(answer)
    if answer.headers.get("Content-Encoding", "identity").lower() not in {"", "identity"}:
        raise Problem("The server sent it encoded, though it was asked not to.")
    if answer.headers.get("Content-Type", "").lower().startswith("text/html"):
        raise Problem(f"The server sent a page in place of {shown(name)}. Is --base-url right?")


# --- what is seen -----------------------------------------------------------------------------------------


class Voice:
    """What is told to whoever calls: results to stdout, trouble to stderr, the key to nobody."""

    def __init__(self, *, quiet: bool, key: str = "") -> None:
        self._quiet = quiet
        self._key = key

    def say(self, text: str) -> None:
        """Tell a result, unless quiet."""
        if not self._quiet:
            self._print(text, sys.stdout)

    def complain(self, text: str) -> None:
        """Tell of trouble."""
        self._print(f"pull: {text}", sys.stderr)

    def _print(self, text: str, stream: Any) -> None:
        text = text.replace(self._key, "(the API key)") if self._key else text
        encoding = stream.encoding or "utf-8"
        print(text.encode(encoding, "replace").decode(encoding), file=stream, flush=True)


class Progress:
    """A line on the terminal that says how far a file is."""

    def __init__(self, *, is_shown: bool) -> None:
        self._is_shown = is_shown
        self._lock = threading.Lock()
        self._name, self._size, self._at_first, self._done = "", 0, 0, 0
        self._started = self._drawn = 0.0

    def start(self, name: str, size: int, done: int) -> None:
        """Begin with a file of which some bytes may be here already."""
        self._name, self._size, self._at_first, self._done = shown(name), size, done, done
        self._started, self._drawn = time.monotonic(), 0.0

    def add(self, count: int) -> None:
        """Some more bytes came, over any connection."""
        with self._lock:
            self._done += count
            if self._is_shown and time.monotonic() - self._drawn >= DRAWN_EVERY:
                self._drawn = time.monotonic()
                self._draw(self._text())

    def check(self, name: str) -> None:
        """The file is whole and is read once more."""
        if self._is_shown:
            self._draw(f"{shown(name)}  checking")

    def end(self) -> None:
        """Leave the terminal as it was."""
        if self._is_shown:
            self._draw("")

    def _text(self) -> str:
        seconds = max(time.monotonic() - self._started, 0.001)
        speed = (self._done - self._at_first) / seconds
        share = self._done / self._size if self._size else 1
        left = f"  {duration((self._size - self._done) / speed)} left" if speed else ""
        bar = "#" * int(share * 20)
        facts = f"  [{bar:<20}] {share:4.0%}  {size_text(self._done)}  {size_text(speed)}/s{left}"
        room = max(shutil.get_terminal_size().columns - len(facts) - 1, 8)
        return (self._name if len(self._name) <= room else f"…{self._name[1 - room :]}") + facts

    def _draw(self, text: str) -> None:
        width = shutil.get_terminal_size().columns - 1
        encoding = sys.stderr.encoding or "utf-8"
        line = text[:width].encode(encoding, "replace").decode(encoding)
        sys.stderr.write(f"\r{line:<{width}}" + ("" if text else "\r"))
        sys.stderr.flush()


def size_text(size: float) -> str:
    """Return a number of bytes as people read it."""
    for unit in ("bytes", "KB", "MB", "GB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TB"


def duration(seconds: float) -> str:
    """Return a time as minutes and seconds, or hours and minutes."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}:{rest:02}" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


# --- a pull -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class How:
    """How files are brought."""

    resume: bool
    verify: bool
    connections: int
    until: float  # of time.monotonic(): how long something may be waited for
    progress: Progress


@dataclass
class Outcome:
    """What came of a pull."""

    new: int = 0
    size: int = 0  # bytes of what is new
    here: int = 0
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
        new = f"{self.new} new {files} ({size_text(self.size)})" if self.new else "nothing new"
        counts = ((self.here, "here already"), (self.waiting, "not ready yet"), (self.failed, "failed"))
        return ", ".join([new] + [f"{count} {what}" for count, what in counts if count])


def chosen(server: Server, options: argparse.Namespace) -> tuple[list[Run], list[Run]]:
    """Return the runs that were asked for: those that are ready, and those that aren't. Raises Problem."""
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
        raise Stop(f"Collection {options.collection} has no run {options.run}.")
    return ready, unready


def awaited(server: Server, options: argparse.Namespace, until: float) -> list[Run]:
    """Return the ready runs that were asked for; waits for one, as long as there is time. Raises Problem."""
    while True:
        ready, unready = chosen(server, options)
        if ready:
            return ready
        if options.run is not None and server.has_failed(unready[0]):
            raise Problem(f"Run {options.run} of collection {options.collection} failed, so it has no files.")
        left = until - time.monotonic()
        if left <= 0:
            raise NotReady(not_ready(unready, options))
        time.sleep(min(POLL, left))


def not_ready(unready: list[Run], options: argparse.Namespace) -> str:
    """Return in words why there is nothing to pull yet."""
    of = f"of collection {options.collection}"
    if unready:
        return f"Run {unready[0].number} {of} is not ready yet."
    if options.since:
        return f"No run {of} has begun since {options.since:%Y-%m-%d %H:%M %Z}."
    return f"No run {of} is ready yet."


def items_of(server: Server, run: Run, options: argparse.Namespace) -> list[Item]:
    """Return the files of a run in the format that was asked for. Raises Problem."""
    if run.refused:
        raise Problem(f"{run.refused} links of run {run.number} lead elsewhere than to this run.")
    names = original_names(run, options)
    manifest = server.manifest(run) if options.verify or not names else None
    if names:
        folder = f"/results/{run.collection}/{run.number}/"
        facts = manifest or {}
        return distinct([original(folder, name, facts.get(name, {})) for name in names])
    if manifest is None:
        raise Stop(
            f"Only the results dashboard makes {options.format} of run {run.number}; this server isn't one, "
            "so use --format pages."
        )
    rest = "all.zip" if options.format == "zip" else f"records.{options.format}"
    columns = f"?columns={quote(options.columns, safe=',')}" if options.columns else ""
    return [Item(f"/collections/{run.collection}/runs/{run.number}/{rest}{columns}", rest)]


def original_names(run: Run, options: argparse.Namespace) -> list[str]:
    """Return the names of a run's own files that are what was asked for."""
    if options.format == "pages":
        return list(run.pages)
    name = {"zip": run.archive, "csv": "" if options.columns else run.csv}.get(options.format, "")
    return [name] if name else []


def original(folder: str, name: str, facts: dict[str, Any]) -> Item:
    """Return one of a run's own files, with what the manifest says of it."""
    sha256 = facts.get("sha256")
    return Item(
        address=folder + quote(name, safe=""),
        name=safe_name(name),
        sha256=sha256.lower() if isinstance(sha256, str) else "",
        size=integer(facts.get("size")),
    )


class Pull:
    """Everything that was asked for, run by run and file by file."""

    def __init__(self, server: Server, options: argparse.Namespace, voice: Voice) -> None:
        self._server, self._options, self._voice = server, options, voice
        self._how = How(
            resume=options.resume,
            verify=options.verify,
            connections=options.parallel,
            until=time.monotonic() + options.wait,
            progress=Progress(is_shown=sys.stderr.isatty() and not options.quiet),
        )
        self._outcome = Outcome()

    def all(self) -> int:
        """Pull it, and return the exit code. Raises Stop, NotReady, Problem, OSError."""
        options = self._options
        runs = awaited(self._server, options, self._how.until)
        with alone(options.output, options.collection):
            for run in runs:
                self._told(f"Run {run.number}", lambda: self._run(run))  # noqa: B023  # called at once
        what, where = f"{len(runs)} runs", options.output / str(options.collection)
        if len(runs) == 1:
            what, where = f"run {runs[0].number}", where / str(runs[0].number)
        self._voice.say(f"Collection {options.collection}, {what}: {self._outcome}, in {where}")
        return self._outcome.code()

    def _run(self, run: Run) -> None:
        items = items_of(self._server, run, self._options)
        folder = Folder(self._options.output, run)
        for item in items:
            name = f"Run {run.number}, {shown(item.name)}"
            self._told(name, lambda: self._item(item, folder, name))  # noqa: B023  # called at once

    def _item(self, item: Item, folder: Folder, name: str) -> None:
        fault = folder.fault(item, verify=self._how.verify)
        if fault is None:
            self._outcome.here += 1
            return
        if fault:
            self._voice.complain(f"{name}: {fault}; it is pulled again.")
        Download(self._server, item, folder, self._how).run()
        self._outcome.new += 1
        self._outcome.size += size_here(folder.path / item.name) or 0

    def _told(self, name: str, work: Callable[[], None]) -> None:
        """Do a piece of work; what fails of it is told and counted, and stops nothing else. Raises Stop."""
        try:
            work()
        except Stop:
            raise
        except NotReady as problem:
            self._outcome.waiting += 1
            self._voice.say(f"{name}: {problem}")
        except Problem as problem:
            self._outcome.failed += 1
            self._voice.complain(f"{name}: {problem}")


# --- the command line -------------------------------------------------------------------------------------


def parser() -> argparse.ArgumentParser:
    """Return what reads the command line."""
    result = argparse.ArgumentParser(
        prog="pull",
        description=__doc__,
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = result.add_argument
    add("collection", type=number, metavar="COLLECTION", help="the collection's number")
    which = result.add_mutually_exclusive_group()
    which.add_argument(
        "--latest", action="store_true", help="the newest run that is ready (this is the default)"
    )
    which.add_argument("--run", type=number, metavar="N", help="this run")
    which.add_argument(
        "--since",
        type=date,
        metavar="DATE",
        help="every run from this day or time on, such as 2026-06-20, in UTC",
    )
    which.add_argument("--all", action="store_true", help="every run")
    add(
        "--format",
        choices=ORIGINALS + CONVERTED,
        default="pages",
        help="what to pull of a run (default: pages)",
    )
    add("--columns", metavar="A,B", help="of a format that the dashboard makes, these columns alone")
    add(
        "--output",
        type=Path,
        default=Path(),
        metavar="DIR",
        help="the folder to pull into (default: this one)",
    )
    add("--resume", action=argparse.BooleanOptionalAction, default=True, help="go on with interrupted files")
    add(
        "--verify",
        action="store_true",
        help="check files, those that are here too: by the SHA-256 that the server states, or else that "
        "JSON can be read and a ZIP is whole",
    )
    add(
        "--parallel",
        type=connections,
        default=4,
        metavar="N",
        help="connections for a large file (default: 4)",
    )
    add(
        "--wait",
        type=seconds,
        nargs="?",
        const=3600.0,
        default=0.0,
        metavar="SECONDS",
        help="wait for what is not ready: where no run is, or for a file that is being made (an hour "
        "without SECONDS)",
    )
    add("--quiet", action="store_true", help="say nothing but what goes wrong")
    add(
        "--base-url",
        type=base_url,
        metavar="URL",
        help=f"the API's address (default: {URL_VARIABLE} from the environment, or {DEFAULT_BASE_URL})",
    )
    add("--key-file", type=Path, metavar="FILE", help="a file with the API key in it")
    return result


def number(text: str) -> int:
    """Return a collection's or a run's number."""
    if not re.fullmatch("[0-9]{1,18}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no number")
    return int(text)


def seconds(text: str) -> float:
    """Return a time to wait."""
    if not re.fullmatch(r"[0-9]{1,7}(\.[0-9]+)?", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds")
    return float(text)


def connections(text: str) -> int:
    """Return a number of connections."""
    if not re.fullmatch("[0-9]{1,2}", text) or not 1 <= int(text) <= MOST_CONNECTIONS:
        raise argparse.ArgumentTypeError(f"it must be a number from 1 to {MOST_CONNECTIONS}")
    return int(text)


def date(text: str) -> datetime:
    """Return the moment that a day or time begins at."""
    at = moment(text)
    if at is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no date such as 2026-06-20 or 2026-06-20T12:00:00Z")
    return at


def base_url(text: str) -> str:
    """Return the API's address without a slash at its end."""
    try:
        parts = urlsplit(text)
        is_address = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_address = False
    if not is_address or parts.username is not None or parts.query or parts.fragment:
        raise argparse.ArgumentTypeError("it must be an address such as https://results.example.com/api/v1")
    return text.rstrip("/")


def key_of(options: argparse.Namespace) -> str:
    """Return the API key. Raises Stop."""
    if options.key_file:
        try:
            key = options.key_file.expanduser().read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is no text"
            raise Stop(f"The key file {options.key_file} can't be read: {why}.") from None
    else:
        key = os.environ.get(KEY_VARIABLE, "").strip()
    if not key:
        raise Stop(
            f"Put the API key into the environment variable {KEY_VARIABLE}, or name its file by --key-file."
        )
    if not re.fullmatch(r"[\x21-\x7e]+", key):
        raise Stop("The API key can't be one: keys are made of letters, digits and signs, on one line.")
    return str(key)


def options_of(arguments: list[str] | None) -> argparse.Namespace:
    """Return what the command line and the environment say; exits with 2 where that makes no sense."""
    reader = parser()
    options = reader.parse_args(arguments)
    options.is_latest = options.run is None and options.since is None and not options.all
    if options.columns and options.format not in CONVERTED:
        reader.error(f"--columns needs a --format of {', '.join(CONVERTED)}")
    if options.base_url is None:
        try:
            options.base_url = base_url(os.environ.get(URL_VARIABLE) or DEFAULT_BASE_URL)
        except argparse.ArgumentTypeError as error:
            reader.error(f"{URL_VARIABLE}: {error}")
    return options


def main(arguments: list[str] | None = None) -> int:
    """Pull what the command line asks for, and return the exit code. Ctrl-C passes through."""
    options = options_of(arguments)
    voice = Voice(quiet=options.quiet)
    try:
        key = key_of(options)
        voice = Voice(quiet=options.quiet, key=key)
        with contextlib.closing(Server(options.base_url, key)) as server:
            return Pull(server, options, voice).all()
    except NotReady as problem:
        voice.say(str(problem))
        return NOT_READY
    except Problem as problem:
        voice.complain(str(problem))
        return problem.code
    except OSError as error:
        voice.complain(f"{error.filename or options.output}: {error.strerror or error}.")
        return FAILED


def command() -> NoReturn:
    """Run as a program. An interruption ends it at once: how far each file is has been noted."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        code = main()
    except KeyboardInterrupt:
        print("pull: Interrupted. The same command goes on from here.", file=sys.stderr)
        code = INTERRUPTED
    sys.stdout.flush()
    # Connections that still read would hold up an ordinary end.
    os._exit(code)


if __name__ == "__main__":
    command()
