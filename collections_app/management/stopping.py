"""Stop long-running commands cleanly."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def until_stopped(*, with_parent: bool) -> Iterator[None]:
    """End the block quietly on SIGTERM or Ctrl+C, and `with_parent` also when standard input ends."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with suppress(KeyboardInterrupt):
            if with_parent:
                threading.Thread(target=_exit_with_stdin, daemon=True).start()
            yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _exit_with_stdin() -> None:
    while os.read(sys.stdin.fileno(), 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
