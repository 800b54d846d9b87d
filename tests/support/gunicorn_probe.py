"""The site's gunicorn settings, with changes for tests of delivery.

Clients that stall, and requests that don't arrive, are ended after three seconds. The bytes that sendfile
sends are logged.
"""

import os
from typing import Any

from dashboard import gunicorn_conf, gunicorn_worker
from dashboard.gunicorn_conf import *  # noqa: F403

gunicorn_conf.STALL_SECONDS = 3
gunicorn_worker.REQUEST_SECONDS = 3

_sendfile = os.sendfile


def _counted(*args: Any) -> int:
    sent = _sendfile(*args)
    with open(os.environ["SENDFILE_LOG"], "a") as log:  # noqa: PTH123
        log.write(f"{sent}\n")
    return sent


setattr(os, "sendfile", _counted)  # noqa: B010
