"""Limit the simultaneous uploads of each person.

Each upload occupies a thread and disk space until it ends. All processes of this machine share the locks. The
kernel releases them when a process ends.
"""

import fcntl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import IO

from collections_app.runs.incoming.uploaded import uploads_folder

MOST_UPLOADS = 2


class TooManyUploads(Exception):
    """The person has too many uploads running. The message is for people."""


@contextmanager
def upload_slot(user_id: int) -> Iterator[None]:
    """Count an upload of this person while the block runs. Raises TooManyUploads, OSError."""
    with ExitStack() as stack:
        if not any(_lock(user_id, number, stack) for number in range(MOST_UPLOADS)):
            raise TooManyUploads(
                f"You have {MOST_UPLOADS} uploads running, the maximum per person. Wait for one to finish."
            )
        yield


def _lock(user_id: int, number: int, stack: ExitStack) -> bool:
    file: IO[str] = stack.enter_context((uploads_folder() / f"{user_id}-{number}.lock").open("w"))
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
