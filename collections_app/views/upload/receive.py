"""Receive an upload: the body of a form with files, which can be larger than the memory."""

from typing import Any, cast

from django.conf import settings
from django.core.exceptions import RequestDataTooBig, TooManyFieldsSent, TooManyFilesSent
from django.core.files.uploadhandler import FileUploadHandler, SkipFile
from django.http import HttpRequest, QueryDict, UnreadablePostError
from django.http.multipartparser import MultiPartParser, MultiPartParserError
from django.template.defaultfilters import filesizeformat
from django.utils.http import parse_header_parameters

from collections_app.runs.incoming.uploaded import UploadedFiles, free_for_uploads
from collections_app.system.disk import RESERVE
from collections_app.system.serving import allow_seconds

FIELD = "files"
# The largest body, which takes 12 minutes at 100 Mbit/s.
MOST_BYTES = 8 * 1024**3
# How long a client may take to send the next block: it may stall for this long, or send about 4 KB/s.
STALL_SECONDS = 60
_BLOCK = 256 * 1024
_CHECK_SPACE_EVERY = 64 * 1024**2
# Boundaries have at most 70 characters (RFC 2046). Django accepts up to 201.
_LONGEST_END = 300

_IMPORT_ON_SERVER = "Compress the files, or import them on the server with import_run."


class UploadRefused(Exception):
    """The upload can't be received. The message is for people."""


def receive(request: HttpRequest, uploaded: UploadedFiles) -> QueryDict:
    """Write the files in the request's body to `uploaded`, and return the other fields.

    Raises UploadRefused, OSError.
    """
    size = _announced_size(request)
    _check_space(size)
    body = _Body(request, size)
    handlers = [_ToDisk(uploaded)]
    try:
        fields, _ = MultiPartParser(request.META, cast(Any, body), handlers, request.encoding).parse()
    except UnreadablePostError:
        raise _interrupted() from None
    except TooManyFilesSent:
        raise UploadRefused(
            f"You chose more than {settings.DATA_UPLOAD_MAX_NUMBER_FILES:,} files. "
            "Upload a ZIP file of them instead."
        ) from None
    except (TooManyFieldsSent, RequestDataTooBig, MultiPartParserError):
        raise _invalid() from None
    body.check_end(_boundary(request))
    return fields


def _announced_size(request: HttpRequest) -> int:
    text = request.META.get("CONTENT_LENGTH") or ""
    if not text.isdecimal():
        raise UploadRefused("The upload has no Content-Length. Use a browser to upload the files.")
    if int(text) > MOST_BYTES:
        raise UploadRefused(
            f"The files are larger than {filesizeformat(MOST_BYTES)}, the maximum. {_IMPORT_ON_SERVER}"
        )
    return int(text)


def _check_space(size: int) -> None:
    """Raise UploadRefused if this many more bytes would leave too little free space."""
    left = max(0, free_for_uploads() - RESERVE)
    if size > left:
        raise UploadRefused(
            f"The disk has {filesizeformat(left)} free for uploads. Ask an operator to free up space."
        )


def _boundary(request: HttpRequest) -> bytes:
    _, options = parse_header_parameters(request.META.get("CONTENT_TYPE", ""))
    return options["boundary"].encode()


def _interrupted() -> UploadRefused:
    return UploadRefused("The upload was interrupted. Try again.")


def _invalid() -> UploadRefused:
    return UploadRefused("The upload isn't a valid form. Reload the page and try again.")


class _Body:
    """The request's body. Waits for slow clients. Reading fails if the end is missing."""

    def __init__(self, request: HttpRequest, size: int) -> None:
        self._request = request
        self._left = size
        self._check_space_at = size - _CHECK_SPACE_EVERY
        self._last = b""

    def read(self, size: int) -> bytes:
        """Return at most `size` bytes, or nothing at the end. Raises UploadRefused, UnreadablePostError."""
        allow_seconds(STALL_SECONDS)
        data = self._request.read(size)
        if self._left and not data:
            raise _interrupted()
        self._left -= len(data)
        self._last = (self._last + data[-_LONGEST_END:])[-_LONGEST_END:]
        if self._left < self._check_space_at:
            self._check_space_at = self._left - _CHECK_SPACE_EVERY
            _check_space(min(self._left, _CHECK_SPACE_EVERY))
        return data

    def check_end(self, boundary: bytes) -> None:
        """Raise UploadRefused unless the body ended with the last boundary."""
        if self._left or b"--" + boundary + b"--" not in self._last:
            raise _interrupted()


class _ToDisk(FileUploadHandler):
    """Write the files to the disk while they arrive."""

    chunk_size = _BLOCK

    def __init__(self, uploaded: UploadedFiles) -> None:
        super().__init__()
        self._uploaded = uploaded

    def new_file(self, field_name: str, file_name: str, *args: object, **kwargs: object) -> None:
        """Begin a file. Skip those of unknown fields."""
        if field_name != FIELD:
            raise SkipFile
        self._uploaded.add(file_name)

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:
        """Write bytes of the file."""
        self._uploaded.write(raw_data)

    def file_complete(self, file_size: int) -> None:
        """Return no file: it is in `uploaded`."""
