"""The site's gunicorn settings, but with a timeout of two seconds for the servers of accounts."""

from gunicorn.workers.base import Worker

from dashboard import gunicorn_conf
from dashboard.gunicorn_conf import *  # noqa: F403


def post_worker_init(worker: Worker) -> None:  # type: ignore[no-redef]
    """Do what the site does, and shorten the timeout."""
    gunicorn_conf.post_worker_init(worker)
    # Django is only set up in the workers.
    from collections_app.sources.upstream import http  # noqa: PLC0415

    http.READ_SECONDS = 2
