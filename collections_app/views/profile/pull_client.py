"""Download pull.py, the client for scripts."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.views.decorators.http import require_safe

from collections_app import client
from collections_app.files.delivery import deliver
from collections_app.people.access import signed_in
from collections_app.sources import Deliverable

CLIENT = Path(client.__file__).with_name("pull.py")


@dataclass(frozen=True)
class _PathBody:
    """The Body of a file on disk."""

    path: Path

    def open(self, start: int, length: int) -> BinaryIO:
        """Open the file at `start`."""
        file = self.path.open("rb")
        file.seek(start)
        return file


@signed_in
@require_safe
def pull_client(request: HttpRequest) -> HttpResponseBase:
    """Send the client."""
    stat = CLIENT.stat()
    return deliver(
        request,
        Deliverable(
            name=CLIENT.name,
            size=stat.st_size,
            etag=f'"{stat.st_mtime_ns:x}-{stat.st_size:x}"',
            modified=datetime.fromtimestamp(stat.st_mtime, UTC),
            body=_PathBody(CLIENT),
        ),
    )
