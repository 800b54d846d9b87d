"""The response of Django's test client, for annotations."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, cast

from django.http.response import HttpResponseBase

if TYPE_CHECKING:
    # The only name of this type in django-stubs 5.2.
    from django.test.client import _MonkeyPatchedWSGIResponse as Response
else:
    from django.http import HttpResponse as Response

__all__ = ["Response", "content"]


def content(response: HttpResponseBase) -> bytes:
    """Return all bytes of a response, streamed or not, and close it."""
    return b"".join(cast("Iterable[bytes]", response))
