"""How gunicorn serves the site: the settings, by the names that gunicorn gives them."""

import logging
import os
import resource
import shutil
import signal
import socket
from pathlib import Path

from django.conf import settings
from django.db import DatabaseError, connection
from gunicorn.arbiter import Arbiter
from gunicorn.http import message
from gunicorn.sock import TCPSocket
from gunicorn.workers.base import Worker

from collections_app.system.observability import processes
from dashboard.gunicorn_worker import STOPS

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "dashboard.settings")

bind = f"[{settings.HOST}]:{settings.PORT}" if ":" in settings.HOST else f"{settings.HOST}:{settings.PORT}"

# A download holds a thread until it ends, and costs nearly nothing while its reader is slow. With
# 2 workers of 300 threads, 500 slow readers leave the dashboard as quick as it is alone.
worker_class = "dashboard.gunicorn_worker.Worker"
workers = settings.WEB_CONCURRENCY
threads = settings.WEB_THREADS
worker_connections = threads + 1000  # those above `threads` are kept alive between requests
keepalive = 15
preload_app = True  # what is wrong is said once, not by each worker
# A worker shows that it is alive by touching a file, which on a slow disk could take too long.
worker_tmp_dir = processes.MEMORY
# The folder where the workers combine the metrics. Other processes of this server find it by this variable.
_METRICS = "PROMETHEUS_MULTIPROC_DIR"

_metrics_folder = Path(os.environ.get(_METRICS, ""))
if not _metrics_folder.name.startswith(f"metrics-{os.getpid()}-"):  # else it's a reload, by this very process
    _metrics_folder = processes.new_folder(settings.PORT)
    os.environ[_METRICS] = str(_metrics_folder)
control_socket_disable = True

# A stopping or reloading server lets the downloads finish for so long. Ctrl+C doesn't wait.
graceful_timeout = 600

# How long a reader may take no byte at all before the connection is closed; a stalled reader would
# hold its thread for ever, and gunicorn's `timeout` doesn't end it.
STALL_SECONDS = 60

# A file name of 10,000 characters, however they are encoded, is to reach the app, which knows how
# to say that there is no such file. gunicorn caps its own setting at 8,190.
limit_request_line = message.MAX_REQUEST_LINE = 128 * 1024

# No request may say where the app lies or that it came by HTTPS; by default gunicorn believes those from
# this machine. Whether a proxy is believed, Django's settings say.
forwarded_allow_ips = ""

loglevel = "warning"
logger_class = "dashboard.gunicorn_worker.Logger"
# HEAD is answered as GET would be; that gunicorn leaves the body out needs no warning.
logging.getLogger("gunicorn.http.wsgi").setLevel(logging.ERROR)


def on_starting(_server: Arbiter) -> None:
    """Let no worker miss that it is to stop.

    A signal that reaches a new worker before it listens would be lost, and the server would wait for that
    worker for all of `graceful_timeout`. It is held back until the worker's `init_signals`.
    """
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)  # whoever started this server may hold them back
    os.register_at_fork(
        before=lambda: signal.pthread_sigmask(signal.SIG_BLOCK, STOPS),
        after_in_parent=lambda: signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS),
    )


def on_exit(_server: Arbiter) -> None:
    """Leave no figures behind."""
    shutil.rmtree(_metrics_folder, ignore_errors=True)


def child_exit(_server: Arbiter, worker: Worker) -> None:
    """Forget the downloads of a worker that is gone; what it counted stays."""
    from prometheus_client.multiprocess import mark_process_dead  # noqa: PLC0415

    mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]


def when_ready(server: Arbiter) -> None:
    """Let the kernel close the connections of readers that stall, and the workers open enough files."""
    # Each connection is one, and may have a result file and the database open. At its limit, often 1,024,
    # a worker would end, with all its downloads.
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 4 * worker_connections
    if resource.RLIM_INFINITY != soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    for listener in server.LISTENERS:
        if isinstance(listener, TCPSocket) and hasattr(socket, "TCP_USER_TIMEOUT"):
            # In milliseconds. Every accepted connection inherits it.
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, STALL_SECONDS * 1000)


def post_worker_init(worker: Worker) -> None:
    """Keep SQLite open for as long as the worker lives, and have the background's work done."""
    if connection.vendor == "sqlite":
        _keep_open(worker)
    # When this file is read, Django isn't set up yet.
    from collections_app.system.observability import metrics  # noqa: PLC0415
    from dashboard import background  # noqa: PLC0415

    metrics.open_files()
    background.start()


def _keep_open(worker: Worker) -> None:
    # Whoever opens it first makes a file beside it, for which a full disk has no room; while somebody has
    # it open, it can be read.
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM sqlite_master")
            cursor.fetchall()
    except DatabaseError as error:
        worker.log.warning("The database can't be opened: %s", error)
