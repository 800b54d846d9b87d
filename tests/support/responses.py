"""The responses of Django's test client."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakSet

import pytest
from django.http.response import HttpResponseBase

from collections_app.files.delivery.body import BoundedStream

if TYPE_CHECKING:
    # The only name of this type in django-stubs 5.2.
    from django.test.client import _MonkeyPatchedWSGIResponse as Response
else:
    from django.http import HttpResponse as Response

__all__ = ["Response", "closing_unread_bodies", "content"]


def content(response: HttpResponseBase) -> bytes:
    """Return all bytes of a response, streamed or not, and close it."""
    return b"".join(cast("Iterable[bytes]", response))


@contextmanager
def closing_unread_bodies() -> Iterator[None]:
    """Close the bodies that were opened in this block, as a server closes each response.

    Otherwise, the garbage collector closes the file of an unread body, and blames a later test.
    """
    opened: WeakSet[BoundedStream] = WeakSet()
    create = BoundedStream.__init__

    def created(body: BoundedStream, *arguments: Any) -> None:
        create(body, *arguments)
        opened.add(body)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BoundedStream, "__init__", created)
        yield
    for body in list(opened):
        body.close()
