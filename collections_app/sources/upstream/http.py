"""HTTP to the servers of accounts: which servers may be called, and what is reported if that fails."""

import http.client
import logging
import math
import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import TypeVar

import requests
import urllib3
from django.conf import settings
from django.utils.http import parse_http_date_safe
from urllib3.exceptions import HTTPError, ReadTimeoutError
from urllib3.exceptions import SSLError as TlsError

from collections_app.models import Account
from collections_app.sources.base import SourceTimeout, SourceUnavailable
from collections_app.sources.upstream.connection import LimitedAdapter, read_deadline
from collections_app.system.observability import metrics

CONNECT_SECONDS = 5
READ_SECONDS = 30  # for the headers of a response
USER_AGENT = "scrape-results-dashboard"
MAX_JSON_BYTES = 8 * 1024 * 1024
TOO_SLOW = "{who} took too long to respond. Try again later."

_RETRIED_STATUSES = {502, 503, 504}
_PAUSES = (0.1, 0.3)  # before the second and the third attempt, in seconds
_CHUNK = 64 * 1024

# urllib3 logs warnings with tracebacks about invalid responses. We raise errors for those that matter.
logging.getLogger("urllib3").setLevel(logging.ERROR)

_URL = re.compile(r"(https?)://([\w.-]+)(?::([0-9]{1,5}))?(/[^?#\\]*)?", re.ASCII | re.IGNORECASE)
_SECONDS = re.compile("[0-9]{1,18}", re.ASCII)
_DEFAULT_PORTS = {"http": 80, "https": 443}

# Labels of the metrics.
_KINDS: dict[type[Exception], str] = {SourceTimeout: "timeout", SourceUnavailable: "unavailable"}

T = TypeVar("T")


@dataclass(frozen=True)
class Endpoint:
    """Where a URL leads: a server, and a path on it exactly as written."""

    origin: str
    path: str


def endpoint_of(url: str) -> Endpoint | None:
    """Return where a URL leads, or None if it is invalid or has a user, a query or a fragment."""
    match = _URL.fullmatch(url)
    if match is None:
        return None
    scheme, host, port, path = match.groups()
    scheme = scheme.lower()
    return Endpoint(f"{scheme}://{host.lower()}:{int(port or _DEFAULT_PORTS[scheme])}", path or "/")


@dataclass(frozen=True)
class BufferedResponse:
    """A complete response, held in memory."""

    status_code: int
    headers: Mapping[str, str]
    body: bytes


def retry_after_of(headers: Mapping[str, str]) -> int | None:
    """Return how many seconds a server asks us to wait, or None if it doesn't say."""
    value = headers.get("Retry-After", "").strip()
    if _SECONDS.fullmatch(value):
        seconds = int(value)
    elif (moment := parse_http_date_safe(value)) is not None:
        seconds = math.ceil(moment - time.time())
    else:
        return None
    return min(max(seconds, 1), Account.LONGEST_RETRY_AFTER)


Response = TypeVar("Response", BufferedResponse, requests.Response)


@dataclass(frozen=True)
class Server:
    """A server that is called with a key. Requests are sent only to paths below its base URL."""

    name: str  # for the beginning of a sentence, such as "The account “Main”"
    base_url: str
    headers: Mapping[str, str] = field(repr=False)

    def post_json(self, path: str, payload: object, *, seconds: float) -> BufferedResponse:
        """Post an object and return the response. Takes at most `seconds`, whatever the server does.

        Raises SourceUnavailable, SourceTimeout.
        """
        request = self._request("POST", path, {"Accept-Encoding": "gzip"}, payload)
        deadline = time.monotonic() + seconds

        def post() -> BufferedResponse:
            with read_deadline(deadline):
                return self._with_retries(lambda: self._buffered(request), deadline)

        with metrics.upstream_call("list", _KINDS):
            return self._within(seconds, post)

    def stream(self, method: str, path: str, headers: Mapping[str, str]) -> requests.Response:
        """Return a response without reading its body. The caller closes it.

        Raises SourceUnavailable, SourceTimeout.
        """
        request = self._request(method, path, {"Accept-Encoding": "identity", **headers})
        deadline = time.monotonic() + READ_SECONDS
        with metrics.upstream_call("file", _KINDS), self.translated_errors(), read_deadline(deadline):
            return self._with_retries(lambda: _send(request), deadline)

    @contextmanager
    def translated_errors(self) -> Iterator[None]:
        """Raise our own errors for those of HTTP, without their context: it contains the key."""
        try:
            yield
        except (requests.Timeout, ReadTimeoutError, TimeoutError):
            raise SourceTimeout(TOO_SLOW.format(who=self.name)) from None
        except (requests.exceptions.SSLError, TlsError):
            raise SourceUnavailable(
                f"{self.name} can't be reached securely: its certificate isn't valid. Check its base address."
            ) from None
        except (requests.RequestException, HTTPError, http.client.HTTPException, OSError):
            raise SourceUnavailable(f"{self.name} is not responding. Try again later.") from None

    def _request(
        self, method: str, path: str, headers: Mapping[str, str], payload: object = None
    ) -> requests.PreparedRequest:
        base, url = endpoint_of(self.base_url), self.base_url.rstrip("/") + path
        allowed = {endpoint_of(origin) for origin in settings.UPSTREAM_ORIGINS}
        if base is None or Endpoint(base.origin, "/") not in allowed:
            raise SourceUnavailable(
                f"{self.name} uses a server that isn't allowed. "
                "The operator can allow it in UPSTREAM_ORIGINS."
            )
        with self.translated_errors():
            request = requests.Request(
                method,
                url,
                headers={"User-Agent": USER_AGENT, **headers, **self.headers},
                json=payload,
            ).prepare()
        # The library may have normalized the URL, for example its dots.
        if endpoint_of(request.url or "") != Endpoint(base.origin, base.path.rstrip("/") + path):
            raise SourceUnavailable(f"{self.name} has an invalid address. Check its base address.")
        return request

    def _with_retries(self, call: Callable[[], Response], deadline: float) -> Response:
        # No request changes anything, so all of them can be repeated.
        for pause in _PAUSES:
            if time.monotonic() + pause >= deadline:
                break
            try:
                response = call()
            except requests.ConnectionError as error:
                if isinstance(error, requests.Timeout | requests.exceptions.SSLError):
                    raise
            else:
                if not _is_temporary(response):
                    return response
                if isinstance(response, requests.Response):
                    response.close()
            time.sleep(pause)
        return call()

    def _buffered(self, request: requests.PreparedRequest) -> BufferedResponse:
        with _send(request) as response:
            chunks, size = [], 0
            try:
                while chunk := response.raw.read1(_CHUNK, decode_content=True):
                    chunks.append(chunk)
                    size += len(chunk)
                    if size > MAX_JSON_BYTES:
                        raise SourceUnavailable(f"{self.name} sent too much data. Try again later.")
            except urllib3.exceptions.ProtocolError as error:
                raise requests.ConnectionError(error) from None
            return BufferedResponse(response.status_code, response.headers, b"".join(chunks))

    def _within(self, seconds: float, call: Callable[[], T]) -> T:
        # Resolving a host name and trying its addresses have no deadline, so they need a thread, which may
        # end a little later.
        future: Future[T] = Future()

        def run() -> None:
            try:
                future.set_result(call())
            except Exception as error:  # noqa: BLE001  # the waiting thread raises it
                future.set_exception(error)

        threading.Thread(target=run, name="call an account", daemon=True).start()
        with self.translated_errors():
            return future.result(timeout=seconds)


def _is_temporary(response: BufferedResponse | requests.Response) -> bool:
    # If a server says when to try again, don't retry before then.
    return response.status_code in _RETRIED_STATUSES and retry_after_of(response.headers) is None


def _send(request: requests.PreparedRequest) -> requests.Response:
    # Use the adapter without a session: a session reads settings from the environment, keeps cookies, and
    # reads the entire body of a redirect.
    return _adapter(os.getpid()).send(request, stream=True, timeout=(CONNECT_SECONDS, READ_SECONDS))


@cache
def _adapter(_process: int) -> LimitedAdapter:
    # One per process, because a forked process must not share connections. All threads use its connections.
    return LimitedAdapter(pool_connections=10, pool_maxsize=2 * settings.WEB_THREADS)
