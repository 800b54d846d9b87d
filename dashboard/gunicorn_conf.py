"""How gunicorn serves the site: the settings, by the names that gunicorn gives them.

From the environment: HOST and PORT to listen on, WEB_CONCURRENCY (worker processes) and
WEB_THREADS (threads of each).
"""

import logging
import os
import socket
from pathlib import Path

from gunicorn.arbiter import Arbiter
from gunicorn.http import message
from gunicorn.sock import TCPSocket

_host = os.environ.get("HOST") or "127.0.0.1"
_port = os.environ.get("PORT") or "8000"
bind = f"[{_host}]:{_port}" if ":" in _host else f"{_host}:{_port}"

# A download holds a thread until it ends, and costs nearly nothing while its reader is slow. With
# 2 workers of 300 threads, 500 slow readers leave the dashboard as quick as it is alone.
worker_class = "gthread"
workers = int(os.environ.get("WEB_CONCURRENCY") or min(os.cpu_count() or 1, 8))
threads = int(os.environ.get("WEB_THREADS") or 300)
worker_connections = threads + 1000  # those above `threads` are kept alive between requests
keepalive = 15
preload_app = True  # what is wrong is said once, not by each worker
# A worker shows that it is alive by touching a file, which on a slow disk could take too long.
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108
control_socket_disable = True

# A stopping or reloading server lets the downloads finish for so long. Ctrl+C doesn't wait.
graceful_timeout = 600

# How long a reader may take no byte at all before the connection is closed; a stalled reader would
# hold its thread for ever, and gunicorn's `timeout` doesn't end it.
STALL_SECONDS = 60

# A file name of 10,000 characters, however they are encoded, is to reach the app, which knows how
# to say that there is no such file. gunicorn caps its own setting at 8,190.
limit_request_line = message.MAX_REQUEST_LINE = 128 * 1024

# No request may say where the app lies; by default gunicorn believes requests from this machine.
forwarder_headers = ""

loglevel = "warning"
# HEAD is answered as GET would be; that gunicorn leaves the body out needs no warning.
logging.getLogger("gunicorn.http.wsgi").setLevel(logging.ERROR)


def when_ready(server: Arbiter) -> None:
    """Let the kernel close the connections of readers that stall."""
    for listener in server.LISTENERS:
        if isinstance(listener, TCPSocket) and hasattr(socket, "TCP_USER_TIMEOUT"):
            # In milliseconds. Every accepted connection inherits it.
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, STALL_SECONDS * 1000)
