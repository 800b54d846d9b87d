"""A server with the vendor's two API calls and, if a test needs them, those of the dashboard."""

import hashlib
import json
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

from tests.support.faults import QuietHandler, running

KEY = "canary-key-0123456789abcdef"
COLLECTION = 101
_PIECE = 64 * 1024
_LIST = "/api/v1/schedules/collections/results/download/"
_RANGE = re.compile(r"bytes=(\d+)-(\d+)")


@dataclass
class ListedRun:
    """A run with its files by name. The vendor has only pages and a ZIP."""

    number: int
    pages: dict[str, bytes] = field(default_factory=dict)
    archive: dict[str, bytes] = field(default_factory=dict)
    is_ready: bool = True
    state: str = "completed"  # only the dashboard reports it,
    failure_reason: str = ""  # and this
    extracted: int | None = 250
    created_at: str = "2026-06-20T12:00:00Z"
    updated_at: str = "2026-06-20T12:05:00Z"

    @property
    def files(self) -> dict[str, bytes]:
        return self.pages | self.archive


@dataclass(frozen=True)
class ReceivedRequest:
    """A received request."""

    method: str
    path: str
    range: str | None
    if_range: str | None
    body: Any = None


@dataclass
class ResultsApi:
    """The API over real HTTP. Tests set what the next response contains."""

    runs: list[ListedRun]
    key: str = KEY
    has_etags: bool = True
    has_ranges: bool = True
    has_lengths: bool = True
    is_dashboard: bool = False
    converted: dict[str, bytes | dict[str, Any]] = field(default_factory=dict)  # records.csv: 202 first
    events: list[dict[str, Any]] = field(default_factory=list)  # only the dashboard has them
    override: Callable[[ReceivedRequest], tuple[int, dict[str, str], bytes] | None] = lambda request: None
    before_piece: Callable[[ReceivedRequest, int], object] = lambda request, position: None
    requests: list[ReceivedRequest] = field(default_factory=list)
    connections: int = 0
    port: int = 0

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/api/v1"

    def requests_for(self, suffix: str) -> list[ReceivedRequest]:
        """Return the requests for a file."""
        return [request for request in self.requests if urlsplit(request.path).path.endswith(suffix)]

    def running(self) -> AbstractContextManager["ResultsApi"]:
        """Listen on a local port until the end of the block."""
        return running(self, type("Handler", (_Handler,), {"api": self}))

    def entry(self, run: ListedRun) -> dict[str, Any]:
        """Return a run as in the list: links with spaces, and the misspelled key."""
        folder = f"https://multicartapi.com/api/v1/results/{COLLECTION}/{run.number}"
        links = [f"{folder}/{name}" for name in run.pages]
        archive = [f"{folder}/{name}" for name in run.archive]
        return {
            "id": run.number,
            "collection": COLLECTION,
            "is_download_generated": run.is_ready,
            "download_links": {
                "pages": links if run.is_ready else [],
                "all_pages": archive[0] if archive and run.is_ready else None,
            },
            "total_exacted_result": run.extracted,
            "total_results": 250,
            "created_at": run.created_at,
            "updated_at": run.updated_at,
            **({"state": run.state, "failure_reason": run.failure_reason} if self.is_dashboard else {}),
        }


def etag_of(content: bytes) -> str:
    """Return the strong ETag of some content."""
    return f'"{hashlib.sha256(content).hexdigest()[:16]}"'


def envelope(code: int, data: object) -> bytes:
    """Return a response of the API."""
    return json.dumps({"code": code, "data": data, "status": int(code < 300)}).encode()


class _Handler(QuietHandler):
    api: ResultsApi

    def do_POST(self) -> None:  # noqa: N802
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self._respond(body)

    def do_GET(self) -> None:  # noqa: N802
        self._respond(None)

    def _respond(self, body: Any) -> None:
        api = self.api
        request = ReceivedRequest(
            self.command, self.path, self.headers["Range"], self.headers["If-Range"], body
        )
        api.requests.append(request)
        override = api.override(request)
        if override:
            self._send(*override)
        elif self.headers["x-api-key"] != api.key:
            # MultiCartAPI rejects requests for lists with HTTP 200, and requests for files with HTTP 401.
            self._send_json(200 if body else 401, envelope(401, "Unknown key."))
        elif request.path == _LIST:
            self._list(body)
        elif api.is_dashboard and urlsplit(request.path).path == "/api/v1/events":
            after = int(re.findall(r"after=(\d+)", request.path)[0])
            found = [event for event in api.events if event["sequence"] > after]
            newest = api.events[-1]["sequence"] if api.events else 0
            self._send_json(200, json.dumps({"events": found, "newest": newest, "next": None}).encode())
        else:
            self._file(request)

    def _list(self, body: dict[str, Any]) -> None:
        if body["collection_id"] != COLLECTION:
            self._send_json(200, envelope(404, "No such collection."))
            return
        runs = self.api.runs
        if self.api.is_dashboard and "before" in body:
            runs = [run for run in runs if run.number < body["before"]]
        skip = body.get("skip", 0)  # MultiCartAPI ignores `before`
        page = runs[skip : skip + body["limit"]]
        self._send_json(200, envelope(200, [self.api.entry(run) for run in page]))

    def _file(self, request: ReceivedRequest) -> None:
        path = unquote(urlsplit(request.path).path)
        for run in self.api.runs:
            if self.api.is_dashboard and self._of_the_dashboard(request, path, run):
                return
            folder = f"/api/v1/results/{COLLECTION}/{run.number}/"
            if path.startswith(folder) and path.removeprefix(folder) in run.files:
                self._send_file(request, run.files[path.removeprefix(folder)])
                return
        self._send_json(404, envelope(404, "There is nothing at this address."))

    def _of_the_dashboard(self, request: ReceivedRequest, path: str, run: ListedRun) -> bool:
        folder = f"/api/v1/collections/{COLLECTION}/runs/{run.number}/"
        name = path.removeprefix(folder)
        if name == path:
            return False
        if name == "manifest.json":
            files = [
                {"name": name, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
                for name, content in run.files.items()
            ]
            self._send(200, {"Content-Type": "application/json"}, json.dumps({"files": files}).encode())
            return True
        content = self.api.converted.get(name)
        if isinstance(content, bytes):
            self._send_file(request, content)
        elif content is not None:
            self._send(
                202, {"Retry-After": "0"}, json.dumps({"code": 202, "data": content, "status": 1}).encode()
            )
        return content is not None

    def _send_json(self, status: int, body: bytes) -> None:
        self._send(status, {"Content-Type": "application/json"}, body)

    def _send(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _send_file(self, request: ReceivedRequest, content: bytes) -> None:
        api = self.api
        part = _RANGE.fullmatch(request.range or "") if api.has_ranges else None
        if part and request.if_range not in {None, etag_of(content)}:
            part = None
        first, end = (int(part[1]), int(part[2]) + 1) if part else (0, len(content))
        self.send_response(206 if part else 200)
        if part:
            self.send_header("Content-Range", f"bytes {first}-{end - 1}/{len(content)}")
        if api.has_etags:
            self.send_header("ETag", etag_of(content))
        self.send_header("Content-Type", "application/octet-stream")
        if api.has_lengths:
            self.send_header("Content-Length", str(end - first))
        else:
            self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for start in range(first, end, _PIECE):
            api.before_piece(request, start)
            piece = content[start : min(start + _PIECE, end)]
            self.wfile.write(piece if api.has_lengths else b"%x\r\n%s\r\n" % (len(piece), piece))
        if not api.has_lengths:
            self.wfile.write(b"0\r\n\r\n")
