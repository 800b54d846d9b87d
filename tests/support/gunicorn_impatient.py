"""The site's own gunicorn settings; servers of accounts that don't answer are given up after two seconds."""

from gunicorn.workers.base import Worker

from dashboard import gunicorn_conf
from dashboard.gunicorn_conf import *  # noqa: F403


def post_worker_init(worker: Worker) -> None:  # type: ignore[no-redef]
    """Do as the site does, and shorten the patience."""
    gunicorn_conf.post_worker_init(worker)
    # Before the workers are there, Django isn't set up.
    from collections_app.sources.upstream import http  # noqa: PLC0415

    http.READ_SECONDS = 2
