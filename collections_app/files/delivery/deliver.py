"""The answer to a request for a file: status, headers, body."""

import contextlib
import socket
import sys
from base64 import b64encode
from collections.abc import Callable
from urllib.parse import quote

from django.http import FileResponse, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.cache import get_conditional_response
from django.utils.http import http_date

from collections_app.files.delivery.body import BoundedStream
from collections_app.files.delivery.off_load import off_loaded
from collections_app.files.delivery.ranges import ByteRange, Unsatisfiable, parse_range
from collections_app.files.delivery.streams import Reader, Slot, streams
from collections_app.sources.base import Deliverable, SourceTimeout, SourceUnavailable
from collections_app.system import database
from collections_app.system.observability import metrics

# The most that is read at once of what isn't sent by sendfile; a body from elsewhere gives less to a slow
# reader. Measured: 64 KiB gives 0.5 - 0.9 of nginx, 1 MiB about 1.
BLOCK_SIZE = 1024 * 1024
_FIRST_BYTES = 64 * 1024


class _Stream(FileResponse):
    """A streamed body whose headers are ours: Django's own would guess them from the file.

    Where the body was not sent to its end, `break_off` is called: sendfile says nothing about a file
    that is shorter than promised, and on a connection that stays open the next answer would pass for
    the rest of this one.
    """

    block_size = BLOCK_SIZE

    def __init__(self, body: BoundedStream, break_off: Callable[[], None], status: int) -> None:
        self._body = body
        self._break_off = break_off
        self.bytes_promised = body.remaining
        super().__init__(body, status=status)

    @property
    def bytes_sent(self) -> int:
        """How many bytes of the body were handed to the connection so far."""
        return self.bytes_promised - self._body.remaining

    def set_headers(self, filelike: object) -> None:
        """Set nothing; deliver() knows every header."""

    def close(self) -> None:
        """Close the file, and the connection where a part of the file is missing."""
        if self._body.remaining:
            self._break_off()
        super().close()


def deliver(request: HttpRequest, deliverable: Deliverable, reader: Reader | None = None) -> HttpResponseBase:
    """Answer a GET or HEAD request for a file.

    200, 206 for one range, 304 and 412 for conditions, 416 for a range outside the file; all
    answered from our own size and ETag. HEAD ignores Range. Raises TooManyStreams where the reader, if
    there is one to be counted, is sent enough already; and what the body raises when it is opened.
    """
    modified = int(deliverable.modified.timestamp())
    headers = {
        "Accept-Ranges": "bytes",
        "Cache-Control": "private",
        "ETag": deliverable.etag,
        "Last-Modified": http_date(modified),
        "X-Content-Type-Options": "nosniff",
    }
    not_needed = get_conditional_response(request, deliverable.etag, modified)
    if not_needed is not None:
        if not_needed.status_code == 304:  # noqa: PLR2004
            # That of the file, or none (RFC 9110, section 8.6); Django would say 0.
            headers["Content-Length"] = str(deliverable.size)
        return _with(not_needed, headers)

    try:
        part = _wanted_part(request, deliverable.size, headers)
    except Unsatisfiable:
        return _with(HttpResponse(status=416), headers | {"Content-Range": f"bytes */{deliverable.size}"})
    headers["Content-Type"] = "application/octet-stream"
    headers["Content-Disposition"] = content_disposition(deliverable.name)
    if deliverable.sha256:
        # RFC 9530: of the whole file, also where a part of it is sent.
        headers["Repr-Digest"] = f"sha-256=:{b64encode(bytes.fromhex(deliverable.sha256)).decode()}:"
    if part is None:
        part, status = ByteRange(0, deliverable.size), 200
    else:
        headers["Content-Range"], status = part.content_range(deliverable.size), 206
    headers["Content-Length"] = str(part.length)
    # A proxy that buffers for a slow reader fills its disk and then stops reading, which looks like a stall.
    headers["X-Accel-Buffering"] = "no"
    if request.method == "HEAD":
        # Opened as well, so that it answers just as GET would.
        deliverable.body.open(part.start, part.length).close()
        return _with(HttpResponse(status=status), headers)
    if answer := off_loaded(request, deliverable, part, headers):
        return answer
    return _with(_stream(request, deliverable, part, status, reader), headers)


def content_disposition(name: str) -> str:
    """Return the header that saves a download under its own name, whatever characters it has.

    RFC 6266: the exact name as `filename*`, and an ASCII one for clients that know only `filename`
    (curl -OJ is one).
    """
    plain = "".join(c if " " <= c <= "~" and c not in '"\\%' else "_" for c in name)
    header = f'attachment; filename="{plain}"'
    return header if plain == name else f"{header}; filename*=UTF-8''{quote(name, safe='', errors='replace')}"


def _wanted_part(request: HttpRequest, size: int, headers: dict[str, str]) -> ByteRange | None:
    if request.method != "GET":  # RFC 9110, section 14.2
        return None
    # If-Range: the part is wanted only if the file is still the one that the reader has the rest of.
    # A weak ETag never matches, since ours is strong.
    condition = request.headers.get("If-Range")
    if condition is not None and condition.strip() not in {headers["ETag"], headers["Last-Modified"]}:
        return None
    return parse_range(request.headers.get("Range", ""), size)


def _stream(
    request: HttpRequest, deliverable: Deliverable, part: ByteRange, status: int, reader: Reader | None
) -> _Stream:
    slot = streams.begin(reader)
    try:
        database.release_connections()  # an account may take long to answer
        stream = deliverable.body.open(part.start, part.length)
    except BaseException:
        slot.end()
        raise
    metrics.STREAMS.inc()
    body = BoundedStream(stream, part.start, part.length, lambda: _ended(request, slot))
    _begin(body)
    if body.is_file():
        _fill_packets(request, yes=True)
    # A slow download must not hold a database connection for hours.
    database.release_connections()
    return _Stream(body, lambda: _break_off(request), status)


def _begin(body: BoundedStream) -> None:
    try:
        body.begin(_FIRST_BYTES)
    except OSError as error:
        body.close()
        if isinstance(error, TimeoutError):
            raise SourceTimeout(
                "The place of the results takes too long to answer. Try again later."
            ) from error
        raise SourceUnavailable("The place of the results can't be read now. Try again later.") from error
    except BaseException:
        body.close()
        raise


def _ended(request: HttpRequest, slot: Slot) -> None:
    metrics.STREAMS.dec()
    slot.end()
    _fill_packets(request, yes=False)


def _with(response: HttpResponseBase, headers: dict[str, str]) -> HttpResponseBase:
    for name, value in headers.items():
        response.headers[name] = value
    return response


def _fill_packets(request: HttpRequest, *, yes: bool) -> None:
    """Have the kernel send full packets alone, as nginx's tcp_nopush does; at the end, what is left.

    Without it, sendfile sends each piece of 64 KiB by itself: 0.73 of the speed to a reader on the same
    machine, at 1.3 times the processor time. What comes from elsewhere leaves at once instead.
    """
    connection = _connection(request)
    if sys.platform == "linux" and connection is not None and connection.family != socket.AF_UNIX:
        with contextlib.suppress(OSError):  # the reader has left already
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, yes)


def _connection(request: HttpRequest) -> socket.socket | None:
    """Return the connection that the answer goes to; None where the server isn't gunicorn."""
    found: socket.socket | None = request.META.get("gunicorn.socket")
    return found


def _break_off(request: HttpRequest) -> None:
    connection = _connection(request)
    if connection is not None:
        with contextlib.suppress(OSError):  # the reader has left already
            connection.shutdown(socket.SHUT_RDWR)
