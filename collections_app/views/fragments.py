"""Pages of which htmx loads a part from the same address, and parts that are rendered in advance."""

import re
from collections.abc import Mapping
from typing import Any

from django.http import HttpResponse
from django.shortcuts import render
from django.utils.cache import patch_vary_headers
from django.utils.safestring import SafeString, mark_safe

from collections_app.people.access import MemberRequest

# Indentation is a quarter of a row, and each response would compress it again.
_INDENTATION = re.compile(r"\s*\n\s*")


def wants_fragment(request: MemberRequest) -> bool:
    """Whether htmx requests a fragment. To restore its history, it requests the page."""
    return bool(request.htmx) and not request.htmx.history_restore_request


def render_fragment(
    request: MemberRequest, page: str, fragment: str, context: Mapping[str, Any]
) -> HttpResponse:
    """Render the template `fragment` for htmx, or else `page`."""
    response = render(request, fragment if wants_fragment(request) else page, dict(context))
    patch_vary_headers(response, ["HX-Request"])
    return response


def without_indentation(html: SafeString) -> SafeString:
    """Return rendered HTML without the indentation of its lines."""
    return mark_safe(_INDENTATION.sub("\n", html))  # noqa: S308  # it is as safe as before
