"""Files that a server in front of us sends by itself, once we have said that the reader may have them.

It is nginx, by its X-Accel-Redirect (deploy/nginx.conf). What it finds in a folder it sends by sendfile; what
is in a bucket it asks for by a request that we have signed. The signature travels in headers of our answer,
which end at nginx and are in no log.
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

# nginx understands a range of its own; only one that it is sure to understand as we do is left to it.
_PLAIN_RANGE = re.compile(r"bytes=([0-9]{1,18}-[0-9]{0,18}|-[0-9]{1,18})", re.ASCII)
# What is sent in spite of one of these is sent from here: nginx would judge it anew. Files don't change, so
# that it hardly ever happens.
_CONDITIONS = ("If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since")
# What nginx says of a file that we gave to it, and that it couldn't send.
_FAILED = "X-Delivery-Failed"


def off_loaded(
    request: HttpRequest,
    deliverable: Deliverable,
    part: ByteRange,
    headers: dict[str, str],
) -> HttpResponse | None:
    """Return the answer that has a file sent by nginx, `headers` being those of the file.

    None where it has to be sent by us. Raises what the body raises when it is opened: nginx is given nothing
    that isn't there.
    """
    if settings.DELIVERY != "nginx" or not isinstance(deliverable.body, Located):
        return None
    is_part = "Content-Range" in headers
    if not _nginx_would_do_the_same(request, is_part=is_part):
        return None
    with deliverable.body.open(part.start, part.length) as stream:
        location = deliverable.body.location()
        if location.headers is None and not _has_our_time(stream, deliverable):
            return None
    where = _FOLDER if location.headers is None else _BUCKET
    # Under names of their own: nginx would give some of ours to whatever it answers in the end, an error too.
    told = {
        "X-Accel-Redirect": where + quote(location.path),
        "X-Delivery-Disposition": headers["Content-Disposition"],
        "X-Delivery-ETag": headers["ETag"],
        "X-Delivery-Modified": headers["Last-Modified"],
    }
    if "Repr-Digest" in headers:
        told["X-Delivery-Digest"] = headers["Repr-Digest"]
    if is_part:
        told["X-Delivery-Range"] = part.header
    signed = {
        f"X-Object-{name.removeprefix('X-Amz-')}": value for name, value in (location.headers or {}).items()
    }
    return HttpResponse(headers=told | signed, content_type=headers["Content-Type"])


def _nginx_would_do_the_same(request: HttpRequest, *, is_part: bool) -> bool:
    asked = request.headers.get("Range")
    is_understood = asked is None or (is_part and _PLAIN_RANGE.fullmatch(asked) is not None)
    left_to_us = any(name in request.headers for name in (*_CONDITIONS, _FAILED))
    return request.method == "GET" and is_understood and not left_to_us


def _has_our_time(stream: BinaryIO, deliverable: Deliverable) -> bool:
    """Whether nginx would make our ETag of the file: one that was restored may have another time."""
    return int(os.fstat(stream.fileno()).st_mtime) == int(deliverable.modified.timestamp())
