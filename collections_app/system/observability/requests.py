"""Middleware, the outermost: gives each request an id, and notes how it went when its answer has ended."""

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

# What monitors ask for, by whatever name they know this machine: answered with nothing that depends on it.
PROBES = frozenset({"/healthz", "/readyz", "/metrics"})
# Worth a line only when they fail: what is asked for all day long.
_QUIET = frozenset({"healthz", "readyz", "metrics", "static"})

GetResponse = Callable[[HttpRequest], HttpResponseBase]


def observe(get_response: GetResponse) -> GetResponse:
    """Return the middleware. It asks the database nothing."""

    def observed(request: HttpRequest) -> HttpResponseBase:
        begun = time.perf_counter()
        request_id = _request_id(request)
        # This thread has answered other requests.
        clear_contextvars()
        bind_contextvars(request_id=request_id)
        if request.path_info in PROBES:
            request.META["HTTP_HOST"] = settings.ALLOWED_HOSTS[0]
        answer = get_response(request)
        answer.headers[HEADER] = request_id
        route, status = _route(request), _status(answer)
        metrics.note_request(
            route=route,
            method=request.method or "",
            status=status,
            seconds=time.perf_counter() - begun,
        )
        _when_closed(answer, lambda: _note(request, route, status, answer, begun))
        return answer

    return observed


def _request_id(request: HttpRequest) -> str:
    """Return the id that our proxy gave the request, or a new one."""
    given = request.headers.get(HEADER, "") if settings.IS_BEHIND_A_PROXY else ""
    return given if _ID.fullmatch(given) else secrets.token_hex(8)


def _route(request: HttpRequest) -> str:
    """Return the name of the address, never the address: some hold a secret, and there is no end of them."""
    if request.resolver_match:
        return request.resolver_match.view_name
    return "static" if request.path_info.startswith(settings.STATIC_URL) else "none"


def _status(answer: HttpResponseBase) -> int:
    """Return the status, or nginx's 499 if the client disconnected while we waited for a source."""
    return 499 if answer.status_code in {502, 504} and client_has_disconnected() else answer.status_code


def _when_closed(answer: HttpResponseBase, then: Callable[[], None]) -> None:
    """Have something done once the server has closed the answer, in whatever way it ended."""
    close, done = answer.close, False

    def closing() -> None:
        nonlocal done
        try:
            close()
        finally:
            if not done:
                done = True
                then()

    answer.close = closing  # type: ignore[method-assign]


def _note(request: HttpRequest, route: str, status: int, answer: HttpResponseBase, begun: float) -> None:
    sent, promised = _sent(request, answer), getattr(answer, "bytes_promised", None)
    fields = {
        "method": request.method,
        "route": route,
        "status": status,
        "seconds": round(time.perf_counter() - begun, 4),
    }
    if "X-Accel-Redirect" not in answer.headers:  # else nginx sends it, and its own log has how much
        fields["bytes"] = sent
    if promised is not None:
        fields["complete"] = sent == promised
        metrics.note_stream(sent, complete=sent == promised)
    if route not in _QUIET or status >= 400:  # noqa: PLR2004
        logger.info("request", extra=fields)
    clear_contextvars()


def _sent(request: HttpRequest, answer: HttpResponseBase) -> int:
    """Return how many bytes of the body were handed to the connection."""
    if request.method == "HEAD":
        return 0
    if answer.streaming:
        return int(getattr(answer, "bytes_sent", 0))
    return len(getattr(answer, "content", b""))
