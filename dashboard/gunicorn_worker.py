"""gunicorn's threaded worker (gthread) with timeouts for slow clients.

gthread waits forever for the bytes of a request, in a thread. A few hundred clients that send one byte each
would block the site.

This overrides private parts of gunicorn, as read in version 27.0.1.
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

# How long a request may take to arrive, including its body. Requests are small; a view that receives uploads
# allows more time (collections_app/system/serving.py).
REQUEST_SECONDS = 15

# A process that uses this part of its threads waits before it accepts a connection, so that another process
# can. From here on, it rejects downloads (collections_app/files/delivery/parallel_downloads.py).
BUSY = 9 / 10
YIELD_SECONDS = 0.05

# How long running requests may take after Ctrl+C.
QUIT_SECONDS = 2.0

# The signals that stop a worker.
STOP_SIGNALS = {signal.SIGINT, signal.SIGQUIT, signal.SIGTERM}


class Worker(ThreadWorker):  # type: ignore[misc]
    """gthread that disconnects clients that stall or send too slowly."""

    alive: bool

    def init_signals(self) -> None:
        """Handle signals, including those that were blocked until now (gunicorn_conf.py)."""
        super().init_signals()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)

    def set_accept_enabled(self, enabled: bool) -> None:  # noqa: FBT001  # gunicorn calls it so
        """Start or stop accepting connections. While the server is stopping, refuse new ones.

        gunicorn would leave them in a queue until the last download has ended.
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

        gunicorn's worker would keep the port until the last connection ends.
        """
        self.alive = self.alive and super().is_parent_alive()
        return self.alive

    def accept(self, listener: socket.socket) -> None:
        """Accept a new connection; if this process is busy, let another process accept it first.

        All processes share one socket. When 500 downloads started at once, one process got 377 of them.
        """
        if self.nr_conns >= BUSY * self.cfg.threads:
            time.sleep(YIELD_SECONDS)
        super().accept(listener)

    def handle(self, conn: Any) -> Any:
        """Handle one request. Return whether to keep the connection alive."""
        if conn.parser is None:
            conn.parser = RequestParser(self.cfg, conn.sock, conn.client)
            conn.parser.unreader = DeadlineUnreader(conn.sock)
        unreader: DeadlineUnreader = conn.parser.unreader
        unreader.allow_seconds(REQUEST_SECONDS)
        with serving(conn.sock, lambda: not self.alive, unreader.allow_seconds):
            keep_alive = super().handle(conn)
        if not keep_alive:
            # gunicorn gives a client two seconds to disconnect, and waits in the thread that all connections
            # share. Wait in this thread instead, so that the shared thread doesn't have to.
            with contextlib.suppress(OSError):
                util.close_graceful(conn.sock.dup())
                conn.sock.shutdown(socket.SHUT_RD)
        return keep_alive


class Logger(glogging.Logger):  # type: ignore[misc]
    """Send gunicorn's log through the site's logging."""

    def setup(self, cfg: Config) -> None:
        """Keep gunicorn's levels, but use the site's handlers."""
        super().setup(cfg)
        logging.config.dictConfig(settings.LOGGING)  # Django would do this later
        for handler in list(self.error_log.handlers):
            self.error_log.removeHandler(handler)
        self.error_log.propagate = True


class DeadlineUnreader(SocketUnreader):  # type: ignore[misc]
    """Reads a request until its deadline."""

    deadline: float

    def allow_seconds(self, seconds: float) -> None:
        """Set the deadline to this many seconds from now."""
        self.deadline = time.monotonic() + seconds

    def chunk(self, size_hint: int | None = None) -> bytes:
        """Return the next bytes. After the deadline, raise ConnectionResetError, which gunicorn ignores."""
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
                # Sending the response has no deadline.
                self.sock.settimeout(None)
        # Stop reading; a response can still be sent.
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RD)
        raise ConnectionResetError(errno.ECONNRESET, "The request took too long to arrive.")
