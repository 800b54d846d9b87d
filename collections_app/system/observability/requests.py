"""The outermost middleware: give each request an ID, and log the request when its response has ended."""

import logging
import re
import secrets
import time
from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from structlog.contextvars import bind_contextvars, clear_contextvars

from collections_app.system.observability import metrics
from collections_app.system.serving import client_has_disconnected

logger = logging.getLogger(__name__)

HEADER = "X-Request-ID"
_ID = re.compile(r"[\w.-]{8,64}", re.ASCII)

# Monitors may use any host name for this machine. These responses don't depend on it.
PROBES = frozenset({"/healthz", "/readyz", "/metrics"})
# These frequent requests are logged only if they fail.
_QUIET = frozenset({"healthz", "readyz", "metrics", "static"})

GetResponse = Callable[[HttpRequest], HttpResponseBase]


def observe(get_response: GetResponse) -> GetResponse:
    """Return the middleware. It doesn't use the database."""

    def observed(request: HttpRequest) -> HttpResponseBase:
        started = time.perf_counter()
        request_id = _request_id(request)
        # An earlier request in this thread may have bound some.
        clear_contextvars()
        bind_contextvars(request_id=request_id)
        if request.path_info in PROBES:
            request.META["HTTP_HOST"] = settings.ALLOWED_HOSTS[0]
        response = get_response(request)
        response.headers[HEADER] = request_id
        route, status = _route(request), _status(response)
        metrics.note_request(
            route=route,
            method=request.method or "",
            status=status,
            seconds=time.perf_counter() - started,
        )
        _when_closed(response, lambda: _log(request, route, status, response, started))
        return response

    return observed


def _request_id(request: HttpRequest) -> str:
    """Return the ID that our proxy set, or a new one."""
    given = request.headers.get(HEADER, "") if settings.IS_BEHIND_A_PROXY else ""
    return given if _ID.fullmatch(given) else secrets.token_hex(8)


def _route(request: HttpRequest) -> str:
    """Return the name of the route. Paths are neither logged nor counted, because some contain secrets."""
    if request.resolver_match:
        return request.resolver_match.view_name
    return "static" if request.path_info.startswith(settings.STATIC_URL) else "none"


def _status(response: HttpResponseBase) -> int:
    """Return the status, or nginx's 499 if the client disconnected while we waited for a source."""
    return 499 if response.status_code in {502, 504} and client_has_disconnected() else response.status_code


def _when_closed(response: HttpResponseBase, then: Callable[[], None]) -> None:
    """Call `then` once the server has closed the response, however it ended."""
    close, done = response.close, False

    def closing() -> None:
        nonlocal done
        try:
            close()
        finally:
            if not done:
                done = True
                then()

    response.close = closing  # type: ignore[method-assign]


def _log(request: HttpRequest, route: str, status: int, response: HttpResponseBase, started: float) -> None:
    sent, promised = _sent(request, response), getattr(response, "bytes_promised", None)
    fields = {
        "method": request.method,
        "route": route,
        "status": status,
        "seconds": round(time.perf_counter() - started, 4),
    }
    if "X-Accel-Redirect" not in response.headers:  # nginx sends these, and logs how much
        fields["bytes"] = sent
    if promised is not None:
        fields["complete"] = sent == promised
        metrics.note_stream(sent, complete=sent == promised)
    if route not in _QUIET or status >= 400:  # noqa: PLR2004
        logger.info("request", extra=fields)
    clear_contextvars()


def _sent(request: HttpRequest, response: HttpResponseBase) -> int:
    """Return how many bytes of the body were sent to the connection."""
    if request.method == "HEAD":
        return 0
    if response.streaming:
        return int(getattr(response, "bytes_sent", 0))
    return len(getattr(response, "content", b""))
