"""The gunicorn settings."""

import gc
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
from dashboard.gunicorn_worker import STOP_SIGNALS

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "dashboard.settings")

bind = f"[{settings.HOST}]:{settings.PORT}" if ":" in settings.HOST else f"{settings.HOST}:{settings.PORT}"

# A download uses a thread until it ends, which costs almost nothing while its client is slow. With 2 workers
# of 300 threads, 500 slow downloads don't slow down the dashboard.
worker_class = "dashboard.gunicorn_worker.Worker"
workers = settings.WEB_CONCURRENCY
threads = settings.WEB_THREADS
worker_connections = threads + 1000  # the additional ones are idle keep-alive connections
keepalive = 15
preload_app = True  # reports errors once instead of once per worker
# Workers touch a file as a heartbeat, which could take too long on a slow disk.
worker_tmp_dir = processes.MEMORY
# The folder where the workers combine their metrics. Other processes of this server read this variable.
_METRICS = "PROMETHEUS_MULTIPROC_DIR"

_metrics_folder = Path(os.environ.get(_METRICS, ""))
if not _metrics_folder.name.startswith(f"metrics-{os.getpid()}-"):  # otherwise, this process is reloading
    _metrics_folder = processes.new_folder(settings.PORT)
    os.environ[_METRICS] = str(_metrics_folder)
control_socket_disable = True

# How long a server that stops or reloads waits for downloads. Ctrl+C doesn't wait.
graceful_timeout = 600

# How long a client may read nothing before its connection is closed. A stalled client would block its
# thread forever; gunicorn's `timeout` doesn't apply.
STALL_SECONDS = 60

# Requests for file names of 10,000 characters must reach the app, which responds with a proper 404. gunicorn
# limits its own setting to 8,190.
limit_request_line = message.MAX_REQUEST_LINE = 128 * 1024

# Don't let requests set SCRIPT_NAME or the scheme. By default, gunicorn trusts requests from this machine.
# Django's settings decide whether to trust a proxy.
forwarded_allow_ips = ""

loglevel = "warning"
logger_class = "dashboard.gunicorn_worker.Logger"
# Views respond to HEAD as to GET. gunicorn drops the body, and would log a warning each time.
logging.getLogger("gunicorn.http.wsgi").setLevel(logging.ERROR)


def on_starting(_server: Arbiter) -> None:
    """Block signals in new workers until they handle them.

    A signal that arrives before a worker's `init_signals` would be lost, and the server would wait for that
    worker for the entire `graceful_timeout`.
    """
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)  # the parent process may have blocked them
    os.register_at_fork(
        before=lambda: signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS),
        after_in_parent=lambda: signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS),
    )


def on_exit(_server: Arbiter) -> None:
    """Delete the metrics."""
    shutil.rmtree(_metrics_folder, ignore_errors=True)


def child_exit(_server: Arbiter, worker: Worker) -> None:
    """Remove the running downloads of a dead worker from the metrics, but keep its counters."""
    from prometheus_client.multiprocess import mark_process_dead  # noqa: PLC0415

    mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]


def when_ready(server: Arbiter) -> None:
    """Raise the limit of open files, and let the kernel close stalled connections.

    Also keep the garbage collector away from the modules that all workers share.
    """
    gc.freeze()
    # A connection may also have a result file and the database open. A worker that reached the limit, often
    # 1,024, would exit and interrupt all its downloads.
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 4 * worker_connections
    if resource.RLIM_INFINITY != soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    for listener in server.LISTENERS:
        if isinstance(listener, TCPSocket) and hasattr(socket, "TCP_USER_TIMEOUT"):
            # In milliseconds. All accepted connections inherit it.
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, STALL_SECONDS * 1000)


def post_worker_init(worker: Worker) -> None:
    """Keep SQLite open, and start the background work."""
    if connection.vendor == "sqlite":
        _keep_open(worker)
    # Django isn't set up yet when gunicorn reads this file.
    from collections_app.system.observability import metrics  # noqa: PLC0415
    from dashboard import worker_process  # noqa: PLC0415

    metrics.open_files()
    worker_process.start()


def worker_exit(_server: Arbiter, _worker: Worker) -> None:
    """Stop the background work."""
    from dashboard import worker_process  # noqa: PLC0415

    worker_process.stop()


def _keep_open(worker: Worker) -> None:
    # The first process that opens the database creates a file, which fails on a full disk. While one process
    # keeps it open, others can read the database.
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM sqlite_master")
            cursor.fetchall()
    except DatabaseError as error:
        worker.log.warning("The database can't be opened: %s", error)
