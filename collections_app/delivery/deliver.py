"""The answer to a request for a file: status, headers, body."""

from urllib.parse import quote

from django.db import connections
from django.http import FileResponse, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.cache import get_conditional_response
from django.utils.http import http_date, parse_etags

from collections_app.delivery.body import BoundedStream
from collections_app.delivery.ranges import ByteRange, Unsatisfiable, parse_range
from collections_app.sources.base import Deliverable

# Measured: 64 KiB gives 0.7 - 0.9 of nginx, 256 KiB and more about 1. Only for what isn't sent by sendfile.
BLOCK_SIZE = 256 * 1024

# How long a reader may take no byte at all before the connection is closed; a stalled reader would
# hold its thread for ever. gunicorn's --timeout does not end it.
STALL_SECONDS = 60.0


class _Stream(FileResponse):
    """A streamed body whose headers are ours: Django's own would guess them from the file."""

    block_size = BLOCK_SIZE

    def set_headers(self, filelike: object) -> None:
        """Set nothing; deliver() knows every header."""


def deliver(request: HttpRequest, deliverable: Deliverable) -> HttpResponseBase:
    """Answer a GET or HEAD request for a file.

    200, 206 for one range, 304 and 412 for conditions, 416 for a range outside the file; all
    answered from our own size and ETag. Raises what the body raises when it is opened.
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
        return _with(not_needed, headers)

    headers["Content-Type"] = "application/octet-stream"
    headers["Content-Disposition"] = content_disposition(deliverable.name)
    whole = ByteRange(0, deliverable.size)
    try:
        part = parse_range(request.headers.get("Range", ""), deliverable.size)
    except Unsatisfiable:
        return _with(HttpResponse(status=416), headers | {"Content-Range": f"bytes */{deliverable.size}"})
    if part is None or not _range_applies(request, headers):
        return _send(request, deliverable, whole, 200, headers)
    headers["Content-Range"] = part.content_range(deliverable.size)
    return _send(request, deliverable, part, 206, headers)


def content_disposition(name: str) -> str:
    """Return the header that saves a download under its own name, whatever characters it has.

    RFC 6266: the exact name as `filename*`, and an ASCII one for clients that know only `filename`
    (curl -OJ is one).
    """
    plain = "".join(c if " " <= c <= "~" and c not in '"\\%' else "_" for c in name)
    header = f'attachment; filename="{plain}"'
    return header if plain == name else f"{header}; filename*=UTF-8''{quote(name, safe='')}"


def _range_applies(request: HttpRequest, headers: dict[str, str]) -> bool:
    # If-Range: the part is wanted only if the file is still the one that the reader has the rest of.
    condition = request.headers.get("If-Range", "").strip()
    if not condition:
        return True
    if condition == headers["Last-Modified"]:
        return True
    return condition == headers["ETag"] and parse_etags(condition) == [condition]


def _send(
    request: HttpRequest, deliverable: Deliverable, part: ByteRange, status: int, headers: dict[str, str]
) -> HttpResponseBase:
    headers = headers | {"Content-Length": str(part.length)}
    # Opened for HEAD as well, so that it answers just as GET would.
    stream = deliverable.body.open(part.start, part.length)
    if request.method == "HEAD":
        stream.close()
        return _with(HttpResponse(status=status), headers)
    _end_stalled_readers(request)
    _give_database_back()
    return _with(_Stream(BoundedStream(stream, part.length), status=status), headers)


def _with(response: HttpResponseBase, headers: dict[str, str]) -> HttpResponseBase:
    for name, value in headers.items():
        response.headers[name] = value
    return response


def _end_stalled_readers(request: HttpRequest) -> None:
    socket = request.META.get("gunicorn.socket")
    if socket is not None:
        socket.settimeout(STALL_SECONDS)


def _give_database_back() -> None:
    # A slow download must not hold a database connection for hours.
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:
            connection.close()
