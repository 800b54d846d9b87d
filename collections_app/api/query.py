"""Read and check the query parameters of a request."""

import re
from collections.abc import Sequence
from decimal import Decimal

from django.http import HttpRequest

from collections_app.api.errors import ApiError
from collections_app.api.limits import MAX_INTEGER

_DECIMAL = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?", re.ASCII)
_INTEGER = re.compile("0*([0-9]{1,19})", re.ASCII)


def integer(
    request: HttpRequest, name: str, *, least: int = 0, most: int = MAX_INTEGER, default: int | None = None
) -> int | None:
    """Return an integer parameter, or the default if it is missing. Raises ApiError (400)."""
    text = _only(request, name)
    if text is None:
        return default
    match = _INTEGER.fullmatch(text)
    if match is None:
        raise ApiError(400, f"{name} must be an integer.")
    number = int(match[1])
    if not least <= number <= most:
        raise ApiError(400, f"{name} must be between {least} and {most}.")
    return number


def decimal(request: HttpRequest, name: str) -> Decimal | None:
    """Return a parameter that is a number from 0, or None if it is missing. Raises ApiError (400)."""
    text = _only(request, name)
    if text is None:
        return None
    if not _DECIMAL.fullmatch(text):
        raise ApiError(400, f"{name} must be a number from 0, such as 5 or 2.5.")
    return Decimal(text)


def choices(request: HttpRequest, name: str, values: Sequence[str]) -> list[str]:
    """Return a parameter that is a list such as `a,b` of some of the values. Raises ApiError (400)."""
    text = _only(request, name)
    found = list(dict.fromkeys(text.split(","))) if text else []
    if not set(values).issuperset(found):
        raise ApiError(400, f"{name} must be one or more of {', '.join(values)}.")
    return found


def choice(request: HttpRequest, name: str, values: Sequence[str]) -> str | None:
    """Return a parameter that is one of the values, or None if it is missing. Raises ApiError (400)."""
    text = _only(request, name)
    if text is not None and text not in values:
        raise ApiError(400, f"{name} must be one of {', '.join(values)}.")
    return text


def _only(request: HttpRequest, name: str) -> str | None:
    texts = request.GET.getlist(name)
    if len(texts) > 1:
        raise ApiError(400, f"{name} is in the address twice. Send it once.")
    return texts[0] if texts else None
