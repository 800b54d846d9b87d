"""What MultiCartAPI's API says and serves; the only home of its spellings besides our own API."""

import json
import logging
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, BinaryIO, NoReturn, cast
from urllib.parse import quote, unquote, urlsplit

import requests

from collections_app.files.names import CATEGORY_LIST
from collections_app.models import Account, Collection, FileKind, NotConnected, ResultFile
from collections_app.records.formats.recognition import BEGINNING, EnvelopeFound, NotRecognized, Recognizer
from collections_app.sources.base import (
    NotTheFile,
    ResultNotFound,
    SourceBusy,
    SourceTimeout,
    SourceUnavailable,
)
from collections_app.sources.http import (
    MAX_FILE_BYTES,
    TOO_LARGE,
    BodyStream,
    Reply,
    Server,
    endpoint_of,
    retry_after_of,
)
from collections_app.sources.recognized import RecognizedStream, recognizer_of
from collections_app.system import disk
from collections_app.system.observability import metrics
from collections_app.system.serving import ClientDisconnected

logger = logging.getLogger(__name__)

_LIST_PATH = "/schedules/collections/results/download/"
_RESULTS_PATH = "/results"

# A run with more pages can't be shown: the rows of its files are written in one transaction.
MOST_PAGES = 10_000
_MAX_INTEGER = 2**63 - 1
_INTEGER = re.compile(r"\s*(0*[0-9]{1,19})(?:\.0*)?\s*", re.ASCII)
_LENGTH = re.compile("[0-9]{1,18}", re.ASCII)
_CONTENT_RANGE = re.compile("bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18})", re.ASCII | re.IGNORECASE)
_UNSPEAKABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff/\\\\]")
_LONGEST_NAME = cast(int, ResultFile._meta.get_field("remote_name").max_length)
_FIRST_YEAR, _LAST_YEAR = 1970, 9998  # outside are markers for "no time", such as year 1
_PARTIAL, _UNSATISFIABLE = 206, 416

_PROBLEMS = {
    400: "{who} did not understand the question. Check its base address and the collection's id.",
    401: "{who} refuses the key. An admin can enter another one.",
    402: "{who} says that its plan is used up or a payment is due. Whoever manages the plan can change that.",
    403: "{who} may not see this collection.",
    404: "{who} has no such collection.",
    405: "{who} did not understand the question. Check its base address.",
    413: "{who} did not understand the question. Check its base address.",
}
_OWN_TROUBLE = "{who} has trouble of its own (code {code}). Try again later."
_NONSENSE = (
    "{who} answered with something that is no list of runs. Check its base address, or try again later."
)
_MOVED = "{who} sends us to another address, which we don't follow. Check its base address."
_TOO_MANY_REQUESTS = "{who} is receiving too many requests. Try again in {wait}."
_NOT_AVAILABLE = "{who} is not available at the moment. Try again in {wait}."
_RETRY_AFTER = 60  # seconds to wait after a 429 without Retry-After
_ANSWERS_TO_A_KNOWN_KEY = {400, 403, 404}
# In an envelope sent in place of a file, these codes mean the same as the HTTP statuses.
# Other codes concern only that file.
_LIKE_STATUSES = {401, 403, 404, 429, 503, 504}


@dataclass(frozen=True)
class RemoteFile:
    """A file that the account lists for a run."""

    kind: FileKind
    position: int  # a page's number, from 1 on; 0 for other files
    remote_name: str  # the last part of its address, decoded


@dataclass(frozen=True)
class RemoteRun:
    """A run as the account lists it, checked field by field."""

    number: int
    is_ready: bool
    extracted: int | None  # None if the account doesn't report it
    total: int | None
    created_at: datetime
    updated_at: datetime
    files: tuple[RemoteFile, ...]  # of a ready run; none where what it lists can't be all of its files


@dataclass(frozen=True)
class UnreadableRun:
    """A run in the account's list that can't be shown."""

    number: int | None
    reason: str  # for members, such as "no valid time"


@dataclass(frozen=True)
class Listing:
    """A part of the list of runs at an account, newest first."""

    entries: Sequence[RemoteRun | UnreadableRun]

    @cached_property
    def runs(self) -> list[RemoteRun]:
        """The runs that can be shown, each once."""
        by_number: dict[int, RemoteRun] = {}
        for entry in self.entries:
            if isinstance(entry, RemoteRun):
                by_number.setdefault(entry.number, entry)
        return list(by_number.values())


# --- the list of runs ---------------------------------------------------------------------------------------


def list_runs(collection: Collection, *, skip: int, limit: int, seconds: float) -> Listing:
    """Return a part of the runs that its account lists for a collection, newest first, within `seconds`.

    A run that can't be understood has a line for the operator. The collection need not be
    saved. Raises SourceUnavailable, SourceTimeout; their message is for members.
    """
    account, remote_id = _at_account(collection)
    with _told_to_the_operator("list", f"account={account.pk} collection={collection.pk}"):
        server = _server(account)
        reply = _ask_for_runs(server, remote_id, skip=skip, limit=limit, seconds=seconds)
        entries = _data_of(reply, server.name)
    if len(entries) > limit:
        _note(collection, None, f"{len(entries)} runs listed where {limit} were asked for")
    return Listing([_entry_of(entry, collection) for entry in entries[:limit]])


def try_key(base_url: str, key: str, *, seconds: float) -> None:
    """Make a call that shows whether a server speaks the API and takes the key.

    Raises SourceUnavailable, SourceTimeout; their message is for whoever connects the account.
    """
    endpoint = endpoint_of(base_url)
    host = urlsplit(base_url).hostname if endpoint else ""
    with _told_to_the_operator("key", f"server={endpoint.origin if endpoint else None}"):
        server = _server_with(key, f"The server {host}".strip(), base_url)
        # Any collection will do: whether it may be seen, a server says only to a key that it knows.
        reply = _ask_for_runs(server, 1, skip=0, limit=1, seconds=seconds)
        if reply.status_code in {401, 403}:
            raise SourceUnavailable(f"{server.name} refuses the key.")
        envelope = _envelope_of(reply, server.name)
        code = _code_of(envelope, reply)
        if code == 401:  # noqa: PLR2004
            raise SourceUnavailable(f"{server.name} refuses the key.")
        if not envelope["status"] and code not in _ANSWERS_TO_A_KNOWN_KEY:
            _refuse(code, reply, server.name)


def try_collection(collection: Collection, *, seconds: float) -> None:
    """Make a call that shows whether the account lists a collection, and files that fit its type.

    Raises SourceUnavailable, SourceTimeout; their message is for whoever adds the collection.
    """
    for run in list_runs(collection, skip=0, limit=1, seconds=seconds).runs:
        names_a_list = [file.remote_name for file in run.files] == [CATEGORY_LIST]
        if collection.is_category and run.is_ready and not run.files:
            raise SourceUnavailable(f"Run {run.number} has no full list of a category. Is the type right?")
        if names_a_list and not collection.is_category:
            raise SourceUnavailable(f"Run {run.number} is a list of a category. Is the type right?")


def _ask_for_runs(server: Server, remote_id: int, *, skip: int, limit: int, seconds: float) -> Reply:
    question = {"collection_id": remote_id, "skip": skip, "limit": limit}
    return server.post_json(_LIST_PATH, question, seconds=seconds)


def _data_of(reply: Reply, who: str) -> list[object]:
    envelope = _envelope_of(reply, who)
    if not envelope["status"]:
        _refuse(_code_of(envelope, reply), reply, who)
    data = envelope.get("data")
    if not isinstance(data, list):
        raise SourceUnavailable(_NONSENSE.format(who=who))
    return data


def _envelope_of(reply: Reply, who: str) -> dict[str, Any]:
    """Return the object that everything comes in, whose `status` is made 1 or 0."""
    if 300 <= reply.status_code < 400:  # noqa: PLR2004
        raise SourceUnavailable(_MOVED.format(who=who))
    try:
        envelope = json.loads(reply.body)
    except (ValueError, RecursionError):
        envelope = None
    if not isinstance(envelope, dict) or "status" not in envelope:
        # A 404 without an envelope is about the address, not about a collection.
        if reply.status_code in {200, 404}:
            raise SourceUnavailable(_NONSENSE.format(who=who))
        _refuse(reply.status_code, reply, who)
    return {**envelope, "status": int(_is_true(envelope["status"]) and _is_good(reply.status_code))}


def _code_of(envelope: Mapping[str, Any], reply: Reply) -> int:
    if not _is_good(reply.status_code):
        return reply.status_code
    return _integer(envelope.get("code")) or 0


def _is_good(status: int) -> bool:
    return 200 <= status < 300  # noqa: PLR2004


def _refuse(code: int, reply: Reply, who: str) -> NoReturn:
    _check_busy(code, reply.headers, who)
    if code == 504:  # noqa: PLR2004
        raise SourceTimeout(f"{who} took too long to answer. Try again later.")
    if 500 <= code < 600:  # noqa: PLR2004
        raise SourceUnavailable(_OWN_TROUBLE.format(who=who, code=code))
    raise SourceUnavailable(_PROBLEMS.get(code, _NONSENSE).format(who=who))


def _check_busy(code: int, headers: Mapping[str, str], who: str) -> None:
    """Raise SourceBusy if the account asks us to wait."""
    seconds = retry_after_of(headers)
    if code == 429:  # noqa: PLR2004
        seconds = seconds or _RETRY_AFTER
        raise SourceBusy(_TOO_MANY_REQUESTS.format(who=who, wait=_in_words(seconds)), seconds)
    if code == 503 and seconds is not None:  # noqa: PLR2004
        raise SourceBusy(_NOT_AVAILABLE.format(who=who, wait=_in_words(seconds)), seconds)


def _in_words(seconds: int) -> str:
    if seconds < 120:  # noqa: PLR2004
        return f"{seconds} second{'s' * (seconds != 1)}"
    return f"{math.ceil(seconds / 60)} minutes"


# --- one run ------------------------------------------------------------------------------------------------


class _NotUnderstood(Exception):
    """A run can't be shown. The message is for operators, and `reason` is for members."""

    def __init__(self, problem: str, reason: str) -> None:
        super().__init__(problem)
        self.reason = reason


def _entry_of(entry: object, collection: Collection) -> RemoteRun | UnreadableRun:
    try:
        return _run_of(entry, collection)
    except _NotUnderstood as problem:
        number = entry.get("id") if isinstance(entry, dict) else None
        _note(collection, number, str(problem))
        return UnreadableRun(_integer(number), problem.reason)


def _run_of(entry: object, collection: Collection) -> RemoteRun:
    if not isinstance(entry, dict):
        raise _NotUnderstood("it is no object", "not a run")
    number = _integer(entry.get("id"))
    if number is None:
        raise _NotUnderstood("it has no id", "no valid ID")
    if (its_collection := _integer(entry.get("collection"))) not in {None, collection.remote_id}:
        raise _NotUnderstood(f"it is of collection {its_collection}", "in another collection")
    created_at, updated_at = _time(entry.get("created_at")), _time(entry.get("updated_at"))
    at = created_at or updated_at
    if at is None:
        raise _NotUnderstood("it has no time", "no valid time")
    is_ready = _is_true(entry.get("is_download_generated"))
    files, refused = _files_of(entry.get("download_links"), collection, number) if is_ready else ((), 0)
    if is_ready and (refused or not files):
        _note(collection, number, f"said to be ready; {refused} links refused, {len(files)} usable")
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
    """Return the files that a ready run's links lead to, and how many links were refused.

    No files at all where a page is among the refused: the rest would pass for the whole run. Raises
    _NotUnderstood if there are too many pages.
    """
    links = links if isinstance(links, dict) else {}
    listed = links.get("pages")
    pages = listed if isinstance(listed, list) else []
    if len(pages) > MOST_PAGES:
        raise _NotUnderstood(f"it has {len(pages)} pages", f"more than {MOST_PAGES:,} pages")
    if collection.is_category:
        wanted = [(FileKind.CATEGORY_LIST, 0, link) for link in pages]
    else:
        wanted = [(FileKind.PAGE, position, link) for position, link in enumerate(pages, 1)]
        if links.get("all_pages") is not None:
            wanted.append((FileKind.ARCHIVE, 0, links["all_pages"]))
    named = [(kind, position, _name_in(link, collection, number)) for kind, position, link in wanted]
    refused = [kind for kind, _, name in named if name is None]
    # One list is all of a category; several pages, or a ZIP, are of something else.
    is_misfit = collection.is_category and (len(wanted) > 1 or links.get("all_pages") is not None)
    if is_misfit or set(refused) - {FileKind.ARCHIVE}:
        return (), len(refused)
    files = tuple(RemoteFile(kind, position, name) for kind, position, name in named if name is not None)
    return files, len(refused)


def _name_in(link: object, collection: Collection, number: int) -> str | None:
    """Return the file's name in a link; None unless it leads to this very run at the account."""
    account, _ = _at_account(collection)
    base = endpoint_of(account.base_url)
    endpoint = endpoint_of(link) if isinstance(link, str) else None
    if base is None or endpoint is None or endpoint.origin != base.origin:
        return None
    folder = base.path.rstrip("/") + _folder(collection, number)
    if not endpoint.path.startswith(folder):
        return None
    try:
        name = unquote(endpoint.path.removeprefix(folder), errors="strict")
    except UnicodeDecodeError:
        return None
    fits = 0 < len(name) <= _LONGEST_NAME and name not in {".", ".."} and not _UNSPEAKABLE.search(name)
    return name if fits else None


def _folder(collection: Collection, number: int) -> str:
    return f"{_RESULTS_PATH}/{collection.remote_id}/{number}/"


def _count(entry: Mapping[str, object], *spellings: str) -> int | None:
    """Return a record count from the first spelling that has one, or None."""
    return next((n for n in (_integer(entry.get(name)) for name in spellings) if n is not None), None)


def _integer(value: object) -> int | None:
    """Return a number as we can keep it, also from its digits; None where it is none."""
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


def _is_true(value: object) -> bool:
    return value is True or value == 1 or (isinstance(value, str) and value.strip().lower() in {"true", "1"})


def _time(value: object) -> datetime | None:
    """Return a moment, in UTC where nothing else is said; None where it is none."""
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value.strip())
        moment = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return moment if _FIRST_YEAR <= moment.year <= _LAST_YEAR else None


# --- a file -------------------------------------------------------------------------------------------------


def size_of(file: ResultFile) -> int:
    """Ask the account for the size of a file, and check its first bytes.

    Raises ResultNotFound, SourceUnavailable, SourceTimeout.
    """
    remote = _RemoteBytes(file)
    with _told_to_the_operator("size", remote.place):
        return remote.size()


@dataclass(frozen=True)
class UpstreamBody:
    """The bytes of a file at the account."""

    file: ResultFile

    def open(self, start: int, length: int) -> BinaryIO:
        """Ask the account for `length` bytes from `start` on; see Body."""
        remote = _RemoteBytes(self.file)
        with _told_to_the_operator("file", remote.place):
            return cast(BinaryIO, remote.open(start, length))


class _RemoteBytes:
    """The bytes of a file, as the account's server tells and sends them."""

    def __init__(self, file: ResultFile) -> None:
        self.file = file
        self.collection = file.run.collection
        self.account, _ = _at_account(self.collection)
        self.who = _name_of(self.account)
        self.place = (
            f"account={self.account.pk} collection={self.collection.pk} run={file.run.number} file={file.pk}"
        )

    def answer(self, method: str, headers: Mapping[str, str] | None = None) -> requests.Response:
        """Return the server's answer, of any status, its body unread."""
        name = quote(self.file.remote_name, safe="")
        path = f"{_folder(self.collection, self.file.run.number)}{name}"
        return _server(self.account).stream(method, path, headers or {})

    def open(self, start: int, length: int) -> BodyStream:
        """Return a stream of a part."""
        is_part = length != self.file.size
        answer = self.answer("GET", {"Range": f"bytes={start}-{start + length - 1}"} if is_part else {})
        try:
            return self._opened(answer, start, length, is_part=is_part and answer.status_code == _PARTIAL)
        except BaseException:
            answer.close()
            raise

    def _opened(self, answer: requests.Response, start: int, length: int, *, is_part: bool) -> BodyStream:
        if is_part:
            self._check_range(answer, start, length)
            size = self.file.size
        elif answer.status_code == _UNSATISFIABLE:
            self._forget_size("the file is shorter than it was")
        else:
            size = self.length_of_whole(answer)
        recognizer = recognizer_of(self.file)
        stream = self._stream(answer, recognizer, start, length, is_part=is_part)
        if start == 0 or not is_part:
            self._recognize(answer, stream, recognizer, size)
        # Check this last: a response that isn't the file says nothing about its size.
        if size not in {None, self.file.size}:
            self._forget_size(f"the file has {size} bytes, not {self.file.size}")
        return stream

    def _stream(
        self, answer: requests.Response, recognizer: Recognizer, start: int, length: int, *, is_part: bool
    ) -> BodyStream:
        is_to_the_end = start + length == self.file.size
        return RecognizedStream(
            answer,
            skip=0 if is_part else start,
            length=length,
            # Of a whole file that comes in place of a part, the rest is left.
            is_the_end=is_part or is_to_the_end,
            place=self.place,
            recognizer=recognizer if is_to_the_end else None,
        )

    def size(self) -> int:
        """Return how many bytes the file has."""
        with self.answer("GET", {"Range": f"bytes=0-{BEGINNING - 1}"}) as answer:
            if answer.status_code == _UNSATISFIABLE:
                self._reject("nothing")
            is_part = answer.status_code == _PARTIAL
            size = self._declared_size(answer) if is_part else self.length_of_whole(answer)
            stream = BodyStream(answer, skip=0, length=0, is_the_end=False, place=self.place)
            beginning = self._recognize(answer, stream, recognizer_of(self.file), size)
            return len(beginning) + self.count(answer) if size is None else size

    def _declared_size(self, answer: requests.Response) -> int:
        self._check_body(answer)
        first, _, size = self._content_range(answer)
        if first != 0:
            raise self._wrong_part()
        return size

    def _recognize(
        self, answer: requests.Response, stream: BodyStream, recognizer: Recognizer, size: int | None
    ) -> bytes:
        """Return the first bytes of the file. Raises an error if they belong to something else."""
        with _server(self.account).troubles():
            beginning = stream.peek(BEGINNING)
        is_all = len(beginning) < BEGINNING if size is None else len(beginning) == size
        try:
            recognizer.check_beginning(beginning, is_all=is_all)
        except EnvelopeFound as envelope:
            code = _integer(envelope.code)
            if code in _LIKE_STATUSES:
                self._check_status(code, answer.headers)
            self._reject("an error" if code is None else f"an error (code {code})")
        except NotRecognized as problem:
            self._reject(str(problem))
        return beginning

    def _reject(self, found: str) -> NoReturn:
        metrics.UPSTREAM_ERRORS.labels("file", "wrong content").inc()
        raise NotTheFile(f"{self.who} sent {found} in place of this file. Try again later.") from None

    def length_of_whole(self, answer: requests.Response) -> int | None:
        """Return the length that an answer tells of the file; None without one. Raises for another answer."""
        self._check_status(answer.status_code, answer.headers)
        self._check_body(answer)
        return self._length(answer)

    def _check_status(self, status: int, headers: Mapping[str, str]) -> None:
        _check_busy(status, headers, self.who)
        if status == 404:  # noqa: PLR2004
            raise ResultNotFound("The account has this file no longer.")
        if status == 504:  # noqa: PLR2004
            raise SourceTimeout(f"{self.who} took too long to answer. Try again later.")
        if status in {401, 403}:
            raise SourceUnavailable(f"{self.who} refuses to give this file to us (code {status}).")
        if 300 <= status < 400:  # noqa: PLR2004
            raise SourceUnavailable(_MOVED.format(who=self.who))
        if status != 200:  # noqa: PLR2004
            raise SourceUnavailable(_OWN_TROUBLE.format(who=self.who, code=status))

    def count(self, answer: requests.Response) -> int:
        """Return the length of a body that has to be read for it."""
        if not answer.raw.chunked:
            # It ends where the connection ends: nobody could tell a whole file from a part.
            raise SourceUnavailable(f"{self.who} doesn't say how long this file is.")
        with _server(self.account).troubles():
            # Use read1(): stream() would read a chunk of -1 bytes to the end of the connection.
            pieces = iter(lambda: answer.raw.read1(64 * 1024, decode_content=False), b"")
            return sum(map(len, pieces))

    def _check_body(self, answer: requests.Response) -> None:
        encoding = answer.headers.get("Content-Encoding", "identity").strip().lower()
        media_type = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        # A page such as one to sign in on, in place of the file.
        is_page = media_type == "text/html" and not self.file.remote_name.lower().endswith((".html", ".htm"))
        if encoding not in {"identity", ""} or is_page:
            self._reject("a web page" if is_page else "compressed bytes")

    def _check_range(self, answer: requests.Response, start: int, length: int) -> None:
        self._check_body(answer)
        first, last, size = self._content_range(answer)
        if size != self.file.size:
            self._forget_size(f"the file has {size} bytes, not {self.file.size}")
        if (first, last) != (start, start + length - 1) or self._length(answer) not in {None, length}:
            raise self._wrong_part()

    def _content_range(self, answer: requests.Response) -> tuple[int, int, int]:
        match = _CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range", "").strip())
        if match is None:
            raise self._wrong_part()
        first, last, size = map(int, match.groups())
        return first, last, _checked_size(size)

    def _wrong_part(self) -> SourceUnavailable:
        return SourceUnavailable(f"{self.who} sent another part of this file. Try again later.")

    def _length(self, answer: requests.Response) -> int | None:
        header = answer.headers.get("Content-Length")
        if header is None or answer.raw.chunked:
            return None
        if not _LENGTH.fullmatch(header.strip()):
            raise SourceUnavailable(f"{self.who} sent something else than this file. Try again later.")
        return _checked_size(int(header))

    def _forget_size(self, problem: str) -> NoReturn:
        """Let the size be learnt anew by whoever asks next."""
        logger.warning("upstream size changed: %s problem=%s", self.place, problem)
        with disk.best_effort(f"that the size of file {self.file.pk} has changed"):
            ResultFile.objects.filter(pk=self.file.pk, key="", size=self.file.size).update(size=None)
        raise SourceUnavailable("The file at the account is not the one that was listed. Try again.")


def _checked_size(size: int) -> int:
    """Return the size. Raises NotTheFile if it is over the limit."""
    if size > MAX_FILE_BYTES:
        raise NotTheFile(TOO_LARGE)
    return size


# --- the account --------------------------------------------------------------------------------------------


def _at_account(collection: Collection) -> tuple[Account, int]:
    assert collection.account is not None
    assert collection.remote_id is not None
    return collection.account, collection.remote_id


def _name_of(account: Account) -> str:
    return f"The account “{account}”"


def _server(account: Account) -> Server:
    try:
        key = account.key
    except NotConnected as problem:
        raise SourceUnavailable(str(problem)) from None
    return _server_with(key, _name_of(account), account.base_url)


def _server_with(key: str, name: str, base_url: str) -> Server:
    if not (key and key.isascii() and key.isprintable() and key == key.strip()):
        raise SourceUnavailable("The key can't be one: keys are made of letters, digits and signs.")
    return Server(name, base_url, {"x-api-key": key})


@contextmanager
def _told_to_the_operator(question: str, place: str) -> Iterator[None]:
    """Log what goes wrong: our sentence, and the kind of error that it stands for."""
    try:
        yield
    except ClientDisconnected:
        raise SourceUnavailable("The client disconnected.") from None
    except (ResultNotFound, SourceUnavailable) as problem:
        cause = type(problem.__context__).__name__ if problem.__context__ else None
        logger.warning("upstream %s failed: %s problem=%s cause=%s", question, place, problem, cause)
        raise


def _note(collection: Collection, number: object, problem: str) -> None:
    logger.warning(
        "upstream run not understood: account=%s collection=%s run=%.40r problem=%s",
        collection.account_id,
        collection.pk,
        number,
        problem,
    )
