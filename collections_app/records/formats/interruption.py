"""Interrupt DuckDB, which may work on a statement for a long time without calling back."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import duckdb

CHECK_SECONDS = 0.2
_KEYBOARD_INTERRUPT = "Query interrupted"  # the message of DuckDB's RuntimeError


@contextmanager
def interrupted_if(is_over: Callable[[], bool], connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Interrupt the connection's statements within the block once `is_over` returns true.

    An interrupted statement raises duckdb.InterruptException. `is_over` is called in another thread.
    Raises KeyboardInterrupt, which DuckDB turns into a RuntimeError, again.
    """
    ended = threading.Event()

    def watch() -> None:
        # Repeat it, because an interruption before the statement starts has no effect.
        while not ended.wait(CHECK_SECONDS):
            if is_over():
                connection.interrupt()

    watcher = threading.Thread(target=watch, name="duckdb-watch", daemon=True)
    watcher.start()
    try:
        yield
    except RuntimeError as error:
        if str(error) != _KEYBOARD_INTERRUPT:
            raise
        raise KeyboardInterrupt from error
    finally:
        ended.set()
        watcher.join()  # otherwise, it could interrupt the next statement
