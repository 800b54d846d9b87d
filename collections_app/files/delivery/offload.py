"""Let nginx send files, after we have checked that the client may have them.

This uses X-Accel-Redirect (deploy/nginx.conf). nginx sends files in a folder by sendfile, and requests files
in a bucket with our signature. nginx removes the signature from our response, and doesn't log it.
"""

import os
import re
from typing import BinaryIO
from urllib.parse import quote

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from collections_app.files.delivery.ranges import ByteRange
from collections_app.sources.base import Deliverable, Located

_FOLDER = "/_delivered/results/"
_BUCKET = "/_delivered/objects/"

# nginx parses ranges differently. It gets only those that it parses as we do.
_PLAIN_RANGE = re.compile(r"bytes=([0-9]{1,18}-[0-9]{0,18}|-[0-9]{1,18})", re.ASCII)
# We send the file if the request has one of these headers, which nginx would evaluate again.
_CONDITIONS = ("If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since")
# nginx sends this header when it requests a file again that it couldn't send itself.
_FAILED = "X-Delivery-Failed"


def offload(
    request: HttpRequest,
    deliverable: Deliverable,
    part: ByteRange,
    headers: dict[str, str],
) -> HttpResponse | None:
    """Return a response that lets nginx send the file with these headers, or None if we have to send it.

    Open the body first, so that nginx gets only files that exist. Raises what opening the body raises.
    """
    if settings.DELIVERY != "nginx" or not isinstance(deliverable.body, Located):
        return None
    is_part = "Content-Range" in headers
    if not _nginx_would_agree(request, is_part=is_part):
        return None
    with deliverable.body.open(part.start, part.length) as stream:
        location = deliverable.body.location()
        if location.headers is None and not _has_same_time(stream, deliverable):
            return None
    prefix = _FOLDER if location.headers is None else _BUCKET
    # These need other names, because nginx would add some of the original headers even to an error page.
    instructions = {
        "X-Accel-Redirect": prefix + quote(location.path),
        "X-Delivery-Disposition": headers["Content-Disposition"],
        "X-Delivery-ETag": headers["ETag"],
        "X-Delivery-Modified": headers["Last-Modified"],
    }
    if "Repr-Digest" in headers:
        instructions["X-Delivery-Digest"] = headers["Repr-Digest"]
    if is_part:
        instructions["X-Delivery-Range"] = part.header
    signed = {
        f"X-Object-{name.removeprefix('X-Amz-')}": value for name, value in (location.headers or {}).items()
    }
    return HttpResponse(headers=instructions | signed, content_type=headers["Content-Type"])


def _nginx_would_agree(request: HttpRequest, *, is_part: bool) -> bool:
    requested = request.headers.get("Range")
    is_plain = requested is None or (is_part and _PLAIN_RANGE.fullmatch(requested) is not None)
    is_ours = any(name in request.headers for name in (*_CONDITIONS, _FAILED))
    return request.method == "GET" and is_plain and not is_ours


def _has_same_time(stream: BinaryIO, deliverable: Deliverable) -> bool:
    """Whether nginx would generate the same ETag. A file that was restored may have another time."""
    return int(os.fstat(stream.fileno()).st_mtime) == int(deliverable.modified.timestamp())
