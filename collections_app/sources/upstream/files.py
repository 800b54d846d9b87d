"""The bytes of an account's files."""

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import BinaryIO, NoReturn, cast
from urllib.parse import quote

import requests

from collections_app.models import FileKind, ResultFile
from collections_app.records.formats.recognition import (
    BEGINNING,
    EnvelopeFound,
    NotRecognized,
    Recognizer,
    RecordList,
    Zip,
)
from collections_app.sources.base import NotTheFile, SourceUnavailable
from collections_app.sources.upstream.body import BodyStream, CheckedStream
from collections_app.sources.upstream.connection import MAX_FILE_BYTES, TOO_LARGE
from collections_app.sources.upstream.error_messages import raise_for_file
from collections_app.sources.upstream.server import (
    at_account,
    folder_of_run,
    integer,
    logged_errors,
    name_of,
    server_of,
)
from collections_app.system import disk
from collections_app.system.observability import metrics

logger = logging.getLogger(__name__)

_LENGTH = re.compile("[0-9]{1,18}", re.ASCII)
_CONTENT_RANGE = re.compile("bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18})", re.ASCII | re.IGNORECASE)
_OK, _PARTIAL, _UNSATISFIABLE = 200, 206, 416
# In an envelope sent instead of a file, these codes mean the same as the HTTP statuses.
# Other codes concern only that file.
_LIKE_STATUSES = {401, 403, 404, 429, 503, 504}


def size_of(file: ResultFile) -> int:
    """Request the size of a file from the account, and check the file's first bytes.

    Raises ResultNotFound, SourceUnavailable, SourceTimeout.
    """
    remote = _RemoteFile(file)
    with logged_errors("size", remote.log_context):
        return remote.size()


@dataclass(frozen=True)
class UpstreamBody:
    """The bytes of a file at the account."""

    file: ResultFile

    def open(self, start: int, length: int) -> BinaryIO:
        """Request `length` bytes from the account, beginning at `start`. See Body."""
        remote = _RemoteFile(self.file)
        with logged_errors("file", remote.log_context):
            return cast(BinaryIO, remote.open(start, length))


def _recognizer_of(file: ResultFile) -> Recognizer:
    if file.kind == FileKind.ARCHIVE:
        return Zip()
    return RecordList(wrapped=file.kind == FileKind.CATEGORY_LIST)


class _RemoteFile:
    """A file at the account's server."""

    def __init__(self, file: ResultFile) -> None:
        self._file = file
        self._collection = file.run.collection
        self._account, _ = at_account(self._collection)
        self._who = name_of(self._account)
        self.log_context = (
            f"account={self._account.pk} collection={self._collection.pk} "
            f"run={file.run.number} file={file.pk}"
        )

    def size(self) -> int:
        """Return the file's size in bytes."""
        with self._request({"Range": f"bytes=0-{BEGINNING - 1}"}) as response:
            if response.status_code == _UNSATISFIABLE:
                self._reject("nothing")
            is_part = response.status_code == _PARTIAL
            size = self._declared_size(response) if is_part else self._length_of_file(response)
            stream = BodyStream(response, skip=0, length=0, is_the_end=False, log_context=self.log_context)
            beginning = self._recognize(response, stream, _recognizer_of(self._file), size)
            return len(beginning) + self._count(response) if size is None else size

    def open(self, start: int, length: int) -> BodyStream:
        """Return a stream of a part of the file."""
        is_part = length != self._file.size
        response = self._request({"Range": f"bytes={start}-{start + length - 1}"} if is_part else {})
        try:
            return self._opened(response, start, length, is_part=is_part and response.status_code == _PARTIAL)
        except BaseException:
            response.close()
            raise

    def _request(self, headers: Mapping[str, str]) -> requests.Response:
        """Return the server's response, whatever its status, without reading its body."""
        name = quote(self._file.remote_name, safe="")
        path = f"{folder_of_run(self._collection, self._file.run.number)}{name}"
        return server_of(self._account).stream("GET", path, headers)

    def _opened(self, response: requests.Response, start: int, length: int, *, is_part: bool) -> BodyStream:
        if is_part:
            self._check_range(response, start, length)
            size = self._file.size
        elif response.status_code == _UNSATISFIABLE:
            self._forget_size("the file is shorter than it was")
        else:
            size = self._length_of_file(response)
        recognizer = _recognizer_of(self._file)
        stream = self._checked_stream(response, recognizer, start, length, is_part=is_part)
        if start == 0 or not is_part:
            self._recognize(response, stream, recognizer, size)
        # Check this last: a response that isn't the file says nothing about its size.
        if size not in {None, self._file.size}:
            self._forget_size(f"the file has {size} bytes, not {self._file.size}")
        return stream

    def _checked_stream(
        self, response: requests.Response, recognizer: Recognizer, start: int, length: int, *, is_part: bool
    ) -> BodyStream:
        is_to_the_end = start + length == self._file.size
        return CheckedStream(
            response,
            skip=0 if is_part else start,
            length=length,
            # If the complete file was sent instead of a part, bytes may follow the part.
            is_the_end=is_part or is_to_the_end,
            log_context=self.log_context,
            recognizer=recognizer if is_to_the_end else None,
        )

    # --- checks of the response -----------------------------------------------------------------

    def _recognize(
        self, response: requests.Response, stream: BodyStream, recognizer: Recognizer, size: int | None
    ) -> bytes:
        """Return the first bytes of the file. Raises an error if they belong to something else."""
        with server_of(self._account).translated_errors():
            beginning = stream.peek(BEGINNING)
        is_all = len(beginning) < BEGINNING if size is None else len(beginning) == size
        try:
            recognizer.check_beginning(beginning, is_all=is_all)
        except EnvelopeFound as envelope:
            code = integer(envelope.code)
            if code in _LIKE_STATUSES:
                raise_for_file(code, response.headers, self._who)
            self._reject("an error" if code is None else f"an error (code {code})")
        except NotRecognized as problem:
            self._reject(str(problem))
        return beginning

    def _reject(self, found: str) -> NoReturn:
        metrics.UPSTREAM_ERRORS.labels("file", "wrong content").inc()
        raise NotTheFile(f"{self._who} sent {found} instead of this file. Try again later.") from None

    def _declared_size(self, response: requests.Response) -> int:
        self._check_headers(response)
        first, _, size = self._content_range(response)
        if first != 0:
            raise self._wrong_part()
        return size

    def _length_of_file(self, response: requests.Response) -> int | None:
        """Return the length of the file if the response declares it. Raises an error for other responses."""
        if response.status_code != _OK:
            raise_for_file(response.status_code, response.headers, self._who)
        self._check_headers(response)
        return self._length(response)

    def _count(self, response: requests.Response) -> int:
        """Return the length of the rest of the body, by reading it."""
        if not response.raw.chunked:
            # It ends with the connection, so a complete file looks the same as a part.
            raise SourceUnavailable(f"{self._who} doesn't report the size of this file. Try again later.")
        with server_of(self._account).translated_errors():
            # Use read1(): stream() would read a chunk of -1 bytes to the end of the connection.
            chunks = iter(lambda: response.raw.read1(64 * 1024, decode_content=False), b"")
            return sum(map(len, chunks))

    def _check_headers(self, response: requests.Response) -> None:
        encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
        media_type = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        # For example, a sign-in page.
        is_page = media_type == "text/html" and not self._file.remote_name.lower().endswith((".html", ".htm"))
        if encoding not in {"identity", ""} or is_page:
            self._reject("a web page" if is_page else "compressed bytes")

    def _check_range(self, response: requests.Response, start: int, length: int) -> None:
        self._check_headers(response)
        first, last, size = self._content_range(response)
        if size != self._file.size:
            self._forget_size(f"the file has {size} bytes, not {self._file.size}")
        if (first, last) != (start, start + length - 1) or self._length(response) not in {None, length}:
            raise self._wrong_part()

    def _content_range(self, response: requests.Response) -> tuple[int, int, int]:
        match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", "").strip())
        if match is None:
            raise self._wrong_part()
        first, last, size = map(int, match.groups())
        return first, last, _checked_size(size)

    def _wrong_part(self) -> SourceUnavailable:
        return SourceUnavailable(f"{self._who} sent the wrong part of this file. Try again later.")

    def _length(self, response: requests.Response) -> int | None:
        header = response.headers.get("Content-Length")
        if header is None or response.raw.chunked:
            return None
        if not _LENGTH.fullmatch(header.strip()):
            raise SourceUnavailable(f"{self._who} reports an invalid size for this file. Try again later.")
        return _checked_size(int(header))

    def _forget_size(self, problem: str) -> NoReturn:
        """Delete the stored size, so that the next request for the file finds the new one."""
        logger.warning("upstream size changed: %s problem=%s", self.log_context, problem)
        with disk.best_effort(f"that the size of file {self._file.pk} has changed"):
            ResultFile.objects.filter(pk=self._file.pk, key="", size=self._file.size).update(size=None)
        raise SourceUnavailable("This file has changed at the account. Try again.")


def _checked_size(size: int) -> int:
    """Return the size. Raises NotTheFile if it exceeds the limit."""
    if size > MAX_FILE_BYTES:
        raise NotTheFile(TOO_LARGE)
    return size
