"""The decorator of every API endpoint."""

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.views.decorators.csrf import csrf_exempt

from collections_app.api.authentication import authenticate
from collections_app.api.errors import ApiError, api_error_for
from collections_app.api.request_body import read_body
from collections_app.api.responses import failure
from collections_app.people import access
from collections_app.system import disk

View = Callable[Concatenate[HttpRequest, Any, ...], HttpResponseBase]


def endpoint(
    *methods: str, always_200: bool = False, authenticate: Callable[..., Any] = authenticate
) -> Callable[[View], access.View]:
    """Call the view with the caller's API key, and report every error in the envelope.

    Another `authenticate` can return more than the key. It also gets what the address names.

    Check the method first, then the size of the body, then the key. A view that allows POST also gets the
    body. With `always_200`, errors have the HTTP status 200, and only the envelope contains their code.
    """

    def decorate(view: View) -> access.View:
        with_key = access.api_key(authenticate)(view)

        @csrf_exempt
        @wraps(with_key)
        def respond(request: HttpRequest, **kwargs: Any) -> HttpResponseBase:
            try:
                _check_method(request, methods)
                if request.method == "POST":
                    kwargs["body"] = read_body(request)
                return with_key(request, **kwargs)
            except Exception as error:  # noqa: BLE001  # callers get every error as JSON
                disk.forget_failure()  # the caller learns about it
                return failure(api_error_for(error), always_200=always_200)

        return respond

    return decorate


def _check_method(request: HttpRequest, methods: tuple[str, ...]) -> None:
    if request.method not in methods:
        headers = {"Allow": ", ".join(methods)}
        raise ApiError(405, f"This method is not allowed here. Use {' or '.join(methods)}.", headers)
