"""gunicorn's threaded worker, with an end to clients that hold it up.

By itself gthread waits for the bytes of a request for ever, with a thread for each: as many clients
as there are threads, each sending one byte, would be the end of the site.
"""

import contextlib
import errno
import logging
import logging.config
import os
import signal
import socket
import threading
import time
from typing import Any

from django.conf import settings
from gunicorn import glogging, util
from gunicorn.config import Config
from gunicorn.http.parser import RequestParser
from gunicorn.http.unreader import SocketUnreader
from gunicorn.workers.gthread import ThreadWorker

from collections_app.system.serving import serving

# How long a request may take to arrive, head and body. Ours are small: no file is ever sent to us.
REQUEST_SECONDS = 15

# With so many of its threads in use, a process lets the others take a new connection first, for so long.
# From here on it refuses downloads (collections_app/delivery/streams.py), while another may have room.
CROWDED = 9 / 10
COURTESY_SECONDS = 0.05

# How long requests may take to finish after Ctrl+C.
QUIT_SECONDS = 2.0

# The signals that end a worker.
STOPS = {signal.SIGINT, signal.SIGQUIT, signal.SIGTERM}


class Worker(ThreadWorker):  # type: ignore[misc]
    """gthread, whose threads are free again when a client stalls or dribbles."""

    alive: bool

    def init_signals(self) -> None:
        """Listen to signals, also to those that were held back until now (gunicorn_conf.py)."""
        super().init_signals()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)

    def set_accept_enabled(self, enabled: bool) -> None:  # noqa: FBT001  # gunicorn calls it so
        """Take new connections or not. Those that come to a server that is stopping are refused.

        gunicorn would let them wait in a queue until the last download has ended.
        """
        super().set_accept_enabled(enabled)
        if not enabled and not self.alive:
            for listener in self.sockets:
                listener.close()

    def handle_quit(self, sig: int, frame: Any) -> None:
        """Stop immediately, even if downloads are running.

        gunicorn would shut down its thread pool here, which deadlocks if the signal arrives while this thread
        is submitting a request to the pool. Python waits for the pool's threads when it exits.
        """
        ending = threading.Timer(QUIT_SECONDS, os._exit, [0])
        ending.daemon = True
        ending.start()
        super(ThreadWorker, self).handle_quit(sig, frame)

    def is_parent_alive(self) -> bool:
        """Return whether the master process is alive. Without it, the worker stops and releases the port.

        gunicorn's own worker would keep the port until the last connection ends.
        """
        self.alive = self.alive and super().is_parent_alive()
        return self.alive

    def accept(self, listener: socket.socket) -> None:
        """Take a new connection, unless another process does while this one is crowded.

        All processes listen at one door. In a rush of 500 downloads it was seen that one took 377 of them.
        """
        if self.nr_conns >= CROWDED * self.cfg.threads:
            time.sleep(COURTESY_SECONDS)
        super().accept(listener)

    def handle(self, conn: Any) -> Any:
        """Answer one request; returns what gunicorn makes of the connection, false for its end."""
        if conn.parser is None:
            conn.parser = RequestParser(self.cfg, conn.sock, conn.client)
            conn.parser.unreader = PunctualUnreader(conn.sock)
        conn.parser.unreader.deadline = time.monotonic() + REQUEST_SECONDS
        with serving(conn.sock, lambda: not self.alive):
            goes_on = super().handle(conn)
        if not goes_on:
            # gunicorn gives a client two seconds to hang up, and spends them in the thread that all
            # connections share. They are spent here instead; nothing is left to wait for there.
            with contextlib.suppress(OSError):
                util.close_graceful(conn.sock.dup())
                conn.sock.shutdown(socket.SHUT_RD)
        return goes_on


class Logger(glogging.Logger):  # type: ignore[misc]
    """gunicorn's log, whose lines take the way of all others."""

    def setup(self, cfg: Config) -> None:
        """Keep the levels, and leave the form and the place to the site's settings."""
        super().setup(cfg)
        logging.config.dictConfig(settings.LOGGING)  # Django itself would do it a little later
        for handler in list(self.error_log.handlers):
            self.error_log.removeHandler(handler)
        self.error_log.propagate = True


class PunctualUnreader(SocketUnreader):  # type: ignore[misc]
    """Reads a request from its connection until the deadline."""

    deadline: float

    def chunk(self, size_hint: int | None = None) -> bytes:
        """Return the next bytes. Raises ConnectionResetError, which gunicorn passes over, when time is up."""
        left = self.deadline - time.monotonic()
        if left > 0:
            self.sock.settimeout(left)
            try:
                data: bytes = super().chunk(size_hint)
            except TimeoutError:
                pass
            else:
                return data
            finally:
                # An answer may take as long as its reader does.
                self.sock.settimeout(None)
        # Nothing more is read, while an answer may still be sent.
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RD)
        raise ConnectionResetError(errno.ECONNRESET, "The request took too long to arrive.")
